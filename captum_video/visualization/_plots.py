"""What plots of temporal parameters share: inks, words for units, quiet axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

INK, QUIET, LINE = "#222222", "#666666", "#bbbbbb"
_UNITS = {"feature": "feature pixels", "input": "input pixels", "paper": "paper's pixels"}


def unit_name(units: str) -> str:
    """What a readout's translations are measured in, in words."""
    return _UNITS.get(units, units)


def symmetric_ticks(identity: float, reach: float) -> list[float]:
    """Round distances from the identity on either side, as ticks of an axis.

    Args:
        identity: the axis's middle.
        reach: how far the axis goes on either side.

    Returns:
        The ticks, the identity among them.
    """
    found = np.asarray(MaxNLocator(5, symmetric=True).tick_values(-reach, reach))
    return [identity + float(tick) for tick in found if abs(tick) <= reach * (1 + 1e-9)]


def centre_plane(axes: Axes, limit: float, y_axis: str) -> None:
    """An axes of translations about the origin, equal in both directions.

    Args:
        axes: what to set up.
        limit: how far it goes to either side.
        y_axis: whether larger values are ``"down"`` on the screen, or up.
    """
    axes.set_xlim(-limit, limit)
    axes.set_ylim(*((limit, -limit) if y_axis == "down" else (-limit, limit)))
    axes.set_aspect("equal")
    axes.set_xticks(symmetric_ticks(0, limit))
    axes.set_yticks(symmetric_ticks(0, limit))


def picture_frame(axes: Axes) -> None:
    """A thin grey frame around a picture, without ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color=LINE)


def quiet_frame(axes: Axes) -> None:
    """Small grey ticks, and lines to the left and below alone."""
    axes.tick_params(which="both", labelsize=7.5, length=2, colors=QUIET)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(linewidth=0.6, color=LINE)


def stretched(clip: Tensor, name: str) -> np.ndarray:
    """A clip of any values as pictures, dark to bright.

    Args:
        clip: ``(C, T, H, W)``.
        name: what messages call it.

    Returns:
        ``(T, H, W, C)`` from 0 to 1, where the outermost half percent of values at either end
        saturates; 0.5 for a clip of one value.

    Raises:
        ValueError: for another shape or values that are not finite.
    """
    values = clip.detach().cpu().double()
    if values.dim() != 4 or not values.numel():
        raise ValueError(f"{name} must be (C, T, H, W), got shape {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} holds values that are NaN or infinite; they must be finite")
    array = values.permute(1, 2, 3, 0).numpy()
    low, high = np.percentile(array, [0.5, 99.5])
    if high <= low:
        low, high = array.min(), array.max()
    return np.clip((array - low) / (high - low), 0, 1) if high > low else np.full_like(array, 0.5)
