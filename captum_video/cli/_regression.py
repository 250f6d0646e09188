"""What a regression answers: numbers, their names, and which of them to explain."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video.cli._errors import UsageError
from captum_video.cli._model import Facts
from captum_video.cli._target import Target

ALL = "all"


@dataclass(frozen=True)
class Numbers:
    """A regression's answer to one clip.

    Attributes:
        values: its outputs, of any shape, on the CPU.
        names: what to call each of them, in the order of ``values.flatten()``.
    """

    values: Tensor
    names: tuple[str, ...]

    def largest(self, count: int) -> list[int]:
        """The outputs of the largest magnitude.

        Args:
            count: how many at most.

        Returns:
            Their places in ``values.flatten()``, from the largest magnitude down.
        """
        order = self.values.flatten().abs().argsort(descending=True, stable=True)
        return [int(place) for place in order[:count]]

    def index(self, place: int) -> tuple[int, ...]:
        """Where an output is in ``values``.

        Args:
            place: its place in ``values.flatten()``.

        Returns:
            One number for each axis.
        """
        return tuple(int(i) for i in np.unravel_index(place, self.values.shape))

    def value(self, place: int) -> float:
        """One output.

        Args:
            place: its place in ``values.flatten()``.

        Returns:
            Its value.
        """
        return float(self.values.flatten()[place])


def numbers_of(facts: Facts, outputs: Any) -> Numbers | None:
    """Reads a regression's answer to one clip.

    Args:
        facts: what is known of the model.
        outputs: what it answers to a batch of one.

    Returns:
        The numbers, or ``None`` for an answer that is not one tensor.

    Raises:
        UsageError: if there are more or fewer names than numbers.
    """
    if not isinstance(outputs, Tensor):
        return None
    values = outputs[0].detach().float().cpu()
    if facts.classes and len(facts.classes) != values.numel():
        raise UsageError(
            f"there are {len(facts.classes)} class names but the model has {values.numel()} "
            f"outputs of shape {tuple(values.shape)}: give a fitting file with --classes"
        )
    return Numbers(values, facts.classes or tuple(map(_bare_name, np.ndindex(*values.shape))))


def _bare_name(index: tuple[int, ...]) -> str:
    return f"output {','.join(map(str, index))}" if index else "the output"


def check_output(text: str | None, facts: Facts) -> None:
    """Refuses a target that no clip can have, as far as names tell, before any clip is read.

    Args:
        text: the option's value; ``None`` if it is not given.
        facts: what is known of the model.

    Raises:
        UsageError: if it cannot be one of a regression's outputs.
    """
    if text is None or text == ALL or text in facts.classes or _is_index(text):
        return
    if text == "predicted":
        raise UsageError("--target predicted: a regression predicts no class; give an output")
    if not facts.classes:
        raise UsageError(
            f"--target {text}: the model's outputs have no names: give an index such as 0 (or 0,2), "
            f"{ALL!r}, or names with --classes FILE"
        )
    raise UsageError(
        f"--target {text}: there is no such output. {close_matches(text, [ALL, *facts.classes])}"
    )


def output_target(text: str | None, facts: Facts, numbers: Numbers | None) -> Target:
    """Finds the output to explain.

    Args:
        text: the option's value; ``None`` for all outputs.
        facts: what is known of the model.
        numbers: what it answers to the clip; ``None`` if that is not one tensor.

    Returns:
        The target; its index is a number or one for each axis, or ``None`` for all outputs.

    Raises:
        UsageError: if there is no such output.
    """
    check_output(text, facts)
    if numbers is None:
        if text not in (None, ALL):
            raise UsageError(f"--target {text}: the model's answer is not one tensor: leave it out")
        return Target(None, "all outputs", "", range(0), math.nan)
    every = range(numbers.values.numel())
    if text is None or text == ALL:
        return Target(None, "all outputs", "", every, float(numbers.values.sum()))
    place = _place(text, numbers)
    index = numbers.index(place)
    return Target(
        index[0] if len(index) == 1 else index or None,
        numbers.names[place],
        "",
        every,
        numbers.value(place),
    )


def _place(text: str, numbers: Numbers) -> int:
    """The output that a text names, by its place in the flattened answer."""
    named = [place for place, name in enumerate(numbers.names) if name == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"--target {text}: {len(named)} outputs have that name: give the index")
    index, shape = [int(part) for part in text.split(",")], tuple(numbers.values.shape) or (1,)
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        last = ",".join(str(size - 1) for size in shape)
        raise UsageError(
            f"--target {text}: the model's outputs have shape {shape}: give an index from "
            f"{','.join('0' for _ in shape)} to {last}"
        )
    return int(np.ravel_multi_index(index, shape))


def _is_index(text: str) -> bool:
    return re.fullmatch(r"\d+(,\d+)*", text) is not None
