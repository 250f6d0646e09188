"""Compares the 3D and the 3T LeNet-5 on few clips: ``python -m models.low_data``.

Paper 1, appendix B and its LeNet-5 figure: both nets are trained from scratch on 10, 20, ... clips of
Video-MNIST, with Adam at 1e-3, batches of 20 and 20 epochs, and measured on fresh clips. The paper's
figure counts clips of each class; here a count is that of all clips. Where there are fewer clips than
a batch holds, each step takes them all, so that 10 clips make 20 steps (``--min-steps`` adds epochs);
the last batch of an epoch may be smaller than others. Nothing is stopped early or picked by its score.

Under a seed both nets see the same clips in the same order, so that their difference is taken seed by
seed. Each finished cell is kept at once; the same command continues where a killed one stopped, and
more seeds, counts or tasks may be added later.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from captum_video._core.errors import close_matches
from models._low_data_cells import NETS, TASKS, Data, digits, train
from models._low_data_report import as_text, rows, write_figure, write_table
from models._low_data_results import Cell, Results, Settings
from models._study_command import conduct, left
from models.training.memory import keep_freed_memory

COUNTS = (10, 20, 50, 100, 200, 500, 1000)
RESULTS = Path("runs/low_data/cells.jsonl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    return conduct(
        prepare=lambda: _prepare(options),
        work=lambda prepared: run(*prepared, show_progress=not options.quiet),
        report=lambda prepared: _report(prepared[0], options),
        stopped=lambda prepared: left(prepared[0].accuracy, prepared[1]),
    )


def plan(
    tasks: Sequence[str], nets: Sequence[str], counts: Sequence[int], seeds: Sequence[int]
) -> list[Cell]:
    """The cells in the order of work: both nets side by side, all counts, tasks, then the next seed.

    Args:
        tasks: names of tasks.
        nets: names of nets.
        counts: numbers of clips.
        seeds: the seeds.

    Returns:
        The cells, so ordered that an early end leaves all counts with nearly as many seeds.

    Raises:
        ValueError: a name is unknown, a count is below 1, a seed is negative, or there is nothing.
    """
    for option, names, known in (("tasks", tasks, list(TASKS)), ("nets", nets, list(NETS))):
        for name in names:
            if name not in known:
                raise ValueError(f"--{option} has {name!r}. {close_matches(name, known)}")
    for count in counts:
        if count < 1:
            raise ValueError(f"--counts must be at least 1, got {count}.")
    for seed in seeds:
        if seed < 0:
            raise ValueError(f"A seed must not be negative, got {seed}.")
    cells = [
        Cell(task, net, count, seed)
        for seed in seeds
        for task in tasks
        for count in counts
        for net in nets
    ]
    if not cells:
        raise ValueError("There must be at least one seed.")
    return list(dict.fromkeys(cells))


def run(results: Results, cells: Sequence[Cell], *, show_progress: bool = True) -> None:
    """Trains what is not done yet, and keeps each cell as it is finished.

    Args:
        results: what is done; grows.
        cells: what is to be done.
        show_progress: whether to draw a progress bar.
    """
    todo = [cell for cell in cells if cell not in results.accuracy]
    data = Data(results.settings.validation)
    threads = torch.get_num_threads()
    torch.set_num_threads(results.settings.threads)
    try:
        with tqdm(
            total=len(cells),
            initial=len(cells) - len(todo),
            desc="low data",
            unit="cell",
            disable=not show_progress,
        ) as bar:
            for cell in todo:
                bar.set_postfix_str(f"seed {cell.seed} {cell.task} {cell.clips} {cell.net}")
                started = time.monotonic()
                share, steps = train(cell, results.settings, data)
                results.append(cell, share, steps, time.monotonic() - started)
                bar.update()
    finally:
        torch.set_num_threads(threads)


def _report(results: Results, options: argparse.Namespace) -> None:
    """Prints the table of all cells in the file and writes it and the figure."""
    table = rows(results.accuracy)
    if not table:
        print("No seed has both nets yet: there is nothing to compare.")
        return
    table_path = options.table or results.path.with_suffix(".csv")
    figure_path = options.figure or results.path.with_suffix(".png")
    write_table(table, table_path)
    write_figure(table, figure_path)
    print(as_text(table))
    print(
        "± is the 95 % interval over seeds; a net is ahead where that of the difference leaves 0 out"
    )
    print(f"wrote {table_path} and {figure_path}")


def _prepare(options: argparse.Namespace) -> tuple[Results, list[Cell]]:
    """The results so far and the cells that the options describe."""
    if options.plot_only:
        return Results(options.results, None), []
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}.")
    if options.first_seed < 0:
        raise ValueError(f"--first-seed must not be negative, got {options.first_seed}.")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    cells = plan(options.tasks, options.nets, options.counts, seeds)
    names = [field.name for field in fields(Settings) if field.name != "digits"]
    settings = Settings(**{name: getattr(options, name) for name in names})
    return Results(options.results, replace(settings, digits=digits())), cells


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.low_data", description=(__doc__ or "").partition("\n")[0]
    )
    default = Settings()
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), help=f"of {', '.join(TASKS)} (default: all)")
    add("--nets", nargs="+", default=list(NETS), help=f"of {', '.join(NETS)} (default: both)")
    add("--counts", nargs="+", type=int, default=COUNTS, help="numbers of training clips")
    add("--seeds", type=int, default=10, help="how many seeds (default: 10)")
    add("--first-seed", type=int, default=0, help="the lowest seed (default: 0)")
    add("--lr-3d", type=float, default=default.lr_3d, help="the 3D net's learning rate")
    add("--lr-3t", type=float, default=default.lr_3t, help="the 3T net's learning rate")
    add("--lr-temporal", type=float, help="that of its temporal parameters (default: --lr-3t)")
    add("--batch-size", type=int, default=default.batch_size, help="clips in a step")
    add("--epochs", type=int, default=default.epochs, help="passes over the clips")
    add("--min-steps", type=int, default=0, help="add epochs until there are so many steps")
    add("--validation", type=int, default=default.validation, help="fresh clips to measure on")
    add("--threads", type=int, default=default.threads, help="of the arithmetic (default: 1)")
    add("--results", type=Path, default=RESULTS, help=f"keeps the cells (default: {RESULTS})")
    add("--table", type=Path, help="CSV to write (default: beside the results)")
    add("--figure", type=Path, help="picture to write (default: beside the results)")
    add("--plot-only", action="store_true", help="table and figure of the results as they are")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
