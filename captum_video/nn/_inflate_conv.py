"""What a 2D convolution becomes in one piece: 3T or an ordinary 3D convolution."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import Parameter

from captum_video.nn._inflate_options import (
    PADDING_LAYERS,
    Options,
    Pads,
    leading_axis,
    pad_time,
    padded,
    pair,
)
from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T

FACTORIZED: dict[str, type[FactorizedConv3d]] = {"3t": Conv3T, "3t-free": FreeConv3T}


def inflate_conv(layer: nn.Conv2d, options: Options) -> nn.Module:
    """The convolution in three dimensions, with the weights transferred.

    Args:
        layer: the 2D convolution; its first slice and its bias are handed over, not copied.
        options: see :func:`captum_video.nn.inflate`.

    Returns:
        A ``Conv3d``, ``Conv3T`` or ``FreeConv3T``, in a ``Sequential`` after a padding layer where
        its own padding cannot express what is wanted.
    """
    kernel, dilation = pair(layer.kernel_size), pair(layer.dilation)
    axis = leading_axis(kernel)
    depth = 1 if kernel == (1, 1) else options.depth or kernel[axis]
    stride = pair(layer.stride)[axis] if options.temporal_stride else 1
    mode = layer.padding_mode
    time_mode = options.temporal_padding if mode == "zeros" else mode
    # torch's own sums for "same"; last axis first, before and after
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    sides = ((top, bottom), (left, right))
    reach = dilation[axis] * (kernel[axis] - 1)
    before, after = (0, 0) if options.fused else scaled_pads(sides[axis], reach, depth - 1)
    space: nn.Module | None = None
    padding: tuple[int, int, int] | str
    if before == after and time_mode == mode and top == bottom and left == right:
        padding, time = (before, top, left), None
    else:
        time = pad_time(time_mode, (before, after))
        padding = (0, top, left)
        if top != bottom or left != right:
            padding = (0, 0, 0)
            space = PADDING_LAYERS[mode]((left, right, top, bottom, 0, 0))
    arguments: dict[str, Any] = {
        "kernel_size": (depth, *kernel),
        "stride": (stride, *pair(layer.stride)),
        "padding": padding,
        "dilation": (1, *dilation),
        "groups": layer.groups,
        "bias": layer.bias is not None,
        "padding_mode": mode,
        "device": "meta",
        "dtype": layer.weight.dtype,
    }
    kind = nn.Conv3d if depth == 1 else FACTORIZED.get(options.conv, nn.Conv3d)
    conv = kind(layer.in_channels, layer.out_channels, **arguments)
    transfer(layer, conv, depth, options)
    return padded(conv.train(layer.training), "conv", time, space)


def scaled_pads(spatial: Pads, reach: int, wanted: int) -> Pads:
    """Temporal padding in the proportion that the spatial one has to its kernel.

    Args:
        spatial: the spatial padding, before and after.
        reach: dilation times (kernel size - 1), which padding of a "same" convolution sums to.
        wanted: kernel depth - 1, of which the result is the same share.

    Returns:
        Frames before and after; their sum is rounded to the nearest, half down, and an odd frame goes
        to the end.
    """
    if reach in (0, wanted):
        return spatial
    total = -((-2 * sum(spatial) * wanted + reach) // (2 * reach))
    return total // 2, total - total // 2


def transfer(layer: nn.Conv2d, conv: nn.Module, depth: int, options: Options) -> None:
    """Fills a layer made without memory.

    Args:
        layer: the 2D convolution.
        conv: what it becomes, with as many channels and groups.
        depth: of its kernel.
        options: see :func:`captum_video.nn.inflate`; gets the kernel.
    """
    weight, trainable = layer.weight, layer.weight.requires_grad
    key = id(weight)
    if key not in options.kernels:
        kernel = weight.detach()
        if isinstance(conv, nn.Conv3d):
            kernel = kernel.unsqueeze(2).repeat(1, 1, depth, 1, 1)
        if options.divide:
            kernel = kernel / depth
        options.kernels[key] = weight, Parameter(kernel, requires_grad=trainable)
    _, kernel = options.kernels[key]
    if isinstance(conv, FactorizedConv3d):
        conv.to_empty(device=weight.device)
        conv.first_slice = kernel
        conv.reset_transforms()
        for parameter in conv._transforms():
            parameter.requires_grad_(trainable)
    else:
        conv.weight = kernel
    conv._parameters["bias"] = layer._parameters["bias"]  # None too
