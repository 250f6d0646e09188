"""Windows over the last axes: convolutions, pools, padding, resizing. Any number of axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from captum_video.layers.axes import Unreadable, take
from captum_video.layers.call import Call, replaced
from captum_video.layers.combine import Operand, combine
from captum_video.layers.layout import Axis, Extent, Layout, blank, length
from captum_video.layers.windows import adaptive, along, resized, slid, transposed

Change = Callable[[Extent, int, int], Extent]


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """One number for each of ``rank`` axes, from one number or several."""
    if isinstance(value, int):
        return (value,) * rank
    numbers = tuple(int(number) for number in value)
    return numbers * rank if len(numbers) == 1 else numbers


def _rank(name: str) -> int:
    """The digit in ``conv3d`` or ``max_pool2d_with_indices``."""
    return int(name[name.index("d", name.index("pool") if "pool" in name else 4) - 1])


def _last_axes(call: Call, rank: int, change: Change, channels: bool = False) -> Layout:
    """Changes the last ``rank`` axes.

    Args:
        call: the call.
        rank: how many axes.
        change: makes the new extent from the old one, the number among the ``rank`` axes and the
            new size.
        channels: whether the axis before them is replaced, too.

    Returns:
        The layout of the result.
    """
    layout, shape = call.main, call.shape
    start = len(shape) - rank
    if len(layout.axes) != len(shape):
        raise Unreadable
    changes: dict[int, Axis] = {start - 1: blank(shape[start - 1])} if channels else {}
    for number in range(rank):
        place = start + number
        size = shape[place]
        changes[place] = along(layout.axes[place], size, partial(_changed, change, number, size))
    return replaced(layout, changes)


def _changed(change: Change, number: int, size: int, extent: Extent) -> Extent:
    return change(extent, number, size)


def convolution(call: Call) -> Layout:
    """``conv1d``, ``conv2d``, ``conv3d``."""
    weight = call.get(1, "weight")
    rank = weight.dim() - 2
    kernel = weight.shape[2:]
    stride = per_axis(call.get(3, "stride", 1), rank)
    dilation = per_axis(call.get(5, "dilation", 1), rank)
    padding = call.get(4, "padding", 0)
    if padding == "same":
        left = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    else:
        left = per_axis(0 if padding == "valid" else padding, rank)
    return _constant_weights(
        call,
        _last_axes(
            call,
            rank,
            lambda e, i, size: slid(e, size, kernel[i], stride[i], left[i], dilation[i]),
            channels=True,
        ),
    )


def transposed_convolution(call: Call) -> Layout:
    """``conv_transpose1d``, ``conv_transpose2d``, ``conv_transpose3d``."""
    weight = call.get(1, "weight")
    rank = weight.dim() - 2
    kernel = weight.shape[2:]
    stride = per_axis(call.get(3, "stride", 1), rank)
    left = per_axis(call.get(4, "padding", 0), rank)
    dilation = per_axis(call.get(7, "dilation", 1), rank)
    return _constant_weights(
        call,
        _last_axes(
            call,
            rank,
            lambda e, i, size: transposed(e, size, kernel[i], stride[i], left[i], dilation[i]),
            channels=True,
        ),
    )


def _constant_weights(call: Call, layout: Layout) -> Layout:
    """Refuses weights that descend from an input."""
    if len(call.tracked) != 1:
        raise Unreadable
    return layout


def pool(call: Call) -> Layout:
    """``max_pool*d``, ``avg_pool*d`` and ``lp_pool*d``, with or without indices."""
    rank = _rank(call.name)
    shift = 1 if call.name.startswith("lp") else 0
    kernel = per_axis(call.get(1 + shift, "kernel_size"), rank)
    stride = call.get(2 + shift, "stride")
    steps = kernel if stride is None or stride in ([], ()) else per_axis(stride, rank)
    padding = per_axis(0 if shift else call.get(3, "padding", 0), rank)
    dilation = (1,) * rank
    if call.name.startswith("max"):
        dilation = per_axis(call.get(4, "dilation", 1), rank)
    return _last_axes(
        call,
        rank,
        lambda e, i, size: slid(e, size, kernel[i], steps[i], padding[i], dilation[i]),
    )


def adaptive_pool(call: Call) -> Layout:
    """``adaptive_avg_pool*d`` and ``adaptive_max_pool*d``."""
    return _last_axes(call, _rank(call.name), lambda e, i, size: adaptive(e, size))


def interpolate(call: Call) -> Layout:
    """``torch.nn.functional.interpolate``."""
    layout, shape = call.main, call.shape
    rank = len(shape) - 2
    mode = str(call.get(3, "mode", "nearest"))
    kind = mode if mode.startswith("nearest") or mode == "area" else "linear"
    corners = bool(call.get(4, "align_corners"))
    factor = call.get(2, "scale_factor")
    sizes = layout.shape[2:]
    scales = [old / new for old, new in zip(sizes, shape[2:], strict=True)]
    if factor is not None and not call.get(5, "recompute_scale_factor"):
        given = factor if isinstance(factor, (tuple, list)) else [factor] * rank
        scales = [1 / float(value) for value in given]
    smooth = bool(call.get(6, "antialias", False))
    kind = "cubic" if mode == "bicubic" else kind
    return _last_axes(
        call, rank, lambda e, i, size: resized(e, size, kind, corners, scales[i], smooth)
    )


def pad(call: Call) -> Layout:
    """``torch.nn.functional.pad``."""
    layout = call.main
    amounts = [int(amount) for amount in call.get(1, "pad")]
    mode = call.get(2, "mode", "constant")
    changes = {}
    for number, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        place = len(layout.axes) - 1 - number
        if before or after:
            size = length(layout.axes[place])
            indices = [_inside(i, size, mode) for i in range(-before, size + after)]
            changes[place] = take(layout.axes[place], indices)
    return replaced(layout, changes)


def _inside(index: int, size: int, mode: str) -> int:
    """The slice that padding repeats; a number beyond the ends where it is a constant."""
    if mode == "replicate":
        return min(max(index, 0), size - 1)
    if mode == "circular":
        return index % size
    if mode == "reflect":
        index = abs(index)
        return 2 * (size - 1) - index if index >= size else index
    return index


def windows(call: Call) -> Layout:
    """``Tensor.unfold``: windows along one axis, their entries on a new last axis."""
    layout = call.main
    kernel, stride = call.get(2, "size"), call.get(3, "step")
    if not isinstance(kernel, int) or not isinstance(stride, int):
        raise Unreadable  # torch.nn.functional.unfold
    place = call.axis(1, "dimension")
    count = call.shape[place]
    axis = along(layout.axes[place], count, lambda e: slid(e, count, kernel, stride))
    changed = replaced(layout, {place: axis})
    return Layout((*changed.axes, blank(kernel)), changed.hidden, changed.opaque)


def difference(call: Call) -> Layout:
    """``diff``: every slice less the one before."""
    layout, shape = call.main, call.shape
    order, place = int(call.get(1, "n", 1)), call.axis(2, "dim", -1)
    if len(call.tracked) > 1 or shape[place] != layout.shape[place] - order:
        raise Unreadable
    size = shape[place]
    axis = along(layout.axes[place], size, lambda e: slid(e, size, order + 1))
    return replaced(layout, {place: axis})


def sampled(call: Call) -> Layout:
    """``grid_sample``: rows and columns come from anywhere; what they are is for the grid to say."""
    image, grid = call.layout(call.input), call.layout(call.get(1, "grid"))
    rank = len(call.shape)
    operands = []
    if image is not None:
        operands.append(Operand(image, (0, 1, *(None,) * (rank - 2))))
    if grid is not None:
        operands.append(Operand(grid, (0, None, *range(1, rank - 1))))
    return combine(call.shape, operands)
