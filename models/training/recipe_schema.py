"""What a recipe's file may say, key by key, and what is wrong with one that says something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from captum_video._core.errors import close_matches
from models.training.optimiser import OPTIMIZERS, SCHEDULES, STOPPING


class Key(NamedTuple):
    """What the value of a key must be.

    Attributes:
        holds: whether a value is right.
        expected: the same in words.
        required: whether the key must be there.
    """

    holds: Callable[[Any], bool]
    expected: str
    required: bool = False


def is_number(value: Any) -> bool:
    """Whether a value is a number, which a truth value is not.

    Args:
        value: the value.

    Returns:
        True for integers and for floats other than not-a-number.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_count, value))


def _is_factors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_FINITE.holds(v) for v in value.values())


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) and v for v in value)


def _one_of(*values: str) -> Key:
    return Key(lambda v: v in values, "one of " + ", ".join(map(repr, values)))


def _must(key: Key) -> Key:
    return key._replace(required=True)


_TEXT = Key(lambda v: isinstance(v, str) and bool(v.strip()), "a text")
_TABLE = Key(lambda v: isinstance(v, Mapping), "a table")
_POSITIVE = Key(lambda v: is_number(v) and v > 0, "a positive number")
_FINITE = Key(lambda v: is_number(v) and 0 < v < math.inf, "a positive, finite number")
_NOT_NEGATIVE = Key(lambda v: is_number(v) and 0 <= v < math.inf, "a number that is not negative")
_SHARE = Key(lambda v: is_number(v) and 0 <= v < 1, "a number from 0 up to, not including, 1")
_COUNT = Key(_is_count, "a positive whole number")

_HEAD = {
    "title": _must(_TEXT),
    "source": _must(_TEXT),
    "model": _must(_TABLE),
    "data": _must(_TABLE),
    "training": _must(_TABLE),
    "task": _TABLE,
    "reported": _TABLE,
}
_TABLES: dict[str, dict[str, Key]] = {
    "model": {
        "name": _must(_TEXT),
        "frames": _COUNT,
        "size": Key(_is_pair, "a height and a width, such as [112, 112]"),
        "start": _TEXT,
        "options": _TABLE,
    },
    "data": {"name": _must(_TEXT), "options": _TABLE},
    "training": {
        "epochs": _FINITE,
        "steps": _COUNT,
        "batch_size": _must(_COUNT),
        "optimizer": _must(_one_of(*OPTIMIZERS)),
        "lr": _must(_FINITE),
        "temporal_lr": _FINITE,
        "gate_lr": _FINITE,
        "layer_lr": Key(_is_factors, "a table with a positive factor for each layer"),
        "freeze": Key(_is_names, "a list of layers' names"),
        "momentum": _SHARE,
        "weight_decay": _NOT_NEGATIVE,
        "clip_norm": _POSITIVE,
        "warmup": _SHARE,
        "schedule": _must(_one_of(*SCHEDULES)),
        "decay": Key(lambda v: is_number(v) and 0 < v < 1, "a number between 0 and 1"),
        "decay_every_epochs": _FINITE,
        "plateau": _COUNT,
        "stopping": _must(_one_of(*STOPPING)),
        "patience": _COUNT,
        "eval_every_epochs": _must(_FINITE),
        "score_split": _one_of("validation", "test"),
        "tolerance": _NOT_NEGATIVE,
    },
    "task": {
        "kind": _one_of("classification", "sequences", "odometry"),
        "class_weights": _one_of("balanced"),
        "l1": _NOT_NEGATIVE,
        "smoothness": _NOT_NEGATIVE,
        "mask": _NOT_NEGATIVE,
    },
}
#: by kind of task, what else its table may have
_OF_KIND = {
    "classification": {"class_weights"},
    "sequences": {"class_weights", "l1"},
    "odometry": {"smoothness", "mask"},
}
#: what makes sense only under another setting, which it is then there for
BELONGS = {
    "decay_every_epochs": ("schedule", ("step",)),
    "plateau": ("schedule", ("plateau",)),
    "decay": ("schedule", ("step", "plateau")),
    "patience": ("stopping", ("patience",)),
    "momentum": ("optimizer", ("sgd",)),
}


def check_file(where: str, content: Mapping[str, Any]) -> None:
    """Refuses the content of a file that is no recipe.

    Args:
        where: what to call the file.
        content: its tables.

    Raises:
        ValueError: an unknown key, a missing one, or a value of a wrong type or that contradicts
            another.
    """
    _check(where, "", content, _HEAD)
    for table, keys in _TABLES.items():
        _check(where, table, content.get(table, {}), keys)
    for key, value in content.get("reported", {}).items():
        if not is_number(value):
            raise ValueError(f"{where}: reported.{key} must be a number, got {value!r}.")
    check_training(where, content["training"])
    task = content.get("task", {})
    kind = task.get("kind", "classification")
    if foreign := sorted(task.keys() - _OF_KIND[kind] - {"kind"}):
        raise ValueError(f"{where}: task.{foreign[0]} is not for the kind {kind!r}.")


def check_training(where: str, training: Mapping[str, Any]) -> None:
    """Refuses training settings that contradict each other.

    Args:
        where: what to call the file.
        training: the settings, each right by itself.

    Raises:
        ValueError: both or none of ``epochs`` and ``steps``, or a setting without the one that it is
            for.
    """
    if ("epochs" in training) == ("steps" in training):
        raise ValueError(f"{where}: training must have one of epochs and steps.")
    for key, (other, values) in BELONGS.items():
        if key in training and training[other] not in values:
            wanted = " or ".join(map(repr, values))
            raise ValueError(
                f"{where}: training.{key} is for {other} {wanted}, got {training[other]!r}."
            )
    if training["schedule"] == "step" and "decay_every_epochs" not in training:
        raise ValueError(f"{where}: training.decay_every_epochs is missing, for schedule 'step'.")


def check_overrides(where: str, changes: Mapping[str, Any]) -> None:
    """Refuses training settings that are unknown or of a wrong type.

    Args:
        where: what to call the file.
        changes: any of the settings.

    Raises:
        ValueError: one that is wrong.
    """
    optional = {key: what._replace(required=False) for key, what in _TABLES["training"].items()}
    _check(where, "training", changes, optional)


def _check(where: str, table: str, given: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    """Refuses a table with unknown, wrong or missing keys."""
    before = f"{table}." if table else ""
    for key, value in given.items():
        if key not in keys:
            raise ValueError(
                f"{where}: there is no key {before + key!r}. "
                + close_matches(before + key, [before + known for known in keys])
            )
        if not keys[key].holds(value):
            raise ValueError(f"{where}: {before}{key} must be {keys[key].expected}, got {value!r}.")
    for key, what in keys.items():
        if what.required and key not in given:
            raise ValueError(f"{where}: {before}{key} is missing, {what.expected}.")
