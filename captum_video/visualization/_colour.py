"""What signed relevance looks like: red for positive, blue for negative, white for none.

``COLOUR_BLIND`` says the same in orange and purple, which those who see no red or no green can tell
apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap
from torch import Tensor

from captum_video._core.arrays import host_tensor
from captum_video._core.errors import close_matches

_WHITE = "#ffffff"
_BLOCK = 1 << 16  # numbers at a time
# From the middle outwards: positive, negative.
_SIDES = {
    "captum_video_signed": (
        ("#f4947f", "#d0211c", "#67000d"),
        ("#7fb2e5", "#1f5fb4", "#08306b"),
    ),
    "captum_video_colour_blind": (
        ("#fdb863", "#dd7410", "#994708"),
        ("#b8abde", "#6440ad", "#3b1578"),
    ),
}


def _diverging(name: str) -> LinearSegmentedColormap:
    positive, negative = _SIDES[name]
    return LinearSegmentedColormap.from_list(name, [*negative[::-1], _WHITE, *positive])


SIGNED = _diverging("captum_video_signed")
COLOUR_BLIND = _diverging("captum_video_colour_blind")
_OURS = {"colour-blind": COLOUR_BLIND, "color-blind": COLOUR_BLIND}


def clip_map(relevance: Tensor | np.ndarray, name: str = "relevance") -> np.ndarray:
    """One clip's relevance as one number per pixel and frame: channels are summed.

    Args:
        relevance: (T, H, W), (C, T, H, W) or (1, C, T, H, W); a tensor or an array.
        name: what messages call it.

    Returns:
        float64, (T, H, W).

    Raises:
        ValueError: for another rank, several clips, no values, values that are not finite or not
            real, and for a masked or sparse one.
    """
    values = host_tensor(relevance, name)
    shape = tuple(values.shape)
    if values.dim() == 5 and shape[0] > 1:
        raise ValueError(f"{name} holds {shape[0]} clips, shape {shape}: draw one, {name}[i]")
    if values.dim() not in (3, 4, 5) or not values.numel():
        raise ValueError(
            f"{name} must have shape (T, H, W), (C, T, H, W) or (1, C, T, H, W), got {shape}"
        )
    channels = values.reshape(-1, *shape[-3:])
    summed = channels[0].to(torch.float64, copy=True)
    for channel in channels[1:]:
        summed += channel if channel.is_floating_point() else channel.double()
    if not bool(summed.sum().isfinite()) and not bool(values.isfinite().all()):
        bad = int((~values.isfinite()).sum())
        raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinity)")
    return summed.numpy()


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
    if not 0 <= as_number(outlier_perc) < 100:
        raise ValueError(f"outlier_perc must lie in [0, 100), got {outlier_perc}")
    flat = [values.reshape(-1) for values in maps]
    step = sum(values.size for values in flat) >> 12 | 1
    total = math.fsum(float(part.sum(dtype=np.float64)) for part in _magnitudes(flat))
    if not total > 0:
        return 0.0
    wanted = total * (1 - outlier_perc / 100) * (1 - 1e-12)
    # Only the largest need to be sorted. A sample tells which: those that hold twice the outliers.
    sample = np.sort(np.concatenate([np.abs(values[::step]) for values in flat]))[::-1]
    held = np.cumsum(sample, dtype=np.float64)
    at = np.searchsorted(held, held[-1] * min(1.0, outlier_perc / 50 + 0.01))
    least = sample[min(int(at), sample.size - 1)]
    largest = np.sort(np.concatenate([part[part >= least] for part in _magnitudes(flat)]))
    others = total - float(largest.sum(dtype=np.float64))
    if others >= wanted:  # the sample was not like the rest
        largest, others = np.sort(np.concatenate([*_magnitudes(flat)])), 0.0
    at = np.searchsorted(others + np.cumsum(largest, dtype=np.float64), wanted)
    return float(largest[min(int(at), largest.size - 1)])


def _magnitudes(flat: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Magnitudes a block at a time, so that no second array of their size is made."""
    for values in flat:
        for start in range(0, values.size, _BLOCK):
            yield np.abs(values[start : start + _BLOCK])


def as_number(value: object) -> float:
    """What lies in a range only if it is a number.

    Args:
        value: anything.

    Returns:
        The number; NaN if it is none, so that no comparison holds.
    """
    if isinstance(value, str | bytes):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def colour_map(cmap: str | Colormap | None) -> Colormap:
    """The colour map to use.

    Args:
        cmap: one of matplotlib's by name, ``"colour-blind"`` (or ``"color-blind"``) for
            :data:`COLOUR_BLIND`, or a map itself; ``None`` for blue over white to red.

    Returns:
        The map, whose middle stands for zero.

    Raises:
        ValueError: if there is no map of that name.
        TypeError: if it is neither a name nor a map.
    """
    if cmap is None:
        return SIGNED
    if isinstance(cmap, Colormap):
        return cmap
    if not isinstance(cmap, str):
        raise TypeError(
            f"cmap must be a colour map, its name or None, got {type(cmap).__name__}: {cmap!r}"
        )
    if cmap in _OURS:
        return _OURS[cmap]
    if cmap not in colormaps:
        known = close_matches(cmap, [*_OURS, *colormaps])
        raise ValueError(f"cmap {cmap!r} is no colour map. {known}")
    return colormaps[cmap]


def is_ours(cmap: str | Colormap | None) -> bool:
    """Whether a colour map is ``SIGNED`` or ``COLOUR_BLIND``, whose sides say what sign is meant.

    Args:
        cmap: as for :func:`colour_map`.

    Returns:
        Whether it is.
    """
    return colour_map(cmap).name in _SIDES


def one_signed(cmap: str | Colormap | None, sign: str) -> Colormap:
    """The colour map for magnitudes of one sign, from none to the strongest.

    Args:
        cmap: as for :func:`colour_map`.
        sign: ``"positive"``, ``"negative"`` or ``"absolute_value"``.

    Returns:
        That side of ``SIGNED`` or ``COLOUR_BLIND``, white at its beginning, and ``"Blues"`` for
        absolute values; any other map whole.
    """
    whole = colour_map(cmap)
    if not is_ours(whole):
        return whole
    if sign == "absolute_value":
        return colormaps["Blues"]
    side = _SIDES[whole.name][sign == "negative"]
    return LinearSegmentedColormap.from_list(f"{whole.name}_{sign}", [_WHITE, *side])


def signed_colours(
    values: np.ndarray, scale: float, cmap: str | Colormap | None = None
) -> np.ndarray:
    """Colours for signed values, symmetric about zero.

    Args:
        values: any shape.
        scale: the magnitude that gets the outermost colours; 0 makes all of it neutral.
        cmap: a diverging colour map, as for :func:`colour_map`.

    Returns:
        Red, green and blue in 0..1, shape ``(*values.shape, 3)``.
    """
    ratio = np.clip(values / scale, -1, 1) if scale > 0 else np.zeros_like(values)
    return colour_map(cmap)(0.5 + 0.5 * ratio)[..., :3]
