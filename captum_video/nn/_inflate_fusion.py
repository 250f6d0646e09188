"""What a 2D convolution becomes under paper 3: S and ST before its own spatial kernel."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from captum_video._core.checks import check_choice
from captum_video._core.errors import close_matches
from captum_video.nn._inflate_conv import transfer
from captum_video.nn._inflate_options import (
    FUSED,
    PADDING_LAYERS,
    Options,
    leading_axis,
    padded,
    pair,
)
from captum_video.nn.fusion import GATES, ST, FusionUnit, S
from captum_video.nn.gates import FusionGates
from captum_video.nn.strategies import Strategy

GATE_OPTIONS = ("gates", "temperature", "drop_probability")
DEPTH = 3  # the paper's ST
KEPT = {"s": (S,), "st": (ST,), "s+st": (S, ST)}
PerLayer = Mapping[str, str] | Sequence[str]


def is_spatial(module: nn.Module) -> bool:
    """Whether it is a 2D convolution with a kernel larger than 1x1."""
    return isinstance(module, nn.Conv2d) and pair(module.kernel_size) != (1, 1)


def spatial_layers(model: nn.Module) -> dict[str, list[str]]:
    """The convolutions with kernels larger than 1x1.

    Args:
        model: the 2D network.

    Returns:
        By the first name of each, in the model's order, all of its names.
    """
    first: dict[int, str] = {}
    names: dict[str, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if is_spatial(module):
            names.setdefault(first.setdefault(id(module), name), []).append(name)
    return names


def layer_kinds(model: nn.Module, conv: str, per_layer: PerLayer | None) -> dict[str, str]:
    """What each of those convolutions becomes.

    Args:
        model: the 2D network.
        conv: the kind of those that ``per_layer`` does not name.
        per_layer: see :func:`captum_video.nn.inflate`.

    Returns:
        A kind by each convolution's first name.

    Raises:
        TypeError: ``per_layer`` is a :class:`captum_video.nn.Strategy`, a string, or neither a mapping
            nor a sequence.
        ValueError: an unknown layer or kind, as many kinds as there are no layers, or two kinds for
            a layer with two names.
    """
    layers = spatial_layers(model)
    kinds = dict.fromkeys(layers, conv)
    if per_layer is None:
        return kinds
    if isinstance(per_layer, Strategy):
        raise TypeError(
            "per_layer must be kinds of layers, got a Strategy, which is of truth values: "
            f"strategy.at_depth({len(layers)}) gives kinds for this model's {len(layers)} layers, "
            "and strategy.kinds() gives them by name"
        )
    if isinstance(per_layer, Mapping):
        given = _by_first_name(layers, per_layer)
    elif isinstance(per_layer, Sequence) and not isinstance(per_layer, str):
        if len(per_layer) != len(layers):
            raise ValueError(
                f"per_layer must have a kind for each of the model's {len(layers)} convolutions with "
                f"kernels larger than 1x1, got {len(per_layer)}: fusion_layers(model) names them"
            )
        given = dict(zip(layers, per_layer, strict=True))
    else:
        raise TypeError(
            f"per_layer must be a mapping or a sequence of kinds, got {type(per_layer).__name__}"
        )
    for name, kind in given.items():
        if kind == "none":
            raise ValueError(
                f"per_layer must not be 'none', got it for {name!r}: a layer where nothing is kept "
                "passes nothing on, which only dense or residual connections make up for; "
                "strategy.at_depth(count) has 's' in its place"
            )
        check_choice(f"per_layer[{name!r}]", kind, FUSED)
    return kinds | given


def _by_first_name(layers: Mapping[str, list[str]], given: Mapping[str, str]) -> dict[str, str]:
    """The kinds by each layer's first name."""
    first = {name: names[0] for names in layers.values() for name in names}
    kinds: dict[str, str] = {}
    for name, kind in given.items():
        known = _known(name, first)
        if known is None:
            raise ValueError(
                f"per_layer must name convolutions with kernels larger than 1x1, got {name!r}. "
                f"{close_matches(str(name), first)}"
            )
        if kinds.setdefault(first[known], kind) != kind:
            raise ValueError(
                f"per_layer must give a shared layer one kind, got {kind!r} for {name!r} and "
                f"{kinds[first[known]]!r} for another of its names ({', '.join(layers[first[known]])})"
            )
    return kinds


def _known(name: str, known: Mapping[str, str]) -> str | None:
    """The convolution of that name, or of that name in an inflated net, where padding is apart."""
    while name not in known and (name == "conv" or name.endswith(".conv")):
        name = name[: -len("conv")].rstrip(".")
    return name if name in known else None


def check_gate_options(options: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Refuses options that no unit has or could use.

    Args:
        options: see :func:`captum_video.nn.inflate`.
        kinds: of the layers.

    Raises:
        TypeError: no mapping.
        ValueError: an unknown option, an unknown kind of gates, or no layer with gates.
    """
    if not isinstance(options, Mapping):
        raise TypeError(f"gate_options must be a mapping, got {type(options).__name__}")
    for name in options:
        if name not in GATE_OPTIONS:
            matches = close_matches(str(name), GATE_OPTIONS)
            raise ValueError(f"gate_options has no option {name!r}. {matches}")
    if "gates" in options:
        check_choice("gate_options['gates']", options["gates"], tuple(GATES))
    if options and "fusion" not in kinds.values():
        raise ValueError("gate_options needs a layer with gates, conv='fusion', got none")


def fuse_conv(layer: nn.Conv2d, options: Options) -> nn.Module:
    """The convolution as a spatial one behind S, ST or both.

    Args:
        layer: the 2D convolution; its bias is handed over, not copied.
        options: see :func:`captum_video.nn.inflate`.

    Returns:
        A :class:`FusionUnit`, or a ``Sequential`` of ``temporal`` and ``spatial``; in a ``Sequential``
        after a padding layer where the sides are not padded alike.
    """
    kind, kernel = options.kinds[id(layer)], pair(layer.kernel_size)
    height, width = pair(layer.stride)
    time = (height, width)[leading_axis(kernel)] if options.temporal_stride else 1
    mode, weight = layer.padding_mode, layer.weight
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    space: nn.Module | None = None
    if top != bottom or left != right:
        # the paths see one place at a time and have no bias, so that padding may come before them
        space = PADDING_LAYERS[mode]((left, right, top, bottom, 0, 0))
    gates = options.gate_options.get("gates", "two") if kind == "fusion" else None
    unit = FusionUnit(
        layer.in_channels,
        layer.out_channels,
        kernel,
        depth=DEPTH if options.depth is None else options.depth,
        stride=(time, height, width),
        padding=(top, left) if space is None else (0, 0),
        dilation=pair(layer.dilation),
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=mode,
        temporal_padding=options.temporal_padding if mode == "zeros" else mode,
        gates=gates,
        device="meta",
        dtype=weight.dtype,
    )
    transfer(layer, unit.spatial, 1, options)
    if unit.gates is not None:  # on the meta device their values are lost
        given = {key: value for key, value in options.gate_options.items() if key != "gates"}
        wide = torch.promote_types(weight.dtype, torch.float32)
        unit.gates = FusionGates(unit.gates.units, device=weight.device, dtype=wide, **given)
        unit.gates.drop_logit.requires_grad_(weight.requires_grad)
    units = KEPT[kind] if unit.gates is None else unit.gates.units
    for name in units:
        paths = unit.paths_of(name)
        for path in paths:
            _pass_on(path, weight, 1 / (len(units) * len(paths)), options.divide)
    new: nn.Module = unit
    if kind in ("s", "st"):
        (temporal,) = unit.paths_of(*units)
        new = nn.Sequential(OrderedDict(temporal=temporal, spatial=unit.spatial))
    return padded(new.train(layer.training), "conv", space)


def _pass_on(path: nn.Conv3d, like: torch.Tensor, share: float, divide: bool) -> None:
    """Gives a path the weights with which it passes on a share of a still clip."""
    taps, inputs = path.kernel_size[0], path.in_channels // path.groups
    kernel = torch.eye(inputs, dtype=torch.float64) * share / (taps if divide else 1)
    kernel = kernel.repeat(path.groups, 1)[:, :, None, None, None].repeat(1, 1, taps, 1, 1)
    path.weight = Parameter(
        kernel.to(device=like.device, dtype=like.dtype), requires_grad=like.requires_grad
    )
