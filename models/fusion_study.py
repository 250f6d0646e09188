"""Asks fusion posteriors what data need space and time: ``python -m models.fusion_study``.

Paper 3 reads from its posteriors that videos whose classes are motions ask for spatiotemporal units,
and that a lower temporal resolution moves the preference towards spatial ones. Here the same clips are
learnt under two questions, of look and of motion, and under both at once, at full and halved temporal
resolution, over several seeds. The best of 20 strategies that are sampled from each posterior, chosen on
validation clips, is measured on others, next to the most probable strategy, to the template with all
gates open, and to nets of S, ST or S+ST in every layer, which are trained alike.

Under a seed all nets of a resolution see the same clips in the same order. Each finished cell is kept at
once; the same command continues where a killed one stopped, within a cell too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from captum_video._core.errors import close_matches
from models._fusion_study_cells import (
    FUSION,
    RESOLUTIONS,
    TASKS,
    TWINS,
    Data,
    measure,
    numbers,
    recipe,
)
from models._fusion_study_figure import write_figure
from models._fusion_study_report import TABLES
from models._fusion_study_results import Cell, Results, Settings
from models._study_command import conduct, left
from models._tables import aligned, write_csv
from models.training.memory import keep_freed_memory
from models.training.recipes import Recipe

RESULTS = Path("runs/fusion_study/cells.jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)

    def work(prepared: tuple[Recipe, Results, list[Cell]]) -> None:
        trained, results, cells = prepared
        run(results, cells, trained, show_progress=not options.quiet)

    def prepare() -> tuple[Recipe, Results, list[Cell]]:
        trained = recipe(options.steps)
        return trained, *_prepare(options, trained)

    return conduct(
        prepare=prepare,
        work=work,
        report=lambda prepared: _report(prepared[1], options),
        stopped=lambda prepared: left(prepared[1].outcomes, prepared[2]),
    )


def plan(
    tasks: Sequence[str],
    resolutions: Sequence[str],
    convs: Sequence[str],
    seeds: Sequence[int],
    twin_seeds: Sequence[int],
) -> list[Cell]:
    """The cells in the order of work, such that an early end leaves balanced seeds.

    Templates of the seeds that twins have as well come first, then the twins, then the other templates.

    Args:
        tasks: of ``TASKS``.
        resolutions: of ``RESOLUTIONS``; twins have the full one alone.
        convs: ``"fusion"`` for the template, and of ``TWINS``.
        seeds: of the templates.
        twin_seeds: of the twins.

    Returns:
        The cells, each once.

    Raises:
        ValueError: a name is unknown, a seed is negative, or there is nothing to do.
    """
    for option, names, known in (
        ("tasks", tasks, TASKS),
        ("resolutions", resolutions, RESOLUTIONS),
        ("convs", convs, (FUSION, *TWINS)),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f"--{option} has {name!r}. {close_matches(name, list(known))}")
    for seed in (*seeds, *twin_seeds):
        if seed < 0:
            raise ValueError(f"A seed must not be negative, got {seed}.")

    def templates(chosen: Sequence[int]) -> list[Cell]:
        own = [FUSION] if FUSION in convs else []
        return [Cell(t, r, c, s) for s in chosen for r in resolutions for t in tasks for c in own]

    own = [conv for conv in convs if conv != FUSION] if "full" in resolutions else []
    twins = [Cell(t, "full", c, s) for s in twin_seeds for c in own for t in tasks]
    early = [seed for seed in seeds if seed in twin_seeds]
    late = [seed for seed in seeds if seed not in twin_seeds]
    cells = list(dict.fromkeys([*templates(early), *twins, *templates(late)]))
    if not cells:
        raise ValueError("There is nothing to do: no seeds, or twins without the full resolution.")
    return cells


def run(
    results: Results, cells: Sequence[Cell], trained: Recipe, *, show_progress: bool = True
) -> None:
    """Trains what is not done yet, and keeps each cell as it is finished.

    Args:
        results: what is done; grows.
        cells: what is to be done.
        trained: how.
        show_progress: whether to draw a progress bar.

    Raises:
        Interrupted: SIGINT came.
    """
    todo = [cell for cell in cells if cell not in results.outcomes]
    data = Data()
    threads = torch.get_num_threads()
    torch.set_num_threads(results.settings.threads)
    try:
        with tqdm(
            total=len(cells),
            initial=len(cells) - len(todo),
            desc="fusion",
            unit="cell",
            disable=not (show_progress and todo),
        ) as bar:
            for cell in todo:
                name = "-".join(map(str, cell))
                bar.set_postfix_str(name)
                folder = results.path.with_suffix("") / name
                results.append(cell, measure(cell, trained, results.settings, data, folder))
                bar.update()
    finally:
        torch.set_num_threads(threads)


def _report(results: Results, options: argparse.Namespace) -> None:
    """Prints the tables of all cells, and writes them, the figure and the cells."""
    stem = options.report or results.path
    written = []
    for name, (title, table) in TABLES.items():
        lines = table(results.outcomes)
        if len(lines) > 1:
            written.append(stem.with_suffix(f".{name}.csv"))
            write_csv(lines, written[-1])
            print(f"{title}\n\n{aligned(lines)}\n")
    if not written:
        print("No cell is done yet: there is nothing to report.")
        return
    if any(cell.conv == FUSION for cell in results.outcomes):
        written.append(options.figure or stem.with_suffix(".png"))
        write_figure(results.outcomes, written[-1])
    if options.merged:
        written.append(options.merged)
        results.write(options.merged)
    print("± is the 95 % interval over seeds, of differences over those that both have")
    print(f"wrote {', '.join(map(str, written))}")


def _prepare(options: argparse.Namespace, trained: Recipe) -> tuple[Results, list[Cell]]:
    """The results so far and the cells that the options describe."""
    if options.plot_only:
        return Results(options.results, None), []
    if trained.steps < 1:
        raise ValueError(f"--steps must be at least 1, got {trained.steps}.")
    cells = plan(
        options.tasks, options.resolutions, options.convs, options.seeds, options.twin_seeds
    )
    share, parts = _part(options.part)
    settings = Settings(
        numbers(trained), options.sampled, options.choice_clips, options.clips, options.threads
    )
    return Results(options.results, settings), cells[share - 1 :: parts]


def _part(given: str) -> tuple[int, int]:
    """Which of how many shares of the cells."""
    first, _, second = given.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise ValueError(f"--part must be like 1/2, got {given!r}.")
    return int(first), int(second)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.fusion_study", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=TASKS, help=f"of {', '.join(TASKS)} (default: all)")
    add("--resolutions", nargs="+", default=RESOLUTIONS, help=f"of {', '.join(RESOLUTIONS)}")
    add("--convs", nargs="+", default=(FUSION, *TWINS), help=f"of {', '.join((FUSION, *TWINS))}")
    add("--seeds", nargs="*", type=int, default=range(5), help="of the templates (default: 0 to 4)")
    add("--twin-seeds", nargs="*", type=int, default=range(3), help="(default: 0 to 2)")
    add("--part", default="1/1", help="2/3 does every third cell from the second on (default: all)")
    add("--steps", type=int, help="optimiser steps (default: the recipe's)")
    add("--sampled", type=int, default=20, help="strategies drawn from a posterior (default: 20)")
    add("--choice-clips", type=int, default=400, help="to choose the best on (default: 400)")
    add("--clips", type=int, default=1000, help="fresh clips to measure on (default: 1000)")
    add("--threads", type=int, default=1, help="of the arithmetic (default: 1)")
    add(
        "--results", type=Path, nargs="+", default=[RESULTS],
        help=f"keeps the cells (default: {RESULTS}); what further files hold counts as done",
    )  # fmt: skip
    add("--report", type=Path, help="stem of the tables (default: that of the results)")
    add("--figure", type=Path, help="picture to write (default: beside the tables)")
    add("--merged", type=Path, help="also write all cells to this file")
    add("--plot-only", action="store_true", help="tables and figure of the results as they are")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
