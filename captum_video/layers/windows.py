"""Index arithmetic: what the slices cover after windows slid over an axis, or slices were picked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, prod

from captum_video.layers.layout import Axis, Extent, blank, single

Values = tuple[float, ...]


def extended(values: Values, before: int, after: int) -> Values:
    """Continues the two ends of a sequence linearly; a single value has no slope and is repeated."""
    if before <= 0 and after <= 0:
        return values
    head = _slope(values[:2])
    tail = _slope(values[-2:])
    return (
        *(values[0] - head * step for step in range(before, 0, -1)),
        *values,
        *(values[-1] + tail * step for step in range(1, after + 1)),
    )


def _slope(pair: Values) -> float:
    if len(pair) < 2 or not (isfinite(pair[0]) and isfinite(pair[1])):
        return 0.0
    return pair[1] - pair[0]


def ascending(values: Values) -> bool:
    """Whether no value is smaller than the one before."""
    return all(a <= b for a, b in pairwise(values))


def picked(extent: Extent, indices: Sequence[int]) -> Extent:
    """Slices by number; numbers beyond the ends continue linearly."""
    if extent.first is None or extent.last is None:
        return Extent(None, len(indices), mixed=extent.mixed)
    before = max(0, -min(indices, default=0))
    after = max(0, max(indices, default=0) - extent.size + 1)
    first = extended(extent.first, before, after)
    last = extended(extent.last, before, after)
    return Extent(
        extent.source,
        len(indices),
        tuple(first[before + index] for index in indices),
        tuple(last[before + index] for index in indices),
        extent.mixed,
    )


def spanned(extent: Extent, lows: Sequence[int], highs: Sequence[int]) -> Extent:
    """For each new slice the union of the old slices ``low`` to ``high``, both included."""
    if extent.first is None or extent.last is None:
        return Extent(None, len(lows))
    before = max(0, -min(lows, default=0))
    after = max(0, max(highs, default=0) - extent.size + 1)
    first = extended(extent.first, before, after)
    last = extended(extent.last, before, after)
    pairs = list(zip(lows, highs, strict=True))
    if ascending(first) and ascending(last):
        firsts = tuple(first[before + low] for low, _ in pairs)
        lasts = tuple(last[before + high] for _, high in pairs)
    else:
        firsts = tuple(min(first[before + low : before + high + 1]) for low, high in pairs)
        lasts = tuple(max(last[before + low : before + high + 1]) for low, high in pairs)
    return Extent(extent.source, len(lows), firsts, lasts, extent.mixed)


def slid(
    extent: Extent, size: int, kernel: int, stride: int = 1, left: int = 0, dilation: int = 1
) -> Extent:
    """A window of ``kernel`` taps, ``dilation`` apart, moved in steps of ``stride``.

    Args:
        extent: the axis before.
        size: how many windows there are.
        kernel: taps.
        stride: distance of two windows.
        left: padding before the first slice.
        dilation: distance of two taps.

    Returns:
        The axis after, ``size`` slices.
    """
    if extent.first is None or extent.last is None:
        return Extent(None, size)
    if (kernel, stride, left, size) == (1, 1, 0, extent.size):
        return extent
    width = dilation * (kernel - 1)
    right = (size - 1) * stride + width + 1 - left - extent.size
    first = extended(extent.first, left, right)
    last = extended(extent.last, left, right)
    if ascending(extent.first) and ascending(extent.last):
        firsts = first[: (size - 1) * stride + 1 : stride]
        lasts = last[width : width + (size - 1) * stride + 1 : stride]
    else:
        starts = range(0, size * stride, stride)
        firsts = tuple(min(first[s : s + width + 1 : dilation]) for s in starts)
        lasts = tuple(max(last[s : s + width + 1 : dilation]) for s in starts)
    return Extent(extent.source, size, firsts, lasts, extent.mixed)


def transposed(
    extent: Extent, size: int, kernel: int, stride: int = 1, left: int = 0, dilation: int = 1
) -> Extent:
    """A transposed convolution: slice ``i`` reaches the outputs ``i * stride - left + tap``.

    An output that no slice reaches (a kernel shorter than the stride) is placed between its
    neighbours.

    Args:
        extent: the axis before.
        size: slices after.
        kernel: taps.
        stride: of the convolution that this one transposes.
        left: padding of that convolution.
        dilation: distance of two taps.

    Returns:
        The axis after.
    """
    if extent.first is None:
        return Extent(None, size)
    lows, highs = [], []
    for out in range(size):
        taps = [out + left - dilation * tap for tap in range(kernel)]
        reached = [tap // stride for tap in taps if tap % stride == 0]
        if not reached:
            middle = (taps[0] + taps[-1]) / (2 * stride)
            reached = [floor(middle), ceil(middle)]
        lows.append(min(reached))
        highs.append(max(reached))
    return spanned(extent, lows, highs)


def adaptive(extent: Extent, size: int) -> Extent:
    """Adaptive pooling: windows as even as they come, overlapping where they do not divide."""
    lows = [floor(k * extent.size / size) for k in range(size)]
    highs = [ceil((k + 1) * extent.size / size) - 1 for k in range(size)]
    return spanned(extent, lows, highs)


def resized(
    extent: Extent, size: int, mode: str, corners: bool, scale: float, antialias: bool
) -> Extent:
    """``torch.nn.functional.interpolate`` along one axis.

    Args:
        extent: the axis before.
        size: slices after.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"area"``, ``"cubic"`` or ``"linear"``.
        corners: ``align_corners``.
        scale: slices before for each slice after.
        antialias: whether shrinking averages over more than the nearest slices.

    Returns:
        The axis after.
    """
    top = extent.size - 1
    if mode == "area":
        return adaptive(extent, size)
    if mode.startswith("nearest"):
        shift = 0.5 if mode == "nearest-exact" else 0.0
        nearest = [min(top, floor((k + shift) * scale)) for k in range(size)]
        return picked(extent, nearest)
    wide = 2 if mode == "cubic" else 1
    lows, highs = [], []
    for k in range(size):
        place = k * top / max(1, size - 1) if corners else (k + 0.5) * scale - 0.5
        margin = wide * (max(scale, 1.0) if antialias else 1.0)
        if not antialias and wide == 1:
            place = min(max(place, 0.0), top)
        # the weight falls to zero at the margin, so that slices exactly there do not count
        lows.append(min(top, max(0, floor(place - margin) + 1)))
        highs.append(max(0, min(top, ceil(place + margin) - 1)))
    return spanned(extent, lows, highs)


def along(axis: Axis, size: int, change: Callable[[Extent], Extent]) -> Axis:
    """Applies index arithmetic to an axis.

    Args:
        axis: the axis before.
        size: slices after.
        change: makes the extent after from the extent before.

    Returns:
        The axis after; blank when it has several factors that matter.
    """
    extent = alone(axis)
    return blank(size) if extent is None else single(change(extent))


def alone(axis: Axis) -> Extent | None:
    """An axis as one extent; None when several of its factors descend from an input's.

    Factors of one slice are left out. Repeated slices, as after nearest upsampling by
    ``repeat_interleave`` or ``pixel_shuffle``, are one extent that stands still.
    """
    if len(axis) != 1:
        return _padded(axis)
    part = axis[0]
    if len(part) == 1:
        return part[0]
    wide = [extent for extent in part if extent.size > 1]
    if not wide:
        return next((e for e in part if e.source is not None), part[0])
    if any(extent.source is not None for extent in wide[1:]):
        return None
    times = prod(extent.size for extent in wide[1:])
    return (
        wide[0]
        if times == 1
        else picked(wide[0], [k // times for k in range(wide[0].size * times)])
    )


def _padded(axis: Axis) -> Extent | None:
    """An axis of one sourced factor with constants before and after it, as if it were padded."""
    places = [i for i, part in enumerate(axis) if any(e.source is not None for e in part)]
    if len(places) != 1 or len(axis[places[0]]) != 1:
        return None
    if any(e.mixed and e.source is None for part in axis for e in part):
        return None
    extent = axis[places[0]][0]
    before = sum(e.size for part in axis[: places[0]] for e in part)
    after = sum(e.size for part in axis[places[0] + 1 :] for e in part)
    return picked(extent, range(-before, extent.size + after))
