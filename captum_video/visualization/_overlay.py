"""Relevance laid over the frames it belongs to."""

from __future__ import annotations

import math
import warnings

import numpy as np
from matplotlib.colors import Colormap
from torch import Tensor

from captum_video.io import frames_last
from captum_video.visualization._colour import (
    as_number,
    clip_map,
    colour_map,
    robust_maximum,
    signed_colours,
)

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BLOCK = 1 << 15  # pixels at a time: what is computed for them stays in the processor's cache
_STEPS = 8192  # strengths told apart at least: half a step covers a third of a grey level at most


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
        cmap: a diverging colour map, or its name (``"colour-blind"``: orange and purple);
            ``None`` for blue over white to red.
        grey: how far the frames lose their own colours, from 0 to 1, so that red is relevance.

    Returns:
        uint8, (T, H, W, 3).

    Raises:
        ValueError: if shapes do not fit together, or a number is out of range.
    """
    check_options(alpha=alpha, outlier_perc=outlier_perc, scale=scale, cmap=cmap, grey=grey)
    pictures = frames_last(frames)
    values = clip_map(relevance)
    check_same_size(values, pictures)
    if not values.any():
        warnings.warn(
            "relevance is zero everywhere: the overlay shows the plain frames", stacklevel=2
        )
        return pictures.copy()
    scale = robust_maximum(values, outlier_perc=outlier_perc) if scale is None else scale
    if scale == 0:
        raise ValueError("scale is 0 but the relevance is not: leave it out or give a positive one")
    return blended(pictures, values, scale, alpha=alpha, cmap=cmap, grey=grey)


def check_options(
    *,
    alpha: float = 0.85,
    outlier_perc: float = 2.0,
    scale: float | None = None,
    cmap: str | Colormap | None = None,
    grey: float = 1.0,
) -> None:
    """Refuses what :func:`overlay` cannot draw with; the arguments are its own.

    Args:
        alpha: from 0 to 1.
        outlier_perc: from 0 to below 100.
        scale: not negative.
        cmap: one that exists.
        grey: from 0 to 1.

    Raises:
        ValueError: if a number is out of range or there is no such colour map.
    """
    for name, value in (("alpha", alpha), ("grey", grey)):
        if not 0 <= as_number(value) <= 1:
            raise ValueError(f"{name} must lie in 0..1, got {value}")
    if not 0 <= as_number(outlier_perc) < 100:
        raise ValueError(f"outlier_perc must lie in [0, 100), got {outlier_perc}")
    if scale is not None and not 0 <= as_number(scale) < math.inf:
        raise ValueError(f"scale must be a number >= 0, got {scale}")
    colour_map(cmap)


def check_same_size(values: np.ndarray, pictures: np.ndarray, name: str = "relevance") -> None:
    """Refuses a map that belongs to other frames.

    Args:
        values: (T, H, W).
        pictures: (T, H, W, 3).
        name: what the message calls the map.

    Raises:
        ValueError: if their sizes differ.
    """
    if values.shape != pictures.shape[:3]:
        raise ValueError(
            f"{name} has (T, H, W) = {values.shape} but the frames have {pictures.shape[:3]}: "
            "resize one of them (captum_video.io.resize)"
        )


def blended(
    pictures: np.ndarray,
    values: np.ndarray,
    scale: float,
    *,
    alpha: float = 0.85,
    cmap: str | Colormap | None = None,
    grey: float = 1.0,
) -> np.ndarray:
    """What :func:`overlay` draws, of arguments that have been checked.

    Args:
        pictures: uint8, (T, H, W, 3), contiguous.
        values: (T, H, W).
        scale: the magnitude at which colours saturate, positive.
        alpha: how much the strongest relevance covers.
        cmap: a diverging colour map.
        grey: how far the frames lose their own colours.

    Returns:
        uint8, (T, H, W, 3).
    """
    rest, paint = _table(alpha, cmap)
    top = len(rest) // 2
    result = np.empty_like(pictures)
    flat, pixels, drawn = values.reshape(-1), pictures.reshape(-1, 3), result.reshape(-1, 3)
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        # In float64, since the colours have steps: a rounded strength could fall on the other side.
        steps = np.clip(flat[part] / scale * float(top), -top, top)
        step = steps.astype(np.int32) + np.int32(top)
        base = pixels[part].astype(np.float32)
        through = rest.take(step)
        grey_part = (base @ _LUMA) * through * np.float32(grey)
        for channel in range(3):
            shade = paint[channel].take(step)
            shade += grey_part
            if grey < 1:
                shade += base[:, channel] * through * np.float32(1 - grey)
            drawn[part, channel] = shade
    return result


def _table(alpha: float, cmap: str | Colormap | None) -> tuple[np.ndarray, np.ndarray]:
    """How much of the frame each signed strength leaves, and what it adds to each channel.

    Entry ``steps + k`` stands for the strengths from ``k / steps`` on, away from zero; the first
    for none, the outermost for saturated. Where a colour map of N colours goes from one colour to
    the next an entry begins, so that no entry holds two colours.

    Returns:
        (2 steps + 1,) and (3, 2 steps + 1), the latter with the 0.5 that makes truncation rounding.
    """
    colours = colour_map(cmap).N
    # the next colour begins where N (0.725 + 0.175 strength) is whole
    whole = 7 * (colours // math.gcd(colours, 40))
    steps = whole * -(-_STEPS // whole) if whole <= 1 << 17 else 1 << 17
    strength = (np.arange(steps + 1) + 0.5) / steps
    strength[0], strength[-1] = 0.0, 1.0
    strength = np.concatenate([-strength[:0:-1], strength])
    cover = alpha * np.abs(strength) ** 0.7  # so that weak relevance is seen on dark frames
    # Colours from the map's outer half: what its pale middle says, the bare frame says here.
    chosen = signed_colours(np.sign(strength) * (0.45 + 0.35 * np.abs(strength)), 1.0, cmap)
    paint = 255 * cover[:, None] * chosen + 0.5
    return (1 - cover).astype(np.float32), np.ascontiguousarray(paint.T, dtype=np.float32)
