"""Several tensors in, one out: sums, products, contractions, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from captum_video.layers.axes import Unreadable, stretched
from captum_video.layers.layout import (
    Axis,
    Extent,
    Layout,
    Part,
    Reach,
    Source,
    blank,
    extents,
    length,
    mixed,
    overlap,
    same,
    settled,
    single,
    union,
)
from captum_video.layers.windows import alone


@dataclass(frozen=True)
class Operand:
    """One tensor of an operation.

    Attributes:
        layout: what is known of it.
        places: for each axis of the result which of the tensor's axes goes there, or None. Axes of
            the tensor that go nowhere are summed over.
    """

    layout: Layout
    places: tuple[int | None, ...]

    @property
    def spent(self) -> list[Axis]:
        """The axes that are summed over."""
        axes = self.layout.axes
        return [axes[i] for i in range(len(axes)) if i not in self.places]


def broadcast(layout: Layout, rank: int) -> Operand:
    """An operand whose axes are aligned to the right, as in elementwise operations."""
    own = len(layout.axes)
    return Operand(layout, tuple(i - rank + own if i >= rank - own else None for i in range(rank)))


def combine(
    shape: Sequence[int], operands: Sequence[Operand], given: tuple[int, Axis] | None = None
) -> Layout:
    """The layout of a tensor each entry of which is made of the matching entries of the operands.

    Where operands hold the same input axis, a slice covers the union of what theirs cover. Where an
    operand holds an input axis only elsewhere (averaged away, summed over, on another axis) every
    slice of the result depends on it: the axis stays what it is and its extents become mixed.

    Args:
        shape: the result's shape.
        operands: the tensors that descend from an input, at least one.
        given: an axis of the result that is known already, with its place.

    Returns:
        The result's layout.

    Raises:
        Unreadable: if an operand's axis fits neither the result nor broadcasting.
    """
    axes: list[Axis] = []
    for place, size in enumerate(shape):
        if given is not None and place == given[0]:
            axes.append(given[1])
            continue
        found: list[Axis] = []
        thin: list[Axis] = []
        for operand in operands:
            number = operand.places[place]
            if number is not None:
                axis = operand.layout.axes[number]
                (found if length(axis) == size else thin).append(axis)
        if any(length(axis) != 1 for axis in thin):
            raise Unreadable
        if found:
            merged = found[0]
            for axis in found[1:]:
                merged = both(merged, axis)
        elif thin:
            merged = stretched(thin[0], size)
        else:
            merged = blank(size)
        axes.append(merged)
    spread = _spread(axes, operands)
    if given is not None:
        spread[given[0]] = given[1]
    layouts = [operand.layout for operand in operands]
    return settled(
        spread,
        [axis for layout in layouts for axis in layout.axes],
        [layout.hidden for layout in layouts],
        any(layout.opaque for layout in layouts),
    )


def _spread(axes: list[Axis], operands: Sequence[Operand]) -> list[Axis]:
    """Marks as mixed what an operand also holds elsewhere than at the place itself."""
    if len(operands) == 1 and not operands[0].spent:
        return axes
    done = []
    for place, axis in enumerate(axes):
        if not extents([axis]):
            done.append(axis)
            continue
        away: list[Extent] = []
        sources: set[Source] = set()
        for operand in operands:
            layout, number = operand.layout, operand.places[place]
            sources.update(layout.hidden)
            thin = number is not None and length(layout.axes[number]) < length(axis)
            others = [a for i, a in enumerate(layout.axes) if i != number or thin]
            away.extend(extents(others))
        done.append(
            tuple(
                tuple(
                    mixed(e) if e.source in sources or any(overlap(e, a) for a in away) else e
                    for e in part
                )
                for part in axis
            )
        )
    return done


def both(a: Axis, b: Axis) -> Axis:
    """Two tensors' axes on top of each other."""
    if a is b or a == b:
        return a
    if not extents([b]):
        return a
    if not extents([a]):
        return b
    if [_size(part) for part in a] != [_size(part) for part in b]:
        return blank(length(a))
    return tuple(_both_parts(x, y) for x, y in zip(a, b, strict=True))


def _size(part: Part) -> int:
    return prod(extent.size for extent in part)


def _both_parts(a: Part, b: Part) -> Part:
    if not any(e.source for e in b) and not any(e.source for e in a):
        return b if any(e.mixed for e in b) else a
    if not any(e.source for e in b):
        return a
    if not any(e.source for e in a):
        return b
    if [e.size for e in a] == [e.size for e in b]:
        return tuple(_both_extents(x, y) for x, y in zip(a, b, strict=True))
    wide_a = [e for e in a if e.size > 1]
    wide_b = [e for e in b if e.size > 1]
    if [e.size for e in wide_a] != [e.size for e in wide_b]:
        x, y = alone((a,)), alone((b,))
        return (Extent(None, _size(a)) if x is None or y is None else _both_extents(x, y),)
    # factors of one slice lie under all slices of the others
    thin = {e.source for e in (*a, *b) if e.size == 1}
    wide = [_both_extents(x, y) for x, y in zip(wide_a, wide_b, strict=True)]
    return tuple(mixed(e) if e.source in thin else e for e in wide)


def _both_extents(a: Extent, b: Extent) -> Extent:
    """One factor out of two of the same size.

    Axes of two different inputs (the batch axes of two streams) are described by the first input's.
    """
    if a.source is None or b.source is None:
        return b if a.source is None else a
    if a.source == b.source:
        return union(a, b) if same(a, b) else mixed(a)
    if a.source[0] != b.source[0]:
        return a if a.source < b.source else b
    return Extent(None, a.size)


def elementwise(shape: Sequence[int], layouts: Sequence[Layout]) -> Layout:
    """Tensors broadcast against each other."""
    if len(layouts) == 1 and layouts[0].shape == tuple(shape):
        return layouts[0]
    if all(layout is layouts[0] for layout in layouts) and layouts[0].shape == tuple(shape):
        return layouts[0]
    return combine(shape, [broadcast(layout, len(shape)) for layout in layouts])


def beside(layout: Layout, place: int, items: Sequence[Layout | None]) -> Layout:
    """Recognises an input axis in tensors that were put side by side, as frames taken one by one.

    When the tensors differ in what they cover of exactly one input axis, the axis along which they
    lie is that input axis again.

    Args:
        layout: the result, whose axis ``place`` is blank.
        place: the axis along which the tensors lie, one slice each.
        items: one layout for each slice; None for constants.

    Returns:
        The layout with the axis filled in, where it is recognised.
    """
    found: list[tuple[Source, list[Reach | None]]] = []
    for source in layout.hidden:
        reached = [item.hidden.get(source) if item is not None else None for item in items]
        if len({r and (r.first, r.last) for r in reached}) > 1:
            found.append((source, reached))
    if len(found) != 1:
        return layout
    ((source, reached),) = found
    extent = Extent(
        source,
        len(items),
        tuple(inf if r is None else r.first for r in reached),
        tuple(-inf if r is None else r.last for r in reached),
        layout.opaque or any(r.mixed for r in reached if r is not None),
    )
    axes = list(layout.axes)
    axes[place] = single(extent)
    hidden = {key: value for key, value in layout.hidden.items() if key != source}
    return Layout(tuple(axes), hidden, layout.opaque)
