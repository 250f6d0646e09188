"""The strip picture: frames above, one row per map below, as in Hiley et al. 2019, figure 2."""

from __future__ import annotations

import itertools
import textwrap
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from captum_video.io import frame_indices, frames_last
from captum_video.visualization._colour import (
    clip_map,
    colour_map,
    robust_maximum,
    signed_colours,
)
from captum_video.visualization._plots import INK, LINE, QUIET, picture_frame
from captum_video.visualization._strip_parts import Line, draw_lines

_LINES = ("#222222", "#1b7f79", "#d0211c", "#7a5195", "#b8860b", "#3f6fb5")
_CELL = 1.25  # inches across a frame
_LEAST_HEIGHT = 0.7  # inches: what a row's name needs


def relevance_strip(
    frames: Tensor | np.ndarray,
    rows: Mapping[str, Tensor | np.ndarray],
    *,
    indices: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    notes: Sequence[str] | None = None,
    title: str | None = None,
    curve: bool = True,
    weights: tuple[str, Tensor | np.ndarray] | None = None,
    quantity: str = "relevance",
    outlier_perc: float = 2.0,
    scale: float | None = None,
    cmap: str | Colormap | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws frames and their relevance maps below each other.

    The first row shows the frames; each further row one map: red for positive relevance, blue for
    negative, white for none. All maps share one scale, so that they compare. A curve below sums
    each map over the pixels of every frame of the clip, or shows one number per frame that is known
    otherwise, such as its attention weight.

    Args:
        frames: uint8, (T, C, H, W) or (T, H, W, C).
        rows: maps by name, from top to bottom, each (T, H, W), (C, T, H, W) or (1, C, T, H, W).
        indices: which frames to show; ``None`` for up to eight, evenly spaced.
        labels: what is written above each frame of the clip (T of them), such as its number in the
            file; ``None`` for 0, 1, 2, ...
        notes: what is written after that, of each frame of the clip.
        title: a line above all.
        curve: whether to draw the curve.
        weights: a name and one number per frame (T), which the curve shows instead of the sums.
        quantity: what the colour bar calls the values.
        outlier_perc: percentage of relevance that may saturate
            (:func:`~captum_video.visualization.robust_maximum`).
        scale: the magnitude at which colours saturate; ``None`` for the rows' robust maximum.
        cmap: a diverging colour map; ``None`` for blue over white to red, ``"colour-blind"`` for
            purple over white to orange.

    Returns:
        The figure (``figure.savefig("strip.png")``) and its picture axes, an array of shape
        ``(1 + len(rows), len(indices))``. pyplot knows nothing of the figure.

    Raises:
        ValueError: if there is no row, a shape does not fit the frames, or an index is wrong.
    """
    pictures = frames_last(frames)
    total = len(pictures)
    maps = _maps(rows, pictures.shape[:3])
    shown = frame_indices(total, count=min(8, total)) if indices is None else list(indices)
    if not shown or min(shown) < 0 or max(shown) >= total:
        raise ValueError(f"indices must be frame numbers from 0 to {total - 1}, got {shown}")
    if labels is None:
        labels = [str(i) for i in range(total)]
    for name, texts in (("labels", labels), ("notes", notes)):
        if texts is not None and len(texts) != total:
            raise ValueError(f"{name} must be one per frame ({total}), got {len(texts)}")
    curves = {name: values.sum(axis=(1, 2)) for name, values in maps.items()}
    if weights is not None:
        curves = {weights[0]: _weights(*weights, total)}
    if scale is None:
        scale = robust_maximum(*maps.values(), outlier_perc=outlier_perc)
    if scale == 0:
        warnings.warn("relevance is zero everywhere: the maps are white", stacklevel=2)

    figure, axes, below, bar = _layout(pictures.shape, list(maps), len(shown), bool(title), curve)
    _draw_pictures(axes, pictures[shown], {k: v[shown] for k, v in maps.items()}, scale, cmap)
    for column, index in enumerate(shown):
        text = labels[index] if notes is None else f"{labels[index]}: {notes[index]}"
        axes[0, column].set_title(text, fontsize=8, color=QUIET, pad=3)
    if title:
        _draw_title(figure, title)
    _draw_bar(bar, scale, colour_map(cmap), quantity)
    if below is not None:
        _draw_curve(below, curves, shown, labels, "sum per frame" if weights is None else "")
    return figure, axes


def _maps(
    rows: Mapping[str, Tensor | np.ndarray], expected: tuple[int, ...]
) -> dict[str, np.ndarray]:
    if not rows:
        raise ValueError("rows is empty: give at least one map, such as {'total': relevance}")
    maps = {name: clip_map(values, name) for name, values in rows.items()}
    for name, values in maps.items():
        if values.shape != expected:
            raise ValueError(
                f"{name} has (T, H, W) = {values.shape} but the frames have {expected}: "
                "resize one of them (captum_video.io.resize)"
            )
    return maps


def _weights(name: str, values: Tensor | np.ndarray, total: int) -> np.ndarray:
    found = torch.as_tensor(values).detach().cpu().double().numpy()
    if found.shape != (total,) or not np.isfinite(found).all():
        raise ValueError(
            f"weights {name!r} must be one finite number per frame ({total}), got shape {found.shape}"
        )
    return found


def _layout(
    shape: tuple[int, ...], names: list[str], columns: int, title: bool, curve: bool
) -> tuple[Figure, np.ndarray, Axes | None, Axes]:
    """Empty axes, placed by inches: pictures touch but for a hair, whatever their number."""
    cell = max(_CELL, _LEAST_HEIGHT * shape[2] / shape[1])
    cell_height = cell * shape[1] / shape[2]
    maps, gap, left, top = len(names), 0.04, 0.42, 0.28 + 0.3 * title
    right = max(0.95, 0.4 + 0.07 * max(map(len, names)))  # room for the curve's legend
    bottom = 1.35 if curve else 0.12
    width = left + columns * (cell + gap) - gap + right
    height = top + (1 + maps) * (cell_height + gap) - gap + bottom
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)

    def place(x: float, y: float, across: float, up: float) -> Axes:
        return figure.add_axes((x / width, y / height, across / width, up / height))

    axes = np.empty((1 + maps, columns), dtype=object)
    for row in range(1 + maps):
        for column in range(columns):
            x = left + column * (cell + gap)
            y = height - top - (row + 1) * (cell_height + gap) + gap
            axes[row, column] = picture = place(x, y, cell, cell_height)
            picture_frame(picture)
    inner = columns * (cell + gap) - gap
    bar_height = maps * (cell_height + gap) - gap
    bar = place(left + inner + 0.14, bottom, 0.09, bar_height)
    below = place(left, 0.42, inner, bottom - 0.42 - 0.2) if curve else None
    return figure, axes, below, bar


def _draw_pictures(
    axes: np.ndarray,
    pictures: np.ndarray,
    maps: dict[str, np.ndarray],
    scale: float,
    cmap: str | Colormap | None,
) -> None:
    """Frames and their maps, a column for each frame; names at the left."""
    for column, picture in enumerate(pictures):
        axes[0, column].imshow(picture, interpolation="nearest", aspect="auto")
        for row, values in enumerate(maps.values(), start=1):
            colours = signed_colours(values[column], scale, cmap)
            axes[row, column].imshow(colours, interpolation="nearest", aspect="auto")
    for row, name in enumerate(["frames", *maps]):
        _name_row(axes[row, 0], name)


def _name_row(axes: Axes, name: str) -> None:
    """The row's name along its side: in two lines, then smaller, if it is longer than that."""
    text = axes.set_ylabel(name, fontsize=9, color=INK, labelpad=6)
    room = axes.bbox.height
    if text.get_window_extent().height > room and " " in name:
        text.set_text(textwrap.fill(name, -(-len(name) // 2) + 2))
    share = text.get_window_extent().height / room
    if share > 1:
        text.set_fontsize(9 / share)


def _draw_title(figure: Figure, title: str) -> None:
    text = figure.suptitle(
        title, fontsize=10, color=INK, y=1 - 0.12 / figure.get_figheight(), va="top"
    )
    share = text.get_window_extent().width / (0.96 * figure.bbox.width)
    if share > 1:
        text.set_fontsize(10 / share)


def _draw_bar(axes: Axes, scale: float, cmap: Colormap, quantity: str) -> None:
    limit = scale or 1.0
    colours = ScalarMappable(Normalize(-limit, limit), cmap)
    bar = axes.figure.colorbar(colours, cax=axes, ticks=[-limit, 0, limit])
    bar.outline.set(linewidth=0.5, edgecolor=LINE)
    number = f"{scale:.2g}"
    bar.ax.set_yticklabels([f"-{number}", "0", f"+{number}"] if scale else ["", "0", ""])
    bar.ax.tick_params(labelsize=7, length=2, colors=QUIET)
    axes.set_title(f"{quantity},\none scale", fontsize=7, color=QUIET, pad=5, loc="left")


def _draw_curve(
    axes: Axes,
    curves: dict[str, np.ndarray],
    shown: Sequence[int],
    labels: Sequence[str],
    title: str,
) -> None:
    lines = zip(curves.items(), itertools.cycle(_LINES), strict=False)
    draw_lines(axes, {name: Line(values, ink) for (name, values), ink in lines}, shown, labels)
    axes.legend(
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        handlelength=1.2,
        title=title,
        title_fontsize=7,
    )
