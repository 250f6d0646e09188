"""Responses of filters over time, as in paper 5, Figure 8."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from captum_video.visualization._plots import INK, QUIET, quiet_frame
from captum_video.visualization._skeleton import finite
from captum_video.visualization._skeleton_page import (
    blank,
    draw_legend,
    draw_title,
    legend_rows,
    text_width,
)

#: told apart by all eyes, none of them grey
_INKS = ("#1f5fb4", "#c8540b", "#1b7f79", "#7a3f9e", "#b8860b", "#d0211c", "#3d4d1c", "#d05a9b")
_WIDE, _TALL, _GAP = 1.55, 1.15, 0.12  # inches
_GREY = "#c4c4c4"


def filter_responses(
    responses: Mapping[str, Tensor | np.ndarray],
    *,
    samples: int = 5,
    highlight: int = 5,
    magnitude: bool = True,
    title: str | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws how strongly each filter of a layer responds over time (paper 5, Figure 8).

    A row is a class, a panel one sample of it, a line one filter. All panels have one scale, so that
    a class to which no filter has a characteristic response is seen to be flat. The filters whose
    response is the highest anywhere are coloured, the same in all panels; the others are grey.

    Args:
        responses: ``(samples, filters, T)`` by class, from top to bottom, such as from
            :meth:`captum_video.FeatureMapDecoder.responses`; of as many filters and frames each.
        samples: how many panels a row has at most; the first ones.
        highlight: how many filters are coloured, from 0 to 8.
        magnitude: whether magnitudes are drawn, as the paper does, or signed responses.
        title: a line above all.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(classes, samples)``. A class with
        fewer samples than others leaves panels empty.

    Raises:
        ValueError: if there is no class, shapes do not fit, a value is not finite or an option is out
            of range.
    """
    values = _read(responses, magnitude)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples!r}")
    if isinstance(highlight, bool) or highlight not in range(len(_INKS) + 1):
        raise ValueError(f"highlight must be from 0 to {len(_INKS)}, got {highlight!r}")
    shown = {name: array[:samples] for name, array in values.items()}
    peaks = np.max([np.abs(array).max((0, 2)) for array in shown.values()], axis=0)
    coloured = np.argsort(-peaks, kind="stable")[:highlight].tolist()
    inks = dict(zip(coloured, _INKS, strict=False))
    low = min(0.0, *(float(array.min()) for array in shown.values()))
    high = max(0.0, *(float(array.max()) for array in shown.values()))
    room = 0.05 * (high - low) or 1.0
    limits = (low - room, high + room)
    columns = max(len(array) for array in shown.values())
    handles = _handles(inks, len(peaks))
    figure, axes = _layout(list(shown), columns, title, handles)
    what = "response magnitude" if magnitude else "response"
    for row, array in zip(axes, shown.values(), strict=True):
        for column, axis in enumerate(row):
            if column >= len(array):
                axis.set_axis_off()
                continue
            _draw(axis, array[column], inks, limits)
            axis.tick_params(labelleft=column == 0)
        row[0].set_ylabel(what, fontsize=7.5, color=QUIET)
    _finish(axes, [len(array) for array in shown.values()])
    return figure, axes


def _read(responses: Mapping[str, Tensor | np.ndarray], magnitude: bool) -> dict[str, np.ndarray]:
    if not responses:
        raise ValueError("responses is empty: give at least one class, such as {'jump up': values}")
    found: dict[str, np.ndarray] = {}
    for name, values in responses.items():
        array = finite(values, f"responses[{name!r}]")
        if array.ndim != 3:
            raise ValueError(
                f"responses[{name!r}] must be (samples, filters, T), got shape {array.shape}"
            )
        for other, first in found.items():
            if array.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"responses must agree in (filters, T): {other!r} has {first.shape[1:]}, "
                    f"{name!r} has {array.shape[1:]}"
                )
        found[name] = np.abs(array) if magnitude else array
    return found


def _handles(inks: Mapping[int, str], filters: int) -> list[Line2D]:
    """The coloured filters, the strongest first, and the rest."""
    handles = [
        Line2D([], [], color=ink, linewidth=1.6, label=f"filter {number}")
        for number, ink in inks.items()
    ]
    others = filters - len(inks)
    if others:
        word = f"the other {others}" if inks else f"{others} filters"
        handles.append(Line2D([], [], color=_GREY, linewidth=1.2, label=word))
    return handles


def _layout(
    names: list[str], columns: int, title: str | None, handles: list[Line2D]
) -> tuple[Figure, np.ndarray]:
    """Empty axes, placed by inches; a class's name stands above its row."""
    head, left = 0.27, 0.62
    inner = columns * (_WIDE + _GAP) - _GAP
    width = left + max(inner, 2.2, *(text_width(name, 9) for name in names)) + 0.15
    legends = legend_rows(handles, width - left)
    top, bottom = 0.08 + 0.28 * bool(title), 0.46 + 0.2 * len(legends)
    height = top + len(names) * (_TALL + head) + bottom
    figure = blank(width, height)
    axes = np.empty((len(names), columns), dtype=object)
    for row, name in enumerate(names):
        y = height - top - (row + 1) * (_TALL + head)
        for column in range(columns):
            x = left + column * (_WIDE + _GAP)
            place = (x / width, y / height, _WIDE / width, _TALL / height)
            axes[row, column] = figure.add_axes(place)
        axes[row, 0].set_title(name, fontsize=9, color=INK, loc="left", pad=5)
    draw_title(figure, title)
    for row, line in enumerate(legends):
        draw_legend(figure, line, left, bottom - 0.42 - 0.2 * row)
    return figure, axes


def _draw(
    axes: Axes, values: np.ndarray, inks: Mapping[int, str], limits: tuple[float, float]
) -> None:
    """One sample: grey lines below, coloured ones above, the strongest on top."""
    times = np.arange(values.shape[1])
    lines = [np.stack([times, line], axis=1) for line in values]
    grey = [line for number, line in enumerate(lines) if number not in inks]
    axes.add_collection(LineCollection(grey, colors=_GREY, linewidths=0.5, zorder=1), autolim=False)
    for rank, (number, ink) in enumerate(inks.items()):
        axes.plot(times, values[number], color=ink, linewidth=1.0, zorder=9 - rank / 10,
                  label=f"filter {number}")  # fmt: skip
    axes.set_xlim(0, max(1, len(times) - 1))
    axes.set_ylim(*limits)
    quiet_frame(axes)
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.locator_params(axis="y", nbins=4)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))
    axes.yaxis.get_offset_text().set(fontsize=7, color=QUIET)


def _finish(axes: np.ndarray, counts: list[int]) -> None:
    """Times below the lowest panel of each column alone."""
    for column in range(axes.shape[1]):
        rows = [row for row, count in enumerate(counts) if count > column]
        for row in rows[:-1]:
            axes[row, column].tick_params(labelbottom=False)
        axes[rows[-1], column].set_xlabel("time step", fontsize=8, color=QUIET, labelpad=1)
