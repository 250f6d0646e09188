"""Trains a model: ``python -m models.train NAME``; on several processes through ``torchrun``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from captum_video._core.devices import find_device
from models.registry import WEIGHTS
from models.training.card import publish
from models.training.command import command_line, prepare
from models.training.distributed import others_ended, own_device, process, processes, rank, wait
from models.training.loop import SCORE_SEED, Diverged, Interrupted, fit
from models.training.memory import keep_freed_memory
from models.training.optimiser import OPTIMIZERS, SCHEDULES, STOPPING
from models.training.recipe_files import list_recipes
from models.training.recipes import RECIPES
from models.training.sources import SOURCES
from models.training.validation import evaluate


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    options = parser().parse_args(arguments)
    try:
        options.device = own_device(find_device(options.device))
        with processes(options.device):
            return _train(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        if not (isinstance(error, Diverged) and process()):
            print(f"{process()}error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not others_ended(error):
            raise
        print(f"{process()}another process has ended; its message says why", file=sys.stderr)
        return 2


def _train(options: argparse.Namespace) -> int:
    """Trains, scores and publishes; the first of several processes speaks and writes."""
    run = prepare(options, lambda text: print(text) if rank() == 0 else None)
    try:
        fit(run, show_progress=not options.quiet)
    except Interrupted as stop:
        if rank() == 0:
            print(stop, file=sys.stderr)
        return 130
    recipe = run.recipe
    score = evaluate(run, run.seed + SCORE_SEED, recipe.score_clips, recipe.score_split).scores
    if rank() == 0:
        weights, card = publish(run, options.output or WEIGHTS, command_line(options), score)
        print(recipe.task.summary(score))
        print(f"wrote {weights} and {card}")
    wait()
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line.

    Returns:
        Its parser.
    """
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument(
        "name",
        nargs="?",
        help=f"the model: {', '.join(RECIPES)}; with --data any of models.list_models()",
    )
    parser.add_argument(
        "--recipe",
        help=f"instead of a name, a recipe for real data: {', '.join(list_recipes())}, or a .toml",
    )
    _add_data(parser.add_argument_group("real data"))
    _add_training(parser.add_argument_group("training"))
    _add_model(parser.add_argument_group("model"))
    _add_run(parser.add_argument_group("run"))
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data", help=f"the data set on disk: {', '.join(SOURCES)}")
    group.add_argument("--root", type=Path, help="where it lies")
    group.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the data set's reader, such as fold=2 or on_error=skip; repeatable",
    )
    group.add_argument("--cache", type=Path, help="folder that keeps decoded frames")
    group.add_argument("--epochs", type=float, help="times through the training clips")


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", type=int, default=0, help="of weights, clips and dropout")
    group.add_argument("--steps", type=int, help="optimiser steps")
    group.add_argument("--batch-size", type=int, help="clips in a step, over all processes")
    group.add_argument("--lr", type=float, help="highest learning rate")
    group.add_argument("--optimizer", choices=OPTIMIZERS)
    group.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate")
    group.add_argument("--decay", type=float, help="the rate's factor, of step and plateau")
    group.add_argument(
        "--decay-every",
        type=float,
        help="of the schedule step, from one decay to the next: steps, or with --data epochs",
    )
    group.add_argument(
        "--eval-every",
        type=float,
        help="from one validation to the next: steps, or with --data epochs",
    )
    group.add_argument(
        "--stopping",
        choices=STOPPING,
        help="early: when the score stops rising for --patience validations, or when it falls and "
        "the validation loss rises",
    )
    group.add_argument("--patience", type=int, help="validations without gain before stopping")
    group.add_argument(
        "--layer-lr",
        action="append",
        default=[],
        metavar="LAYER=FACTOR",
        help="learning rate of a layer, by name or pattern, as a factor; repeatable",
    )
    group.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="LAYER",
        help="a layer, by name or pattern, that keeps its weights and statistics; repeatable",
    )
    group.add_argument(
        "--class-weights",
        choices=["balanced"],
        help="weight each class by N / (K * n_k), for skewed data",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--checkpoint",
        type=Path,
        help="weights to start from: .safetensors, .pt or .pth; of another number of classes, all "
        "but the last layer is taken",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the model's builder, such as question=motion; repeatable; needs --output",
    )
    group.add_argument(
        "--target-joints",
        metavar="JOINTS",
        help="what the attention stream of an ms_res_tcn sees: joints separated by commas, or the "
        "diagnosis.json of models.diagnose, whose proposal is taken; needs --output",
    )


def _add_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    group.add_argument(
        "--amp",
        action=argparse.BooleanOptionalAction,
        help="mixed precision; on by default where it helps, which is on CUDA",
    )
    group.add_argument("--workers", type=int, default=1, help="processes that read or draw clips")
    group.add_argument(
        "--output", type=Path, help=f"folder of weights and card (default: {WEIGHTS})"
    )
    group.add_argument(
        "--run-folder",
        type=Path,
        metavar="FOLDER",
        help="keeps the run's checkpoint and log (default: runs/NAME, options joined to NAME)",
    )
    group.add_argument("--resume", action="store_true", help="continue from the run's checkpoint")
    group.add_argument(
        "--save-every",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="from one checkpoint to the next, beside those at validations (default: 600)",
    )
    group.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="log to the run's folder for TensorBoard too; on by default where it is installed",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
