"""One torch call of the forward pass, taken apart for the table of operations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_flatten, tree_unflatten

from captum_video._core.calls import canonical_name
from captum_video.relevance.flow import Flow, Operation, Raw, Saved
from captum_video.relevance.settings import Context


@functools.lru_cache(maxsize=512)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameter names of a function written in Python; none for built-in ones."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


class Call:
    """A torch function with its arguments.

    Attributes:
        name: see :func:`captum_video._core.calls.canonical_name`.
        args: positional arguments.
        kwargs: keyword arguments.
        tracked: the tensors among the arguments that descend from an input, one for each
            occurrence, in order.
        values: what they hold before the call.
        constants: the other tensors among them.
        mutated: the tensor that the call overwrites, or None.
        flow: the record so far.
        context: the settings.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        flow: Flow,
        context: Context,
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.flow, self.context = flow, context
        self.name = canonical_name(function)
        self._leaves, self._spec = tree_flatten((args, kwargs))
        self._places = [
            i for i, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor) and leaf in flow
        ]
        self.tracked = [self._leaves[i] for i in self._places]
        self.values = [flow.value(tensor) for tensor in self.tracked]
        self.constants = [
            leaf for leaf in self._leaves if isinstance(leaf, Tensor) and leaf not in flow
        ]
        self.mutated = self._mutated()

    def get(self, position: int, keyword: str, default: Any = None) -> Any:
        """One argument by position or keyword."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(keyword, default)

    @property
    def input(self) -> Any:
        """The first argument, which torch's functions call ``input``."""
        return self.get(0, "input")

    def is_tracked(self, value: object) -> bool:
        """Whether ``value`` is a tensor that descends from an input."""
        return isinstance(value, Tensor) and value in self.flow

    def save(self, tensor: Tensor) -> Saved:
        """Keeps ``tensor`` as it is before the call."""
        mutated = self.mutated
        if mutated is not None:
            mine, theirs = tensor.untyped_storage(), mutated.untyped_storage()
            if mine.data_ptr() == theirs.data_ptr():
                return self.flow.save(tensor.clone())
        return self.flow.save(tensor)

    def keep(self) -> None:
        """Keeps the constants among the arguments for :meth:`pure`, should they be overwritten."""
        for place, leaf in enumerate(self._leaves):
            if isinstance(leaf, Tensor) and place not in self._places:
                self._leaves[place] = self.save(leaf)

    def pure(self, tensors: list[Tensor]) -> Any:
        """The call without side effect, with ``tensors`` in place of the tracked ones."""
        leaves = [leaf.tensor if isinstance(leaf, Saved) else leaf for leaf in self._leaves]
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self._spec)
        function = self.function
        if self.name.endswith("_"):
            function = getattr(torch.Tensor, self.name[:-1])
        return function(*args, **kwargs)

    def carried(self, count: int) -> list[Raw | None]:
        """The marks of the results of a call that only moves or rescales the input.

        Args:
            count: the number of results.

        Returns:
            For each result its mark, or None for all when an argument is not the input itself.
        """
        marks = [value.raw for value in self.values if value.raw is not None]
        if len(marks) != len(self.values):
            return [None] * count
        lows = [raw.low for raw in marks if raw.low is not None]
        highs = [raw.high for raw in marks if raw.high is not None]
        if len(lows) != len(marks) or len(highs) != len(marks):
            return [Raw()] * count
        ends = [
            list(floating(self.pure([bound.contiguous() for bound in bounds])))
            for bounds in (lows, highs)
        ]
        return [Raw(torch.minimum(a, b), torch.maximum(a, b)) for a, b in zip(*ends, strict=True)]

    def _mutated(self) -> Tensor | None:
        """The tensor that is overwritten: an in-place method's own, ``out``, or the first one."""
        out = self.kwargs.get("out")
        if isinstance(out, Tensor):
            return out
        target = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        if not isinstance(target, Tensor):
            return None
        if self.name == "setitem" or (self.name.endswith("_") and not self.name.startswith("_")):
            return target
        names = _parameters(self.function)
        if "inplace" in names and self.get(names.index("inplace"), "inplace", False):
            return target
        return None


@dataclass(frozen=True)
class Entry:
    """What the table makes of a call.

    Attributes:
        operation: the operation.
        inputs: the tracked tensors that it gives relevance to, in its order.
        carries: whether the result is still the input itself, moved or rescaled.
    """

    operation: Operation
    inputs: list[Tensor]
    carries: bool = False


def floating(result: object) -> Iterator[Tensor]:
    """The tensors in a result that can carry relevance: floating-point ones, also complex."""
    leaves, _ = tree_flatten(result)
    for leaf in leaves:
        if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
            yield leaf


def modules_around(names: dict[int, str]) -> list[tuple[str, Module]]:
    """The modules whose ``forward`` is running, innermost first, found on the call stack.

    Args:
        names: dotted names by the id of the module.

    Returns:
        Pairs of name (empty when unknown) and module.
    """
    found: list[tuple[str, Module]] = []
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name in ("forward", "_call_impl"):
            module = frame.f_locals.get("self")
            if isinstance(module, Module) and not (found and found[-1][1] is module):
                found.append((names.get(id(module), ""), module))
        frame = frame.f_back
    return found
