"""What each 2D layer becomes in three dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from captum_video.nn._inflate_conv import inflate_conv, scaled_pads
from captum_video.nn._inflate_fusion import fuse_conv, is_spatial
from captum_video.nn._inflate_options import (
    NotInflatable,
    Options,
    Pads,
    leading_axis,
    pad_time,
    padded,
    pair,
)


def inflate_any_conv(layer: nn.Conv2d, options: Options) -> nn.Module:
    """The convolution in three dimensions, in one piece or behind its paths.

    Args:
        layer: the 2D convolution.
        options: see :func:`captum_video.nn.inflate`.

    Returns:
        What replaces it.
    """
    fused = options.fused and is_spatial(layer)
    return fuse_conv(layer, options) if fused else inflate_conv(layer, options)


def _max_pool(layer: nn.MaxPool2d, options: Options) -> nn.Module:
    if layer.return_indices:
        raise NotInflatable("it returns indices, which mean other places in three dimensions")
    kernel, stride, padding = _window(layer, options)
    if options.fused and kernel[0] % 2 and not layer.ceil_mode:
        # a convolution beside it keeps frames, though neither is padded in space
        padding = (kernel[0] // 2, *padding[1:])
    return nn.MaxPool3d(
        kernel, stride, padding, (1, *pair(layer.dilation)), ceil_mode=layer.ceil_mode
    )


def _avg_pool(layer: nn.AvgPool2d, options: Options) -> nn.Module:
    kernel, stride, padding = _window(layer, options)
    divisor = layer.divisor_override
    if divisor is not None:
        if layer.ceil_mode or padding[0]:
            raise NotInflatable(
                "its divisor_override does not fit windows that reach past the clip: "
                "use count_include_pad"
            )
        divisor *= kernel[0]
    time = None
    if options.temporal_padding == "replicate" and layer.count_include_pad:
        time, padding = pad_time("replicate", (padding[0], padding[0])), (0, *padding[1:])
    pool = nn.AvgPool3d(kernel, stride, padding, layer.ceil_mode, layer.count_include_pad, divisor)
    return padded(pool, "pool", time)


def _window(
    layer: nn.MaxPool2d | nn.AvgPool2d, options: Options
) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    """Kernel, stride and padding of a pool in three dimensions."""
    kernel, stride, padding = map(pair, (layer.kernel_size, layer.stride, layer.padding))
    axis = leading_axis(kernel)
    if stride[axis] > 1 and not options.temporal_stride:
        return (1, *kernel), (1, *stride), (0, *padding)
    dilation = pair(getattr(layer, "dilation", 1))[axis]
    # padding of a dilated pool covers gaps that time does not have
    frames = scaled_pads((padding[axis],) * 2, dilation * (kernel[axis] - 1), kernel[axis] - 1)
    return (kernel[axis], *kernel), (stride[axis], *stride), (frames[0], *padding)


def _adaptive(layer: nn.Module, options: Options) -> nn.Module:
    size = layer.output_size
    height, width = (size, size) if size is None or isinstance(size, int) else size  # type: ignore
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return nn.AdaptiveAvgPool3d((1, height, width))
    if layer.return_indices:
        raise NotInflatable("it returns indices, which mean other places in three dimensions")
    return nn.AdaptiveMaxPool3d((1, height, width))


def _upsample(layer: nn.Upsample, options: Options) -> nn.Module:
    if layer.scale_factor is None:
        raise NotInflatable("it is given a size, which says nothing of time: use scale_factor")
    modes = {"nearest": "nearest", "nearest-exact": "nearest-exact", "bilinear": "trilinear"}
    if layer.mode not in modes:
        raise NotInflatable(f"its mode {layer.mode!r} has no counterpart in three dimensions")
    scale = layer.scale_factor
    height, width = scale if isinstance(scale, tuple) else (scale, scale)
    factors = (height if options.temporal_stride else 1.0, height, width)
    return nn.Upsample(
        None, factors, modes[layer.mode], layer.align_corners, layer.recompute_scale_factor
    )


def _flatten(layer: nn.Flatten, options: Options) -> nn.Module:
    ends = {(s, -1): (s, -1) for s in (0, 1, 2)} | {(s, 3): (s, 4) for s in (0, 1, 2)}
    ends |= {(-3, -1): (-4, -1), (-2, -1): (-3, -1)}
    if (layer.start_dim, layer.end_dim) not in ends:
        raise NotInflatable(
            f"flattening from {layer.start_dim} to {layer.end_dim} takes height and width apart"
        )
    return nn.Flatten(*ends[layer.start_dim, layer.end_dim])


def _constant_pad(layer: nn.ConstantPad2d, options: Options) -> nn.Module:
    left, right, top, bottom = layer.padding
    frames = _layer_pads(layer, options)
    if options.temporal_padding == "zeros":
        return nn.ConstantPad3d((left, right, top, bottom, *frames), layer.value)
    space = nn.ConstantPad3d((left, right, top, bottom, 0, 0), layer.value)
    return padded(space, "space", pad_time("replicate", frames))


def _layer_pads(layer: Any, options: Options) -> Pads:
    """The frames that a padding layer adds: as many as it does along the axis where it adds more."""
    if options.fused:
        return 0, 0
    left, right, top, bottom = layer.padding
    frames = (left, right) if left + right > top + bottom else (top, bottom)
    if options.depth is not None and any(frames):
        raise NotInflatable(
            "how many frames to pad depends on the layer after it, unless every kernel is as deep "
            "as it is large: leave out depth"
        )
    return frames


def _same_mode(kind: Callable[..., nn.Module]) -> Callable[[Any, Options], nn.Module]:
    return lambda layer, options: kind((*layer.padding, *_layer_pads(layer, options)))


def _as(kind: type[nn.Module]) -> Callable[[nn.Module, Options], nn.Module]:
    """For layers that differ from their twin in the shape that they accept, and nothing else."""

    def convert(layer: nn.Module, options: Options) -> nn.Module:
        layer.__class__ = kind
        return layer

    return convert


def _refuse(reason: str) -> Callable[[nn.Module, Options], nn.Module]:
    def convert(layer: nn.Module, options: Options) -> nn.Module:
        raise NotInflatable(reason)

    return convert


def _along_axis(layer: Any, options: Options) -> nn.Module:
    if layer.dim in (2, 3, -3, -4):
        raise NotInflatable(f"its dim={layer.dim} is another axis of a clip than of an image")
    return layer


def _layer_norm(layer: nn.LayerNorm, options: Options) -> nn.Module:
    if len(layer.normalized_shape) > 1:
        raise NotInflatable(
            f"it normalises over a frame's size {tuple(layer.normalized_shape)}, "
            "and has no weights for the clip's"
        )
    return layer


_WITHOUT_TWIN: tuple[type[nn.Module], ...] = (
    nn.ConvTranspose2d,
    nn.FractionalMaxPool2d,
    nn.LPPool2d,
    nn.MaxUnpool2d,
    nn.CrossMapLRN2d,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Fold,
    nn.Unfold,
)
#: by exact type; what is not listed works on clips as it is, or has a forward of its own
LAYERS: dict[type[nn.Module], Callable[[Any, Options], nn.Module]] = {
    nn.Conv2d: inflate_any_conv,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.AdaptiveMaxPool2d: _adaptive,
    nn.BatchNorm2d: _as(nn.BatchNorm3d),
    nn.InstanceNorm2d: _as(nn.InstanceNorm3d),
    nn.Dropout2d: _as(nn.Dropout3d),
    nn.LayerNorm: _layer_norm,
    nn.Softmax2d: lambda layer, options: nn.Softmax(1),
    nn.Flatten: _flatten,
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    nn.UpsamplingBilinear2d: _upsample,
    nn.ConstantPad2d: _constant_pad,
    nn.ZeroPad2d: _constant_pad,
    nn.ReplicationPad2d: _same_mode(nn.ReplicationPad3d),
    nn.ReflectionPad2d: _same_mode(nn.ReflectionPad3d),
    nn.CircularPad2d: _same_mode(nn.CircularPad3d),
    nn.Unflatten: _along_axis,
    **dict.fromkeys(
        (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU, nn.CosineSimilarity), _along_axis
    ),
    **dict.fromkeys(_WITHOUT_TWIN, _refuse("it has no counterpart in three dimensions")),
}
