"""What signed relevance looks like: red for positive, blue for negative, white for none."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap
from torch import Tensor

SIGNED = LinearSegmentedColormap.from_list(
    "captum_video_signed",
    ["#08306b", "#1f5fb4", "#7fb2e5", "#ffffff", "#f4947f", "#d0211c", "#67000d"],
)


def clip_map(relevance: Tensor | np.ndarray, name: str = "relevance") -> np.ndarray:
    """One clip's relevance as one number per pixel and frame: channels are summed.

    Args:
        relevance: (T, H, W), (C, T, H, W) or (1, C, T, H, W); a tensor or an array.
        name: what messages call it.

    Returns:
        float64, (T, H, W).

    Raises:
        ValueError: for another rank, several clips, no values, or values that are not finite.
    """
    values = torch.as_tensor(relevance).detach().cpu().double()
    shape = tuple(values.shape)
    if values.dim() == 5 and shape[0] > 1:
        raise ValueError(f"{name} holds {shape[0]} clips, shape {shape}: draw one, {name}[i]")
    if values.dim() not in (3, 4, 5) or not values.numel():
        raise ValueError(
            f"{name} must have shape (T, H, W), (C, T, H, W) or (1, C, T, H, W), got {shape}"
        )
    if not bool(values.isfinite().all()):
        bad = int((~values.isfinite()).sum())
        raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinity)")
    if values.dim() == 5:
        values = values[0]
    return (values.sum(0) if values.dim() == 4 else values).numpy()


def robust_maximum(*maps: np.ndarray, outlier_perc: float = 2.0) -> float:
    """The magnitude at which colours saturate: the same for all maps given.

    As in ``captum.attr.visualization``, the largest magnitudes that together make up
    ``outlier_perc`` percent of the sum of all magnitudes count as outliers. Unlike a percentile of
    the pixels, this stays above zero for a map that is zero almost everywhere.

    Args:
        maps: one or more arrays.
        outlier_perc: the percentage, from 0 (the largest magnitude) to below 100.

    Returns:
        The magnitude; 0 if all maps are zero.

    Raises:
        ValueError: if the percentage is out of range.
    """
    if not 0 <= outlier_perc < 100:
        raise ValueError(f"outlier_perc must lie in [0, 100), got {outlier_perc}")
    magnitudes = np.sort(np.concatenate([np.abs(values).ravel() for values in maps]))
    total = np.cumsum(magnitudes)
    if not total[-1] > 0:
        return 0.0
    at = np.searchsorted(total, total[-1] * (1 - outlier_perc / 100) * (1 - 1e-12))
    return float(magnitudes[min(int(at), magnitudes.size - 1)])


def colour_map(cmap: str | Colormap | None) -> Colormap:
    """The colour map to use.

    Args:
        cmap: its name or itself; ``None`` for blue over white to red.

    Returns:
        The map, whose middle stands for zero.

    Raises:
        ValueError: if matplotlib knows no map of that name.
    """
    if cmap is None:
        return SIGNED
    return colormaps[cmap] if isinstance(cmap, str) else cmap


def signed_colours(
    values: np.ndarray, scale: float, cmap: str | Colormap | None = None
) -> np.ndarray:
    """Colours for signed values, symmetric about zero.

    Args:
        values: any shape.
        scale: the magnitude that gets the outermost colours; 0 makes all of it neutral.
        cmap: a diverging colour map.

    Returns:
        Red, green and blue in 0..1, shape ``(*values.shape, 3)``.
    """
    ratio = np.clip(values / scale, -1, 1) if scale > 0 else np.zeros_like(values)
    return colour_map(cmap)(0.5 + 0.5 * ratio)[..., :3]
