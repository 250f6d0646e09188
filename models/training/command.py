"""From the command line of ``models.train`` to a run that can begin, and back to a line for the card."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from captum_video._core.errors import close_matches
from models.info import BundledModel
from models.registry import WEIGHTS, build, list_models, options_of
from models.training.classification import Classification
from models.training.distributed import world
from models.training.recipe_files import RecipeFile, list_recipes, load_recipe
from models.training.recipe_schema import BELONGS
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run
from models.training.sequences import target_joints
from models.training.sources import SOURCES, open_source
from models.training.starting import start_from

_LARGEST_SEED = 2**31 - 1
_PLAIN = ("steps", "batch_size", "lr", "patience", "optimizer", "schedule", "decay", "stopping")
#: in steps, or with real data in epochs
_INTERVALS = ("eval_every", "decay_every")
_POSITIVE = (*_PLAIN[:4], "decay", "epochs", *_INTERVALS)


def prepare(options: argparse.Namespace, tell: Callable[[str], None]) -> Run:
    """The run that the options describe, where it begins or was stopped.

    Args:
        options: the parsed command line, its ``device`` found.
        tell: takes what the user should know of the weights that the run starts from.

    Returns:
        The run.

    Raises:
        ValueError: options that make no sense, alone or together.
        OSError: a file or folder that is not there.
    """
    _check(options)
    built_with = _model_options(options)
    folder = _run_folder(built_with, _pairs("--data-option", options.data_option))
    name, model, recipe, origin = (_real if options.root else _procedural)(options, built_with)
    if origin.get("start") and options.checkpoint is None:
        tell(f"Without --checkpoint, though the recipe starts from {origin['start']}")
    if options.class_weights:
        if not isinstance(recipe.task, Classification):
            raise ValueError(
                f"--class-weights is for models that tell classes, and {name} does not."
            )
        recipe = replace(recipe, task=recipe.task.weighted(options.class_weights))
    if options.checkpoint is not None:
        origin["start"] = options.checkpoint.name
        if not options.resume:
            fresh = start_from(model, options.checkpoint, tell)
            if fresh:
                tell(f"Drawn anew, since they are for other classes: {', '.join(fresh)}")
    amp = options.device.type == "cuda" if options.amp is None else options.amp
    run = Run(
        model,
        recipe,
        options.seed,
        options.device,
        (options.run_folder or Path("runs", name + folder)) / "checkpoint.pt",
        options.workers,
        amp,
        built_with,
        origin,
        options.save_every,
        options.tensorboard,
        options.checkpoint is None,
    )
    if options.resume:
        run.resume()
    return run


def _run_folder(*given: Mapping[str, Any]) -> str:
    """What options add to the name of a run's folder, each by its key; paths by their last part."""
    return "".join(
        f"-{key}={str(value).rstrip('/').rpartition('/')[2]}"
        for options in given
        for key, value in sorted(options.items())
    )


def command_line(options: argparse.Namespace) -> str:
    """The command line that repeats a run: what made a difference, and no paths.

    Args:
        options: the parsed command line.

    Returns:
        The line; ``DIR`` stands for the data's folder.
    """
    count = world()
    start = "python -m" if count == 1 else f"torchrun --nproc-per-node={count} -m"
    parts = [f"{start} models.train"]
    if options.name is not None:
        parts.append(options.name)
    for key in ("recipe", "data"):
        if (value := getattr(options, key)) is not None:
            parts.append(f"--{key} {Path(value).name}")
    if options.root is not None:
        parts.append("--root DIR")
    for key, value in _split("--data-option", options.data_option, "KEY=VALUE"):
        shown = Path(value).name if Path(value).is_absolute() else value
        parts.append(f"--data-option {shlex.quote(f'{key}={shown}')}")
    if options.checkpoint is not None:
        parts.append(f"--checkpoint {shlex.quote(options.checkpoint.name)}")
    parts += [f"--option {shlex.quote(given)}" for given in options.option]
    if options.target_joints is not None:
        parts.append(f"--target-joints {target_joints(options.target_joints)}")
    parts.append(f"--seed {options.seed}")
    for key in (*_PLAIN[:4], "epochs", *_INTERVALS, *_PLAIN[4:], "class_weights"):
        if (value := getattr(options, key)) is not None:
            shown = f"{value:.12g}" if isinstance(value, float) else str(value)
            parts.append(f"--{key.replace('_', '-')} {shown}")
    parts += [f"--layer-lr {shlex.quote(given)}" for given in options.layer_lr]
    parts += [f"--freeze {shlex.quote(given)}" for given in options.freeze]
    if options.amp is False and torch.cuda.is_available():
        parts.append("--no-amp")
    return " ".join(parts)


def _check(options: argparse.Namespace) -> None:
    """Refuses numbers out of range, and options that need or exclude each other."""
    if not 0 <= options.seed <= _LARGEST_SEED:
        word = "not be negative" if options.seed < 0 else f"be at most {_LARGEST_SEED}"
        raise ValueError(f"--seed must {word}, got {options.seed}.")
    if options.workers < 0:
        raise ValueError(f"--workers must not be negative, got {options.workers}.")
    if not options.save_every >= 0:
        raise ValueError(f"--save-every must not be negative, got {options.save_every:g}.")
    for key in _POSITIVE:
        value = getattr(options, key)
        if value is not None and not value > 0:
            raise ValueError(f"--{key.replace('_', '-')} must be positive, got {value}.")
    if options.amp and options.device.type != "cuda":
        raise ValueError(f"--amp helps on CUDA only, and the device is {options.device}.")
    if (options.name is None) == (options.recipe is None):
        raise ValueError("Either a model's name or --recipe is needed, and not both.")
    if options.data is not None and options.recipe is not None:
        raise ValueError("--recipe names the data itself: leave out --data.")
    real = options.data is not None or options.recipe is not None
    if real and options.root is None:
        raise ValueError("--root must say where the data lie.")
    if not real:
        needless = ("root", "data_option", "cache", "epochs")
        for key in needless:
            if getattr(options, key) not in (None, []):
                raise ValueError(f"--{key.replace('_', '-')} is for real data: give --data too.")
    if real and options.output is None:
        raise ValueError(
            f"Real data need --output, since {WEIGHTS} keeps the weights that come with the package."
        )
    if options.steps is not None and options.epochs is not None:
        raise ValueError("--steps and --epochs exclude each other.")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise ValueError(f"--output must be a folder, and {options.output} is a file.")


def _procedural(
    options: argparse.Namespace, built_with: dict[str, Any]
) -> tuple[str, BundledModel, Recipe, dict[str, Any]]:
    """A bundled model, and the recipe that it was trained by."""
    if options.name not in RECIPES:
        cure = close_matches(options.name, RECIPES)
        if options.name in list_models():
            cure = f"It is trained on real data: give --data and --root. {cure}"
        raise ValueError(f"There is no recipe for {options.name!r}. {cure}")
    recipe = RECIPES[options.name]
    shared = {key: built_with[key] for key in recipe.data_options if key in built_with}
    if shared:
        recipe = replace(recipe, data=partial(recipe.data, **shared))
    changes: dict[str, Any] = _changes(options)
    for key in _INTERVALS:
        if (value := getattr(options, key)) is not None:
            if not value.is_integer():
                flag = key.replace("_", "-")
                raise ValueError(f"--{flag} must be whole steps, got {value:g}.")
            changes[key] = int(value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        try:
            model = build(options.name, **built_with)
        except TypeError as error:
            if not built_with:
                raise
            raise ValueError(f"--option: {error}") from error
    recipe = replace(recipe, **changes)
    for key, (other, values) in BELONGS.items():
        flag = key.removesuffix("_epochs")
        if flag in changes and (got := getattr(recipe, other)) not in values:
            raise ValueError(
                f"--{flag.replace('_', '-')} is for --{other} {' or '.join(values)}, got {got}."
            )
    return options.name, model, recipe, {}


def _real(
    options: argparse.Namespace, built_with: dict[str, Any]
) -> tuple[str, BundledModel, Recipe, dict[str, Any]]:
    """A model for the classes of a data set on disk, and a recipe in its epochs."""
    file = _recipe_file(options)
    given = _pairs("--data-option", options.data_option)
    if options.cache is not None:
        given["cache"] = options.cache
    source = open_source(file.data, options.root, {**file.data_options, **given})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = file.build(source, built_with)
    changes = _changes(options)
    changes |= {f"{key}_epochs": getattr(options, key) for key in _INTERVALS}
    changes["epochs"] = options.epochs
    if "test" not in source.lengths:
        changes["score_split"] = "validation"
    recipe = file.recipe(source, model.info, changes)
    origin = {"data": file.data, "recipe": file.name, "start": file.start}
    origin |= {f"data option {key}": value for key, value in given.items() if key != "cache"}
    built_with.update({**file.options, **built_with})
    return file.name, model, recipe, origin


def _recipe_file(options: argparse.Namespace) -> RecipeFile:
    """The recipe that is asked for, that of the model and its data, or the defaults."""
    if options.recipe is not None:
        return load_recipe(options.recipe)
    for what, given, known in (
        ("model", options.name, list_models()),
        ("data set", options.data, list(SOURCES)),
    ):
        if given not in known:
            raise ValueError(f"There is no {what} {given!r}. {close_matches(given, known)}")
    name = f"{options.name}-{options.data}"
    return load_recipe(name) if name in list_recipes() else _defaults(name, options)


def _defaults(name: str, options: argparse.Namespace) -> RecipeFile:
    """How a model is trained on data for which no paper has a recipe."""
    task = {"kitti": "odometry", "ntu": "sequences"}.get(options.data, "classification")
    return RecipeFile(
        name=name,
        title=f"{options.name} on {options.data}",
        source="The command's defaults; early stopping as in paper 1, appendix C.2.",
        model=options.name,
        data=options.data,
        training={
            "epochs": 100,
            "batch_size": 16,
            "lr": 1e-4,
            "optimizer": "adamw",
            "weight_decay": 1e-4,
            "schedule": "constant",
            "clip_norm": 5.0,
            "eval_every_epochs": 5,
            "stopping": "decline",
            "score_split": "test",
        },
        task={"kind": task},
    )


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the options change of a recipe, by its attributes' names."""
    changes = {key: value for key in _PLAIN if (value := getattr(options, key)) is not None}
    if options.layer_lr:
        changes["layer_lr"] = {}
        for layer, factor in _split("--layer-lr", options.layer_lr, "LAYER=FACTOR"):
            try:
                changes["layer_lr"][layer] = float(factor)
            except ValueError as error:
                raise ValueError(
                    f"--layer-lr must be LAYER=FACTOR with a number, got {layer}={factor}."
                ) from error
    if options.freeze:
        changes["freeze"] = tuple(options.freeze)
    return changes


def _model_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the model is built with, beside its builder's defaults."""
    found = _pairs("--option", options.option)
    if options.target_joints is not None:
        if options.name is not None and "target_joints" not in options_of(options.name):
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


def _pairs(flag: str, given: Sequence[str]) -> dict[str, Any]:
    """Options of the form KEY=VALUE, their values as Python's literals where they are ones."""
    found: dict[str, Any] = {}
    for key, value in _split(flag, given, "KEY=VALUE"):
        if not key.isidentifier():
            raise ValueError(f"{flag} must be KEY=VALUE, got {key}={value!s}.")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found


def _split(flag: str, given: Sequence[str], form: str) -> list[tuple[str, str]]:
    """Options of the form ``KEY=VALUE``, each key once."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (equals and key):
            raise ValueError(f"{flag} must be {form}, got {text!r}.")
        if key in found:
            raise ValueError(f"{flag} {key} must be given once, got {text!r} as well.")
        found[key] = value
    return list(found.items())
