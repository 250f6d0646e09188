"""Table and figure of the low-data comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_video._core.files import written_whole
from models._low_data_cells import CLASSES, NETS, TASKS
from models._low_data_results import Cell
from models._tables import Interval, aligned, interval, write_csv

NAMES = {"lenet5_3d": "LeNet-5-3D", "lenet5_3t": "LeNet-5-3T"}
#: of Okabe and Ito's palette, told apart by all; marker and line differ too
_STYLES = {
    "lenet5_3d": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "lenet5_3t": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
}
HEADER = ("task", "clips", "seeds", "3D, %", "3T, %", "3T - 3D, points", "ahead")


@dataclass(frozen=True)
class Row:
    """A task and a number of clips: both nets, and the difference seed by seed."""

    task: str
    clips: int
    seeds: int
    nets: Mapping[str, Interval]
    difference: Interval

    @property
    def ahead(self) -> str:
        """The net with the higher mean if the interval of the difference leaves zero out."""
        return {0: "-", 1: "3T", -1: "3D"}[self.difference.sign]


def rows(accuracy: Mapping[Cell, float]) -> list[Row]:
    """One row for each task and number of clips, over the seeds that both nets have.

    Args:
        accuracy: shares of right answers by cell.

    Returns:
        The rows, by task and number of clips.
    """
    first, second = NETS
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for cell in sorted(accuracy):
        other = cell._replace(net=second)
        if cell.net == first and other in accuracy:
            pair = accuracy[cell], accuracy[other]
            pairs.setdefault((cell.task, cell.clips), []).append(pair)
    order = list(TASKS)
    found = []
    for (task, count), values in sorted(
        pairs.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
    ):
        by_net = dict(zip(NETS, map(interval, zip(*values, strict=True)), strict=True))
        difference = interval([b - a for a, b in values])
        found.append(Row(task, count, len(values), by_net, difference))
    return found


def cells(table: Sequence[Row]) -> list[tuple[str, ...]]:
    """The table as text, percentages with their intervals.

    Args:
        table: the rows.

    Returns:
        For each row, its columns as in ``HEADER``.
    """
    return [
        (
            row.task, str(row.clips), str(row.seeds), *(str(row.nets[net]) for net in NETS),
            str(row.difference), row.ahead,
        )
        for row in table
    ]  # fmt: skip


def write_table(table: Sequence[Row], path: Path) -> None:
    """Writes the table as CSV.

    Args:
        table: the rows.
        path: where to.
    """
    write_csv([HEADER, *cells(table)], path)


def as_text(table: Sequence[Row]) -> str:
    """The table for a terminal.

    Args:
        table: the rows.

    Returns:
        Aligned columns.
    """
    return aligned([HEADER, *cells(table)])


def draw(table: Sequence[Row]) -> Figure:
    """The figure: for each task, accuracy against number of clips.

    Args:
        table: the rows, at least one.

    Returns:
        A panel for each task, with the means as lines and their 95 % intervals as bands.
    """
    tasks = list(dict.fromkeys(row.task for row in table))
    figure = Figure(figsize=(1.4 + 3.5 * len(tasks), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        _panel(axes, TASKS[task].title, [row for row in table if row.task == task])
    counts = sorted({row.clips for row in table})
    panels[0].set_xscale("log")
    panels[0].set_xticks(counts, [str(count) for count in counts])
    panels[0].minorticks_off()
    panels[0].set_ylabel("right answers on fresh clips, %")
    panels[0].set_ylim(0, 100)
    panels[0].legend(loc="upper left", frameon=False)
    seeds = sorted({row.seeds for row in table})
    number = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    figure.suptitle(f"mean over {number} seeds, band: its 95 % interval", fontsize=10)
    return figure


def write_figure(table: Sequence[Row], path: Path) -> None:
    """Draws the figure into a file.

    Args:
        table: the rows, at least one.
        path: where to; the suffix names the format.
    """
    with written_whole(path) as part:
        draw(table).savefig(part, dpi=130)


def _panel(axes: Axes, title: str, table: Sequence[Row]) -> None:
    counts = [row.clips for row in table]
    for net in NETS:
        mean = [100 * row.nets[net].mean for row in table]
        half = [100 * row.nets[net].half for row in table]
        color = _STYLES[net]["color"]
        axes.plot(counts, mean, label=NAMES[net], markersize=4, **_STYLES[net])  # type: ignore[arg-type]
        low = [m - h for m, h in zip(mean, half, strict=True)]
        high = [m + h for m, h in zip(mean, half, strict=True)]
        axes.fill_between(counts, low, high, color=color, alpha=0.22, linewidth=0)
    axes.axhline(100 / CLASSES, color="0.35", linestyle=":", linewidth=1.2, label="chance")
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.tick_params(axis="x", labelrotation=45)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("training clips")
    axes.set_title(title, fontsize=11)
