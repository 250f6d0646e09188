"""Relevance laid over the frames it belongs to."""

from __future__ import annotations

import warnings

import numpy as np
from matplotlib.colors import Colormap
from torch import Tensor

from captum_video.io import frames_last
from captum_video.visualization._colour import clip_map, robust_maximum, signed_colours

_LUMA = np.array([0.299, 0.587, 0.114])


def overlay(
    frames: Tensor | np.ndarray,
    relevance: Tensor | np.ndarray,
    *,
    alpha: float = 0.85,
    outlier_perc: float = 2.0,
    scale: float | None = None,
    cmap: str | Colormap | None = None,
    grey: float = 1.0,
) -> np.ndarray:
    """Frames with their relevance on top: red for positive, blue for negative.

    The stronger the relevance, the more it covers; where there is none the frame shows through.
    The scale is symmetric about zero and one for the whole clip, so that frames compare.

    Args:
        frames: uint8, (T, C, H, W) or (T, H, W, C).
        relevance: (T, H, W), (C, T, H, W) or (1, C, T, H, W) for the same frames; channels are
            summed.
        alpha: how much the strongest relevance covers, from 0 to 1.
        outlier_perc: percentage of relevance that may saturate (:func:`robust_maximum`).
        scale: the magnitude at which colours saturate; ``None`` for the clip's robust maximum.
            Give the same one to compare several maps.
        cmap: a diverging colour map; ``None`` for blue over white to red.
        grey: how far the frames lose their own colours, from 0 to 1, so that red is relevance.

    Returns:
        uint8, (T, H, W, 3).

    Raises:
        ValueError: if shapes do not fit together, or a number is out of range.
    """
    pictures = frames_last(frames)
    values = clip_map(relevance)
    if values.shape != pictures.shape[:3]:
        raise ValueError(
            f"relevance has (T, H, W) = {values.shape} but the frames have {pictures.shape[:3]}: "
            "resize one of them (captum_video.io.resize)"
        )
    for name, value in (("alpha", alpha), ("grey", grey)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value}")
    if scale is not None and not scale >= 0:
        raise ValueError(f"scale must not be negative, got {scale}")
    scale = robust_maximum(values, outlier_perc=outlier_perc) if scale is None else scale
    if not values.any():
        warnings.warn(
            "relevance is zero everywhere: the overlay shows the plain frames", stacklevel=2
        )
        return pictures
    if scale == 0:
        raise ValueError("scale is 0 but the relevance is not: leave it out or give a positive one")
    base = pictures / 255.0
    base += grey * ((base @ _LUMA)[..., None] - base)
    strength = np.clip(np.abs(values) / scale, 0, 1)
    cover = alpha * strength[..., None] ** 0.7  # so that weak relevance is seen on dark frames
    # Colours from the map's outer half: what its pale middle says, the bare frame says here.
    colours = signed_colours(np.sign(values) * (0.45 + 0.35 * strength), 1.0, cmap)
    return np.rint(255 * ((1 - cover) * base + cover * colours)).astype(np.uint8)
