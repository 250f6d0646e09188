"""Relevance of joints over time."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS, joint_numbers
from captum_video.visualization._colour import colour_map, robust_maximum, signed_colours
from captum_video.visualization._plots import INK, LINE, QUIET, picture_frame, quiet_frame
from captum_video.visualization._skeleton import finite
from captum_video.visualization._skeleton_page import (
    blank,
    draw_legend,
    draw_scale,
    draw_title,
    legend_rows,
    text_width,
)
from captum_video.visualization._skeleton_parts import Row, grouped_rows, name_rows, names_width

_ROW, _MAP, _TOTALS, _CURVE = 0.145, 4.4, 1.05, 0.75  # inches
_MARK = "#b8860b"


def joint_relevance(
    relevance: Tensor | np.ndarray,
    *,
    joints: Sequence[str] | None = None,
    actors: int | None = None,
    informative: Tensor | np.ndarray | Iterable[str | int] | None = None,
    active: Tensor | np.ndarray | Sequence[int] | None = None,
    title: str | None = None,
    quantity: str = "relevance",
    outlier_perc: float = 2.0,
    scale: float | None = None,
    cmap: str | Colormap | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws the relevance of each joint over time: red for positive, blue for negative.

    Joints lie below each other by parts of the body, a second actor below the first. Beside the map
    stand the joints' sums over time; below it the sum over joints of each frame. Relevance of the
    three axes of a joint is summed.

    Args:
        relevance: of one sequence, ``(D, T)`` in the layout of
            :data:`captum_video.io.KINECT_JOINTS`, or ``(actors * joints, T)``; any device and type.
            A number of rows that fits both is read as ``D``.
        joints: names of an actor's joints; None for the Kinect's 25.
        actors: how many actors to draw; None for all up to the last one with relevance.
        informative: joints that are known to tell the class, marked by a dot: names or numbers, for
            every actor, or a mask of booleans, ``(actors, joints)`` or ``(joints,)``.
        active: frames that are known to tell the class, as their numbers or as a mask of T
            booleans: marked by a line above the map.
        title: a line above all.
        quantity: what the values are.
        outlier_perc: percentage of relevance that may saturate
            (:func:`~captum_video.visualization.robust_maximum`).
        scale: the magnitude at which colours saturate; None for the robust maximum.
        cmap: a diverging colour map; None for blue over white to red, ``"colour-blind"`` for
            purple over white to orange.

    Returns:
        The figure, of which pyplot knows nothing, and its axes: map, totals, time curve.

    Raises:
        ValueError: if the shape does not fit the joints, a value is not finite, or a joint, frame
            or actor does not exist.

    Warns:
        UserWarning: if relevance is zero everywhere: the map is white.
    """
    names = KINECT_JOINTS if joints is None else tuple(joints)
    values = _by_joint(relevance, len(names))
    shown = _shown(values, actors)
    rows = grouped_rows(names, range(shown))
    picked = values[[row.actor for row in rows], [row.joint for row in rows]]
    frames = _mask(active, values.shape[-1])
    marked = _marked(informative, names, len(values))
    places = [k for k, row in enumerate(rows) if marked[row.actor, row.joint]]
    if scale is None:
        scale = robust_maximum(picked, outlier_perc=outlier_perc)
    if not picked.any():
        warnings.warn("relevance is zero everywhere: the map is white", stacklevel=2)
    handles = _handles(bool(places), bool(frames.any()))
    figure, axes, bar = _layout(rows, title, handles, max(0.6, text_width(quantity, 7.5)))
    axes[0].imshow(signed_colours(picked, scale, cmap), interpolation="nearest", aspect="auto")
    picture_frame(axes[0])
    name_rows(axes[0], rows)
    _mark_joints(axes[0], places)
    _mark_frames(axes[0], frames)
    _draw_totals(axes[1], picked.sum(1), cmap)
    _draw_curve(axes[2], picked.sum(0))
    draw_scale(bar, scale, cmap, quantity)
    return figure, axes


def _by_joint(relevance: Tensor | np.ndarray, joints: int) -> np.ndarray:
    """Sums over the axes: ``(actors, joints, T)``."""
    values = finite(relevance, "relevance")
    if values.ndim != 2 or not joints or values.shape[0] % joints:
        raise ValueError(
            f"relevance must be (D, T) with D a multiple of {3 * joints}, or (actors * joints, T) "
            f"with {joints} joints, got shape {values.shape}"
        )
    total = values.shape[1]
    if values.shape[0] % (3 * joints):
        return values.reshape(-1, joints, total)
    return values.reshape(-1, joints, 3, total).sum(2)


def _shown(values: np.ndarray, actors: int | None) -> int:
    if actors is None:
        return max([1, *(1 + np.flatnonzero(np.abs(values).sum((1, 2))))])
    if isinstance(actors, bool) or actors not in range(1, len(values) + 1):
        raise ValueError(f"actors must be from 1 to {len(values)} or None, got {actors!r}")
    return actors


def _marked(
    informative: Tensor | np.ndarray | Iterable[str | int] | None, names: Sequence[str], actors: int
) -> np.ndarray:
    """Which joints of which actor are informative: ``(actors, joints)``."""
    marked = np.zeros((actors, len(names)), dtype=bool)
    if informative is None:
        return marked
    if isinstance(informative, Tensor | np.ndarray):
        found = torch.as_tensor(informative).detach().cpu().numpy()
        if found.dtype == bool:
            if found.shape not in (marked.shape, marked.shape[1:]):
                raise ValueError(
                    f"informative must be a mask (actors, joints) = {marked.shape} or "
                    f"({len(names)},), got {found.shape}"
                )
            return marked | found
        informative = found.ravel().tolist()
    assert not isinstance(informative, Tensor | np.ndarray)
    marked[:, joint_numbers(informative, names)] = True
    return marked


def _mask(active: Tensor | np.ndarray | Sequence[int] | None, total: int) -> np.ndarray:
    """Which frames are active."""
    mask = np.zeros(total, dtype=bool)
    if active is None:
        return mask
    found = torch.as_tensor(active).detach().cpu().numpy()
    if found.dtype == bool:
        if found.shape != (total,):
            raise ValueError(f"active must be one boolean per frame ({total}), got {found.shape}")
        return found
    if found.ndim != 1 or found.dtype.kind not in "iu":
        if found.size:
            raise ValueError(f"active must be frame numbers or a mask of {total}, got {active!r}")
        return mask
    if found.min() < 0 or found.max() >= total:
        raise ValueError(f"active must be frames from 0 to {total - 1}, got {found.tolist()}")
    mask[found] = True
    return mask


def _handles(joints: bool, frames: bool) -> list[Line2D]:
    """What the marks mean, of those that are there."""
    found = []
    if joints:
        found.append(Line2D([], [], color=_MARK, linestyle="none", marker="o", markersize=4,
                            label="joint known to tell the class"))  # fmt: skip
    if frames:
        found.append(Line2D([], [], color=_MARK, linewidth=2.5, label="frames known to tell it"
                            if joints else "frames known to tell the class"))  # fmt: skip
    return found


def _layout(
    rows: Sequence[Row], title: str | None, handles: list[Line2D], right: float
) -> tuple[Figure, np.ndarray, Axes]:
    """Empty axes, placed by inches: map, totals and curve; and the colour bar's."""
    left, gap, under = names_width(rows), 0.12, 0.22
    width = left + _MAP + gap + _TOTALS + 0.28 + right
    legends = legend_rows(handles, width - left)
    tall, lower = len(rows) * _ROW, 0.45 + 0.2 * len(legends)
    top = 0.3 + 0.22 * bool(title)
    height = top + tall + under + _CURVE + lower
    figure = blank(width, height)

    def place(x: float, y: float, across: float, up: float) -> Axes:
        return figure.add_axes((x / width, y / height, across / width, up / height))

    above = lower + _CURVE + under
    beside = left + _MAP + gap
    axes = np.array(
        [
            place(left, above, _MAP, tall),
            place(beside, above, _TOTALS, tall),
            place(left, lower, _MAP, _CURVE),
        ],
        dtype=object,
    )
    long = min(1.6, tall - 0.3)
    bar = place(beside + _TOTALS + 0.2, above, 0.09, long)
    draw_title(figure, title)
    for number, line in enumerate(legends):
        draw_legend(figure, line, left, lower - 0.42 - 0.2 * number)
    return figure, axes, bar


def _mark_joints(axes: Axes, places: Sequence[int]) -> None:
    """A dot between a joint's name and its row."""
    inch = axes.figure.dpi / axes.bbox.width
    axes.plot([-0.055 * inch] * len(places), places, linestyle="none", marker="o", markersize=3.6,
              color=_MARK, clip_on=False, transform=axes.get_yaxis_transform(),
              gid="informative")  # fmt: skip
    for place in places:
        axes.get_yticklabels()[place].set_color(INK)


def _mark_frames(axes: Axes, active: np.ndarray) -> None:
    """A line above the active frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    inch = axes.figure.dpi / axes.bbox.height
    for first, after in edges.reshape(-1, 2):
        axes.plot([first - 0.5, after - 0.5], [1 + 0.06 * inch] * 2, color=_MARK, linewidth=2.5,
                  solid_capstyle="butt", clip_on=False, transform=axes.get_xaxis_transform(),
                  gid="active")  # fmt: skip


def _draw_totals(axes: Axes, totals: np.ndarray, cmap: str | Colormap | None) -> None:
    """Each joint's sum over time."""
    colours = [colour_map(cmap)(0.85 if total > 0 else 0.15) for total in totals]
    axes.barh(np.arange(len(totals)), totals, height=0.72, color=colours)
    axes.axvline(0, color=LINE, linewidth=0.7)
    axes.set_ylim(len(totals) - 0.5, -0.5)
    axes.set_yticks([])
    if not totals.any():
        axes.set_xlim(-1, 1)
    quiet_frame(axes)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=3)
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4))
    axes.xaxis.get_offset_text().set(fontsize=7, color=QUIET)
    axes.set_title("sum over time", fontsize=7.5, color=QUIET, pad=4)


def _draw_curve(axes: Axes, sums: np.ndarray) -> None:
    """Each frame's sum over joints."""
    axes.axhline(0, color=LINE, linewidth=0.7, zorder=0)
    axes.plot(np.arange(len(sums)), sums, color=INK, linewidth=1.2)
    axes.set_xlim(-0.5, len(sums) - 0.5)
    axes.margins(y=0.12)
    if not sums.any():
        axes.set_ylim(-1, 1)
    quiet_frame(axes)
    axes.locator_params(axis="y", nbins=3)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    axes.yaxis.get_offset_text().set(fontsize=7, color=QUIET)
    axes.set_xlabel("frame", fontsize=8, color=QUIET, labelpad=1)
    axes.set_ylabel("sum over\njoints", fontsize=7.5, color=QUIET)
