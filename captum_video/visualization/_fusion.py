"""The posterior of fusion units against depth (paper 3, Figures 2a to 6a)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from captum_video.visualization._fusion_panels import Panel, read_panels
from captum_video.visualization._plots import INK, LINE, QUIET, quiet_frame

#: colour, mark and tint; blue, orange and black differ for all eyes
_STYLES = {
    "S": ("#1f5fb4", "o", "#bcd3f0"),
    "ST": ("#b8560b", "s", "#f3cda8"),
    "S+ST": ("#222222", "^", "#cccccc"),
}
_NAMED = 24  # layers up to which their names are written
_SLOPE, _SLANT = 60, 0.145  # degrees; inches that a slanted name needs
_WIDTH, _PLOT, _HEIGHT, _CELL, _RIGHT = 10.2, 2.6, 2.1, 0.15, 0.3  # inches
_NOTHING = "if the data said nothing"


class _Plan(NamedTuple):
    """How panels are laid out, in inches, and how layers are named: by number without an angle."""

    columns: int
    plot: float
    left: float
    gap: float
    below: float
    angle: int | None

    @property
    def width(self) -> float:
        return self.left + self.columns * (self.plot + self.gap) - self.gap + _RIGHT


def fusion_probabilities(
    readouts: Any,
    *,
    strategy: Any = None,
    units: Sequence[str] | None = None,
    title: str | None = None,
    width: float | None = None,
) -> tuple[Figure, np.ndarray]:
    r"""Draws the probability of each fusion unit against depth (paper 3, Figures 2a to 6a).

    Layers lie along x, in the model's order; the height is the marginal posterior probability
    :math:`1 - p` that a layer keeps a unit, the paper's importance of it (equation S17). A dashed line
    marks 1/2. Where S+ST has no gate of its own, its probability is the product of those of S and ST;
    a note below says so.

    What the data did not decide does not lie at 1/2 but where the prior draws it: under
    :func:`captum_video.nn.fusion_regularizer` at
    :math:`\operatorname{sigmoid}(-k^2 \|w\|^2 / 2)`, after :meth:`captum_video.FusionPosterior.fit`
    at the sigmoid of minus the price. A readout whose attribute ``prior`` holds these probabilities
    has them drawn as short dashes in the units' colours; of several runs, their mean.

    Of several runs, such as one model trained from several seeds, the line is their mean, bars reach
    from the lowest to the highest, and faint lines are the single runs. The range is shown, and not an
    interval of the mean: a few probabilities that gather at 0 and 1 are far from normal.

    Args:
        readouts: what :meth:`captum_video.FusionPosterior.read` gives, or any mapping from layers to
            units to probabilities; or a sequence of them, for runs of one model; or a mapping from
            panels' names to either of these.
        strategy: what each layer keeps, drawn as cells below the axis, a row for S and one for ST: a
            :class:`captum_video.nn.Strategy`, or a mapping from layers to ``"s"``, ``"st"``,
            ``"s+st"`` or ``"none"``; or a mapping from panels' names to either of these.
        units: which units are shown; None for all.
        title: a line above all.
        width: of the figure, in inches; None for what the panels need. Panels that do not fit beside
            each other go below.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(panels,)``, in reading order.

    Raises:
        ValueError: nothing to show, readouts of one panel with different layers, values or priors that
            are no probabilities, unknown units, a strategy for other layers, or a width that is too
            small.
    """
    panels, shown = read_panels(readouts, strategy, units)
    plan = _plan(panels, width)
    figure, axes, strips = _layout(panels, plan, shown, title)
    for number, (one, strip, panel) in enumerate(zip(axes, strips, panels, strict=True)):
        first = number % plan.columns == 0
        _draw(one, panel, shown, plan.plot)
        _finish(one, first=first)
        one.set_title("\n".join(_head(panel, plan)), fontsize=9.5, color=INK, loc="left", pad=6)
        if panel.kept is not None:
            _draw_strip(strip, panel.kept, plan.plot, first=first)
            one.tick_params(bottom=False, labelbottom=False)
        _name_layers(one if panel.kept is None else strip, panel, plan)
    return figure, axes


def _plan(panels: Sequence[Panel], width: float | None) -> _Plan:
    """Finds room: for names side by side, or else for slanted ones, or else for numbers."""
    most = max(len(panel.layers) for panel in panels)
    ideal = max(4.4 if len(panels) == 1 else _PLOT, 0.16 * most)
    sizes = [_inches([_short(layer) for layer in panel.layers], 7.5) for panel in panels]
    longest = max(map(max, sizes))
    cosine, sine = math.cos(math.radians(_SLOPE)), math.sin(math.radians(_SLOPE))
    over = max(w * cosine - (i + 0.5) * _SLANT for own in sizes for i, w in enumerate(own))

    def plan(over: float, below: float, angle: int | None) -> _Plan:
        left, gap = max(0.78, over + 0.08), max(0.42, over + 0.12)
        room = (width or _WIDTH) - left - _RIGHT
        columns = max(1, min(len(panels), int((room + gap) / (ideal + gap))))
        columns = math.ceil(len(panels) / math.ceil(len(panels) / columns))
        plot = ideal if width is None else (room - (columns - 1) * gap) / columns
        return _Plan(columns, plot, left, gap, below, angle)

    flat, slanted = plan(0, 0.22, 0), plan(over, 0.2 + longest * sine, _SLOPE)
    if flat.plot / most > longest + 0.08:
        found = flat
    elif most <= _NAMED and slanted.plot / most >= _SLANT:
        found = slanted
    else:
        found = plan(0, 0.42, None)
    if found.plot < 1.4:
        least = found.width - found.plot + 1.4
        raise ValueError(f"width must be at least {least:.1f} inches for this figure, got {width}")
    return found


def _inches(texts: Sequence[str], size: float) -> list[float]:
    """How wide words are."""
    renderer = FigureCanvasAgg(Figure(dpi=100)).get_renderer()
    font = FontProperties(size=size)
    return [renderer.get_text_width_height_descent(t, font, False)[0] / 100 for t in texts]


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:12]}…{name[-23:]}"


def _layout(
    panels: Sequence[Panel], plan: _Plan, units: Sequence[str], title: str | None
) -> tuple[Figure, np.ndarray, np.ndarray]:
    """Axes, and others below for strategies; title, legend and notes."""
    head = 0.1 + 0.16 * max(len(_head(panel, plan)) for panel in panels)
    lines = textwrap.wrap(title or "", int(plan.width / 0.085))
    notes = textwrap.wrap(_notes(panels, units), int((plan.width - 0.2) / 0.066))
    strip = 2 * _CELL + 0.09 if any(panel.kept is not None for panel in panels) else 0
    legend = _legend(panels, plan, units)
    top, between = 0.12 + 0.2 * (len(lines) + legend[-1][0]) + 0.26 + head, head + 0.12
    step = _HEIGHT + strip + plan.below + between
    rows = math.ceil(len(panels) / plan.columns)
    width, height = plan.width, top + rows * step - between + 0.06 + 0.155 * len(notes)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes, strips = np.empty(len(panels), dtype=object), np.empty(len(panels), dtype=object)
    for number, panel in enumerate(panels):
        row, column = divmod(number, plan.columns)
        left, low = plan.left + column * (plan.plot + plan.gap), height - top - _HEIGHT - row * step
        for kind, down, tall in ((axes, low, _HEIGHT), (strips, low - strip, 2 * _CELL)):
            if kind is axes or panel.kept is not None:
                place = left / width, down / height, plan.plot / width, tall / height
                kind[number] = figure.add_axes(place)
    for number, line in enumerate(lines):
        up = 1 - (0.1 + 0.2 * number) / height
        figure.text(0.1 / width, up, line, fontsize=10.5, color=INK, va="top")
    for number, line in enumerate(reversed(notes)):
        down = (0.08 + 0.155 * number) / height
        figure.text(0.1 / width, down, line, fontsize=7.5, color=QUIET)
    for row, x, handles in legend:
        figure.legend(
            handles=handles, fontsize=8.5, frameon=False, labelcolor=INK, ncols=len(handles),
            bbox_to_anchor=(x / width, 1 - (0.1 + 0.2 * (len(lines) + row)) / height), borderpad=0,
            loc="upper left", borderaxespad=0, columnspacing=1.5,
        )  # fmt: skip
    return figure, axes, strips


def _legend(
    panels: Sequence[Panel], plan: _Plan, units: Sequence[str]
) -> list[tuple[int, float, list[Line2D]]]:
    """What the legend has: row, inches from the left, and handles; the prior where there is room."""
    handles = [
        Line2D([], [], color=_STYLES[u][0], marker=_STYLES[u][1], markersize=5, label=u)
        for u in units
    ]
    # a line of 2 em, 0.8 em to the text and 1.5 em to the next
    *sizes, last = (size + 4.3 * 8.5 / 72 for size in _inches([*units, _NOTHING], 8.5))
    left = min(plan.left, plan.width - sum(sizes))
    if all(np.isnan(panel.prior).all() for panel in panels):
        return [(0, left, handles)]
    dash: dict[str, Any] = {"marker": "_", "markersize": 9, "markeredgewidth": 1.3}
    prior = [Line2D([], [], color=QUIET, linestyle="none", label=_NOTHING, **dash)]
    beside = left + sum(sizes) + last < plan.width
    place = (0, left + sum(sizes)) if beside else (1, min(left, plan.width - last))
    return [(0, left, handles), (*place, prior)]


def _head(panel: Panel, plan: _Plan) -> list[str]:
    """What stands above a panel, line by line."""
    runs = len(panel.values)
    own = f"{panel.name} ({runs} runs)" if panel.name else f"{runs} runs"
    return textwrap.wrap(own if runs > 1 else panel.name, max(8, int(plan.plot / 0.085)))


def _notes(panels: Sequence[Panel], units: Sequence[str]) -> str:
    """What the picture does not say by itself."""
    notes = []
    if any(len(panel.values) > 1 for panel in panels):
        notes.append("Line: mean over runs; bars: lowest and highest run; faint: single runs.")
    products = [panel.name for panel in panels if panel.product]
    if products and "S+ST" in units:
        of = "" if len(products) == len(panels) else f" of {', '.join(products)}"
        notes.append(f"S+ST{of} is S times ST, both kept.")
    return "  ".join(notes)


def _draw(axes: Axes, panel: Panel, units: Sequence[str], plot: float) -> None:
    """A line, and runs and their range, for each unit, side by side."""
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    depth = np.arange(1, len(panel.layers) + 1)
    axes.set_xlim(0.5, len(depth) + 0.5)
    size = min(5.0, max(2.5, 72 * plot / len(depth) / 3.2))
    for k, unit in enumerate(units):
        colour, mark, _ = _STYLES[unit]
        x, values = depth + 0.16 * (k - (len(units) - 1) / 2), panel.values[:, :, k]
        if len(values) > 1:
            axes.plot(x, values.T, color=colour, alpha=0.22, linewidth=0.6, zorder=2)
            axes.vlines(
                x, values.min(0), values.max(0), color=colour, alpha=0.55, linewidth=size / 3
            )
        axes.plot(
            x, panel.prior[:, k], color=colour, marker="_", markersize=1.8 * size, linestyle="none",
            markeredgewidth=1.3, label=f"_prior of {unit}", zorder=3, clip_on=False,
        )  # fmt: skip
        axes.plot(
            x, values.mean(0), color=colour, marker=mark, markersize=size, linewidth=1.3, label=unit,
            zorder=4, clip_on=False, markeredgecolor="white", markeredgewidth=0.4,
        )  # fmt: skip


def _finish(axes: Axes, *, first: bool) -> None:
    """Axes from 0 to 1, and what is written about them."""
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "1/4", "1/2", "3/4", "1"])
    axes.grid(axis="y", color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    quiet_frame(axes)
    if first:
        axes.set_ylabel("probability of being kept, 1 - p", fontsize=8, color=QUIET)
    else:
        axes.tick_params(labelleft=False)


def _draw_strip(axes: Axes, kept: Sequence[tuple[bool, bool]], plot: float, *, first: bool) -> None:
    """A row of cells for S and one for ST, filled and lettered where that is kept."""
    cell = plot / len(kept)
    fits = max(_inches(["ST"], 6.5)) + 0.02 <= cell
    for row, unit in enumerate(("S", "ST")):
        for column, pair in enumerate(kept, start=1):
            face = _STYLES[unit][2] if pair[row] else "white"
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row), 1, 1, facecolor=face, edgecolor=LINE, linewidth=0.5,
                    clip_on=False,
                )
            )  # fmt: skip
            if pair[row] and fits:
                axes.text(
                    column, row + 0.54, unit, fontsize=6.5, color=INK, ha="center", va="center"
                )
    axes.set(xlim=(0.5, len(kept) + 0.5), ylim=(2, 0))
    quiet_frame(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([0.5, 1.5], ["S", "ST"])
    axes.tick_params(axis="y", length=0, labelsize=7)
    if first:
        axes.set_ylabel("strategy", fontsize=7.5, color=QUIET, rotation=0, ha="right", va="center")


def _name_layers(axes: Axes, panel: Panel, plan: _Plan) -> None:
    count = len(panel.layers)
    if plan.angle is not None:
        names = [_short(layer) for layer in panel.layers]
        align = "right" if plan.angle else "center"
        axes.set_xticks(range(1, count + 1), names, rotation=plan.angle, ha=align)
        return
    steps = (1, 5, 10, 20, 50, 100, 200, 500)
    step = next((s for s in steps if s * plan.plot / count >= 0.36), 1000)
    axes.set_xticks(sorted({1, *range(step, count + 1, step)}))
    axes.set_xlabel("layer, from the input", fontsize=8, color=QUIET)
