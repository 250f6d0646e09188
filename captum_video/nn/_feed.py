"""How a model is called with clips."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from torch import Tensor
from torch.nn import Module

from captum_video._core.errors import close_matches
from captum_video.nn._answer import WrappingError, described

Inputs = str | Callable[..., Any] | None
_AXES = "NCTHW"
_FORMS = ("tensor", "list", "tuple")
_SPEC = re.compile(r"(\w+)(?::([0-9]+))?(?::(.*))?")


@dataclass(frozen=True)
class Feed:
    """How a model is called.

    Attributes:
        given: what the caller said: ``None``, ``FORM``, ``FORM:COUNT``, ``FORM:AXES``,
            ``FORM:COUNT:AXES``, or a function.
        form: ``"tensor"``, ``"list"``, ``"tuple"``, or a keyword.
        count: how many of the arguments are clips; None if the caller did not say.
        order: the axes of ``(N, C, T, H, W)`` in the model's order; None for as they are.
        takes: how many arguments the function takes; None for all of them.
        others: the names of the model's parameters, in their order; None if that is not known.
    """

    given: Inputs
    form: str
    count: int | None
    order: tuple[int, ...] | None
    takes: int | None
    others: tuple[str, ...] | None

    @classmethod
    def of(cls, inputs: Inputs, model: Module) -> Feed:
        """What a caller means.

        Args:
            inputs: as for :func:`captum_video.wrap_model`.
            model: the model that is to be called.

        Returns:
            How to call it.

        Raises:
            TypeError: for what is neither string, function nor None.
            WrappingError: for a keyword that the model does not take, a count of no clips or beside a
                keyword, or axes that are none.
        """
        parameters = _parameters(model.forward)
        others = None if parameters is None else tuple(p.name for p in parameters if _ordered(p))
        if callable(inputs):
            return cls(inputs, "tensor", None, None, _arity(inputs), others)
        if inputs is not None and not isinstance(inputs, str):
            raise TypeError(
                "inputs must be 'tensor', 'list', 'tuple', the name of an argument, a function of "
                f"the clip, or None, got {inputs!r}"
            )
        form, count, axes = _parts(inputs)
        if form not in _FORMS and parameters is not None:
            _check_keyword(inputs, form, parameters, model)
        order = None if axes in (None, _AXES) else tuple(map(_AXES.index, axes))
        return cls(inputs, form, count, order, None, others)

    def arguments(self, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the model is called with.

        Args:
            given: the clips, and what else a caller gives by position.

        Returns:
            Arguments by position and by name.

        Raises:
            TypeError: if nothing is given, or more than the model takes.
            WrappingError: if a clip has other axes, if it cannot be told how many clips there are, or if
                the function returns nothing to call with.
        """
        if not given:
            raise TypeError("the model must be called with at least one clip, got no argument")
        if callable(self.given):
            taken = len(given) if self.takes is None else self.takes
            made, rest = self.given(*given[:taken]), given[taken:]
            if isinstance(made, Mapping):
                return self._beside(dict(made), rest)
            if not isinstance(made, Tensor | list | tuple):
                raise WrappingError(
                    "inputs",
                    self.given,
                    f"returned {described(made)}; it must be a tensor, a list or tuple of them, or a "
                    "dict of arguments by name",
                )
            return (made, *rest), {}
        if self.form not in _FORMS:
            return self._beside({self.form: self._turned(given[0])}, given[1:])
        if self.form == "tensor" and self.order is None and self.count is None:
            return given, {}
        count = self._clips(given)
        clips, rest = tuple(self._turned(clip) for clip in given[:count]), given[count:]
        if self.form == "tensor":
            return (*clips, *rest), {}
        return (list(clips) if self.form == "list" else clips, *rest), {}

    def _clips(self, given: tuple[Any, ...]) -> int:
        """How many of the arguments are clips."""
        if self.count is not None:
            if len(given) < self.count:
                clips = "1 clip" if self.count == 1 else f"{self.count} clips"
                raise WrappingError("inputs", self.given, f"wants {clips}, got {len(given)}")
            return self.count
        first, second = (*given, None)[:2]
        alike = isinstance(first, Tensor) and isinstance(second, Tensor)
        if alike and first.dim() == second.dim():  # a mask may have a clip's whole shape
            order = "" if self.order is None else ":" + "".join(_AXES[i] for i in self.order)
            one, two = (f"'{self.form}:{count}{order}'" for count in (1, 2))
            raise WrappingError(
                "inputs",
                self.given,
                f"a tensor {tuple(second.shape)} beside {tuple(first.shape)} may be a clip or a "
                f"further argument: say how many clips there are, such as {one} or {two}",
            )
        return 1

    def _turned(self, clip: Any) -> Any:
        if not isinstance(clip, Tensor):
            raise WrappingError(
                "inputs", self.given, f"clips must be tensors, got {described(clip)}"
            )
        if self.order is None:
            return clip
        if clip.dim() != len(_AXES):
            raise WrappingError(
                "inputs",
                self.given,
                f"clips must be (N, C, T, H, W), got shape {tuple(clip.shape)}",
            )
        return clip.permute(self.order)

    def _beside(
        self, named: dict[str, Any], rest: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments by name, and others that fill the model's remaining parameters in order."""
        if self.others is None or not rest:
            return rest, named
        free = [name for name in self.others if name not in named]
        if len(rest) > len(free):
            raise TypeError(
                f"the model takes {len(free)} arguments beside {', '.join(named)}, got {len(rest)} "
                "(additional_forward_args)"
            )
        return (), {**named, **dict(zip(free, rest, strict=False))}


def _parts(given: str | None) -> tuple[str, int | None, str | None]:
    """The form, the number of clips and the axes."""
    found = _SPEC.fullmatch("tensor" if given is None else given)
    form = found[1] if found else ""
    if found is None or not form.isidentifier() or iskeyword(form):
        raise WrappingError(
            "inputs", given, f"must begin with {', '.join(_FORMS)} or an argument's name"
        )
    count, axes = None if found[2] is None else int(found[2]), found[3]
    if count is not None and form not in _FORMS:
        raise WrappingError("inputs", given, f"a keyword takes one clip, got a count of {count}")
    if count == 0:
        raise WrappingError("inputs", given, "there must be at least one clip, got a count of 0")
    if axes is not None and sorted(axes) != sorted(_AXES):
        raise WrappingError(
            "inputs",
            given,
            f"the axes must be the letters {_AXES} in the order that the model takes, such as "
            f"NTCHW, got {axes!r}",
        )
    return form, count, axes


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # compiled code may have none
        return None
    return None if any(p.kind is p.VAR_POSITIONAL for p in found) else found


def _ordered(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def _arity(function: Callable[..., Any]) -> int | None:
    """How many arguments a function asks for; None for all. One with a default is its own matter."""
    parameters = _parameters(function.forward if isinstance(function, Module) else function)
    if parameters is None:
        return None
    asked = [p for p in parameters if p.default is p.empty]
    return max(1, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in asked))


def _check_keyword(
    given: object, keyword: str, parameters: list[inspect.Parameter], model: Module
) -> None:
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    if keyword not in known:
        raise WrappingError(
            "inputs",
            given,
            f"{type(model).__name__} takes no argument {keyword!r}. {close_matches(keyword, known)}",
        )
