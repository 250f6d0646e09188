"""Attribution over time: one number per frame, and which frames carry most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_hex
from matplotlib.lines import Line2D

from captum_video.visualization._colour import SIGNED, colour_map, is_ours
from captum_video.visualization._plots import INK
from captum_video.visualization._skeleton_page import text_width
from captum_video.visualization._strip_parts import Line, draw_lines, inches

_SIZE, _NAMED = 7, 6.5  # points: of the legend, of a marked frame's name
_ABOVE = 0.16  # inches: what a name needs beyond its ring
Mark = tuple[int, float, str]  # frame, value, colour
_WORDS = {
    "positive": "positive attribution",
    "negative": "negative attribution",
    "absolute_value": "magnitude of attribution",
    "all": "attribution",
}


class _Box(NamedTuple):
    """A rectangle by its centre and half its size, in inches."""

    x: float
    y: float
    across: float
    up: float

    def meets(self, other: _Box) -> bool:
        """Whether they overlap."""
        beside = abs(self.x - other.x) >= self.across + other.across
        return not (beside or abs(self.y - other.y) >= self.up + other.up)


def strongest(values: np.ndarray, top: int) -> list[int]:
    """The frames that carry most.

    Args:
        values: one number per frame.
        top: how many frames at most.

    Returns:
        Frame numbers, the largest magnitude first and the earlier first among equals; none with 0.
    """
    order = np.argsort(-np.abs(values), kind="stable")[:top]
    return [int(frame) for frame in order if values[frame] != 0]


def draw_curve(
    axes: Axes,
    curves: Mapping[str, np.ndarray],
    shown: Sequence[int],
    labels: Sequence[str],
    top: int,
    cmap: str | Colormap | None,
) -> None:
    """One line for each sign, rings at its strongest frames, their names.

    Args:
        axes: where.
        curves: by sign, one number for each frame of the clip.
        shown: the frames that have a tick.
        labels: what each frame is called.
        top: how many frames of each line are marked.
        cmap: the pictures' colour map; if it is one of ours, lines take its colours.
    """
    lines = {sign: _line(sign, values, cmap) for sign, values in curves.items()}
    draw_lines(axes, lines, shown, labels)
    handles: list[Line2D] = []
    marks: list[Mark] = []
    for sign, line in lines.items():
        found = strongest(line.values, top)
        axes.plot(found, line.values[found], linestyle="none", marker="o", markersize=5.5,
                  markerfacecolor="none", markeredgecolor=line.colour, gid=f"top {sign}")  # fmt: skip
        marks += [(frame, float(line.values[frame]), line.colour) for frame in found]
        words = _words(sign, [labels[frame] for frame in found], inches(axes)[0] - 0.35)
        handles.append(Line2D([], [], color=line.colour, linestyle=line.style, label=words))
    _room_for_names(axes, marks)
    _name(axes, marks, labels)
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, borderpad=0.1,
        frameon=False, fontsize=_SIZE, labelcolor=INK, handlelength=1.5, labelspacing=0.25,
    )  # fmt: skip


def _line(sign: str, values: np.ndarray, cmap: str | Colormap | None) -> Line:
    ours = colour_map(cmap) if is_ours(cmap) else SIGNED
    inks = {"positive": to_hex(ours(0.85)), "negative": to_hex(ours(0.15)), "all": INK}
    if sign == "absolute_value":
        return Line(values, "#1b7f79", "--")
    return Line(values, inks[sign])


def _words(sign: str, names: Sequence[str], room: float) -> str:
    """What a line is and which frames carry most, as many as there is room for."""
    start = f"{_WORDS[sign]}, sum per frame"
    for count in range(len(names), 0, -1):
        more = ", ..." if count < len(names) else ""
        text = f"{start}; most at {', '.join(names[:count])}{more}"
        if text_width(text, _SIZE) <= room:
            return text
    return start


def _room_for_names(axes: Axes, marks: Sequence[Mark]) -> None:
    """Widens the curve's range so that names above and below its rings lie within."""
    low, high = axes.get_ylim()
    height = inches(axes)[1]
    above = min(_ABOVE, height / 4) if any(value >= 0 for _, value, _ in marks) else 0
    below = min(_ABOVE, height / 4) if any(value < 0 for _, value, _ in marks) else 0
    per_inch = (high - low) / (height - above - below)
    axes.set_ylim(low - below * per_inch, high + above * per_inch)


def _name(axes: Axes, marks: Sequence[Mark], labels: Sequence[str]) -> None:
    """Writes a frame's name at its ring where it runs into no other name or ring."""
    width, height = inches(axes)
    low, high = axes.get_ylim()

    def at(frame: int, value: float) -> tuple[float, float]:
        return (frame + 0.5) / len(labels) * width, (value - low) / (high - low) * height

    taken = [_Box(*at(frame, value), 0.045, 0.045) for frame, value, _ in marks]
    for frame, value, colour in marks:
        x, y = at(frame, value)
        half = text_width(labels[frame], _NAMED) / 2
        x = min(max(x, half), max(width - half, half))
        box = _Box(x, y + (0.12 if value >= 0 else -0.12), half, 0.6 * _NAMED / 72)
        inside = box.up <= box.y <= height - box.up
        if not inside or any(box.meets(other) for other in taken):
            continue
        taken.append(box)
        axes.text(box.x / width, box.y / height, labels[frame], transform=axes.transAxes,
                  fontsize=_NAMED, color=colour, ha="center", va="center", gid="name")  # fmt: skip
