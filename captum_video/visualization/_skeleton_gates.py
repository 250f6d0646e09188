"""Filters of the first and of deeper layers as maps, as in paper 5, Figure 3, left and middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS
from captum_video.visualization._colour import robust_maximum, signed_colours
from captum_video.visualization._plots import INK, QUIET, picture_frame
from captum_video.visualization._skeleton import finite
from captum_video.visualization._skeleton_filters import read_primitives, strongest
from captum_video.visualization._skeleton_page import blank, draw_scale, draw_title, text_width
from captum_video.visualization._skeleton_parts import (
    Row,
    grouped_rows,
    name_rows,
    names_width,
    separate_rows,
)

_TAP, _GAP, _BAR, _APART = 0.16, 0.07, 0.62, 0.5  # inches
_NAMED, _UNNAMED = 0.145, 0.075  # inches: rows of joints, with and without names


class _Group(NamedTuple):
    """Filters of one layer, ``(filters, rows, taps)``, the numbers of those shown, and a scale."""

    name: str
    weights: np.ndarray
    shown: list[int]
    scale: float

    @property
    def panel(self) -> float:
        """A filter's width in inches."""
        words = max(text_width(f"filter {k}", 7.5) for k in self.shown)
        return max(_TAP * self.weights.shape[2], words + 0.04)

    @property
    def width(self) -> float:
        """All that the group takes, colour bar and heading included."""
        panels = len(self.shown) * (self.panel + _GAP) + _BAR
        return max(panels, text_width(self.name, 8.5))


def filter_figure(
    primitives: Tensor | np.ndarray,
    gates: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray] | None = None,
    *,
    filters: int | Sequence[int] = 2,
    mean: Tensor | np.ndarray | None = None,
    title: str | None = None,
    joints: Sequence[str] | None = None,
    outlier_perc: float = 2.0,
    cmap: str | Colormap | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws filters as maps of weights, time to the right (paper 5, Figure 3, left and middle).

    Those of the first layer have a row for each dimension of the input, three (x, y and z) for each
    joint, in the order of the parts of the body; in a trained Res-TCN they are motions that change
    smoothly. Those of deeper layers have a row for each channel of the layer below; the paper finds
    them sparse, like gates. Red is positive, blue negative; each layer has its own scale.

    Args:
        primitives: ``(filters, D, taps)``, from
            :meth:`captum_video.FeatureMapDecoder.motion_primitives`, or the first layer's weights.
        gates: ``(filters, channels, taps)`` of a deeper layer, from
            :meth:`captum_video.FeatureMapDecoder.gates`; or of several, by name; None for none.
        filters: how many to show of each layer, those of the largest norm first; or which.
        mean: ``(D,)``, the mean skeleton that the primitives contain; it is taken off. None if they
            contain none.
        title: a line above all.
        joints: names of an actor's joints; None for the Kinect's 25.
        outlier_perc: percentage of a layer's weights that may saturate
            (:func:`~captum_video.visualization.robust_maximum`).
        cmap: a diverging colour map; None for blue over white to red, ``"colour-blind"`` for
            purple over white to orange.

    Returns:
        The figure, of which pyplot knows nothing, and its axes, one for each filter from left to
        right.

    Raises:
        ValueError: if a shape does not fit, a value is not finite or a filter does not exist.
    """
    names = KINECT_JOINTS if joints is None else tuple(joints)
    weights, rest = read_primitives(primitives, mean, len(names))
    rows = grouped_rows(names, range(weights.shape[1] // (3 * len(names))))
    order = [(row.actor * len(names) + row.joint) * 3 + axis for row in rows for axis in range(3)]
    groups = [_group("first layer", (weights - rest)[:, order], filters, outlier_perc)]
    named = gates if isinstance(gates, Mapping) else {} if gates is None else {"gates": gates}
    for name, values in named.items():
        what = f"gates[{name!r}]" if isinstance(gates, Mapping) else "gates"
        array = finite(values, what)
        if array.ndim != 3:
            raise ValueError(f"{what} must be (filters, channels, taps), got shape {array.shape}")
        groups.append(_group(name, array, filters, outlier_perc, what))
    figure, axes, bars = _layout(groups, rows, title)
    for group, panels, bar in zip(groups, axes, bars, strict=True):
        for axis, number in zip(panels, group.shown, strict=True):
            colours = signed_colours(group.weights[number], group.scale, cmap)
            axis.imshow(colours, interpolation="nearest", aspect="auto")
            _finish(axis, number, group.weights.shape[2])
        draw_scale(bar, group.scale, cmap)
    name_rows(axes[0][0], rows, per_row=3, labels=_labelled(rows))
    for panel in axes[0][1:]:
        separate_rows(panel, rows, per_row=3)
    for group, panels in zip(groups[1:], axes[1:], strict=True):
        channels = group.weights.shape[1]
        panels[0].set_yticks(range(0, channels, max(1, -(-channels // 8))))
        panels[0].set_ylabel("channel of the layer below", fontsize=8, color=QUIET)
    return figure, np.array([panel for panels in axes for panel in panels], dtype=object)


def _group(
    name: str,
    weights: np.ndarray,
    filters: int | Sequence[int],
    outlier_perc: float,
    what: str = "primitives",
) -> _Group:
    shown = strongest(weights, filters, what)
    return _Group(name, weights, shown, robust_maximum(weights[shown], outlier_perc=outlier_perc))


def _labelled(rows: Sequence[Row]) -> bool:
    """Whether joints have room for their names: those of one actor do."""
    return len({row.actor for row in rows}) == 1


def _layout(
    groups: Sequence[_Group], rows: Sequence[Row], title: str | None
) -> tuple[Figure, list[list[Axes]], list[Axes]]:
    """Empty axes, placed by inches: for each group its filters' and its colour bar's."""
    labels = _labelled(rows)
    left = names_width(rows, labels=labels)
    tall = max(1.5, len(rows) * (_NAMED if labels else _UNNAMED))
    top, bottom = 0.55 + 0.22 * bool(title), 0.42
    width = left + sum(group.width for group in groups) + _APART * (len(groups) - 1) + 0.1
    height = top + tall + bottom
    figure = blank(width, height)

    def place(x: float, across: float, up: float) -> Axes:
        return figure.add_axes((x / width, bottom / height, across / width, up / height))

    axes: list[list[Axes]] = []
    bars = []
    x = left
    for group in groups:
        step = group.panel + _GAP
        axes.append([place(x + k * step, group.panel, tall) for k in range(len(group.shown))])
        bars.append(place(x + len(group.shown) * step + 0.05, 0.08, min(1.3, tall)))
        figure.text(x / width, (bottom + tall + 0.24) / height, group.name, fontsize=8.5, color=INK)
        x += group.width + _APART
    draw_title(figure, title)
    return figure, axes, bars


def _finish(axes: Axes, number: int, taps: int) -> None:
    """A filter's number above, its taps below."""
    picture_frame(axes)
    axes.set_title(f"filter {number}", fontsize=7.5, color=QUIET, pad=3)
    axes.set_xlim(-0.5, taps - 0.5)
    axes.set_xticks(range(0, taps, max(1, -(-taps // 8))))
    axes.tick_params(labelsize=7, length=0, colors=QUIET)
    axes.set_xlabel("tap", fontsize=8, color=QUIET, labelpad=1)
