"""Reductions over axes, norms, and what else mixes the slices of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum_video.layers.axes import Unreadable, take
from captum_video.layers.call import Call, normal, replaced, tensors, without
from captum_video.layers.combine import elementwise
from captum_video.layers.layout import (
    Axis,
    Extent,
    Layout,
    Part,
    blank,
    fuse,
    length,
    mixed_axis,
)
from captum_video.layers.windows import spanned


def _covering(axis: Axis) -> Axis:
    """One slice that covers the whole axis."""
    if len(axis) > 1:
        return blank(1)
    part: Part = tuple(
        spanned(extent, [0], [extent.size - 1]) if extent.source else Extent(None, 1)
        for extent in axis[0]
    )
    return (fuse(part),)


def _given_axes(value: Any, rank: int) -> list[int]:
    if value is None or value in ((), []):
        return list(range(rank))
    return [normal(axis, rank) for axis in (value if isinstance(value, (tuple, list)) else [value])]


def _reduced(layout: Layout, places: Sequence[int], rank: int) -> Layout:
    """Some axes reduced; they stay, with one slice, if the result has as many axes as before."""
    if rank == len(layout.axes):
        return replaced(layout, {place: _covering(layout.axes[place]) for place in places})
    if rank == len(layout.axes) - len(places):
        return without(layout, places)
    raise Unreadable


def reduction(call: Call) -> Layout:
    """``mean``, ``sum``, ``amax``, ``std`` and their like: ``dim`` is the second argument."""
    layout = call.main
    places = call.get(1, "dim", call.kwargs.get("axis"))
    if isinstance(places, bool):  # std(unbiased)
        places = call.kwargs.get("dim")
    return _reduced(layout, _given_axes(places, len(layout.axes)), len(call.shape))


def norm(call: Call) -> Layout:
    """``norm``: ``dim`` is the third argument."""
    layout = call.main
    return _reduced(layout, _given_axes(call.get(2, "dim"), len(layout.axes)), len(call.shape))


def extremum(call: Call) -> Layout:
    """``max`` and ``min`` over an axis, or of two tensors."""
    if tensors(call.get(1, "other")):
        return elementwise(call.shape, call.layouts)
    return reduction(call)


def _mixing(layout: Layout, places: Sequence[int]) -> Layout:
    return replaced(layout, {place: mixed_axis(layout.axes[place]) for place in places})


def along_axis(call: Call) -> Layout:
    """``softmax``, ``cumsum``, ``sort`` and their like: every slice sees the axis ``dim``."""
    layout = call.main
    rank = len(layout.axes)
    value = call.get(1, "dim", -1)
    return _mixing(layout, _given_axes(value, rank) if rank else [])


def ordering(call: Call) -> Layout:
    """``sort`` and ``topk``: the axis is no longer what it was."""
    layout = call.main
    value = call.get(2 if call.name == "topk" else 1, "dim", -1)
    place = normal(value, len(layout.axes))
    return replaced(layout, {place: blank(call.shape[place])})


def normalize(call: Call) -> Layout:
    """``torch.nn.functional.normalize``."""
    return _mixing(call.main, _given_axes(call.get(2, "dim", 1), len(call.main.axes)))


def everywhere(call: Call) -> Layout:
    """Same shape, every slice sees all axes but the first."""
    return _mixing(call.main, range(1, len(call.main.axes)))


def layer_norm(call: Call) -> Layout:
    """``layer_norm`` and ``rms_norm``: the last axes are normalised together."""
    layout = call.main
    rank = len(layout.axes)
    return _mixing(layout, range(rank - len(call.get(1, "normalized_shape")), rank))


def instance_norm(call: Call) -> Layout:
    """``instance_norm``; with stored statistics it acts on every entry by itself."""
    if not call.get(5, "use_input_stats", True):
        return call.main
    return _mixing(call.main, range(2, len(call.main.axes)))


def batch_norm(call: Call) -> Layout:
    """``batch_norm``; in evaluation mode it acts on every entry by itself."""
    if not call.get(5, "training", False):
        return call.main
    return _mixing(call.main, [i for i in range(len(call.main.axes)) if i != 1])


def gated(call: Call) -> Layout:
    """``glu``: the first half of an axis times a function of the second."""
    layout, shape = call.main, call.shape
    place = normal(call.get(1, "dim", -1), len(shape))
    axis, half = layout.axes[place], length(layout.axes[place]) // 2
    first, second = (
        replaced(layout, {place: take(axis, range(start, start + half))}) for start in (0, half)
    )
    return elementwise(shape, [first, second])
