"""Attribution of a clip, drawn as Captum draws that of an image, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video.visualization._video_attr_curve import draw_curve
from captum_video.visualization._video_attr_page import (
    Places,
    Shape,
    arrange,
    check_room,
    draw_bar,
    draw_title,
    finish,
    given_place,
    given_places,
    natural_size,
    new_figure,
    wrapped,
)
from captum_video.visualization._video_attr_read import Options, Strip, read_strip
from captum_video.visualization._video_attr_rows import HEAT, draw_frame


def visualize_video_attr(
    attr: Tensor | np.ndarray,
    original_video: Tensor | np.ndarray | None = None,
    method: str = "blended_heat_map",
    sign: str = "all",
    plt_fig_axis: tuple[Figure, Axes | Sequence[Axes] | np.ndarray] | None = None,
    outlier_perc: float = 2,
    cmap: str | Colormap | None = None,
    alpha_overlay: float = 0.5,
    show_colorbar: bool = False,
    title: str | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
    *,
    frames: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    normalization: str = "clip",
    curve: bool = True,
    top: int = 3,
) -> tuple[Figure, np.ndarray]:
    """Draws the attribution of a clip: a strip of frames, and how much each frame carries.

    The counterpart of ``captum.attr.visualization.visualize_image_attr`` for clips, with its
    methods, signs and scaling: each frame is drawn as Captum draws an image. Three things differ.
    One scale serves the whole clip, so that frames compare (``normalization="frame"`` gives
    Captum's picture of each frame). Red is positive, blue negative, as in all pictures of this
    package and in the papers behind it; Captum draws positive green and negative red. And below a
    heat map a frame of a single grey, such as a white flash, keeps that grey; Captum draws it
    black.

    Below stands the attribution of every frame of the clip, summed over its pixels under the chosen
    sign. Rings mark the frames that carry most.

    Args:
        attr: attribution, (T, H, W), (C, T, H, W) or (1, C, T, H, W); channels are summed.
        original_video: the frames, uint8, (T, C, H, W) or (T, H, W, C). ``"heat_map"`` alone does
            without.
        method: ``"heat_map"``; ``"blended_heat_map"``, over frames in grey; ``"original_image"``,
            the plain frames; ``"masked_image"``, frames times attribution; ``"alpha_scaling"``,
            attribution as opacity. The last two show one sign.
        sign: ``"positive"``, ``"negative"``, ``"absolute_value"`` or ``"all"``.
        plt_fig_axis: where to draw: ``(figure, axes)``. One Axes is divided: the strip takes its
            place and its own frame is hidden. Of a list, or array, of Axes each holds a frame, and
            the last one the curve unless ``curve`` is False; if ``frames`` is None as many frames
            are shown as there are Axes. ``None`` for a new figure.
        outlier_perc: percentage of attribution that may saturate
            (:func:`~captum_video.visualization.robust_maximum`).
        cmap: a colour map; ``None`` for red and blue, ``"colour-blind"`` for orange and purple. Of
            these, positive and negative use their own side, and absolute values ``"Blues"``; any
            other map serves whole, from none to the strongest.
        alpha_overlay: how much a blended heat map covers, from 0 to 1.
        show_colorbar: whether a bar shows the scale; methods without a heat map have none.
        title: a line above all.
        fig_size: width and height in inches of a new figure; ``None`` for what fits.
        use_pyplot: whether pyplot is to know a new figure, so that a notebook shows it. Nothing is
            shown by this function.
        frames: how many frames to show, evenly spaced, or their numbers; ``None`` for up to eight.
        labels: what each frame of the clip is called (T of them); ``None`` for 0, 1, 2, ...
        normalization: ``"clip"`` for one scale, ``"frame"`` for one for each frame.
        curve: whether to draw the curve.
        top: how many frames to mark on it.

    Returns:
        The figure, and an array of the Axes of the frames from left to right, followed by that of
        the curve if there is one.

    Raises:
        ValueError: if shapes do not fit, values are not finite, an option is unknown, the video is
            missing, or there is too little room.
        TypeError: if ``plt_fig_axis`` or ``cmap`` is of another kind.

    Warns:
        UserWarning: if there is no attribution of this sign: the plain frames are shown.
    """
    options = Options(
        outlier_perc, cmap, alpha_overlay, show_colorbar, frames, labels, normalization, curve, top
    )
    place = None if plt_fig_axis is None else given_place(plt_fig_axis)
    if place is not None and isinstance(place[1], list) and frames is None:
        options = options._replace(frames=max(1, len(place[1]) - curve))
    strip = read_strip(attr, original_video, [method], [sign], options)
    if place is None:
        return _draw_new(strip, [""], title, fig_size, use_pyplot)
    figure, host = place
    if isinstance(host, list):
        places = given_places(host, len(strip.shown), curve, show_colorbar)
        host = host[0]
    else:
        places = arrange(host, _shape(strip, [""]), title=False)
        host.set_axis_off()
    return figure, _fill(strip, [""], places, title, host)


def visualize_video_attr_multiple(
    attr: Tensor | np.ndarray,
    original_video: Tensor | np.ndarray | None,
    methods: Sequence[str],
    signs: Sequence[str],
    titles: Sequence[str] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = True,
    **kwargs: Any,
) -> tuple[Figure, np.ndarray]:
    """Draws the attribution of a clip in several ways below each other, with one curve for all.

    The counterpart of ``captum.attr.visualization.visualize_image_attr_multiple`` for clips. One
    scale serves all rows, the robust maximum of what any of them shows, so that positive and
    negative attribution compare; Captum gives each row a scale of its own, and so does
    ``normalization="frame"`` each frame of each row. The curve has a line for each distinct sign.

    Args:
        attr: as for :func:`visualize_video_attr`.
        original_video: as there.
        methods: one for each row, from top to bottom.
        signs: one for each row.
        titles: the rows' names, at their left; ``None`` for method and sign.
        fig_size: width and height in inches; ``None`` for what fits.
        use_pyplot: whether pyplot is to know the figure, so that a notebook shows it.
        **kwargs: ``outlier_perc``, ``cmap``, ``alpha_overlay``, ``show_colorbar``, ``frames``,
            ``labels``, ``normalization``, ``curve`` and ``top`` of :func:`visualize_video_attr`.

    Returns:
        The figure, and an array of the Axes of the frames, row by row, followed by that of the
        curve if there is one: ``axes[:-1].reshape(len(methods), -1)`` are the pictures then.

    Raises:
        ValueError: as :func:`visualize_video_attr`, and if the lists differ in length.
        TypeError: for an argument that is none of these.

    Warns:
        UserWarning: if there is no attribution of a row's sign: the plain frames are shown.
    """
    for name in kwargs:
        if name not in Options._fields:
            raise TypeError(
                f"visualize_video_attr_multiple takes no {name!r}. "
                f"{close_matches(name, Options._fields)}"
            )
    if isinstance(methods, str) or not methods or len(signs) != len(methods):
        raise ValueError(
            f"methods and signs must be lists of one length, got {methods!r} and {signs!r}"
        )
    if titles is not None and (isinstance(titles, str) or len(titles) != len(methods)):
        raise ValueError(f"titles must be one for each of {len(methods)} methods, got {titles!r}")
    strip = read_strip(attr, original_video, list(methods), list(signs), Options(**kwargs))
    names = list(titles or map(_name, methods, signs))
    return _draw_new(strip, [wrapped(name) for name in names], None, fig_size, use_pyplot)


def _name(method: str, sign: str) -> str:
    words = method.replace("_", " ")
    return words if method == "original_image" else f"{words},\n{sign.replace('_', ' ')}"


def _shape(strip: Strip, names: Sequence[str]) -> Shape:
    _, height, width = strip.rows[0].strength.shape
    lines = len(strip.curves) if strip.options.curve else 0
    bars = strip.options.show_colorbar and any(row.method in HEAT for row in strip.rows)
    return Shape(names, len(strip.shown), width / height, bars, lines)


def _draw_new(
    strip: Strip,
    names: Sequence[str],
    title: str | None,
    fig_size: tuple[float, float] | None,
    use_pyplot: bool,
) -> tuple[Figure, np.ndarray]:
    """Draws a figure of its own."""
    shape = _shape(strip, names)
    size = check_room(fig_size or natural_size(shape, bool(title)), shape, bool(title))
    figure = new_figure(size, use_pyplot)
    places = arrange(figure, shape, bool(title))
    return figure, _fill(strip, names, places, title, figure)


def _fill(
    strip: Strip, names: Sequence[str], places: Places, title: str | None, host: Figure | Axes
) -> np.ndarray:
    """Draws all into its place."""
    for row, name, axes, bar in zip(strip.rows, names, places.pictures, places.bars, strict=True):
        first = row is strip.rows[0]
        for number, (one, index) in enumerate(zip(axes, strip.shown, strict=True)):
            image = draw_frame(one, row, number)
            finish(one, strip.labels[index] if first else "", name if number == 0 else "")
        if bar is not None and image is not None:
            draw_bar(bar, image, row.scale, row.sign)
        elif bar is not None:
            bar.set_axis_off()
    found = list(places.pictures.ravel())
    if places.curve is not None:
        draw_curve(places.curve, strip.curves, strip.shown, strip.labels, strip.options.top,
                   strip.options.cmap)  # fmt: skip
        found.append(places.curve)
    if title:
        draw_title(host, title)
    axes = np.empty(len(found), dtype=object)
    axes[:] = found
    return axes
