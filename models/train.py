"""Trains a bundled model: ``python -m models.train NAME``."""

from __future__ import annotations

import argparse
import ast
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from captum_video._core.devices import find_device
from captum_video._core.errors import close_matches
from models import build
from models.registry import WEIGHTS, options_of
from models.training.card import publish
from models.training.loop import SCORE_SEED, Interrupted, evaluate, fit
from models.training.memory import keep_freed_memory
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run
from models.training.sequences import target_joints
from models.training.task import Classification


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        run = _prepare(options)
        fit(run, show_progress=not options.quiet)
        score = evaluate(run, run.seed + SCORE_SEED, run.recipe.score_clips)
        weights, card = publish(run, options.output or WEIGHTS, _command(options), score)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 130
    print(run.recipe.task.summary(score))
    print(f"wrote {weights} and {card}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("name", help=f"the model: {', '.join(RECIPES)}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, clips and dropout")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, help="clips in a step")
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--patience", type=int, help="validations without gain before stopping")
    parser.add_argument(
        "--class-weights",
        choices=["balanced"],
        help="weight each class by N / (K * n_k), for skewed data",
    )
    parser.add_argument(
        "--amp",
        action=argparse.BooleanOptionalAction,
        help="mixed precision; on by default where it helps, which is on CUDA",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw clips")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the model's builder, such as question=motion; repeatable; needs --output",
    )
    parser.add_argument(
        "--target-joints",
        metavar="JOINTS",
        help="what the attention stream of an ms_res_tcn sees: joints separated by commas, or the "
        "diagnosis.json of models.diagnose, whose proposal is taken; needs --output",
    )
    parser.add_argument(
        "--output", type=Path, help=f"folder of weights and card (default: {WEIGHTS})"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="file that keeps the run (default: runs/NAME/checkpoint.pt, options joined to NAME)",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _prepare(options: argparse.Namespace) -> Run:
    """The run that the options describe."""
    if options.name not in RECIPES:
        raise ValueError(
            f"There is no recipe for {options.name!r}. {close_matches(options.name, RECIPES)}"
        )
    built_with = _options(options)
    recipe = _recipe(RECIPES[options.name], options)
    shared = {key: built_with[key] for key in recipe.data_options if key in built_with}
    if shared:
        recipe = replace(recipe, data=partial(recipe.data, **shared))
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, got {options.seed}.")
    if options.workers < 0:
        raise ValueError(f"--workers must not be negative, got {options.workers}.")
    device = find_device(options.device)
    if options.amp and device.type != "cuda":
        raise ValueError(f"--amp helps on CUDA only, and the device is {device}.")
    folder = "-".join([options.name, *(f"{key}={built_with[key]}" for key in sorted(built_with))])
    checkpoint = options.checkpoint or Path("runs") / folder / "checkpoint.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        try:
            model = build(options.name, **built_with)
        except TypeError as error:
            if not built_with:
                raise
            raise ValueError(f"--option: {error}") from error
    amp = device.type == "cuda" if options.amp is None else options.amp
    run = Run(model, recipe, options.seed, device, checkpoint, options.workers, amp, built_with)
    if options.resume:
        run.resume()
    else:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        run.log.unlink(missing_ok=True)
    return run


def _options(options: argparse.Namespace) -> dict[str, Any]:
    """What the model is built with, beside its builder's defaults."""
    found: dict[str, Any] = {}
    for given in options.option:
        key, equals, value = given.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"--option must be KEY=VALUE, got {given!r}.")
        if key in found:
            raise ValueError(f"--option {key} must be given once, got {given!r} as well.")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    if options.target_joints is not None:
        if "target_joints" not in options_of(options.name):
            raise ValueError(
                f"--target-joints is for ms_res_tcn, and {options.name} has no target."
            )
        if "target_joints" in found:
            raise ValueError("--target-joints and --option target_joints exclude each other.")
        found["target_joints"] = target_joints(options.target_joints)
    if found and options.output is None:
        name = "--target-joints" if list(found) == ["target_joints"] else "--option"
        raise ValueError(
            f"{name} needs --output, since {WEIGHTS} keeps the weights of {options.name!r} as it "
            "is built by default."
        )
    return found


def _recipe(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe with what the options change."""
    changes = {
        key: value
        for key in ("steps", "batch_size", "lr", "patience")
        if (value := getattr(options, key)) is not None
    }
    for key, value in changes.items():
        if value <= 0:
            raise ValueError(f"--{key.replace('_', '-')} must be positive, got {value}.")
    if options.class_weights:
        if not isinstance(recipe.task, Classification):
            raise ValueError(
                f"--class-weights is for models that tell classes, and {options.name} does not."
            )
        changes["task"] = recipe.task.weighted(options.class_weights)
    return replace(recipe, **changes)


def _command(options: argparse.Namespace) -> str:
    """The command line that repeats the run: what made a difference, and no paths."""
    parts = ["python -m models.train", options.name]
    parts += [f"--option {shlex.quote(given)}" for given in options.option]
    if options.target_joints is not None:
        parts.append(f"--target-joints {target_joints(options.target_joints)}")
    parts.append(f"--seed {options.seed}")
    for key in ("steps", "batch_size", "lr", "patience", "class_weights"):
        if (value := getattr(options, key)) is not None:
            parts.append(f"--{key.replace('_', '-')} {value}")
    if options.amp is False and torch.cuda.is_available():
        parts.append("--no-amp")
    return " ".join(parts)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
