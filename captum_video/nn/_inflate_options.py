"""What the inflation of a network shares: its options, sizes and padding layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

Pads = tuple[int, int]  # before and after, along one axis

#: spatial and temporal kernels one after the other, as in paper 3
FUSED = ("fusion", "s", "st", "s+st")
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
    #: of the gates of fusion units
    gate_options: Mapping[str, Any] = field(default_factory=dict)
    #: of the convolutions that become fusion units or their paths, by id
    kinds: dict[int, str] = field(default_factory=dict)
    #: 3D kernels by the 2D kernel's id, so that tied weights stay tied (it is kept, for its id)
    kernels: dict[int, tuple[Tensor, Parameter]] = field(default_factory=dict)
    #: layers that replaced calls and must not be inflated again
    layers: list[nn.Module] = field(default_factory=list)
    #: where channels are
    order: Order = field(default_factory=Order)

    @property
    def fused(self) -> bool:
        """Whether kernels that see time keep every frame, whatever is padded in space."""
        return self.conv in FUSED


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
