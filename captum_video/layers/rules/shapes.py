"""Operations that move, split, merge or repeat axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum_video.layers.axes import Unreadable, joined, regroup, repeated, stretched
from captum_video.layers.call import Call, normal, replaced, selected, tensors, without
from captum_video.layers.combine import Operand, beside, combine
from captum_video.layers.layout import (
    Axis,
    Extent,
    Layout,
    blank,
    extents,
    fuse,
    length,
    single,
)


def reshape(call: Call) -> Layout:
    """``reshape``, ``view``, ``flatten``, ``unflatten`` and their like."""
    layout = call.main
    return layout if layout.shape == call.shape else call.made(regroup(layout.axes, call.shape))


def _ordered(layout: Layout, order: Sequence[int]) -> Layout:
    return Layout(tuple(layout.axes[i] for i in order), layout.hidden, layout.opaque)


def permute(call: Call) -> Layout:
    """``permute``."""
    rank = len(call.main.axes)
    return _ordered(call.main, [normal(axis, rank) for axis in call.numbers(1, "dims")])


def transpose(call: Call) -> Layout:
    """``transpose``, ``swapaxes``, ``swapdims``."""
    first = "dim0" if "dim0" in call.kwargs else "axis0"
    a, b = call.axis(1, first), call.axis(2, first.replace("0", "1"))
    order = list(range(len(call.main.axes)))
    order[a], order[b] = b, a
    return _ordered(call.main, order)


def swap_last(call: Call) -> Layout:
    """``t`` and ``mT``."""
    rank = len(call.main.axes)
    if rank < 2:
        return call.main
    return _ordered(call.main, [*range(rank - 2), rank - 1, rank - 2])


def reverse_axes(call: Call) -> Layout:
    """``T``."""
    return _ordered(call.main, range(len(call.main.axes))[::-1])


def movedim(call: Call) -> Layout:
    """``movedim`` and ``moveaxis``."""
    rank = len(call.main.axes)
    origins, targets = (
        [normal(axis, rank) for axis in (value if isinstance(value, (tuple, list)) else [value])]
        for value in (call.get(1, "source"), call.get(2, "destination"))
    )
    order = [axis for axis in range(rank) if axis not in origins]
    for target, origin in sorted(zip(targets, origins, strict=True)):
        order.insert(target, origin)
    return _ordered(call.main, order)


def squeeze(call: Call) -> Layout:
    """``squeeze``."""
    layout = call.main
    rank = len(layout.axes)
    given = call.get(1, "dim")
    if given is None:
        given = range(rank)
    places = [normal(a, rank) for a in ([given] if isinstance(given, int) else given)]
    return without(layout, [place for place in places if length(layout.axes[place]) == 1])


def unsqueeze(call: Call) -> Layout:
    """``unsqueeze``."""
    layout = call.main
    place = normal(call.get(1, "dim"), len(layout.axes) + 1)
    axes = (*layout.axes[:place], blank(1), *layout.axes[place:])
    return Layout(axes, layout.hidden, layout.opaque)


def expand(call: Call) -> Layout:
    """``expand``, ``expand_as``, ``broadcast_to``."""
    layout, shape = call.main, call.shape
    new = len(shape) - len(layout.axes)
    axes = [blank(size) for size in shape[:new]]
    for axis, size in zip(layout.axes, shape[new:], strict=True):
        axes.append(axis if length(axis) == size else stretched(axis, size))
    return call.made(axes)


def repeat(call: Call) -> Layout:
    """``repeat`` and ``tile``."""
    layout = call.main
    times = call.numbers(1, "repeats" if call.name == "repeat" else "dims")
    rank = max(len(times), len(layout.axes))
    times = [1] * (rank - len(times)) + times
    axes = [blank(1)] * (rank - len(layout.axes)) + list(layout.axes)
    return call.made([repeated(axis, count) for axis, count in zip(axes, times, strict=True)])


def repeat_interleave(call: Call) -> Layout:
    """``repeat_interleave`` by one number along one axis."""
    times, place = call.get(1, "repeats"), call.axis(2, "dim")
    axis = call.main.axes[place]
    if not isinstance(times, int) or len(axis) != 1:
        raise Unreadable
    return replaced(call.main, {place: (fuse([*axis[0], Extent(None, times)]),)})


def pieces(call: Call) -> list[Layout]:
    """``split``, ``chunk``, ``tensor_split`` and their like."""
    place = call.axis(2, "dim", 0)
    start, found = 0, []
    for tensor in tensors(call.result):
        end = start + tensor.shape[place]
        found.append(selected(call.main, place, range(start, end)))
        start = end
    return found


def unbind(call: Call) -> list[Layout]:
    """``unbind``: every slice by itself."""
    place = call.axis(1, "dim", 0)
    return [row(call.main, place, index) for index in range(length(call.main.axes[place]))]


def row(layout: Layout, place: int, index: int) -> Layout:
    """One slice of an axis, without the axis."""
    size = length(layout.axes[place])
    return without(selected(layout, place, [index % size]), [place])


def select(call: Call) -> Layout:
    """``select``."""
    return row(call.main, call.axis(1, "dim"), int(call.get(2, "index")))


def narrow(call: Call) -> Layout:
    """``narrow``."""
    place, start = call.axis(1, "dim"), int(call.get(2, "start"))
    start %= length(call.main.axes[place])
    return selected(call.main, place, range(start, start + int(call.get(3, "length"))))


def index_select(call: Call) -> Layout:
    """``index_select`` by a constant index."""
    index = call.get(2, "index")
    if call.layout(index) is not None:
        raise Unreadable
    return selected(call.main, call.axis(1, "dim"), index.flatten().tolist())


def flip(call: Call) -> Layout:
    """``flip``, ``fliplr``, ``flipud`` and reversed iteration."""
    layout = call.main
    named: dict[str, list[int]] = {"fliplr": [1], "flipud": [0], "reversed": [0]}
    places = named.get(call.name) or call.numbers(1, "dims")
    for place in places:
        axis = normal(place, len(layout.axes))
        layout = selected(layout, axis, range(length(layout.axes[axis]))[::-1])
    return layout


def roll(call: Call) -> Layout:
    """``roll`` along given axes."""
    layout = call.main
    shifts, places = (
        list(value) if isinstance(value, (tuple, list)) else [value]
        for value in (call.get(1, "shifts"), call.get(2, "dims"))
    )
    if places in ([None], []):
        raise Unreadable
    for shift, place in zip(shifts, places, strict=True):
        axis = normal(place, len(layout.axes))
        size = length(layout.axes[axis])
        if shift % size:
            layout = selected(layout, axis, [(i - shift) % size for i in range(size)])
    return layout


def cat(call: Call) -> Layout:
    """``cat``."""
    items = _items(call)
    shape = call.shape
    place = normal(call.get(1, "dim", call.kwargs.get("axis", 0)), len(shape))
    layouts = [call.layout(item) for item in items if item.dim() == len(shape)]
    sizes = [item.shape[place] for item in items if item.dim() == len(shape)]
    parts = [
        blank(size) if layout is None else layout.axes[place]
        for layout, size in zip(layouts, sizes, strict=True)
    ]
    along = joined(
        [
            part if layout is None or extents([part]) else single(Extent(None, size, mixed=True))
            for layout, part, size in zip(layouts, parts, sizes, strict=True)
            if size
        ]
    )
    if not extents([along]):
        along = blank(length(along))
    places = tuple(None if i == place else i for i in range(len(shape)))
    layout = _side_by_side(shape, layouts, places, place, along)
    if sizes == [1] * len(sizes) and all(part == blank(1) for part in parts):
        return beside(layout, place, layouts)
    return layout


def stack(call: Call) -> Layout:
    """``stack``."""
    items = _items(call)
    shape = call.shape
    place = normal(call.get(1, "dim", 0), len(shape))
    layouts = [call.layout(item) for item in items]
    places = tuple(None if i == place else i - (i > place) for i in range(len(shape)))
    layout = _side_by_side(shape, layouts, places, place, blank(len(items)))
    return beside(layout, place, layouts)


def _items(call: Call) -> list[Any]:
    items = call.get(0, "tensors")
    if not isinstance(items, (tuple, list)):
        raise Unreadable
    return list(items)


def _side_by_side(
    shape: Sequence[int],
    layouts: Sequence[Layout | None],
    places: tuple[int | None, ...],
    place: int,
    axis: Axis,
) -> Layout:
    """Tensors along axis ``place``; the other axes lie on top of each other."""
    operands = [Operand(layout, places) for layout in layouts if layout is not None]
    return combine(shape, operands, (place, axis))


def pixel_shuffle(call: Call) -> Layout:
    """``pixel_shuffle``: channels become rows and columns between the old ones."""
    layout, shape = call.main, call.shape
    factor = int(call.get(1, "upscale_factor"))
    rank = len(shape)
    changes: dict[int, Axis] = {rank - 3: blank(shape[rank - 3])}
    for place in (rank - 2, rank - 1):
        axis = layout.axes[place]
        if len(axis) != 1:
            raise Unreadable
        changes[place] = (fuse([*axis[0], Extent(None, factor)]),)
    return replaced(layout, changes)
