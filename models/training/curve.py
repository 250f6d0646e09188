"""The learning curve of a run, drawn from its log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from captum_video._core.files import written_whole
from models.training.log import is_number

#: what a line has beside the scores
NOT_SCORES = (
    "step", "epoch", "loss", "validation_loss", "lr", "waiting", "step_seconds", "seconds",
)  # fmt: skip
#: of Okabe and Ito's palette, told apart by all; marker and line differ too
_LOSSES: dict[str, dict[str, Any]] = {
    "loss": {"label": "training", "color": "#0072B2", "marker": "o", "linestyle": "-"},
    "validation_loss": {
        "label": "validation",
        "color": "#D55E00",
        "marker": "s",
        "linestyle": "--",
    },
}
_SCORE_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS, _DASHES = "o^sDv", ("-", "--", "-.", ":")
#: with more points than this, only those without a neighbour are marked
_MARKED = 60
#: losses that span more than this are drawn on a logarithmic axis
_DECADES = 100.0


def draw_curve(
    lines: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    best_step: int | None = None,
    unit: str | None = None,
) -> Path:
    """Draws the learning curve into a file, whole or not at all.

    Args:
        lines: those of the run's log.
        path: where to; the suffix names the format, such as ``.png``, ``.svg`` or ``.pdf``.
        title: what stands above the picture.
        best_step: the step whose weights were kept, if one is to be marked.
        unit: as for :func:`learning_curve`.

    Returns:
        The path.

    Raises:
        ValueError: the suffix names no format that matplotlib writes.
    """
    figure = learning_curve(lines, title=title, best_step=best_step, unit=unit)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"path must end in one of .{', .'.join(sorted(known))}, got {path}.")
    with written_whole(path) as part:
        figure.savefig(part, dpi=130)
    return path


def learning_curve(
    lines: Sequence[Mapping[str, Any]],
    *,
    title: str,
    best_step: int | None = None,
    unit: str | None = None,
) -> Figure:
    """The losses, the scores and the learning rate against the step.

    Names that a line lacks are passed over; ``None`` and numbers that are not finite break a curve.

    Args:
        lines: those of a run's log, in order, each with ``step``.
        title: what stands above the picture.
        best_step: the step whose weights were kept, if one is to be marked.
        unit: the scores'; ``"%"`` for shares, ``None`` for shares where all scores lie in 0..1.

    Returns:
        A panel for losses, one for scores and one for the learning rate, as far as the lines have
        them; at least the first.
    """
    scores = _names(lines)
    rate = any(is_number(line.get("lr")) for line in lines)
    heights = [3.0, *([3.0] if scores else []), *([1.1] if rate else [])]
    figure = Figure(figsize=(7.4, 1.2 + 0.75 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    )
    figure.suptitle(title, fontsize=11)
    _losses(panels[0], lines)
    if scores:
        _scores(panels[1], lines, scores, unit)
    if rate:
        _curve(panels[-1], lines, "lr", color="0.35", linewidth=0.9, marker=".")
        panels[-1].set_ylabel("learning\nrate")
        panels[-1].set_ylim(bottom=0)
        panels[-1].ticklabel_format(axis="y", scilimits=(-2, 3))
    for axes in panels:
        if best_step is not None:
            # named in the first legend alone
            label = f"kept: step {best_step:,}" if axes is panels[0] else None
            axes.axvline(
                best_step, color="0.3", linestyle=":", linewidth=1.2, label=label, zorder=1
            )
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[: 2 if scores else 1]:
        if axes.get_legend_handles_labels()[0]:
            # beside the panel, where no curve runs
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False)
    last = max((line["step"] for line in lines), default=1)
    panels[0].set_xlim(0, 1.02 * max(last, best_step or 0, 1))
    panels[-1].set_xlabel("optimiser step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
    _epochs(panels[0], lines)
    return figure


def _names(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scores that the lines have, in their order."""
    found = dict.fromkeys(key for line in lines for key, value in line.items() if is_number(value))
    return [key for key in found if key not in NOT_SCORES]


def _losses(axes: Axes, lines: Sequence[Mapping[str, Any]]) -> None:
    """Training and validation loss."""
    values: list[float] = []
    for key, style in _LOSSES.items():
        values += [v for v in _curve(axes, lines, key, **style) if math.isfinite(v)]
    if values and min(values) > 0 and max(values) > _DECADES * min(values):
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    if not values:
        axes.text(0.5, 0.5, "no loss was logged", transform=axes.transAxes, ha="center")


def _scores(
    axes: Axes, lines: Sequence[Mapping[str, Any]], names: Sequence[str], unit: str | None
) -> None:
    """The validation's scores."""
    values = [line[key] for line in lines for key in names if is_number(line.get(key))]
    if unit is None and all(0 <= value <= 1 for value in values):
        unit = "%"
    for number, key in enumerate(names):
        _curve(
            axes,
            lines,
            key,
            100.0 if unit == "%" else 1.0,
            label=key,
            color=_SCORE_COLOURS[number % len(_SCORE_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle=_DASHES[number % len(_DASHES)],
            clip_on=unit != "%",
        )
    axes.set_ylabel(f"validation score{f', {unit}' if unit else ''}")
    if unit == "%":
        axes.set_ylim(0, 100)


def _curve(
    axes: Axes, lines: Sequence[Mapping[str, Any]], key: str, factor: float = 1.0, **style: Any
) -> list[float]:
    """Draws one curve, if the lines have it; returns its values."""
    have = [line for line in lines if key in line]
    steps = [line["step"] for line in have]
    values = [factor * line[key] if is_number(line[key]) else math.nan for line in have]
    if any(map(math.isfinite, values)):
        gaps = [True, *(math.isnan(value) for value in values), True]
        alone = [i for i in range(len(values)) if gaps[i] and gaps[i + 2]]
        style = {"markersize": 3.5, "linewidth": 1.4, **style}
        axes.plot(steps, values, markevery=alone if len(values) > _MARKED else None, **style)
    return values


def _epochs(axes: Axes, lines: Sequence[Mapping[str, Any]]) -> None:
    """A second axis in epochs, if the lines have them."""
    pairs = [
        (line["epoch"], line["step"])
        for line in lines
        if is_number(line.get("epoch")) and line["epoch"] > 0 and line["step"] > 0
    ]
    if pairs:
        share = pairs[-1][0] / pairs[-1][1]
        second = axes.secondary_xaxis("top", functions=(lambda x: x * share, lambda x: x / share))
        second.set_xlabel("epoch")
