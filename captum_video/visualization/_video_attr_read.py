"""What is drawn of a clip's attribution, checked before there is a figure."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
from matplotlib.colors import Colormap
from torch import Tensor

from captum_video._core.checks import check_choice
from captum_video.io import frames_last
from captum_video.visualization._colour import as_number, clip_map
from captum_video.visualization._skeleton import chosen_frames
from captum_video.visualization._video_attr_rows import (
    METHODS,
    NORMALIZATIONS,
    SIGNS,
    Row,
    common_scale,
    of_sign,
    read_row,
)


class Options(NamedTuple):
    """What single pictures and several rows have in common."""

    outlier_perc: float = 2
    cmap: str | Colormap | None = None
    alpha_overlay: float = 0.5
    show_colorbar: bool = False
    frames: int | Sequence[int] | None = None
    labels: Sequence[str] | None = None
    normalization: str = "clip"
    curve: bool = True
    top: int = 3


class Strip(NamedTuple):
    """All that is drawn."""

    rows: list[Row]
    shown: list[int]
    labels: Sequence[str]
    curves: dict[str, np.ndarray]
    options: Options


def read_strip(
    attr: Tensor | np.ndarray,
    video: Tensor | np.ndarray | None,
    methods: list[str],
    signs: list[str],
    options: Options,
) -> Strip:
    """Checks and scales everything.

    Args:
        attr: attribution of a clip.
        video: its frames, or None.
        methods: one for each row.
        signs: one for each row.
        options: what rows have in common.

    Returns:
        All that is drawn.

    Raises:
        ValueError: naming what does not fit.

    Warns:
        UserWarning: if there is no attribution of a row's sign.
    """
    for method, sign in zip(methods, signs, strict=True):
        _check_row(method, sign, video is not None)
    check_choice("normalization", options.normalization, NORMALIZATIONS)
    if not 0 <= as_number(options.alpha_overlay) <= 1:
        raise ValueError(f"alpha_overlay must lie in 0..1, got {options.alpha_overlay}")
    if isinstance(options.top, bool) or not isinstance(options.top, Integral) or options.top < 0:
        raise ValueError(f"top must be a number of frames, 0 or more, got {options.top!r}")
    values = clip_map(attr, "attr")
    clip = None if video is None else _clip(video)
    if clip is not None and clip.shape[:3] != values.shape:
        raise ValueError(
            f"attr has (T, H, W) = {values.shape} but original_video has {clip.shape[:3]}: resize "
            "one of them (captum_video.io.resize); attr with its channels last needs "
            "attr.permute(3, 0, 1, 2)"
        )
    total = len(values)
    shown = _frames(options.frames, total)
    labels = (
        [str(i) for i in range(total)] if options.labels is None else [*map(str, options.labels)]
    )
    if len(labels) != total:
        raise ValueError(f"labels must be one per frame ({total}), got {len(labels)}")
    showing = [s for m, s in zip(methods, signs, strict=True) if m != "original_image"]
    scale = common_scale(values, set(showing), options.outlier_perc)
    rows = [
        read_row(
            method, sign, values, clip, shown,
            scale=scale if options.normalization == "clip" else None,
            outlier_perc=options.outlier_perc, cmap=options.cmap, alpha=options.alpha_overlay,
        )
        for method, sign in zip(methods, signs, strict=True)
    ]  # fmt: skip
    curves = {sign: of_sign(values, sign).sum((1, 2)) for sign in dict.fromkeys(signs)}
    for sign in dict.fromkeys(showing):
        if not of_sign(values, sign).any():
            what = "is zero everywhere" if not values.any() else f"has no {sign} values"
            instead = "the heat map is empty" if clip is None else "the plain frames are shown"
            warnings.warn(f"attr {what}: {instead}", stacklevel=3)
    return Strip(rows, shown, labels, curves, options)


def _clip(video: Tensor | np.ndarray) -> np.ndarray:
    try:
        return frames_last(video)
    except ValueError as error:
        raise ValueError(f"original_video: {error}") from None


def _check_row(method: str, sign: str, video: bool) -> None:
    check_choice("method", method, METHODS)
    check_choice("sign", sign, SIGNS)
    if not video and method != "heat_map":
        raise ValueError(
            f"original_video must be given for method {method!r}: only 'heat_map' does without"
        )
    if sign == "all" and method in ("masked_image", "alpha_scaling"):
        one = ", ".join(repr(known) for known in SIGNS if known != "all")
        raise ValueError(f"method {method!r} shows one sign: choose sign from {one}, not 'all'")


def _frames(frames: int | Sequence[int] | None, total: int) -> list[int]:
    """Which frames to show."""
    wanted: int | list[int] | None = None
    try:
        if isinstance(frames, Sequence | np.ndarray | Tensor):
            wanted = [operator.index(frame) for frame in frames]
        elif frames is not None:
            wanted = operator.index(frames)
    except TypeError:
        raise ValueError(
            f"frames must be a number of frames, a list of their numbers or None, got {frames!r}"
        ) from None
    return chosen_frames(wanted, total, min(8, total))
