"""The figure of the fusion study: probabilities against depth, as in the paper's figures 2 to 6."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_video._core.files import written_whole
from models._fusion_study_cells import RESOLUTIONS, TASKS
from models._fusion_study_report import UNITS, Outcomes, fusion, layer_rows
from models._tables import Interval

TITLES = {"full": "17 frames", "halved": "8 frames, averaged"}
#: of Okabe and Ito's palette, told apart by all; marker and line differ too
_STYLES = {
    "S": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "ST": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "S+ST": {"color": "#009E73", "marker": "^", "linestyle": ":"},
}


def draw(outcomes: Outcomes) -> Figure:
    """Draws the probabilities of all units.

    Args:
        outcomes: by cell, at least one of a template.

    Returns:
        A column for each task and a row for each resolution, with the means over seeds as lines and
        their 95 % intervals as bands, which end at 0 and 1.
    """
    found = [(t, r) for t in TASKS for r in RESOLUTIONS if fusion(outcomes, t, r)]
    tasks = [task for task in TASKS if any(task == t for t, _ in found)]
    resolutions = [one for one in RESOLUTIONS if any(one == r for _, r in found)]
    figure = Figure(
        figsize=(1.4 + 3.1 * len(tasks), 1.0 + 2.5 * len(resolutions)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(resolutions), len(tasks), sharex=True, sharey=True, squeeze=False)
    for task, column in zip(tasks, panels.T, strict=True):
        for resolution, axes in zip(resolutions, column, strict=True):
            _panel(axes, layer_rows(outcomes, task, resolution))
            axes.set_title(f"{task}, {TITLES[resolution]}", fontsize=11)
        column[-1].set_xlabel("layer")
    for row in panels:
        row[0].set_ylabel("probability of being kept")
    panels[0][0].legend(loc="lower left", frameon=False, fontsize=9)
    counts = sorted({len(fusion(outcomes, *pair)) for pair in found})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    figure.suptitle(f"mean over {number} seeds, band: its 95 % interval", fontsize=10)
    return figure


def write_figure(outcomes: Outcomes, path: Path) -> None:
    """Draws the figure into a file.

    Args:
        outcomes: by cell, at least one of a template.
        path: where to; the suffix names the format.
    """
    with written_whole(path) as part:
        draw(outcomes).savefig(part, dpi=130)


def _panel(axes: Axes, layers: dict[str, dict[str, Interval]]) -> None:
    """One task at one resolution."""
    depth = list(range(1, len(layers) + 1))
    for unit in UNITS if layers else ():
        own = [row[unit] for row in layers.values()]
        means = [one.mean for one in own]
        axes.plot(depth, means, label=unit, markersize=4, **_STYLES[unit])  # type: ignore[arg-type]
        low = [max(one.mean - one.half, 0.0) for one in own]
        high = [min(one.mean + one.half, 1.0) for one in own]
        axes.fill_between(depth, low, high, color=_STYLES[unit]["color"], alpha=0.2, linewidth=0)
    axes.set_xticks(depth)
    axes.set_ylim(0, 1.02)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
