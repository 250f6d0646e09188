"""Closes the loop of paper 5 over several seeds: ``python -m models.refinement_study``.

For each seed a Res-TCN is trained and diagnosed, and three nets of two streams are trained on the same
clips in the same order for as many steps: one whose attention stream sees the joints that the diagnosis
proposes, one that sees as many random joints, and one that sees all. All three have equally many
parameters, so that what the target gains is told from what a second stream gains. Each finished cell
is kept at once; the same command continues where a killed one stopped, within a cell too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from tqdm import tqdm

from captum_video._core.errors import close_matches
from models._diagnosis_evidence import MOST_SEED
from models._refinement_cells import (
    ARMS,
    BASELINE,
    RANDOM,
    TARGETED,
    Cell,
    Outcome,
    Settings,
    as_line,
    measure,
    open_results,
)
from models._refinement_report import TABLES
from models._results import refuse_others, write_cells
from models._study_command import conduct, left
from models._tables import aligned, write_csv
from models.training.memory import keep_freed_memory

RESULTS = Path("runs/refinement_study/cells.jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    return conduct(
        prepare=lambda: Study(options),
        work=lambda study: study.run(show_progress=not options.quiet),
        report=lambda study: _report(study.outcomes, options, study.file.settings),
        stopped=lambda study: left(study.outcomes, study.cells),
    )


class Study:
    """The cells of a command line: those that are done, and those that are left.

    Args:
        options: the parsed command line.

    Attributes:
        file: gets the finished cells.
        cells: what was asked for.
        outcomes: what is done, by cell.

    Raises:
        ValueError: bad options, or files of cells of other settings.
        FileNotFoundError: a file of cells that should exist does not.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.cells = [] if options.plot_only else plan(options.arms, options.seeds)
        settings = Settings(**{f.name: getattr(options, f.name) for f in fields(Settings)})
        self.file = open_results(options.results, None if options.plot_only else settings)
        self.outcomes = dict(self.file.cells)
        for path in options.also:
            other = open_results(path, None)
            refuse_others(path, other.settings, self.file.settings)
            self.outcomes = dict(other.cells) | self.outcomes

    def run(self, *, show_progress: bool = True) -> None:
        """Trains and measures what is not done yet, and keeps each cell as it is finished.

        Args:
            show_progress: whether to draw a progress bar.
        """
        shown = show_progress and bool(self.cells)
        for cell in tqdm(self.cells, desc="refinement", unit="cell", disable=not shown):
            if cell not in self.outcomes:
                folder = self.file.path.parent
                self.outcomes[cell] = _measured(cell, self.file.settings, self.outcomes, folder)
                self.file.append(as_line(cell, self.outcomes[cell]))


def plan(arms: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """The cells in the order of work: seed by seed, a baseline before what its diagnosis serves.

    Args:
        arms: of ``ARMS``.
        seeds: the seeds.

    Returns:
        The cells, each once, with the baselines that others need.

    Raises:
        ValueError: an unknown net, or a seed that is not from 0 to ``MOST_SEED``.
    """
    for arm in arms:
        if arm not in ARMS:
            raise ValueError(f"--arms has {arm!r}. {close_matches(arm, ARMS)}")
    for seed in seeds:
        if not 0 <= seed <= MOST_SEED:
            raise ValueError(f"--seeds must be from 0 to {MOST_SEED}, got {seed}.")
    needed = {BASELINE} if {TARGETED, RANDOM} & set(arms) else set()
    chosen = [arm for arm in ARMS if arm in {*arms, *needed}]
    return [Cell(arm, seed) for seed in dict.fromkeys(seeds) for arm in chosen]


def _measured(
    cell: Cell, settings: Settings, outcomes: dict[Cell, Outcome], folder: Path
) -> Outcome:
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        return measure(cell, settings, outcomes, folder)
    finally:
        torch.set_num_threads(threads)


def _report(outcomes: dict[Cell, Outcome], options: argparse.Namespace, settings: Settings) -> None:
    """Prints the tables of all cells, and writes them and the cells."""
    stem: Path = options.report or options.results
    written = []
    for name, (title, table) in TABLES.items():
        lines = table(outcomes)
        if len(lines) > 1:
            written.append(stem.with_suffix(f".{name}.csv"))
            write_csv(lines, written[-1])
            print(f"{title}\n\n{aligned(lines)}\n")
    if not written:
        print("No cell is done yet: there is nothing to report.")
        return
    if options.merged:
        written.append(options.merged)
        write_cells(options.merged, settings, [as_line(c, o) for c, o in sorted(outcomes.items())])
    print("± is the 95 % interval over seeds, of differences over those that both have")
    print(f"wrote {', '.join(map(str, written))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.refinement_study", description=(__doc__ or "").partition("\n")[0]
    )
    default = Settings()
    add = parser.add_argument
    add("--arms", nargs="+", default=ARMS, help=f"of {', '.join(ARMS)} (default: all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(default: 0 1 2)")
    add("--steps", type=int, default=default.steps, help="optimiser steps of each training")
    add("--joints", type=int, default=default.joints, help="joints to propose at most")
    add("--diagnosed", type=int, default=default.diagnosed, help="clips of a diagnosis")
    add("--clips", type=int, default=default.clips, help="fresh clips to measure on")
    add("--threads", type=int, default=default.threads, help="of the arithmetic (default: 1)")
    add("--results", type=Path, default=RESULTS, help=f"keeps the cells (default: {RESULTS})")
    add(
        "--also",
        nargs="+",
        type=Path,
        default=[],
        help="further files of cells, of the same settings",
    )
    add("--report", type=Path, help="stem of the tables (default: beside the results)")
    add("--merged", type=Path, help="write all cells into this file")
    add("--plot-only", action="store_true", help="tables of the results as they are")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
