"""One tensor out of what a model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module

from captum_video._core.errors import close_matches

Output = str | int | Callable[[Any], Tensor] | None
_SCORES = "logits"
_SHOWN = 8  # parts that a message names
_NONE = object()


class WrappingError(ValueError):
    """A model does not take, or does not answer, what :func:`captum_video.wrap_model` was told.

    Attributes:
        argument: ``"output"`` or ``"inputs"``.
        given: its value.
        said: what is wrong, and what would do.
    """

    def __init__(self, argument: str, given: object, said: str) -> None:
        self.argument, self.given, self.said = argument, given, said
        super().__init__(f"{argument} {called(given)!s}: {said}")

    def __reduce__(self) -> Any:
        return type(self), (self.argument, self.given, self.said)


def called(given: object) -> str:
    """What to call an argument's value in messages: a function by its name.

    Args:
        given: the value.

    Returns:
        ``"'logits'"``, ``"1"``, ``"pathways"``.
    """
    if callable(given) and not isinstance(given, Module):
        return str(getattr(given, "__name__", type(given).__name__))
    return repr(given)


def check_output(output: object) -> None:
    """Refuses what can name no part of any answer.

    Args:
        output: what the caller gave.

    Raises:
        TypeError: if it is neither key, index, function nor None.
        WrappingError: if it is an empty key.
    """
    if isinstance(output, bool) or not (
        output is None or isinstance(output, str | int) or callable(output)
    ):
        raise TypeError(
            "output must be a key, an index, a function of the model's answer, or None, got "
            f"{output!r}"
        )
    if output == "":
        raise WrappingError("output", output, "a key cannot be empty")


def picked(answer: Any, output: Output) -> Tensor:
    """The tensor that is asked for.

    Args:
        answer: what the model answered.
        output: which part of it; None for the only tensor, or the one called ``logits``.

    Returns:
        The tensor itself, no copy.

    Raises:
        WrappingError: if there is no such part, or it is no tensor.
    """
    if output is None:
        return _plain(answer)
    if isinstance(output, str):
        part = _by_name(answer, output)
    elif isinstance(output, int):
        part = _by_index(answer, output)
    else:
        part = output(answer)
        if not isinstance(part, Tensor):
            raise WrappingError(
                "output", output, f"returned {described(part)} for {described(answer)}, no tensor"
            )
    if not isinstance(part, Tensor):
        raise WrappingError(
            "output", output, f"that part of the model's answer is {described(part)}, no tensor"
        )
    return part


def _plain(answer: Any) -> Tensor:
    if isinstance(answer, Tensor):
        return answer
    # transformers' ModelOutput leaves out of its entries, but not of its attributes, what is None
    scores = (_named(answer) or {}).get(_SCORES, getattr(answer, _SCORES, _NONE))
    if isinstance(scores, Tensor):
        return scores
    found = list(_tensors(answer))
    if scores is None:
        wrong = f"where {_SCORES!r} is None"
    elif not found:
        wrong = "where there is no tensor"
    elif len(found) > 1:
        wrong = f"where there are {len(found)} tensors and none of them is called {_SCORES!r}"
    elif not found[0].dim():
        wrong = "where the only tensor is a single number, such as a loss"
    else:
        return found[0]
    raise WrappingError(
        "output",
        None,
        f"the model answers {described(answer)}, {wrong}: say which part counts, by a key, an index or "
        "a function",
    )


def _by_name(answer: Any, name: str) -> Any:
    named = _named(answer)
    if named is None:
        raise WrappingError(
            "output",
            name,
            f"the model answers {described(answer)}, which has no names: "
            + ("nothing is to be chosen" if isinstance(answer, Tensor) else "give an index"),
        )
    if name not in named:
        known = [key for key in named if isinstance(key, str)]
        raise WrappingError(
            "output",
            name,
            f"the model answers {described(answer)}, without such a key. {close_matches(name, known)}",
        )
    return named[name]


def _by_index(answer: Any, index: int) -> Any:
    if isinstance(answer, Mapping) and index in answer:
        return answer[index]
    # transformers' ModelOutput counts the entries that are there
    parts = answer.to_tuple() if hasattr(answer, "to_tuple") else answer
    if not isinstance(parts, list | tuple):
        hint = "nothing is to be chosen" if isinstance(parts, Tensor) else "give a key"
        raise WrappingError(
            "output", index, f"the model answers {described(answer)}, which has no order: {hint}"
        )
    if not -len(parts) <= index < len(parts):
        last = f"give an index from 0 to {len(parts) - 1}" if parts else "it is empty"
        raise WrappingError("output", index, f"the model answers {described(answer)}: {last}")
    return parts[index]


def _named(answer: Any) -> dict[Any, Any] | None:
    """Parts by name; None for what has no names."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    if isinstance(answer, Tensor | list | tuple) or not hasattr(answer, "__dict__"):
        return None
    return {name: value for name, value in vars(answer).items() if not name.startswith("_")}


def _tensors(answer: Any) -> Iterator[Tensor]:
    if isinstance(answer, Tensor):
        yield answer
        return
    named = _named(answer)
    for part in named.values() if named is not None else answer if _in_order(answer) else ():
        yield from _tensors(part)


def _in_order(answer: object) -> bool:
    return isinstance(answer, list | tuple)


def described(answer: Any) -> str:
    """An answer in words.

    Args:
        answer: anything.

    Returns:
        Such as ``"a dict with 'logits' (2, 5), 'states' a tuple of 3"``.
    """
    if isinstance(answer, Tensor):
        return f"a tensor {tuple(answer.shape)}"
    if answer is None:
        return "None"
    kind = type(answer).__name__
    start = f"{'an' if kind[0] in 'AEIOaeio' else 'a'} {kind}"
    named = _named(answer)
    if named is not None:
        parts = [f"{key!r} {_briefly(part)}" for key, part in named.items()]
        return f"{start} with {_listed(parts)}" if parts else f"an empty {kind}"
    if _in_order(answer):
        parts = [_briefly(part) for part in answer]
        return f"{start} of {_listed(parts)}" if parts else f"an empty {kind}"
    return start


def _briefly(part: Any) -> str:
    if isinstance(part, Tensor):
        return str(tuple(part.shape))
    if part is None:
        return "None"
    size = f" of {len(part)}" if _in_order(part) or isinstance(part, Mapping) else ""
    return f"a {type(part).__name__}{size}"


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:_SHOWN]) + (", ..." if len(parts) > _SHOWN else "")
