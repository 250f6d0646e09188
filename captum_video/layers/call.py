"""One torch call of the forward pass, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from captum_video.layers.axes import Unreadable, take
from captum_video.layers.layout import Axis, Layout, settled


class Call:
    """A torch function with its arguments and its result.

    Attributes:
        name: see :func:`captum_video._core.calls.canonical_name`.
        args: positional arguments.
        kwargs: keyword arguments.
        result: what the function returned.
        tracked: the tensors among the arguments that descend from an input, in order.
        layouts: theirs, before the call.
    """

    __slots__ = ("_lookup", "args", "kwargs", "layouts", "name", "result", "tracked")

    def __init__(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        tracked: list[tuple[Tensor, Layout]],
    ) -> None:
        self.name, self.args, self.kwargs, self.result = name, args, kwargs, result
        self.tracked = [tensor for tensor, _ in tracked]
        self.layouts = [layout for _, layout in tracked]
        self._lookup = {id(tensor): layout for tensor, layout in tracked}

    def get(self, position: int, keyword: str, default: Any = None) -> Any:
        """One argument by position or keyword."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(keyword, default)

    def layout(self, value: object) -> Layout | None:
        """The layout of an argument; None for a constant."""
        return self._lookup.get(id(value))

    @property
    def input(self) -> Any:
        """The first argument, which torch's functions call ``input`` (methods: ``self``)."""
        if self.args:
            return self.args[0]
        return self.kwargs.get("input", next(iter(self.kwargs.values()), None))

    @property
    def main(self) -> Layout:
        """The layout of the first argument.

        Raises:
            Unreadable: if it is a constant.
        """
        layout = self.layout(self.input)
        if layout is None:
            raise Unreadable
        return layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result, or of its first tensor."""
        return tuple(tensors(self.result)[0].shape)

    def axis(self, position: int, keyword: str, default: Any = None) -> int:
        """An argument that names an axis of the first argument, counted from 0.

        Raises:
            Unreadable: if it is no such number.
        """
        value = self.get(position, keyword, default)
        return normal(value, len(self.main.axes))

    def numbers(self, position: int, keyword: str) -> list[int]:
        """Integers given as one sequence or as the rest of the positional arguments."""
        value = self.get(position, keyword)
        if isinstance(value, (tuple, list)):
            return [int(number) for number in value]
        if position < len(self.args):
            return [int(number) for number in self.args[position:]]
        raise Unreadable

    def made(self, axes: Sequence[Axis]) -> Layout:
        """A layout of new axes; input axes that they no longer show become hidden."""
        return settled(
            axes,
            [axis for layout in self.layouts for axis in layout.axes],
            [layout.hidden for layout in self.layouts],
            any(layout.opaque for layout in self.layouts),
        )


Rule = Callable[[Call], "Layout | list[Layout]"]


def normal(axis: Any, rank: int) -> int:
    """An axis counted from 0.

    Raises:
        Unreadable: if it is no axis of a tensor with ``rank`` axes.
    """
    if not isinstance(axis, int) or not -rank <= axis < max(rank, 1):
        raise Unreadable
    return axis % rank if rank else 0


def tensors(value: object) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    found: list[Tensor] = []
    _collect(value, found)
    return found


def _collect(value: object, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, found)


def replaced(layout: Layout, changes: dict[int, Axis]) -> Layout:
    """A layout with some axes replaced; what they no longer show becomes hidden."""
    axes = [changes.get(i, axis) for i, axis in enumerate(layout.axes)]
    gone = [layout.axes[i] for i in changes]
    return settled(axes, gone, [layout.hidden], layout.opaque)


def without(layout: Layout, places: Sequence[int]) -> Layout:
    """A layout without some axes, whose reach becomes hidden."""
    axes = [axis for i, axis in enumerate(layout.axes) if i not in places]
    gone = [layout.axes[i] for i in places]
    return settled(axes, gone, [layout.hidden], layout.opaque)


def selected(layout: Layout, place: int, indices: Sequence[int]) -> Layout:
    """Some slices of one axis."""
    old = layout.axes[place]
    new = take(old, indices)
    if new is old:
        return layout
    return replaced(layout, {place: new})
