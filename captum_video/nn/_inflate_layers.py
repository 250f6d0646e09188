"""What each 2D layer becomes in three dimensions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from captum_video.nn.conv3t import Conv3T, FactorizedConv3d, FreeConv3T

Pads = tuple[int, int]  # before and after, along one axis

FACTORIZED: dict[str, type[FactorizedConv3d]] = {"3t": Conv3T, "3t-free": FreeConv3T}
PADDING_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "zeros": nn.ZeroPad3d,
    "replicate": nn.ReplicationPad3d,
    "reflect": nn.ReflectionPad3d,
    "circular": nn.CircularPad3d,
}


class NotInflatable(Exception):
    """A layer or a call without a counterpart; the text says why and what to do."""


@dataclass
class Order:
    """Where channels are, as far as the modules of a network show it."""

    #: whether maps leave a module, or enter one, other than as ``(N, C, H, W)``
    moved: bool = False
    #: the first call that depends on it, by the id of the module
    assuming: dict[int, str] = field(default_factory=dict)


@dataclass
class Options:
    """The arguments of :func:`captum_video.nn.inflate`, and the kernels made so far."""

    conv: str
    depth: int | None
    divide: bool
    temporal_padding: str
    temporal_stride: bool
    #: 3D kernels by the 2D kernel's id, so that tied weights stay tied (it is kept, for its id)
    kernels: dict[int, tuple[Tensor, Parameter]] = field(default_factory=dict)
    #: layers that replaced calls and must not be inflated again
    layers: list[nn.Module] = field(default_factory=list)
    #: where channels are
    order: Order = field(default_factory=Order)


def pair(value: Any) -> tuple[int, int]:
    """A size along height and width."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


def leading_axis(kernel: tuple[int, int]) -> int:
    """The spatial axis that time follows: that of the longer side, the height if they are equal."""
    return int(kernel[1] > kernel[0])


def padded(layer: nn.Module, name: str, *pads: nn.Module | None) -> nn.Module:
    """The layer, after those of the padding layers that are not None."""
    before = [pad for pad in pads if pad is not None]
    if not before:
        return layer
    named = [("pad" if len(before) == 1 else f"pad{i}", pad) for i, pad in enumerate(before)]
    return nn.Sequential(OrderedDict([*named, (name, layer)]))


def pad_time(mode: str, pads: Pads) -> nn.Module | None:
    """A layer that pads frames; None where there is nothing to pad."""
    return PADDING_LAYERS[mode]((0, 0, 0, 0, *pads)) if any(pads) else None


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
    before, after = scaled_pads(sides[axis], dilation[axis] * (kernel[axis] - 1), depth - 1)
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
    _transfer(layer, conv, depth, options)
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


def _transfer(layer: nn.Conv2d, conv: nn.Module, depth: int, options: Options) -> None:
    """Fills a layer made without memory."""
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


def _max_pool(layer: nn.MaxPool2d, options: Options) -> nn.Module:
    if layer.return_indices:
        raise NotInflatable("it returns indices, which mean other places in three dimensions")
    kernel, stride, padding = _window(layer, options)
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
    nn.Conv2d: inflate_conv,
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
