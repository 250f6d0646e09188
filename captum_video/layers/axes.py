"""Axes taken apart and put together: slices, reshapes, concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from captum_video.layers.layout import (
    Axis,
    Extent,
    Part,
    blank,
    fuse,
    length,
    single,
    split,
)
from captum_video.layers.windows import picked


class Unreadable(Exception):
    """An operation in a form that the tracer does not follow: its result has no layout."""


def take(axis: Axis, indices: Sequence[int]) -> Axis:
    """Slices of an axis by number; numbers beyond the ends are padding.

    Args:
        axis: any axis.
        indices: which slices, in order.

    Returns:
        An axis of that many slices; blank where the slices make no product of factors.
    """
    size = length(axis)
    if len(indices) == size and all(i == index for i, index in enumerate(indices)):
        return axis
    if len(axis) > 1:
        return _take_from_parts(axis, indices)
    part = axis[0]
    wide = [i for i, extent in enumerate(part) if extent.size > 1]
    if len(wide) <= 1:
        place = wide[0] if wide else 0
        changed = picked(part[place], indices)
        return (fuse([*part[:place], changed, *part[place + 1 :]]),)
    if len(indices) == 1 and 0 <= indices[0] < size:
        return (_one(part, indices[0]),)
    if not indices or indices[0] < 0 or indices[-1] >= size:
        return _around(axis, indices)
    return _rows(part, indices)


def _one(part: Part, index: int) -> Part:
    """One slice of a product: one of each factor."""
    chosen = []
    for extent in reversed(part):
        index, here = divmod(index, extent.size)
        chosen.append(picked(extent, [here]))
    return fuse(chosen[::-1])


def _rows(part: Part, indices: Sequence[int]) -> Axis:
    """A run of slices of a product that is made of whole slices of its outermost factor."""
    place = next(i for i, extent in enumerate(part) if extent.size > 1)
    inner = prod(extent.size for extent in part[place + 1 :])
    start, count = indices[0], len(indices)
    if start % inner or count % inner or any(i - start != n for n, i in enumerate(indices)):
        return blank(count)
    outer = picked(part[place], range(start // inner, (start + count) // inner))
    return (fuse([*part[:place], outer, *part[place + 1 :]]),)


def _around(axis: Axis, indices: Sequence[int]) -> Axis:
    """An axis that cannot be continued, with padding before and after it."""
    size = length(axis)
    inside = [index for index in indices if 0 <= index < size]
    before = sum(index < 0 for index in indices)
    after = len(indices) - before - len(inside)
    if not inside or list(indices[before : before + len(inside)]) != inside:
        return blank(len(indices))
    parts = [blank(before)] if before else []
    parts.append(take(axis, inside))
    return joined([*parts, *([blank(after)] if after else [])])


def _take_from_parts(axis: Axis, indices: Sequence[int]) -> Axis:
    size = length(axis)
    if not indices or min(indices) < 0 or max(indices) >= size:
        return _around(axis, indices)
    found: list[Axis] = []
    start, position = 0, 0
    for part in axis:
        end = start + prod(extent.size for extent in part)
        mine = []
        while position < len(indices) and start <= indices[position] < end:
            mine.append(indices[position] - start)
            position += 1
        if mine:
            found.append(take((part,), mine))
        start = end
    return joined(found) if position == len(indices) else blank(len(indices))


def joined(axes: Sequence[Axis]) -> Axis:
    """Axes one after the other, in the simplest form.

    Neighbouring parts without a source become one, and so do segments of the same input axis. A
    single slice beside a product that holds the same input axis is a class token that was averaged
    over it, and no segment.
    """
    wide = {e.source for axis in axes for part in axis if len(part) > 1 for e in part} - {None}
    parts: list[Part] = []
    for axis in axes:
        for part in axis:
            if wide and all(e.size == 1 for e in part) and any(e.source in wide for e in part):
                part = (Extent(None, 1, mixed=True),)
            both = _merged(parts[-1], part) if parts else None
            if both is None:
                parts.append(part)
            else:
                parts[-1] = both
    return tuple(parts)


def _merged(before: Part, after: Part) -> Part | None:
    if len(before) != 1 or len(after) != 1:
        return None
    (a,), (b,) = before, after
    if a.source != b.source:
        return None
    if a.first is None or a.last is None or b.first is None or b.last is None:
        return (Extent(None, a.size + b.size, mixed=a.mixed or b.mixed),)
    return (
        Extent(a.source, a.size + b.size, a.first + b.first, a.last + b.last, a.mixed or b.mixed),
    )


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """The axes after a reshape.

    Args:
        axes: the axes before, with as many entries as ``shape``.
        shape: the shape after.

    Returns:
        Its axes. Where old and new axes do not nest they are blank.

    Raises:
        Unreadable: for tensors without entries.
    """
    if 0 in shape:
        raise Unreadable
    waiting: list[Extent | Axis] = []
    for axis in axes:
        waiting.extend(axis[0] if len(axis) == 1 else [axis])
    waiting.reverse()
    done: list[Axis] = []
    while len(done) < len(shape):
        done.extend(_next_axes(waiting, shape[len(done) :]))
    # what is left has one slice each
    rest = [item for item in reversed(waiting) if isinstance(item, Extent) and item.source]
    if rest and done and len(done[-1]) == 1:
        done[-1] = (fuse([*done[-1][0], *rest]),)
    return tuple(done)


def _next_axes(waiting: list[Extent | Axis], shape: Sequence[int]) -> list[Axis]:
    """The next axis of a reshape, or several blank ones; removes what it uses from the stack."""
    need = shape[0]
    if need == 1:
        head = waiting[-1] if waiting else None
        if not isinstance(head, Extent) or head.size > 1:
            return [blank(1)]
        waiting.pop()
        return [single(head)]
    used: list[Extent] = []
    while need > 1:
        item = waiting.pop()
        if not isinstance(item, Extent):
            if length(item) == need == shape[0]:
                return [item]
            return _tangled(waiting, shape, shape[0] // need * length(item))
        if item.size > 1 and need % item.size and item.size % need:
            return _tangled(waiting, shape, shape[0] // need * item.size)
        if item.size > need:
            outer, inner = split(item, need)
            waiting.append(inner)
            item = outer
        used.append(item)
        need //= item.size
    return [(fuse(used),)]


def _tangled(waiting: list[Extent | Axis], shape: Sequence[int], used: int) -> list[Axis]:
    """Blank axes until old and new entries are at the same place again."""
    given, made = shape[0], 1
    while used != given:
        if used < given:
            item = waiting.pop()
            used *= item.size if isinstance(item, Extent) else length(item)
        else:
            given *= shape[made]
            made += 1
    return [blank(size) for size in shape[:made]]


def repeated(axis: Axis, times: int) -> Axis:
    """An axis ``times`` over, as ``Tensor.repeat`` does."""
    if times == 1:
        return axis
    if len(axis) > 1:
        return joined([axis] * times)
    return (fuse([Extent(None, times), *axis[0]]),)


def stretched(axis: Axis, size: int) -> Axis:
    """An axis of one slice, broadcast to ``size`` slices that all cover the same."""
    extent = axis[0][0] if len(axis) == 1 and len(axis[0]) == 1 else None
    if extent is None or extent.source is None:
        return blank(size)
    return single(picked(extent, [0] * size))
