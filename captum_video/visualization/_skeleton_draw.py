"""A skeleton on an axes: stick figures that move, and the window they are seen through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import Colormap
from matplotlib.lines import Line2D
from torch import Tensor

from captum_video.visualization._colour import robust_maximum, signed_colours
from captum_video.visualization._plots import INK, LINE, QUIET, picture_frame
from captum_video.visualization._skeleton import INKS, Body, finite

_MARGIN = 1.14  # of the largest extent, so that limbs do not touch the frame
_LARGEST = 70.0  # points squared: the dot of the largest weight
_LEAST = 0.05  # of the scale: smaller weights would be specks


class Window(NamedTuple):
    """What part of the plane a cell shows, and how large.

    Attributes:
        centre: the middle of all that is seen, ``(2,)``.
        per_inch: units of the sequence in an inch.
        floor: the lowest point that is seen.
    """

    centre: np.ndarray
    per_inch: float
    floor: float

    def bar(self, inches: float) -> float:
        """A round length that takes at most that many inches."""
        most = inches * self.per_inch
        power = 10.0 ** math.floor(math.log10(most))
        return next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))


def windows(
    points: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray],
    frames: Sequence[int],
    scale: str,
    height: float,
    shapes: tuple[float, float],
) -> tuple[dict[str, Window], float]:
    """Windows about what is drawn, one for each row.

    Args:
        points: for each row ``(actors, T, joints, 3)``.
        seen: for each row ``(actors, T)``.
        frames: those that are drawn.
        scale: ``"row"``: each row fills its cells; ``"shared"``: all rows have one scale.
        height: of a cell, in inches.
        shapes: the least and the largest width of a cell, in heights.

    Returns:
        The windows, and how wide a cell is in inches.
    """
    spans, middles, floors = {}, {}, {}
    for name, values in points.items():
        there = values[:, frames][seen[name][:, frames]].reshape(-1, 3)[:, :2]
        low, high = (there.min(0), there.max(0)) if len(there) else (np.zeros(2), np.zeros(2))
        spans[name], middles[name], floors[name] = high - low, (high + low) / 2, float(low[1])
    largest = np.max(list(spans.values()), axis=0)
    extents = {name: largest if scale == "shared" else span for name, span in spans.items()}
    shape = max(float(wide / tall) if tall > 0 else shapes[1] for wide, tall in extents.values())
    width = height * min(max(shape, shapes[0]), shapes[1])
    cell = np.array([width, height]) / _MARGIN
    found = {}
    for name, extent in extents.items():
        per_inch = float((extent / cell).max())
        found[name] = Window(middles[name], per_inch or 1.0, floors[name])
    return found, width


def frame_axes(axes: Axes, window: Window, width: float, height: float, *, floor: bool) -> None:
    """An empty picture that shows a window in equal scales.

    Args:
        axes: of that size in inches.
        window: what it shows.
        width: in inches.
        height: in inches.
        floor: whether to draw a line at the lowest point.
    """
    x, y = window.centre
    half = window.per_inch / 2
    axes.set(xlim=(x - width * half, x + width * half), ylim=(y - height * half, y + height * half))
    picture_frame(axes)
    if floor:
        axes.axhline(window.floor, color="#dddddd", linewidth=0.7, zorder=0)


def draw_bar(axes: Axes, window: Window, height: float) -> None:
    """A length in the row's units, to the right of its last cell.

    Args:
        axes: the cell.
        window: what it shows.
        height: of the cell, in inches.
    """
    length = window.bar(0.4 * height)
    low, high = axes.get_ylim()
    share = length / (high - low)
    right = 1 + 0.1 / (axes.bbox.width / axes.figure.dpi)
    bar = Line2D([right, right], [0, share], transform=axes.transAxes, color=INK, linewidth=1.2,
                 clip_on=False, solid_capstyle="butt", gid="length")  # fmt: skip
    axes.add_line(bar)
    axes.annotate(f"{length:.4g}", (right, share / 2), xycoords="axes fraction", xytext=(3, 0),
                  textcoords="offset points", fontsize=7, color=QUIET, va="center")  # fmt: skip


class Dots(NamedTuple):
    """Weights of joints as dots: red for positive, blue for negative, larger for larger ones.

    Weights below a twentieth of the scale have no dot.

    Attributes:
        values: ``(actors, joints, T)``.
        scale: the magnitude at which colours and sizes saturate.
        cmap: a diverging colour map; None for blue over white to red.
    """

    values: np.ndarray
    scale: float
    cmap: str | Colormap | None = None

    def look(self, actor: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Colours ``(joints, 3)`` and areas ``(joints,)`` of an actor's dots."""
        values = self.values[actor, :, frame]
        share = np.clip(np.abs(values) / self.scale, 0, 1) if self.scale > 0 else 0 * values
        areas = _LARGEST * np.where(share < _LEAST, 0, share)
        return signed_colours(values, self.scale, self.cmap), areas


def read_weights(
    weights: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray] | None,
    sequences: Mapping[str, np.ndarray],
    cmap: str | Colormap | None = None,
    saturation: float | None = None,
) -> dict[str, Dots]:
    """Weights by row, all on one scale.

    Args:
        weights: ``(actors * joints, T)``, for the first row; or by row; None for none.
        sequences: ``(actors, joints, 3, T)`` by row.
        cmap: their colours.
        saturation: the magnitude at which they saturate; None for the robust maximum of all.

    Returns:
        The weights of the rows that have some.

    Raises:
        ValueError: for an unknown row, another shape, values that are not finite, or a magnitude
            that is not positive.
    """
    if saturation is not None and not (saturation > 0 and math.isfinite(saturation)):
        raise ValueError(f"saturation must be a positive number or None, got {saturation!r}")
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        weights = {next(iter(sequences)): weights}
    found = {}
    for name, values in weights.items():
        if name not in sequences:
            raise ValueError(f"weights are for {name!r}, but the rows are {', '.join(sequences)}")
        actors, joints, _, total = sequences[name].shape
        array = finite(values, f"weights[{name!r}]")
        if array.shape != (actors * joints, total):
            raise ValueError(
                f"weights[{name!r}] must be (actors * joints, T) = {(actors * joints, total)} as "
                f"the sequences are, got {array.shape}"
            )
        found[name] = array.reshape(actors, joints, total)
    scale = robust_maximum(*found.values()) if saturation is None else saturation
    return {name: Dots(values, scale, cmap) for name, values in found.items()}


class Puppet:
    """The actors of one sequence on one axes, in a pose that can be changed.

    Args:
        axes: where.
        body: joints and bones.
        points: ``(actors, T, joints, 3)``: right, up, near.
        seen: ``(actors, T)``.
        dots: weights of the joints; None for none.
        size: how thick lines are, 1 for a cell of 1.5 inches.
    """

    def __init__(
        self,
        axes: Axes,
        body: Body,
        points: np.ndarray,
        seen: np.ndarray,
        dots: Dots | None = None,
        size: float = 1.0,
    ) -> None:
        self._points, self._seen, self._dots = points, seen, dots
        self._bones = np.array(body.bones)
        self._inks = [np.array(body.bone_inks(actor)) for actor in range(len(points))]
        self._head = body.joints.index("head") if "head" in body.joints else None
        self._limbs: list[LineCollection] = []
        self._heads: list[PathCollection] = []
        self._marks: list[PathCollection] = []
        for actor in range(len(points)):
            limbs = LineCollection(
                [], linewidths=1.7 * size, capstyle="round", zorder=3 - 0.1 * actor,
                gid=f"actor {actor + 1}",
            )  # fmt: skip
            axes.add_collection(limbs, autolim=False)
            self._limbs.append(limbs)
            if self._head is not None:
                head = axes.scatter([], [], s=20 * size**2, color=INKS[actor % len(INKS)][0],
                                    linewidths=0, zorder=3 - 0.1 * actor, gid="head")  # fmt: skip
                self._heads.append(head)
            if dots is not None:
                mark = axes.scatter(
                    [], [], linewidths=0.3, edgecolors=LINE, zorder=4, gid="weights"
                )
                self._marks.append(mark)

    def pose(self, frame: int) -> list[Artist]:
        """Moves the actors.

        Args:
            frame: its number.

        Returns:
            What is to be drawn, from below to above.
        """
        shown: list[Artist] = []
        for actor in reversed(range(len(self._points))):
            here, visible = self._points[actor, frame], bool(self._seen[actor, frame])
            limbs = self._limbs[actor]
            nearest_last = np.argsort(here[self._bones, 2].mean(1), kind="stable")
            segments = here[self._bones[nearest_last], :2]
            limbs.set_segments(list(segments) if visible else [])
            limbs.set_color(list(self._inks[actor][nearest_last]))
            shown.append(limbs)
            if self._heads:
                self._heads[actor].set_offsets(
                    here[self._head, :2] if visible else np.empty((0, 2))
                )
                shown.append(self._heads[actor])
        for actor, mark in enumerate(self._marks):
            assert self._dots is not None
            visible = bool(self._seen[actor, frame])
            colours, areas = self._dots.look(actor, frame)
            mark.set_offsets(self._points[actor, frame, :, :2] if visible else np.empty((0, 2)))
            mark.set_facecolor(colours.tolist())
            mark.set_sizes(areas)
            mark.set_linewidth(np.where(areas > 0, 0.3, 0).tolist())
            shown.append(mark)
        return shown
