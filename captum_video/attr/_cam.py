"""The arithmetic of Grad-CAM: weights from gradients, maps from weights, maps at clip size."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.layers import Coverage, time_weights

TemporalPooling = Literal["clip", "frame"]
InterpolateMode = Literal["linear", "nearest", "bicubic"]
#: names of one mode at each number of spatial axes, by F.interpolate's own names
_MODES = {
    "linear": {1: "linear", 2: "bilinear", 3: "trilinear"},
    "nearest": {1: "nearest", 2: "nearest", 3: "nearest"},
    "bicubic": {2: "bicubic"},
}


def class_activation_map(
    activation: Tensor,
    gradient: Tensor,
    *,
    pooling: TemporalPooling,
    has_time: bool,
    summed: bool = True,
    positive: bool = False,
) -> Tensor:
    r"""Channels weighted by their pooled gradients.

    With activations :math:`A_{ct\mathbf{x}}` and the gradient :math:`G = \partial y / \partial A`,

    .. math:: L_{t\mathbf{x}} = \sum_c w_{c} A_{ct\mathbf{x}}, \qquad
              w_c = \frac{1}{|T||X|} \sum_{t,\mathbf{x}} G_{ct\mathbf{x}}

    for ``pooling="clip"``, and with a weight :math:`w_{ct}` of each time slice, averaged over space
    alone, for ``"frame"``.

    Args:
        activation: ``(N, C, [T,] ...)``.
        gradient: like ``activation``.
        pooling: over what the gradient is averaged.
        has_time: whether axis 2 is time.
        summed: whether channels are summed.
        positive: whether negative values are set to 0.

    Returns:
        ``(N, 1, [T,] ...)``, or with all channels if they are not summed.
    """
    first = 3 if pooling == "frame" and has_time else 2
    axes = tuple(range(first, gradient.dim()))
    weights = gradient.mean(axes, keepdim=True) if axes else gradient
    result = weights * activation
    if summed:
        result = result.sum(1, keepdim=True)
    return F.relu(result) if positive else result


def upsample(
    maps: Tensor,
    coverage: Coverage,
    size: tuple[int, ...],
    mode: InterpolateMode,
) -> Tensor:
    """Maps at the clip's size: in time by what each slice saw, in space by interpolation.

    Args:
        maps: ``(N, C, T', ...)``.
        coverage: where the slices are in time.
        size: the clip's size along the axes after time.
        mode: ``"linear"`` (bilinear for frames), ``"nearest"``, or ``"bicubic"`` (linear in time).

    Returns:
        ``(N, C, T, *size)``.
    """
    weights = time_weights(coverage.centres, coverage.length)
    if mode == "nearest":
        # the nearest slice has the larger of the two weights, the earlier one if they tie
        weights = F.one_hot(weights.argmax(1), weights.shape[1])
    timed = torch.einsum("ts,ncs...->nct...", weights.to(maps), maps)
    if not size:
        return timed
    count, length = timed.shape[0], timed.shape[2]
    frames = timed.transpose(1, 2).flatten(0, 1)
    exact = {"align_corners": False} if mode != "nearest" else {}
    frames = F.interpolate(frames, size=size, mode=_MODES[mode][len(size)], **exact)
    return frames.unflatten(0, (count, length)).transpose(1, 2).contiguous()


def check_mode(mode: str, spatial_axes: int) -> InterpolateMode:
    """The interpolation that is meant; ``"bilinear"`` and ``"trilinear"`` are ``"linear"``.

    Args:
        mode: as the caller named it.
        spatial_axes: how many axes there are beside time.

    Returns:
        The mode.

    Raises:
        ValueError: if there is no such mode for so many axes.
    """
    named = "linear" if mode in ("bilinear", "trilinear") else mode
    if named not in _MODES or (spatial_axes and spatial_axes not in _MODES[named]):
        raise ValueError(
            f"interpolate_mode must be 'linear', 'nearest', or for frames 'bicubic', got {mode!r} "
            f"for {spatial_axes} spatial axes"
        )
    return named  # type: ignore[return-value]
