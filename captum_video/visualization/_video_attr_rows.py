"""What a picture of attribution shows: its sign, its scale, its method, one frame at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage

from captum_video.visualization._colour import colour_map, one_signed, robust_maximum

METHODS = ("heat_map", "blended_heat_map", "original_image", "masked_image", "alpha_scaling")
SIGNS = ("positive", "absolute_value", "negative", "all")
NORMALIZATIONS = ("clip", "frame")
HEAT = ("heat_map", "blended_heat_map")


class Row(NamedTuple):
    """The chosen frames under one method and sign.

    ``strength`` is (frames, H, W): from 0 to 1, or from -1 to 1 for all signs. ``scale`` is the
    magnitude at which it saturates, None where every frame has its own. ``grey`` holds the
    brightness that is black and the one that is white.
    """

    method: str
    sign: str
    pictures: np.ndarray | None
    strength: np.ndarray
    scale: float | None
    cmap: Colormap
    grey: tuple[float, float] | None
    alpha: float

    @property
    def low(self) -> float:
        """The least strength that there can be."""
        return -1.0 if self.sign == "all" else 0.0


def of_sign(values: np.ndarray, sign: str) -> np.ndarray:
    """The values of a sign; the others are zero.

    Args:
        values: any shape.
        sign: one of ``SIGNS``.

    Returns:
        The same shape. Negative values stay negative, absolute values do not.
    """
    if sign == "positive":
        return np.maximum(values, 0)
    if sign == "negative":
        return np.minimum(values, 0)
    return np.abs(values) if sign == "absolute_value" else values


def common_scale(values: np.ndarray, signs: Collection[str], outlier_perc: float) -> float:
    """The magnitude at which all rows of a clip saturate.

    Args:
        values: attribution, (T, H, W).
        signs: of the rows that show attribution.
        outlier_perc: the share of what they show that may saturate, in percent.

    Returns:
        The robust maximum of what any of them shows; 0 if they show none.
    """
    one = next(iter(signs)) if len(signs) == 1 else "all"
    shown = of_sign(values, one) if signs else np.zeros(1)
    return robust_maximum(shown, outlier_perc=outlier_perc)


def read_row(
    method: str,
    sign: str,
    values: np.ndarray,
    clip: np.ndarray | None,
    shown: list[int],
    *,
    scale: float | None,
    outlier_perc: float,
    cmap: str | Colormap | None,
    alpha: float,
) -> Row:
    """Scales the chosen frames of a clip.

    Args:
        method: one of ``METHODS``.
        sign: one of ``SIGNS``.
        values: attribution, (T, H, W).
        clip: frames, uint8 (T, H, W, 3), or None.
        shown: the frames that are drawn.
        scale: the magnitude at which all saturate; None for one for each frame.
        outlier_perc: the share of a frame's attribution that may saturate, in percent.
        cmap: the colour map that was asked for.
        alpha: how much a heat map covers.

    Returns:
        What is drawn; the plain frames where there is no attribution of this sign.
    """
    chosen = of_sign(values, sign)
    clipwise = scale is not None
    scales = np.array(
        [scale]
        if clipwise
        else [robust_maximum(chosen[index], outlier_perc=outlier_perc) for index in shown]
    )
    divisors = np.where(scales > 0, scales, 1)[:, None, None]
    strength = np.clip(chosen[shown] / (-divisors if sign == "negative" else divisors), -1, 1)
    pictures = None if clip is None else clip[shown]
    grey = None
    if method == "blended_heat_map" and clip is not None and clipwise:
        grey = _range(clip.mean(3))
    if clip is not None and not chosen.any():
        method = "original_image"
    whole = colour_map(cmap) if sign == "all" else one_signed(cmap, sign)
    return Row(method, sign, pictures, strength, scale, whole, grey, alpha)


def _range(brightness: np.ndarray) -> tuple[float, float]:
    """What is drawn black and white. An even frame keeps its grey; Captum draws it black."""
    low, high = float(brightness.min()), float(brightness.max())
    return (low, high) if low < high else (0.0, 255.0)


def draw_frame(axes: Axes, row: Row, number: int) -> AxesImage | None:
    """Draws one frame of a row.

    Args:
        axes: where.
        row: what.
        number: which of the row's frames.

    Returns:
        The heat map, if the method has one.
    """
    strength = row.strength[number]
    heat = {"cmap": row.cmap, "vmin": row.low, "vmax": 1.0}
    if row.method == "heat_map":
        return axes.imshow(strength, **heat)  # type: ignore[arg-type]
    assert row.pictures is not None
    picture = row.pictures[number]
    if row.method == "blended_heat_map":
        brightness = picture.mean(2)
        black, white = row.grey or _range(brightness)
        axes.imshow(brightness, cmap="gray", vmin=black, vmax=white)
        return axes.imshow(strength, alpha=row.alpha, **heat)  # type: ignore[arg-type]
    if row.method == "masked_image":
        picture = (picture * strength[..., None]).astype(np.uint8)
    elif row.method == "alpha_scaling":
        opacity = (255 * strength[..., None]).astype(np.uint8)
        picture = np.concatenate([picture, opacity], axis=2)
    axes.imshow(picture)
    return None
