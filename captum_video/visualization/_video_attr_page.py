"""Where a strip of frames with its curve stands: in a figure of its own, or in a given place."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import make_axes
from matplotlib.figure import Figure, SubFigure

from captum_video.visualization._plots import INK, LINE, QUIET, picture_frame
from captum_video.visualization._skeleton_page import text_width
from captum_video.visualization._strip_parts import fitting_size, inches

_DPI = 150
_CELL, _TALLEST, _LOWEST = 1.25, 1.9, 0.5  # inches: a frame's width, its bounds of height
_LEAST, _LEAST_CELL, _LEAST_CURVE = 3.2, 0.15, 0.35  # inches: all frames, one, the curve
_WIDEST = 20  # inches: of all frames, unless they would be too small
_GAP, _LEFT, _RIGHT, _BAR = 0.04, 0.42, 0.12, 0.78
_LABELS, _TITLE = 0.22, 0.3
_CURVE, _TICKS, _LEGEND = 0.8, 0.42, 0.16  # inches: the curve, what is below, a line above
_NAME = 9  # points


class Shape(NamedTuple):
    """How much there is to place."""

    names: Sequence[str]
    columns: int
    ratio: float  # a frame's width to its height
    bars: bool
    lines: int  # of the curve; 0 for none

    @property
    def left(self) -> float:
        """Inches that names and the curve's ticks take."""
        words = max(text_width(line, _NAME) for name in self.names for line in name.split("\n"))
        return max(_LEFT if self.lines else 0.08, words + 0.16 if words else 0)

    @property
    def right(self) -> float:
        """Inches beside the frames."""
        return _BAR if self.bars else _RIGHT

    @property
    def below(self) -> float:
        """Inches for the curve's words."""
        return 0.12 + (_LEGEND * self.lines + _TICKS if self.lines else 0)


class Places(NamedTuple):
    """Axes to draw in: ``(rows, columns)`` pictures, each row's colour bar, the curve."""

    pictures: np.ndarray
    bars: list[Axes | None]
    curve: Axes | None


class Region:
    """A rectangle to place axes in by inches: a whole figure, or the place of one axes."""

    def __init__(self, host: Figure | Axes) -> None:
        self._host = host
        if isinstance(host, Figure):
            self.width, self.height = map(float, host.get_size_inches())
        else:
            self.width, self.height = inches(host)

    def place(self, x: float, y: float, across: float, up: float) -> Axes:
        """New axes; ``x`` and ``y`` are their lower left corner."""
        bounds = (x / self.width, y / self.height, across / self.width, up / self.height)
        if isinstance(self._host, Figure):
            return self._host.add_axes(bounds)
        return self._host.inset_axes(bounds)


def wrapped(name: str) -> str:
    """A row's name in lines that take little room."""
    return "\n".join(part for line in name.split("\n") for part in textwrap.wrap(line, 18))


def new_figure(size: tuple[float, float], pyplot: bool) -> Figure:
    """A white figure.

    Args:
        size: in inches.
        pyplot: whether pyplot is to know it, so that a notebook shows it.

    Returns:
        The figure.
    """
    if pyplot:
        from matplotlib import pyplot as plt

        return plt.figure(figsize=size, dpi=_DPI, facecolor="white")
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def natural_size(shape: Shape, title: bool) -> tuple[float, float]:
    """The figure's size in inches at which all is well readable.

    Args:
        shape: what is to be placed.
        title: whether there is one.

    Returns:
        Width and height.
    """
    cell = min(max(_CELL, _LOWEST * shape.ratio), _TALLEST * shape.ratio)
    least = _LEAST / shape.columns - _GAP
    cell = max(cell, min(least, 2.2, _TALLEST * shape.ratio))
    cell = min(cell, max(_WIDEST / shape.columns, 2 * _LEAST_CELL))
    cell = max(cell, 1.01 * _LEAST_CELL * max(1, shape.ratio))
    across = max(shape.columns * (cell + _GAP) - _GAP, _LEAST if shape.lines else 0)
    up = len(shape.names) * (cell / shape.ratio + _GAP) - _GAP
    curve = _CURVE if shape.lines else 0
    height = _LABELS + _TITLE * title + up + shape.below + curve
    return shape.left + across + shape.right, height


def _fit(width: float, height: float, shape: Shape, title: bool) -> tuple[float, float]:
    """A frame's width, and the width that there is for all frames."""
    across = width - shape.left - shape.right
    up = height - _LABELS - _TITLE * title - shape.below
    up -= min(max(0.3 * up, _LEAST_CURVE), _CURVE) if shape.lines else 0
    rows = len(shape.names)
    wide, tall = (across + _GAP) / shape.columns - _GAP, (up + _GAP) / rows - _GAP
    return min(wide, tall * shape.ratio), across


def check_room(size: tuple[float, float], shape: Shape, title: bool) -> tuple[float, float]:
    """Refuses a size that is none, or in which frames would be too small to see.

    Args:
        size: width and height in inches.
        shape: what is to be placed.
        title: whether room is left for one.

    Returns:
        The size.

    Raises:
        ValueError: with a size that would do.
    """
    values = np.asarray(size, dtype=float)
    if values.shape != (2,) or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"fig_size must be a width and a height in inches, got {size!r}")
    width, height = map(float, values)
    cell = _fit(width, height, shape, title)[0]
    if cell < _LEAST_CELL or cell / shape.ratio < _LEAST_CELL:
        wide, tall = natural_size(shape, title)
        raise ValueError(
            f"{len(shape.names)} x {shape.columns} frames do not fit into {width:.1f} x "
            f"{height:.1f} inches: give about {wide:.1f} x {tall:.1f}, fewer frames or curve=False"
        )
    return width, height


def arrange(host: Figure | Axes, shape: Shape, title: bool) -> Places:
    """Empty axes in a figure or in the place of an axes; frames are as large as fits.

    Args:
        host: where.
        shape: what is to be placed.
        title: whether room is left for one.

    Returns:
        The axes.

    Raises:
        ValueError: if there is too little room.
    """
    region = Region(host)
    rows, columns = len(shape.names), shape.columns
    check_room((region.width, region.height), shape, title)
    cell, across = _fit(region.width, region.height, shape, title)
    top = _LABELS + _TITLE * title
    tall = cell / shape.ratio
    strip = columns * (cell + _GAP) - _GAP
    used = min(across, max(strip, _LEAST)) if shape.lines else strip
    left = shape.left + (across - used) / 2
    pictures = np.empty((rows, columns), dtype=object)
    bars: list[Axes | None] = []
    y = region.height - top
    for row in range(rows):
        y -= tall
        for column in range(columns):
            pictures[row, column] = region.place(left + column * (cell + _GAP), y, cell, tall)
        inset = min(0.08, tall / 8)  # so that numbers of neighbouring bars stay apart
        beside = left + strip + 0.06, y + inset, 0.09, tall - 2 * inset
        bars.append(region.place(*beside) if shape.bars else None)
        y -= _GAP
    if not shape.lines:
        return Places(pictures, bars, None)
    y += _GAP - (shape.below - _TICKS)
    curve = min(y - _TICKS, _TALLEST)  # it takes what frames leave
    y -= curve
    return Places(pictures, bars, region.place(left, y, used, curve))


def given_place(place: object) -> tuple[Figure, Axes | list[Axes]]:
    """What was given to draw in.

    Args:
        place: ``(figure, axes)``, with one Axes, a list or an array of them.

    Returns:
        The figure and the Axes, or a list of them.

    Raises:
        TypeError: if it is of another kind.
        ValueError: if an Axes is of another figure, or there is none.
    """
    figure, axes = place if isinstance(place, tuple | list) and len(place) == 2 else (None, None)
    many = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes, dtype=object)))
    if not isinstance(figure, Figure | SubFigure) or not all(isinstance(one, Axes) for one in many):
        raise TypeError(f"plt_fig_axis must be (figure, axes), one Axes or several, got {place!r}")
    if not many:
        raise ValueError("plt_fig_axis holds no Axes")
    if any(one.figure.canvas is not figure.canvas for one in many):
        raise ValueError("plt_fig_axis holds Axes of another figure than the one it names")
    return figure, axes if isinstance(axes, Axes) else many  # type: ignore[return-value]


def given_places(axes: list[Axes], count: int, curve: bool, bars: bool) -> Places:
    """Axes that were given one by one.

    Args:
        axes: theirs.
        count: how many frames are shown.
        curve: whether the last is for the curve.
        bars: whether there is a colour bar, for which the frames make room.

    Returns:
        The axes by what they are for.

    Raises:
        ValueError: if they are not as many as are needed.
    """
    needed = count + curve
    if len(axes) != needed:
        last = " and one for the curve" if curve else ""
        raise ValueError(
            f"plt_fig_axis must hold {needed} Axes, one for each of {count} frames{last}, or a "
            f"single one, got {len(axes)}"
        )
    pictures = np.empty((1, count), dtype=object)
    pictures[0] = axes[:count]
    bar = make_axes(axes[:count], fraction=0.05, pad=0.01, shrink=0.8)[0] if bars else None
    return Places(pictures, [bar], axes[-1] if curve else None)


def finish(axes: Axes, label: str, name: str) -> None:
    """A thin frame around a picture, its label above and its row's name at the left.

    Args:
        axes: the picture's.
        label: what the frame is called; empty for none.
        name: the row's; empty for none.
    """
    picture_frame(axes)
    axes.set_anchor("C")
    room = inches(axes)[0]
    if label:
        axes.set_title(label, fontsize=fitting_size(label, 8, room), color=QUIET, pad=3)
    if name:
        axes.set_ylabel(name, fontsize=_NAME, color=INK, rotation=0, ha="right", va="center",
                        labelpad=6)  # fmt: skip


def draw_title(host: Figure | Axes, title: str) -> None:
    """A line above all, made smaller where it would not fit.

    Args:
        host: a figure, an axes that was divided, or the first of several.
        title: the line.
    """
    if isinstance(host, Axes) and not host.child_axes:  # its own title is the frame's label
        host.annotate(title, (0, 1), (0, 16), xycoords="axes fraction", color=INK, fontsize=10,
                      textcoords="offset points", annotation_clip=False)  # fmt: skip
        return
    if isinstance(host, Axes):
        host.set_title(title, color=INK, fontsize=fitting_size(title, 10, inches(host)[0]))
        return
    width, height = host.get_size_inches()
    size = fitting_size(title, 10, 0.96 * width)
    host.suptitle(title, fontsize=size, color=INK, y=1 - 0.1 / height, va="top")


def draw_bar(axes: Axes, image: Any, scale: float | None, sign: str) -> None:
    """A colour bar with the magnitudes at its ends.

    Args:
        axes: the bar's.
        image: the heat map.
        scale: the magnitude of the outermost colours; None where each frame has its own.
        sign: of the attribution.
    """
    number = "max" if scale is None else f"{scale:.2g}"
    top = f"+{number}" if sign in ("positive", "all") else number
    ticks = {-1.0: f"-{number}", 0.0: "0", 1.0: top} if sign == "all" else {0.0: "0", 1.0: top}
    if sign == "negative":
        ticks[1.0] = f"-{number}"
    bar = axes.figure.colorbar(image, cax=axes, ticks=list(ticks))
    bar.outline.set(linewidth=0.5, edgecolor=LINE)
    bar.ax.set_yticklabels(list(ticks.values()))
    bar.ax.tick_params(labelsize=7, length=2, colors=QUIET)
