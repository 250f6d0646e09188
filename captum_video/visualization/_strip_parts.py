"""What strips share: the curve below them, and texts that fit the room they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from captum_video.visualization._plots import LINE, QUIET
from captum_video.visualization._skeleton_page import text_width

_SMALL = 7  # points


class Line(NamedTuple):
    """One number per frame, and how it is drawn."""

    values: np.ndarray
    colour: str
    style: Literal["-", "--"] = "-"


def inches(axes: Axes) -> tuple[float, float]:
    """How large an axes is.

    Args:
        axes: where it stands now.

    Returns:
        Its width and height in inches.
    """
    dpi = axes.figure.dpi
    return axes.bbox.width / dpi, axes.bbox.height / dpi


def fitting_size(text: str, size: float, room: float) -> float:
    """A font size at which a text fits.

    Args:
        text: one line or several.
        size: in points, the largest to use.
        room: inches across.

    Returns:
        The size in points, at least 1.
    """
    needed = max(text_width(line, size) for line in text.split("\n"))
    return max(1.0, size * min(1.0, room / needed)) if needed > 0 else size


def draw_lines(
    axes: Axes, lines: Mapping[str, Line], shown: Sequence[int], labels: Sequence[str]
) -> None:
    """Numbers over the frames of a clip, with a tick for each frame that is shown above.

    Args:
        axes: where.
        lines: by name, each with one number per frame.
        shown: the frames that have a tick.
        labels: one for each frame of the clip.
    """
    axes.axhline(0, color=LINE, linewidth=0.6, zorder=0)
    for name, line in lines.items():
        axes.plot(np.arange(len(labels)), line.values, color=line.colour, linestyle=line.style,
                  linewidth=1.3, marker="o", markersize=2.2, label=name)  # fmt: skip
    for index in shown:
        axes.axvline(index, color="#e4e4e4", linewidth=0.6, zorder=-1)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.margins(y=0.12)
    if not any(line.values.any() for line in lines.values()):
        axes.set_ylim(-1, 1)
    axes.set_xticks(list(shown), _apart(shown, labels, inches(axes)[0]))
    axes.tick_params(labelsize=_SMALL, length=2, colors=QUIET)
    beside = -0.04 / inches(axes)[0]  # not above the axes, where a legend may be
    axes.yaxis.get_offset_text().set(fontsize=_SMALL, color=QUIET, ha="right", x=beside)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.locator_params(axis="y", nbins=3)
    axes.set_xlabel("frame", fontsize=_SMALL, color=QUIET, labelpad=1)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(linewidth=0.5, color=LINE)


def _apart(shown: Sequence[int], labels: Sequence[str], width: float) -> list[str]:
    """The labels of ticks, left out where they would run into the one before."""
    texts = {}
    end = -np.inf
    for index in sorted(set(shown)):
        middle = (index + 0.5) / len(labels) * width
        half = text_width(labels[index], _SMALL) / 2
        if middle - half > end:
            texts[index] = labels[index]
            end = middle + half + 0.04
    return [texts.get(index, "") for index in shown]
