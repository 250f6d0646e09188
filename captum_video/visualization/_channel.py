"""The combined explanation of a channel: where, what and which motion, as in paper 1, Figure 1B."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from captum_video.visualization._overlay import overlay
from captum_video.visualization._plots import (
    INK,
    LINE,
    QUIET,
    centre_plane,
    picture_frame,
    quiet_frame,
    stretched,
    symmetric_ticks,
    unit_name,
)

_PATH = LinearSegmentedColormap.from_list("path", ["#1f5fb4", "#8a4f9e", "#d0211c"])
_TITLES = {
    "motion": ("scale", "rotation, ° clockwise", "translation, blue to red"),
    "kernel": ("scale of the\nkernel's sampling", "rotation of the kernel's\nsampling, ° clockwise",
               "translation of the kernel's\nsampling, blue to red"),
}  # fmt: skip
_LUMA = np.array([0.299, 0.587, 0.114])
_PICTURE, _PLOT, _GAP = 1.5, 1.45, 0.62  # inches
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.55, 0.25, 0.45, 0.5
_LEAST = (0.05, 2.0, 0.25)  # how far axes reach at least: scale, degrees, pixels


class Explained(Protocol):
    """What is drawn; :class:`captum_video.attr.ChannelExplanation` is of this kind."""

    @property
    def layer(self) -> str: ...
    @property
    def channel(self) -> int: ...
    @property
    def clip(self) -> Tensor: ...
    @property
    def saliency(self) -> Tensor: ...
    @property
    def peak_frame(self) -> int: ...
    @property
    def maximised(self) -> Tensor: ...
    @property
    def maximised_frame(self) -> int: ...
    @property
    def motion(self) -> Any: ...
    @property
    def note(self) -> str: ...


class _Track(NamedTuple):
    """One channel's parameters from slice to slice, the identity first; each ``(steps + 1,)``."""

    scale: np.ndarray
    rotation: np.ndarray
    x: np.ndarray
    y: np.ndarray


def channel_figure(
    explanations: Explained | Sequence[Explained],
    *,
    columns: int | None = None,
    maximised_frames: Sequence[int] | None = None,
    outlier_perc: float = 2.0,
) -> tuple[Figure, np.ndarray]:
    """Draws the combined explanation of one or several channels.

    Above, the frame at which the channel was most active, in grey, with the channel's saliency (the
    largest gradient magnitude of all colours) in red; beside it, frames of the clip that activates
    the channel most. Below, its temporal parameters cumulated from slice to slice: scale, rotation
    and the path of the translation from blue to red, for which down on the screen is down. All
    channels share these axes. With ``describes="kernel"`` they are named as the kernel's sampling.

    Args:
        explanations: from :func:`captum_video.attr.explain_channel`.
        columns: how many channels stand side by side; None for up to two.
        maximised_frames: which frames of the maximised clip to show; None for as many as the
            kernel has slices (three without motion, at most four), around its most active one; as
            far apart as slices are if the motion is read in ``units="input"``.
        outlier_perc: percentage of saliency that may saturate, see
            :func:`~captum_video.visualization.robust_maximum`.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(channels, 5)``: saliency,
        maximised, scale, rotation, translation.

    Raises:
        ValueError: for no explanation, a frame that is not there, values that are not finite, or
            motions of different kinds.

    Warns:
        UserWarning: if a saliency is zero everywhere: the plain frame is shown.
    """
    items = list(explanations) if isinstance(explanations, Sequence) else [explanations]
    if not items:
        raise ValueError("explanations must hold at least one, got none")
    if columns is None:
        columns = min(2, len(items))
    if not isinstance(columns, int) or isinstance(columns, bool) or columns < 1:
        raise ValueError(f"columns must be a positive integer or None, got {columns!r}")
    strips = [_strip(item, maximised_frames) for item in items]
    _check_alike(items)
    tracks = [None if item.motion is None else _track(item) for item in items]
    shape = items[0].clip.shape
    shown = max(len(frames) for frames in strips)
    figure, axes = _layout(len(items), min(columns, len(items)), shown, shape[3] / shape[2],
                           any(track is not None for track in tracks))  # fmt: skip
    limits = _limits([track for track in tracks if track is not None])
    for item, frames, track, row in zip(items, strips, tracks, axes, strict=True):
        _draw_saliency(row[0], item, outlier_perc)
        _draw_maximised(row[1], item, frames)
        _draw_title(row[0], item, row[1].bbox.x1 - row[0].bbox.x0)
        if track is None:
            _draw_note(row[2:], item.note)
            continue
        scale, rotation, _ = _TITLES[item.motion.describes]
        _draw_course(row[2], track.scale, scale, 1.0, limits[0])
        _draw_course(row[3], track.rotation, rotation, 0.0, limits[1])
        _draw_path(row[4], track, item.motion, limits[2])
    return figure, axes


def _track(item: Explained) -> _Track:
    """The channel's course, the identity first."""
    total = item.motion.cumulative
    starts = {"scale": 1.0, "rotation": 0.0, "translation_x": 0.0, "translation_y": 0.0}
    channels = total.scale.shape[1]
    if not 0 <= item.channel < channels:
        raise ValueError(
            f"motion of layer {item.motion.layer!r} has {channels} channels, but the explained "
            f"channel is {item.channel}"
        )
    columns = []
    for name, start in starts.items():
        values = getattr(total, name)[:, item.channel].detach().cpu().double().numpy()
        columns.append(np.concatenate([[start], values]))
    return _Track(*columns)


def _limits(tracks: list[_Track]) -> tuple[float, float, float]:
    """How far from the identity the axes reach, the same for all channels."""

    def reach(least: float, *deviations: np.ndarray) -> float:
        found = np.abs(np.concatenate([np.zeros(1), *deviations]))
        return max(least, 1.15 * float(np.nanmax(found)))

    return (
        reach(_LEAST[0], *(track.scale - 1 for track in tracks)),
        reach(_LEAST[1], *(track.rotation for track in tracks)),
        reach(_LEAST[2], *(part for track in tracks for part in (track.x, track.y))),
    )


def _check_alike(items: list[Explained]) -> None:
    kinds = {
        (item.motion.units, item.motion.describes, item.motion.y_axis)
        for item in items
        if item.motion is not None
    }
    if len(kinds) > 1:
        raise ValueError(
            "explanations must agree in their motion's (units, describes, y_axis) to share axes, "
            f"got {sorted(kinds)}"
        )


def _strip(item: Explained, wanted: Sequence[int] | None) -> list[int]:
    """Which frames of the maximised clip to show."""
    length = item.maximised.shape[1]
    if wanted is not None:
        frames = list(wanted)
        if not frames or min(frames) < 0 or max(frames) >= length:
            raise ValueError(
                f"maximised_frames must be frame numbers from 0 to {length - 1}, got {frames}"
            )
        return frames
    slices = 3 if item.motion is None else item.motion.step.scale.shape[0] + 1
    count = min(slices, length, 4)
    apart = 1
    if item.motion is not None and item.motion.units == "input" and count > 1:
        apart = min(max(round(item.motion.frames_per_step), 1), (length - 1) // (count - 1))
    span = (count - 1) * apart + 1
    first = min(max(item.maximised_frame - span // 2, 0), length - span)
    return list(range(first, first + span, apart))


def _layout(
    count: int, columns: int, shown: int, ratio: float, plots: bool
) -> tuple[Figure, np.ndarray]:
    """Empty axes, placed by inches; pictures keep the clip's proportions."""
    rows = -(-count // columns)
    plots_width = 3 * _PLOT + 2 * _GAP
    needed = (1 + shown) * _PICTURE + 0.25
    across = max(plots_width, needed)
    unit = (across - 0.25) / (1 + shown)  # the pictures fill the block
    tall = min(unit / ratio, 2.4)
    wide = tall * ratio
    lower = _PLOT + _BOTTOM + 0.3 if plots else 0.35
    block_width = _LEFT + across + _RIGHT
    block_height = _TOP + tall + 0.3 + lower
    width, height = columns * block_width, rows * block_height
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = np.empty((count, 5), dtype=object)
    for number in range(count):
        x = (number % columns) * block_width + _LEFT
        y = height - (number // columns + 1) * block_height

        def place(left: float, bottom: float, w: float, h: float) -> Axes:
            return figure.add_axes((left / width, bottom / height, w / width, h / height))

        up = y + lower + 0.3
        indent = (across - 0.25 - (1 + shown) * wide) / 2
        axes[number, 0] = place(x + indent, up, wide, tall)
        axes[number, 1] = place(x + indent + wide + 0.25, up, shown * wide, tall)
        course = (across - _PLOT - 2 * _GAP) / 2
        for k, long in enumerate((course, course, _PLOT)):
            left = x + k * (course + _GAP)
            axes[number, 2 + k] = (
                place(left, y + _BOTTOM, long, _PLOT) if plots else place(x, y + 0.05, across, 0.25)
            )
    return figure, axes


def _draw_saliency(axes: Axes, item: Explained, outlier_perc: float) -> None:
    """The peak frame in grey with the saliency's magnitude."""
    length = item.clip.shape[1]
    if not 0 <= item.peak_frame < length:
        raise ValueError(
            f"peak_frame must be a frame from 0 to {length - 1} of the clip, got {item.peak_frame}"
        )
    pictures = stretched(item.clip, "clip")
    grey = pictures @ _LUMA if pictures.shape[3] == 3 else pictures.mean(3)
    frames = np.repeat(np.rint(255 * grey).astype(np.uint8)[..., None], 3, axis=3)
    magnitude = item.saliency.detach().abs().amax(0)
    if bool((magnitude == 0).all()):
        warnings.warn(
            f"the saliency of channel {item.channel} of layer {item.layer!r} is zero everywhere: "
            "the plain frame is shown",
            stacklevel=3,
        )
    else:
        frames = overlay(frames, magnitude, outlier_perc=outlier_perc)
        _draw_box(axes, magnitude[item.peak_frame].cpu().numpy() > 0)
    axes.imshow(frames[item.peak_frame], interpolation="nearest")
    picture_frame(axes)
    axes.set_xlabel(f"saliency, frame {item.peak_frame}", fontsize=8, color=QUIET, labelpad=4)


def _draw_title(axes: Axes, item: Explained, width: float) -> None:
    """Which channel this is, in at most that many dots."""
    words = f"{item.layer}, channel {item.channel}"
    if item.motion is not None and item.motion.explained is not None:
        share = float(item.motion.explained[item.channel])
        words += f": fit, explains {100 * share:.0f} % of the kernel"
    text = axes.set_title(words, fontsize=10, color=INK, loc="left", pad=8)
    needed = text.get_window_extent().width
    if needed > width:
        text.set_fontsize(10 * width / needed)


def _draw_box(axes: Axes, seen: np.ndarray) -> None:
    """A thin box around a small part of the frame that alone was seen."""
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    if 0 < len(rows) * len(columns) < seen.size / 2:
        corner = columns[0] - 0.5, rows[0] - 0.5
        size = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#d0211c", linewidth=0.9))


def _draw_maximised(axes: Axes, item: Explained, frames: list[int]) -> None:
    """Frames of the maximised clip side by side, with hairs of white between them."""
    pictures = stretched(item.maximised, "maximised")[frames]
    if pictures.shape[3] != 3:
        pictures = pictures.mean(3, keepdims=True).repeat(3, axis=3)
    width = pictures.shape[2]
    hair = np.ones((pictures.shape[1], max(1, width // 40), 3))
    parts = [piece for picture in pictures for piece in (hair, picture)][1:]
    axes.imshow(np.concatenate(parts, axis=1), interpolation="nearest")
    picture_frame(axes)
    for side in axes.spines.values():
        side.set_visible(False)
    numbers = f"frame{'s' * (len(frames) > 1)} {', '.join(map(str, frames))}"
    axes.set_xlabel(f"what activates it most, {numbers}", fontsize=8, color=QUIET, labelpad=4)


def _draw_course(axes: Axes, values: np.ndarray, name: str, identity: float, limit: float) -> None:
    """One parameter from slice to slice."""
    slices = np.arange(1, len(values) + 1)
    axes.axhline(identity, color=LINE, linewidth=0.8, zorder=0)
    axes.plot(slices, values, color=QUIET, linewidth=1.2, zorder=1)
    axes.scatter(slices, values, c=_colours(len(values)), s=24, zorder=2)
    axes.set_xlim(0.6, len(values) + 0.4)
    axes.set_ylim(identity - limit, identity + limit)
    axes.set_yticks(symmetric_ticks(identity, limit))
    axes.set_xlabel("kernel slice", fontsize=8, color=QUIET, labelpad=2)
    axes.set_title(name, fontsize=8.5, color=INK, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    quiet_frame(axes)


def _draw_path(axes: Axes, track: _Track, motion: Any, limit: float) -> None:
    """The translation in the plane, from blue to red; hollow at the start, an arrow at the end."""
    axes.axhline(0, color=LINE, linewidth=0.8, zorder=0)
    axes.axvline(0, color=LINE, linewidth=0.8, zorder=0)
    colours = _colours(len(track.x))
    for k in range(len(track.x) - 1):
        there, here = ((float(track.x[j]), float(track.y[j])) for j in (k + 1, k))
        if not np.isfinite((there, here)).all():
            break
        last = k == len(track.x) - 2
        style = {"arrowstyle": "-|>,head_width=0.22,head_length=0.4" if last else "-",
                 "color": colours[k + 1], "linewidth": 2.0, "shrinkA": 0, "shrinkB": 0}  # fmt: skip
        axes.annotate("", there, here, arrowprops=style, zorder=2)
    axes.scatter(
        track.x[:-1], track.y[:-1], s=24, zorder=3, edgecolors=colours[:-1], linewidths=1.4,
        facecolors=["white", *colours[1:-1]],
    )  # fmt: skip
    centre_plane(axes, limit, motion.y_axis)
    axes.set_title(_TITLES[motion.describes][2], fontsize=8.5, color=INK, pad=5)
    unit = f"{unit_name(motion.units)}, right and {motion.y_axis}"
    axes.set_xlabel(unit, fontsize=8, color=QUIET, labelpad=2)
    quiet_frame(axes)


def _draw_note(axes: Sequence[Axes], note: str) -> None:
    """Words where the parameters would be."""
    for one in axes:
        one.set_axis_off()
    axes[0].text(0, 0.98, note, transform=axes[0].transAxes, fontsize=8, color=QUIET, va="top")


def _colours(count: int) -> list[str]:
    return [to_hex(_PATH(k / max(count - 1, 1))) for k in range(count)]
