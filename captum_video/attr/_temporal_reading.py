"""One layer's temporal parameters brought to a unit."""

from __future__ import annotations

import warnings
from typing import Literal, cast

from torch import Tensor
from torch.nn import Module

from captum_video.attr._temporal_readout import Describes, LayerReadout, Units
from captum_video.nn.motion import (
    SMALLEST_SCALE,
    Parameters,
    stepwise_and_composed,
    summed_as_in_paper,
)

Triple = tuple[int, int, int]


def read_layer(
    name: str,
    layer: Module,
    parameters: Parameters,
    explained: Tensor | None,
    units: Units,
    describes: Describes,
    strides: tuple[float, float, float],
    frame_size: tuple[int, int] | None,
) -> LayerReadout:
    """What a layer's parameters say.

    Args:
        name: the layer's.
        layer: has ``kernel_size`` and ``dilation``.
        parameters: of all steps and channels.
        explained: the share of the kernels' energy behind them, for a fit.
        units: of translations.
        describes: motion, or the parameters themselves.
        strides: of the layer's input, in frames, rows and columns of the model's input.
        frame_size: height and width, for the paper's units.

    Returns:
        The readout.
    """
    kernel = cast(Triple, layer.kernel_size)
    dilation = cast(Triple, layer.dilation)
    inverse = describes == "motion"
    y_axis: Literal["down", "up"] = "down"
    if units == "paper":
        assert frame_size is not None
        half = frame_size[1] / 2, frame_size[0] / 2
        step, cumulative = summed_as_in_paper(parameters, half, inverse=inverse)
        y_axis = "up" if inverse else "down"
    else:
        across, down = ((kernel[axis] - 1) / 2 * dilation[axis] * strides[axis] for axis in (2, 1))
        step, cumulative = stepwise_and_composed(parameters, (across, down), inverse=inverse)
    return LayerReadout(
        name, kernel, units, describes, step, cumulative,
        dilation[0] * strides[0], y_axis, explained,
    )  # fmt: skip


def check_finite(name: str, parameters: Parameters) -> None:
    """Refuses parameters that are not numbers.

    Raises:
        ValueError: naming the layer, the parameter and the channels.
    """
    for kind, values in vars(parameters).items():
        bad = (~values.isfinite()).any(0).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"{kind} of layer {name!r} is NaN or infinite in channel(s) {_listed(bad)}, so it "
                "cannot be read"
            )


def warn_of_degenerate(name: str, parameters: Parameters) -> None:
    """Warns of scales that no motion belongs to."""
    bad = parameters.degenerate.any(0).nonzero().flatten().tolist()
    if bad:
        warnings.warn(
            f"scale of layer {name!r} is nearer to 0 than {SMALLEST_SCALE} in channel(s) "
            f"{_listed(bad)}: a slice is then one value everywhere, and its motion reads as NaN",
            stacklevel=3,
        )


def _listed(channels: list[int]) -> str:
    return ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
