"""Which axis of a tensor is which axis of the input, and which input indices each slice covers.

An axis is a concatenation of parts (a class token before the patches), a part is a product of
factors with the outermost first (clips times frames, folded into one batch axis), and a factor is
an :class:`Extent`. Nearly every axis is one part of one factor.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod

Source = tuple[int, int]
"""The number of an input and one of its axes."""


@dataclass(frozen=True, slots=True)
class Extent:
    """One factor of a tensor axis.

    Attributes:
        source: the input axis that it descends from, as ``(number of the input, axis)``; None if
            there is no single one (channels, constants).
        size: number of slices.
        first: for each slice the lowest input index that it covers, from the arithmetic of the
            operations: it may lie before the first index, in the padding. None without a source.
            A slice that holds no input yet has ``inf`` here and ``-inf`` in ``last``.
        last: for each slice the highest input index that it covers.
        mixed: whether something also brought in what lies beyond (attention, recurrence, a gate, a
            norm over the axis, an operation that is not known); ``first`` and ``last`` then say
            where a slice sits and not all that it has seen. Without a source: whether this is a
            part of a concatenation that is no constant (a class token after attention).
        whole: what this is a piece of, when a reshape split one factor in several; its slices then
            cover all that falls to them in ``whole``.
        step: distance in ``whole`` between two slices of the piece.
    """

    source: Source | None
    size: int
    first: tuple[float, ...] | None = None
    last: tuple[float, ...] | None = None
    mixed: bool = False
    whole: Extent | None = None
    step: int = 1

    @property
    def centres(self) -> tuple[float, ...] | None:
        """For each slice the middle of ``first`` and ``last``."""
        if self.first is None or self.last is None:
            return None
        return tuple((a + b) / 2 for a, b in zip(self.first, self.last, strict=True))


Part = tuple[Extent, ...]
Axis = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """What every entry of a tensor covers of an input axis that no axis of the tensor stands for."""

    first: float
    last: float
    mixed: bool

    def __or__(self, other: Reach) -> Reach:
        return Reach(
            min(self.first, other.first), max(self.last, other.last), self.mixed or other.mixed
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a tensor's axes.

    Attributes:
        axes: one for each axis of the tensor.
        hidden: for input axes that were averaged, selected or mixed away, what is left of them in
            every entry.
        opaque: whether an operation that is not known ran before, so that anything may have gone
            anywhere; every extent is then mixed.
    """

    axes: tuple[Axis, ...]
    hidden: Mapping[Source, Reach] = field(default_factory=dict)
    opaque: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(length(axis) for axis in self.axes)

    @property
    def known(self) -> bool:
        """Whether at least one axis descends from an input's."""
        return any(e.source for axis in self.axes for part in axis for e in part)

    def places(self, source: Source) -> list[tuple[int, int, int]]:
        """Where an input axis is found.

        Args:
            source: number of the input and axis of that input.

        Returns:
            ``(axis, part, factor)`` for each place in ``axes``, in order.
        """
        return [
            (i, j, k)
            for i, axis in enumerate(self.axes)
            for j, part in enumerate(axis)
            for k, extent in enumerate(part)
            if extent.source == source
        ]


@lru_cache(maxsize=4096)
def blank(size: int) -> Axis:
    """An axis that descends from no input axis."""
    return ((Extent(None, size),),)


def single(extent: Extent) -> Axis:
    """An axis of one factor."""
    return ((extent,),)


def length(axis: Axis) -> int:
    """The number of slices of an axis."""
    if len(axis) == 1 and len(axis[0]) == 1:
        return axis[0][0].size
    return sum(prod(extent.size for extent in part) for part in axis)


def extents(axes: Iterable[Axis]) -> list[Extent]:
    """All factors with a source."""
    return [e for axis in axes for part in axis for e in part if e.source is not None]


def mixed(extent: Extent) -> Extent:
    """The same place, but reached from beyond."""
    if extent.source is None or extent.mixed:
        return extent
    whole = None if extent.whole is None else mixed(extent.whole)
    return replace(extent, mixed=True, whole=whole)


def mixed_axis(axis: Axis) -> Axis:
    """An axis all of whose factors are mixed."""
    return tuple(tuple(mixed(extent) for extent in part) for part in axis)


def piece(whole: Extent, size: int, step: int) -> Extent:
    """The factor of ``whole`` whose index is ``(index of whole // step) % size``."""
    if size == whole.size:
        return whole
    if whole.source is None:
        return Extent(None, size)
    assert whole.first is not None
    assert whole.last is not None
    first, last = [float("inf")] * size, [float("-inf")] * size
    for index in range(whole.size):
        slot = index // step % size
        first[slot] = min(first[slot], whole.first[index])
        last[slot] = max(last[slot], whole.last[index])
    return Extent(whole.source, size, tuple(first), tuple(last), whole.mixed, whole, step)


def split(extent: Extent, outer: int) -> tuple[Extent, Extent]:
    """Splits a factor in an outer one of ``outer`` slices and an inner one."""
    whole, inner = extent.whole or extent, extent.size // outer
    return piece(whole, outer, extent.step * inner), piece(whole, inner, extent.step)


def fuse(factors: Sequence[Extent]) -> Part:
    """A product in its simplest form: pieces that fit are put together again."""
    done: list[Extent] = []
    for extent in factors:
        if extent.size == 1 and extent.source is None:
            continue
        done.append(extent)
        while len(done) > 1 and (both := _fused(done[-2], done[-1])) is not None:
            done[-2:] = [both]
    return tuple(done) or (Extent(None, 1),)


def _fused(outer: Extent, inner: Extent) -> Extent | None:
    """Two neighbouring factors as one, or None."""
    if outer.source is None and inner.source is None:
        return Extent(None, outer.size * inner.size)
    a, b = outer.whole, inner.whole
    if a is None or b is None or (a.source, a.size) != (b.source, b.size):
        return None
    if outer.step != inner.step * inner.size:
        return None
    whole = a if a is b or a == b else union(a, b)
    return piece(whole, outer.size * inner.size, inner.step)


def union(a: Extent, b: Extent) -> Extent:
    """Both of two extents of the same size and source."""
    if a is b or a == b:
        return a
    if a.first is None or a.last is None or b.first is None or b.last is None:
        return Extent(None, a.size)
    if a.whole is not None and b.whole is not None and same(a, b):
        return piece(union(a.whole, b.whole), a.size, a.step)
    return Extent(
        a.source,
        a.size,
        tuple(map(min, a.first, b.first)),
        tuple(map(max, a.last, b.last)),
        a.mixed or b.mixed,
    )


def same(a: Extent, b: Extent) -> bool:
    """Whether two extents are the same factor of the same input axis."""
    if (a.source, a.size, a.step) != (b.source, b.size, b.step):
        return False
    return (a.whole is None) == (b.whole is None) and (
        a.whole is None or b.whole is None or a.whole.size == b.whole.size
    )


def overlap(a: Extent, b: Extent) -> bool:
    """Whether two extents index the same input axis, other than as different pieces of it."""
    if a.source is None or a.source != b.source:
        return False
    if a.whole is None or b.whole is None or a.whole.size != b.whole.size:
        return True
    return a.step < b.step * b.size and b.step < a.step * a.size


def reach(extent: Extent) -> Reach:
    """What all slices of an extent with a source cover together."""
    assert extent.first is not None
    assert extent.last is not None
    whole = extent.whole or extent
    return Reach(min(extent.first), max(extent.last), whole.mixed or extent.mixed)


def reaches(axes: Iterable[Axis], shown: Container[Source | None] = ()) -> dict[Source, Reach]:
    """What all slices of some axes cover together, by input axis.

    Args:
        axes: of one tensor or several.
        shown: input axes to leave out.

    Returns:
        One entry for each other input axis.
    """
    found: dict[Source, Reach] = {}
    for axis in axes:
        gone = [e for part in axis for e in part if e.source is not None and e.source not in shown]
        if not gone:
            continue
        # what a class token beside them has seen is not known
        live = any(e.mixed and e.source is None for part in axis for e in part)
        for extent in gone:
            assert extent.source is not None
            mine = reach(extent)
            if live:
                mine = Reach(mine.first, mine.last, True)
            other = found.get(extent.source)
            found[extent.source] = mine if other is None else mine | other
    return found


def settled(
    axes: Sequence[Axis],
    old: Iterable[Axis],
    hidden: Iterable[Mapping[Source, Reach]],
    opaque: bool = False,
) -> Layout:
    """A layout of new axes.

    A piece whose siblings are gone is no piece any more: it covers what they covered together.

    Args:
        axes: the tensor's axes.
        old: axes that they were made of; what they show and the new ones do not becomes hidden.
        hidden: what was hidden before.
        opaque: whether a tensor among those before was opaque.

    Returns:
        The layout.
    """
    shown = extents(axes)
    if any(extent.whole is not None for extent in shown):
        axes = [_without_orphans(axis, shown) for axis in axes]
    if opaque:
        axes = [mixed_axis(axis) for axis in axes]
    sources = {extent.source for extent in shown}
    all_hidden = reaches(old, sources)
    for mapping in hidden:
        for source, mine in mapping.items():
            if source not in sources:
                other = all_hidden.get(source)
                all_hidden[source] = mine if other is None else mine | other
    return Layout(tuple(axes), all_hidden, opaque)


def _without_orphans(axis: Axis, shown: Sequence[Extent]) -> Axis:
    """An axis whose pieces stand alone if not all pieces of their whole are shown."""

    def settle(extent: Extent) -> Extent:
        whole = extent.whole
        if whole is None:
            return extent
        sizes = {
            other.step: other.size
            for other in shown
            if other.whole is not None and (other.source, other.whole.size) == key(extent, whole)
        }
        complete = prod(sizes.values()) == whole.size
        return extent if complete else replace(extent, whole=None, step=1)

    def key(extent: Extent, whole: Extent) -> tuple[Source | None, int]:
        return extent.source, whole.size

    return tuple(tuple(settle(extent) for extent in part) for part in axis)


def lost(shape: Sequence[int]) -> Layout:
    """The layout of a tensor of which nothing is known."""
    return Layout(tuple(blank(size) for size in shape), {}, True)
