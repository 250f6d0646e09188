"""Models that take or answer something else than one tensor, as plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import Module

from captum_video.nn._answer import Output, WrappingError, called, check_output, picked
from captum_video.nn._feed import Feed, Inputs

__all__ = [
    "WHOLE",
    "WrappedModel",
    "WrappingError",
    "answering_one_tensor",
    "fed_model",
    "picked",
    "wrap_model",
]

_SHARED = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


class _Whole:
    """In place of an output: the answer as it is."""

    def __repr__(self) -> str:
        return "the whole answer"

    def __reduce__(self) -> str:
        return "WHOLE"


WHOLE: Final = _Whole()


class WrappedModel(Module):
    """A model that takes tensors and answers one; what :func:`captum_video.wrap_model` makes.

    It has the model's own parts, not a copy: layers keep their names, a ``state_dict`` fits either,
    ``to``, ``train`` and ``eval`` reach the model, and attributes that are not found here (``info``,
    ``config``) are the model's, to be read, set and deleted.

    Args:
        model: the model.
        output: which part of its answer counts.
        feed: how it is called.
    """

    def __init__(self, model: Module, output: Output | _Whole, feed: Feed) -> None:
        super().__init__()
        # past Module.__setattr__: the model is no part of this one, which is the model
        self.__dict__["_wrapped_model"] = model
        self.__dict__["_wrapped_output"] = output
        self.__dict__["_wrapped_feed"] = feed
        self._link()

    @property
    def unwrapped(self) -> Module:
        """The model as it was given."""
        model: Module = self.__dict__["_wrapped_model"]
        return model

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        model = self.__dict__.get("_wrapped_model")
        return True if model is None else model.training

    @training.setter
    def training(self, mode: bool) -> None:
        model = self.__dict__.get("_wrapped_model")
        if model is not None:  # Module.__init__ sets the flag before there is one
            model.training = mode

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Calls the model.

        Args:
            inputs: the clips, and further arguments.
            named: further arguments by name.

        Returns:
            The part of the answer that counts.
        """
        arguments, keywords = self.__dict__["_wrapped_feed"].arguments(inputs)
        answer = self.unwrapped(*arguments, **named, **keywords)
        output = self.__dict__["_wrapped_output"]
        return answer if output is WHOLE else picked(answer, output)

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module, and the model with its layers by their own names.

        Args:
            memo: modules that were named already.
            prefix: what names begin with.
            remove_duplicate: whether a module that occurs twice is named once.

        Yields:
            Names and modules.
        """
        seen: set[Module] = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        yield from self.unwrapped.named_modules(seen, prefix, remove_duplicate)

    def train(self, mode: bool = True) -> WrappedModel:
        """Sets the model's training mode.

        Args:
            mode: whether it is to be trained.

        Returns:
            This module.
        """
        self.unwrapped.train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own.

        Args:
            args: as for ``torch.nn.Module``.
            kwargs: likewise.

        Returns:
            Tensors by the model's names.
        """
        return self.unwrapped.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads what the model's own ``state_dict`` gives.

        Args:
            args: as for ``torch.nn.Module``.
            kwargs: likewise.

        Returns:
            What the model returns.
        """
        return self.unwrapped.load_state_dict(*args, **kwargs)

    def extra_repr(self) -> str:
        """What is wrapped, and how.

        Returns:
            One line.
        """
        output, feed = self.__dict__["_wrapped_output"], self.__dict__["_wrapped_feed"]
        kind = type(self.unwrapped).__name__
        return f"{kind}, output={called(output)}, inputs={called(feed.given)}"

    def _link(self) -> None:
        """Takes over the model's tables, so that its parts are those of this module."""
        model = self.unwrapped
        for name in _SHARED:
            table = getattr(model, name)
            if isinstance(model, torch.jit.ScriptModule) and name in ("_parameters", "_buffers"):
                table = dict(table.items())  # it cannot be written to
            self.__dict__[name] = table

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> WrappedModel:
        self.unwrapped._apply(fn, recurse)
        self._link()
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        self.unwrapped._load_from_state_dict(*args)

    def _replicate_for_data_parallel(self) -> Any:
        raise TypeError(
            "a wrapped model cannot be replicated by DataParallel: wrap the parallel model instead, "
            "wrap_model(DataParallel(model))"
        )

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[Any]:
        # the tables are shared, so that going through both modules names their entries twice
        return self.unwrapped._named_members(get_members_fn, prefix, recurse, remove_duplicate)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._link()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            model = self.__dict__.get("_wrapped_model")
            if model is None or name.startswith("__"):  # copying and pickling ask for such names
                raise
        return getattr(model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_model_s(name):
            setattr(self.unwrapped, name, value)
            self._link()
        elif isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)  # a Module's takes a module for a new part
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_model_s(name):
            delattr(self.unwrapped, name)
            self._link()
        else:
            super().__delattr__(name)

    def _is_model_s(self, name: str) -> bool:
        """Whether an attribute is found in the model, and not before that in this module."""
        own = name in self.__dict__ or any(name in kind.__dict__ for kind in type(self).__mro__)
        model = self.__dict__.get("_wrapped_model")
        return not own and model is not None and hasattr(model, name)


def wrap_model(model: Module, output: Output = None, inputs: Inputs = None) -> WrappedModel:
    """Makes a plain model of one that answers, or takes, something else than one tensor.

    Captum and this package explain modules that are called with tensors and return one. Models from
    ``transformers`` return a ``ModelOutput`` and want frames first, networks with several heads
    return lists or dicts, and SlowFast takes a list of pathways. The result is such a module: tensors
    in, one tensor out, with the model's own layers under their own names, its parameters,
    ``state_dict`` and ``info``. The model itself stays as it is, and nothing is copied.

    Args:
        model: the model.
        output: which part of the model's answer holds the scores: a key (of a dict, named tuple,
            dataclass or ``ModelOutput``), an index (of a list, tuple or ``ModelOutput``), or a function
            of the answer. None means the tensor called ``logits``, or else the only tensor; a
            single number in a dict or list, such as a loss, is none.
        inputs: how the model is called with the clip ``x``. None or ``"tensor"`` is ``model(x)``,
            ``"list"`` is ``model([x])``, ``"tuple"`` is ``model((x,))``, a name such as
            ``"pixel_values"`` is ``model(pixel_values=x)``. Axes in another order are named behind a
            colon: with ``"pixel_values:NTCHW"`` the model gets ``(N, T, C, H, W)`` and whoever calls
            the result still gives ``(N, C, T, H, W)``. A function of the clip returns what the model
            is to be called with: a tensor, a list or tuple, or a dict of arguments by name.

    What follows the clip (``additional_forward_args``) is handed on after it. Several inputs are
    counted behind a colon: ``"list:2"`` is ``model([x, y])``, also before axes (``"list:2:NTCHW"``). A
    mask looks like a clip, so with ``"list"``, ``"tuple"`` and turned axes a second tensor with as
    many axes as the first is refused until the count says which it is. Beside a keyword, further
    arguments fill the model's remaining parameters in their order. A function gets as many of the
    arguments as it has parameters without a default (``*args``: all), and the others are handed on.

    Returns:
        The module; ``unwrapped`` is the model. Copied and pickled as any module, if ``output`` and
        ``inputs`` can be.

    Raises:
        TypeError: if ``model`` is no ``torch.nn.Module``, or ``output`` or ``inputs`` of another kind.
        ValueError: if ``model`` is wrapped already or takes no such argument. What the model answers is
            known at the first call, which raises a ``ValueError`` that describes the answer if it has
            no such part, if that part is no tensor, or if ``output`` is None and there are several.

    Example:
        >>> import torch
        >>> from captum_video import wrap_model
        >>> class SlowFast(torch.nn.Module):
        ...     def forward(self, pathways):
        ...         slow, fast = pathways
        ...         return {"logits": slow.mean((2, 3, 4)) - fast.mean((2, 3, 4)), "hidden": fast}
        >>> plain = wrap_model(SlowFast().eval(), inputs=lambda x: [x[:, :, ::4], x])
        >>> plain(torch.rand(1, 3, 16, 8, 8)).shape
        torch.Size([1, 3])
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}: what a function does "
            "before or after the module is said by inputs and output"
        )
    if isinstance(model, WrappedModel):
        raise ValueError(
            f"model must not be wrapped already, got one with {model.extra_repr()}: wrap "
            "model.unwrapped"
        )
    check_output(output)
    return WrappedModel(model, output, Feed.of(inputs, model))


def fed_model(model: Module, inputs: Inputs) -> WrappedModel:
    """A model that is called in another way and answers as before.

    Args:
        model: the model.
        inputs: as for :func:`wrap_model`.

    Returns:
        The module.
    """
    return WrappedModel(model, WHOLE, Feed.of(inputs, model))


def answering_one_tensor(model: Module) -> WrappedModel:
    """As ``wrap_model(model)``, also of a model from :func:`fed_model`.

    Args:
        model: the model.

    Returns:
        The module.
    """
    if isinstance(model, WrappedModel):
        return WrappedModel(model.unwrapped, None, model.__dict__["_wrapped_feed"])
    return wrap_model(model)
