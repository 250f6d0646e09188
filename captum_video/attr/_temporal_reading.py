"""One layer's temporal parameters brought to a unit."""

from __future__ import annotations

import operator
import warnings
from typing import Any, Literal, cast

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
    shares: tuple[Tensor, Tensor] | tuple[()],
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
        shares: of the kernels' energy, for a fit: behind the chain, and behind equal slices.
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
        dilation[0] * strides[0], y_axis, *shares,
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


def check_needed(units: str, frame_size: Any, inputs: Any) -> None:
    """Refuses a unit without what it is computed from."""
    if units == "paper":
        try:
            sizes = [operator.index(size) for size in frame_size]
        except TypeError:
            sizes = []
        if len(sizes) != 2 or min(sizes) < 1:
            raise ValueError(
                "units='paper' needs frame_size, the height and width of a frame in pixels, got "
                f"{frame_size!r}"
            )
    elif frame_size is not None:
        raise ValueError(f"frame_size counts for units='paper' alone, got it with {units!r}")
    if units == "input" and inputs is None:
        raise ValueError(
            "units='input' needs inputs, clips of the usual size, to follow the layer's stride"
        )


def _listed(channels: list[int]) -> str:
    return ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
