"""Figures of skeletons as pages: white, with a title above and a legend below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from captum_video.visualization._colour import colour_map
from captum_video.visualization._plots import INK, LINE, QUIET
from captum_video.visualization._skeleton import INKS, Body

_LEGEND = 7.5  # points
_GAP, _RIGHT = 0.05, 0.55  # inches: between cells, and for bars of length


def text_width(text: str, size: float) -> float:
    """How many inches a line of text takes.

    Args:
        text: the line.
        size: in points.

    Returns:
        Its width, and a little more, as hinting differs from size to size.
    """
    renderer = FigureCanvasAgg(Figure(dpi=150)).get_renderer()
    font = FontProperties(size=size)
    return 1.03 * renderer.get_text_width_height_descent(text, font, False)[0] / 150


def blank(width: float, height: float, dpi: int = 150) -> Figure:
    """A white figure of a size in inches, that pyplot knows nothing of.

    Args:
        width: in inches.
        height: in inches.
        dpi: dots per inch.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def draw_title(figure: Figure, title: str | None) -> None:
    """A line above all, made smaller where it would not fit.

    Args:
        figure: where.
        title: the line; None for none.
    """
    if not title:
        return
    width, height = figure.get_size_inches()
    size = min(10.0, 10.0 * 0.96 * width / max(text_width(title, 10), 1e-9))
    figure.suptitle(title, fontsize=size, color=INK, y=1 - 0.1 / height, va="top")


def legend_rows(handles: Sequence[Line2D], room: float) -> list[list[Line2D]]:
    """Lines of a legend, as few as the room allows.

    Args:
        handles: what the legend holds.
        room: its width in inches.

    Returns:
        The handles, line by line.
    """
    rows: list[list[Line2D]] = []
    used = 0.0
    for handle in handles:
        needed = text_width(str(handle.get_label()), _LEGEND) + _LEGEND / 72 * 3.4
        if not rows or used + needed > room:
            rows.append([])
            used = 0.0
        rows[-1].append(handle)
        used += needed
    return rows


def draw_legend(figure: Figure, handles: Sequence[Line2D], left: float, top: float) -> None:
    """One line of a legend.

    Args:
        figure: where.
        handles: what it holds.
        left: in inches.
        top: in inches from the figure's lower edge.
    """
    width, height = figure.get_size_inches()
    figure.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(left / width, top / height),
        ncols=len(handles), fontsize=_LEGEND, frameon=False, labelcolor=QUIET, borderaxespad=0,
        borderpad=0, handlelength=1.3, handletextpad=0.5, columnspacing=1.4,
    )  # fmt: skip


def legend_handles(
    body: Body,
    actors: Sequence[int],
    quantity: str | None,
    cmap: str | Colormap | None = None,
) -> list[Line2D]:
    """What the inks and the dots mean.

    Args:
        body: joints and bones.
        actors: those that are drawn, from 0.
        quantity: what dots stand for; None for no dots.
        cmap: their colours.

    Returns:
        Lines and marks with a label each.
    """
    handles = []
    for actor in actors:
        other, left = INKS[actor % len(INKS)]
        whose = f"actor {actor + 1}, " if len(actors) > 1 else ""
        if any(body.left()):
            named = {f"{whose}left limbs": left, f"{whose}right limbs and trunk": other}
        else:
            named = {f"actor {actor + 1}": other} if len(actors) > 1 else {}
        handles += [Line2D([], [], color=c, linewidth=1.7, label=text) for text, c in named.items()]
    if quantity is not None:
        for word, share in (("positive", 0.85), ("negative", 0.15)):
            colour = colour_map(cmap)(share)
            dot = Line2D([], [], color=colour, linestyle="none", marker="o", markersize=5.5,
                         label=f"{word} {quantity}")  # fmt: skip
            handles.append(dot)
    return handles


def grid(
    names: Sequence[str],
    columns: int,
    cell: tuple[float, float],
    title: str | None,
    handles: Sequence[Line2D],
) -> tuple[Figure, np.ndarray]:
    """Empty cells, placed by inches, with the rows' names at the left and a legend below.

    Args:
        names: of the rows, from top to bottom.
        columns: how many.
        cell: a cell's width and height.
        title: a line above all.
        handles: what the legend holds.

    Returns:
        The figure and its axes ``(rows, columns)``.
    """
    wide, tall = cell
    left = max(0.3, 0.18 + max(text_width(name, 9) for name in names))
    width = max(left + columns * (wide + _GAP) - _GAP + _RIGHT, left + 2.2)
    legends = legend_rows(handles, width - left)
    top, bottom = 0.26 + 0.28 * bool(title), 0.14 + 0.2 * len(legends)
    height = top + len(names) * (tall + _GAP) - _GAP + bottom
    figure = blank(width, height)
    axes = np.empty((len(names), columns), dtype=object)
    for row, name in enumerate(names):
        y = height - top - (row + 1) * (tall + _GAP) + _GAP
        for column in range(columns):
            x = left + column * (wide + _GAP)
            place = (x / width, y / height, wide / width, tall / height)
            axes[row, column] = figure.add_axes(place)
        axes[row, 0].set_ylabel(name, fontsize=9, color=INK, rotation=0, ha="right", va="center",
                                labelpad=6)  # fmt: skip
    draw_title(figure, title)
    for row, line in enumerate(legends):
        draw_legend(figure, line, left, bottom - 0.12 - 0.2 * row)
    return figure, axes


def length_handle() -> Line2D:
    """What the bars beside rows mean."""
    return Line2D([], [], color=INK, linestyle="none", marker="|", markersize=7,
                  label="length, in the row's units")  # fmt: skip


def draw_scale(axes: Axes, scale: float, cmap: str | Colormap | None, quantity: str = "") -> None:
    """A colour bar from minus the scale to the scale.

    Args:
        axes: the bar's.
        scale: the magnitude at which colours saturate.
        cmap: a diverging colour map; None for blue over white to red, ``"colour-blind"`` for
            purple over white to orange.
        quantity: what stands above it.
    """
    limit = scale or 1.0
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), colour_map(cmap)),
        cax=axes,
        ticks=[-limit, 0, limit],
    )
    bar.outline.set(linewidth=0.5, edgecolor=LINE)
    number = f"{float(f'{scale:.2g}'):g}"
    bar.ax.set_yticklabels([f"-{number}", "0", f"+{number}"] if scale else ["", "0", ""])
    bar.ax.tick_params(labelsize=7, length=2, colors=QUIET)
    axes.set_title(quantity, fontsize=7.5, color=QUIET, pad=8, loc="left")
