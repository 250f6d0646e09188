"""How a layer's axes belong to the clip's, and its tensors brought into the clip's order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from captum_video.layers.coverage import Coverage
from captum_video.layers.layout import Extent, Reach
from captum_video.layers.question import Question


@dataclass(frozen=True)
class Arrangement:
    """The way from a layer's own layout to ``(N, C, [T',] ...)``.

    Attributes:
        cuts: for each axis of the layer the first slice and the number of slices that belong to the
            clip; what is left out are class tokens.
        factors: the sizes of the factors of these axes, outermost first.
        order: the factors in the order batch, channels, time, space.
        shape: the shape after that.
        has_time: whether axis 2 is time.
        space: the input axes that the axes after it stand for.
        source: the number of the input that they belong to.
        seen: the numbers of the inputs that the tensor descends from; None if that is not known.
        coverage: which frames each time slice covers; None if that is not known.
    """

    cuts: tuple[tuple[int, int], ...]
    factors: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]
    has_time: bool
    space: tuple[int, ...]
    source: int
    seen: frozenset[int] | None
    coverage: Coverage | None

    @property
    def slices(self) -> int:
        """The number of time slices."""
        return self.shape[2] if self.has_time else 1

    def arrange(self, tensor: Tensor) -> Tensor:
        """A tensor of the layer in the clip's order.

        Args:
            tensor: as the layer gives it.

        Returns:
            ``(N, C, [T',] ...)``.
        """
        for axis, (start, length) in enumerate(self.cuts):
            tensor = tensor.narrow(axis, start, length)
        if self.factors == self.shape and self.order == tuple(range(len(self.shape))):
            return tensor
        return tensor.reshape(self.factors).permute(self.order).reshape(self.shape)


def arrangement(question: Question) -> Arrangement:
    """How a layer's tensor is brought into the clip's order.

    Args:
        question: what is known.

    Returns:
        The arrangement.

    Raises:
        ValueError: if the layout cannot be known, or contradicts ``frames_per_clip``.
    """
    if question.transformed:
        return _transformed(question)
    result = _traced(question) or _by_rank(question)
    wanted = question.frames_per_clip
    if wanted is not None and result.has_time and result.slices != wanted:
        raise ValueError(
            f"frames_per_clip={wanted} contradicts the {result.slices} time slices of layer "
            f"{question.name!r} (shape {question.shape})"
        )
    return result


def _traced(question: Question) -> Arrangement | None:
    """From the layout that the trace followed; None if it does not tell enough."""
    layout = question.layout
    if layout is None or not layout.known:
        return None
    kept = [_without_tokens(axis) for axis in layout.axes]
    parts = [item for item in kept if item is not None]
    if len(parts) < len(kept):
        return None
    factors = [extent for _, part in parts for extent in part]
    numbers = {e.source[0] for e in factors if e.source is not None}
    source = min(numbers)
    seen = frozenset(numbers | {number for number, _ in layout.hidden})
    axes = question.axes[source]
    placed: list[tuple[int, Extent, int]] = []
    for number, (_, part) in enumerate(parts):
        for extent in part:
            role = extent.source[1] if extent.source is not None else -1
            known = role == 0 or role == axes.time or role in axes.space
            placed.append((number, extent, role if known else -1))
    roles: dict[int, list[int]] = {}
    for place, (_, _, role) in enumerate(placed):
        roles.setdefault(role, []).append(place)
    if any(len(places) > 1 for role, places in roles.items() if role != -1):
        return None
    if len({axis for axis, extent, role in placed if role == -1 and extent.size > 1}) > 1:
        return None  # more than the channels: an axis whose origin was lost on the way
    time = roles.get(axes.time, []) if axes.time is not None else []
    space = tuple(axis for axis in axes.space if axis in roles)
    batch = roles.get(0, [])
    rows = factors[batch[0]].size if batch else 1
    if rows != question.inputs[source][0]:
        return None
    channels = roles.get(-1, [])
    order = [*batch, *channels, *time, *(roles[axis][0] for axis in space)]
    shape = [rows, math.prod(factors[place].size for place in channels)]
    unfolded = question.count != rows
    if unfolded:
        shape[:1] = [question.count, question.frames_per_clip or 1]
    shape += [factors[place].size for place in order[len(batch) + len(channels) :]]
    cuts = tuple(cut for cut, _ in parts)
    sizes = tuple(extent.size for extent in factors)
    if unfolded:
        return _unfolded(question, cuts, sizes, order, shape, space)
    coverage = None
    if axes.time is not None:
        whole = layout.hidden.get((source, axes.time))
        coverage = _coverage(factors[time[0]] if time else whole, question.frames(source))
    return Arrangement(
        cuts, sizes, tuple(order), tuple(shape), bool(time), space, source, seen, coverage
    )


def _unfolded(
    question: Question,
    cuts: tuple[tuple[int, int], ...],
    sizes: tuple[int, ...],
    order: list[int],
    shape: list[int],
    space: tuple[int, ...],
) -> Arrangement:
    """For inputs that are frames already: the batch axis is (clips, frames)."""
    frames = question.frames_per_clip or 1
    place = order[0]
    sizes = (*sizes[:place], question.count, frames, *sizes[place + 1 :])
    moved = [n + (n > place) for n in order[1:]]
    channels = moved[: len(moved) - len(space)]
    count, _, width, *rest = shape
    return Arrangement(
        cuts,
        sizes,
        (place, *channels, place + 1, *moved[len(channels) :]),
        (count, width, frames, *rest),
        True,
        space,
        0,
        None,
        Coverage.uniform(frames, frames),
    )


def _without_tokens(
    axis: Sequence[Sequence[Extent]],
) -> tuple[tuple[int, int], list[Extent]] | None:
    """The one part of an axis that descends from the input, and where it lies."""
    lengths = [math.prod(extent.size for extent in part) for part in axis]
    real = [n for n, part in enumerate(axis) if any(extent.source for extent in part)]
    if len(axis) == 1:
        return (0, lengths[0]), list(axis[0])
    if len(real) != 1:
        return None
    return (sum(lengths[: real[0]]), lengths[real[0]]), list(axis[real[0]])


def _coverage(seen: Extent | Reach | None, length: int) -> Coverage | None:
    """The frames of each slice, if they are known."""
    if seen is None:
        return None
    first = seen.first if isinstance(seen, Extent) else (seen.first,)
    last = seen.last if isinstance(seen, Extent) else (seen.last,)
    if first is None or last is None or not all(map(math.isfinite, (*first, *last))):
        return None
    return Coverage(length, first, last, mixed=seen.mixed)


def _by_rank(question: Question) -> Arrangement:
    """By the number of axes alone, as long as nothing that is known of them speaks against it."""
    result = _assumed(question)
    _check_against_trace(question, result)
    return result


def _check_against_trace(question: Question, result: Arrangement) -> None:
    """Refuses an arrangement that contradicts what is known of single axes.

    Raises:
        ValueError: if an axis descends from another one than it is taken for.
    """
    if question.layout is None:
        return
    axes = question.axes[0]
    real = {0, *axes.space} | ({axes.time} if axes.time is not None else set())
    folded = len(result.factors) > len(question.shape)
    expected = [{0, axes.time} if folded else {0}, set()]
    expected += [{axes.time}] if result.has_time and not folded else []
    expected += [{axis} for axis in result.space]
    for found, allowed in zip(question.layout.axes, expected, strict=True):
        roles = {e.source[1] for part in found for e in part if e.source and e.size > 1}
        if not roles & real <= allowed:
            raise question.unknown()


def _assumed(question: Question) -> Arrangement:
    """Axes in the input's own order, or frames folded into the batch."""
    shape, given, axes = question.shape, question.inputs[0], question.axes[0]
    count = question.count
    standard = axes.time in (None, 2)
    if len(shape) == 2 and shape[0] == count:
        return _plain(question, shape, has_time=False, space=())
    if standard and len(shape) == len(given) and shape[0] == given[0] == count:
        has_time = axes.time is not None
        fits = not has_time or shape[2] <= given[2]
        if fits and _within(question, shape[3:] if has_time else shape[2:]):
            return _plain(question, shape, has_time=has_time, space=axes.space)
    if len(shape) == len(axes.space) + 2 and _within(question, shape[2:]):
        return _frames_as_batch(question)
    raise question.unknown()


def _within(question: Question, sizes: tuple[int, ...]) -> bool:
    """Whether these may be the sizes of space: layers do not enlarge frames."""
    limits = [question.inputs[0][axis] for axis in question.axes[0].space]
    return all(a <= b for a, b in zip(sizes, limits, strict=True))


def _frames_as_batch(question: Question) -> Arrangement:
    """``(N * T', C, ...)``: clips outermost, as a reshape of ``(N, T', ...)`` gives."""
    shape, count, axes = question.shape, question.count, question.axes[0]
    frames = question.frames_per_clip
    if frames is None:
        if shape[0] == count:
            return _plain(question, shape, has_time=False, space=axes.space)
        if count > 1:
            raise ValueError(
                f"layer {question.name!r} gives {shape[0]} maps for {count} clips (shape {shape}), "
                "and it cannot be known which belongs to which: give frames_per_clip if they are "
                "ordered clip by clip, or explain one clip at a time"
            )
        frames = shape[0]
    if shape[0] != count * frames:
        raise ValueError(
            f"layer {question.name!r} gives {shape[0]} maps (shape {shape}), which is not {count} "
            f"clips times frames_per_clip={frames}"
        )
    length = question.frames(0)
    coverage = Coverage.uniform(frames, frames) if frames == length else None
    full = (count, frames, *shape[1:])
    order = (0, 2, 1, *range(3, len(full)))
    return Arrangement(
        tuple((0, size) for size in shape),
        full,
        order,
        tuple(full[n] for n in order),
        True,
        axes.space,
        0,
        None,
        coverage,
    )


def _transformed(question: Question) -> Arrangement:
    """What the caller's transform gave, which must be in clip layout."""
    shape, given, axes = question.shape, question.inputs[0], question.axes[0]
    has_time = axes.time is not None or question.frames_per_clip is not None
    rank = 2 + has_time + len(axes.space)
    if len(shape) != rank or shape[0] != question.count:
        expected = "(N, C, T, H, W)" if rank == 5 else f"{rank} axes"
        raise ValueError(
            f"reshape_transform must return {expected} with N = {question.count} for an input of "
            f"shape {given}, got shape {shape}"
        )
    coverage = None
    if has_time and question.layout is not None and len(question.layout.axes[2]) == 1:
        part = question.layout.axes[2][0]
        if len(part) == 1 and part[0].source == (0, axes.time):
            coverage = _coverage(part[0], question.frames(0))
    result = _plain(question, shape, has_time=has_time, space=axes.space, coverage=coverage)
    if axes.time is not None or not has_time:
        _check_against_trace(question, result)
    return result


def _plain(
    question: Question,
    shape: tuple[int, ...],
    *,
    has_time: bool,
    space: tuple[int, ...],
    coverage: Coverage | None = None,
) -> Arrangement:
    """A tensor that is in the clip's order already."""
    return Arrangement(
        tuple((0, size) for size in shape),
        shape,
        tuple(range(len(shape))),
        shape,
        has_time,
        space,
        0,
        None,
        coverage,
    )
