"""``x[index]`` and ``x[index] = value``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from captum_video.layers.axes import Unreadable, take
from captum_video.layers.call import Call, selected, without
from captum_video.layers.combine import both, broadcast, combine
from captum_video.layers.layout import (
    Axis,
    Extent,
    Layout,
    Source,
    blank,
    extents,
    mixed_axis,
    overlap,
    settled,
    single,
)


@dataclass(frozen=True)
class Place:
    """What one axis of the result of an index is.

    Attributes:
        axis: the axis that was indexed; None for a new one.
        indices: the chosen slices; None for all.
        keeps: whether the axis stays, which a plain number does not let it.
    """

    axis: int | None
    indices: Sequence[int] | None = None
    keeps: bool = True


def places(index: Any, shape: Sequence[int]) -> list[Place]:
    """An index taken apart.

    Args:
        index: what stands in the brackets: numbers, slices, ``None``, ``...``, and at most one
            list or tensor of numbers or flags.
        shape: of the indexed tensor.

    Returns:
        One entry for each axis of the tensor, and for each new one, in order.

    Raises:
        Unreadable: for any other index.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    fill: list[Any] = [slice(None)] * (len(shape) - used)
    if dots:
        items[dots[0] : dots[0] + 1] = fill
    else:
        items += fill
    found: list[Place] = []
    axis = lists = 0
    for item in items:
        if item is None:
            found.append(Place(None))
            continue
        if axis >= len(shape):
            raise Unreadable
        place = _place(item, axis, shape[axis])
        lists += not isinstance(item, (int, slice)) and place.keeps
        found.append(place)
        axis += 1
    if lists > 1 or axis != len(shape):
        raise Unreadable
    return found


def _place(item: Any, axis: int, size: int) -> Place:
    if isinstance(item, slice):
        bounds = [_number(bound) for bound in (item.start, item.stop, item.step)]
        chosen = range(*slice(*bounds).indices(size))
        return Place(axis, None if chosen == range(size) else chosen)
    if isinstance(item, Tensor) and item.dim() == 1 and item.dtype == torch.bool:
        return Place(axis, [i for i, flag in enumerate(item.tolist()) if flag])
    if isinstance(item, Tensor) and item.dtype != torch.bool:
        item = item.tolist()
    if isinstance(item, (list, range)) and all(type(number) is int for number in item):
        return Place(axis, [number % size for number in item])
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise Unreadable
    return Place(axis, [item.__index__() % size], keeps=False)


def _number(bound: Any) -> int | None:
    return None if bound is None else int(bound)


def chosen(layout: Layout, found: Sequence[Place]) -> Layout:
    """The layout of the indexed tensor."""
    for place in found:
        if place.axis is not None and place.indices is not None:
            layout = selected(layout, place.axis, place.indices)
    layout = without(layout, [p.axis for p in found if p.axis is not None and not p.keeps])
    axes = list(layout.axes)
    for number, place in enumerate(p for p in found if p.keeps):
        if place.axis is None:
            axes.insert(number, blank(1))
    return Layout(tuple(axes), layout.hidden, layout.opaque)


def getitem(call: Call) -> Layout:
    """``x[index]`` with a constant index."""
    if len(call.tracked) != 1:
        raise Unreadable
    return chosen(call.main, places(call.args[1], call.main.shape))


def setitem(call: Call) -> Layout:
    """``x[index] = value``: the layout of ``x`` afterwards."""
    target, index, value = call.args
    old, new = call.layout(target), call.layout(value)
    if len(call.tracked) != (old is not None) + (new is not None and target is not value):
        raise Unreadable
    return written(tuple(target.shape), old, places(index, target.shape), new)


def written(
    shape: Sequence[int], old: Layout | None, found: Sequence[Place], new: Layout | None
) -> Layout:
    """The layout of a tensor after some of its entries were overwritten.

    Args:
        shape: the tensor's.
        old: its layout before; None if it was a constant.
        found: which entries.
        new: the layout of the value, None for a constant.

    Returns:
        Slices that were written cover what the value covers, and what they covered before, as some
        of their entries may be left.

    Raises:
        Unreadable: if nothing of this descends from an input.
    """
    if new is None:
        if old is None:
            raise Unreadable
        return old
    whole = all(place.indices is None for place in found)
    region = [_count(place, shape) for place in found if place.keeps]
    value = combine(region, [broadcast(new, len(region))])
    axes: list[Axis] = []
    away: list[list[Extent]] = []
    number = 0
    for place in found:
        axis = value.axes[number] if place.keeps else None
        if place.axis is not None:
            others = [a for i, a in enumerate(value.axes) if i != number or axis is None]
            away.append(extents(others))
        number += place.keeps
        if place.axis is not None:
            before = None if old is None or whole else old.axes[place.axis]
            if axis is None and before is not None:
                axis, value = _shown(before, value)
            axes.append(_written_axis(shape[place.axis], before, place, axis))
    layouts = [value] if old is None or whole else [old, value]
    hidden = {source for layout in layouts for source in layout.hidden}
    axes = [_crossed(axis, hidden, others) for axis, others in zip(axes, away, strict=True)]
    return settled(
        axes,
        [axis for layout in layouts for axis in layout.axes],
        [layout.hidden for layout in layouts],
        any(layout.opaque for layout in layouts),
    )


def _shown(before: Axis, value: Layout) -> tuple[Axis | None, Layout]:
    """What a single slice holds of the axis that it is written to, and its layout without that."""
    extent = before[0][0] if len(before) == 1 and len(before[0]) == 1 else None
    if extent is None or extent.source is None or extent.source not in value.hidden:
        return None, value
    mine = value.hidden[extent.source]
    hidden = {key: reach for key, reach in value.hidden.items() if key != extent.source}
    slice_ = Extent(extent.source, 1, (mine.first,), (mine.last,), mine.mixed)
    return single(slice_), Layout(value.axes, hidden, value.opaque)


def _crossed(axis: Axis, hidden: set[Source], away: Sequence[Extent]) -> Axis:
    """Mixed if a tensor holds the input axis in every entry, or the value on another axis."""
    shown = extents([axis])
    crossed = any(e.source in hidden or any(overlap(e, other) for other in away) for e in shown)
    return mixed_axis(axis) if crossed else axis


def _count(place: Place, shape: Sequence[int]) -> int:
    if place.axis is None:
        return 1
    return shape[place.axis] if place.indices is None else len(place.indices)


def _written_axis(size: int, before: Axis | None, place: Place, value: Axis | None) -> Axis:
    """One axis after the write."""
    if place.indices is None:
        assert value is not None
        return value if before is None else both(before, value)
    if value is None:
        return blank(size) if before is None else before
    if before is not None and take(before, place.indices) == value:
        return before
    extent = value[0][0] if len(value) == 1 and len(value[0]) == 1 else None
    if extent is None or extent.first is None or extent.last is None:
        if before is None:
            return blank(size)
        known = {e.source for e in extents([before])}
        strange = any(e.source not in known for e in extents([value]))
        return blank(size) if strange else mixed_axis(before) if extents([value]) else before
    first, last = [inf] * size, [-inf] * size
    for index, low, high in zip(place.indices, extent.first, extent.last, strict=True):
        first[index], last[index] = min(first[index], low), max(last[index], high)
    placed = single(Extent(extent.source, size, tuple(first), tuple(last), extent.mixed))
    return placed if before is None else both(before, placed)
