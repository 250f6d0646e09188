"""Weights of classes, for data in which they are not equally frequent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.info import ModelInfo


def balanced_weights(info: ModelInfo, data: Any) -> dict[str, list[float]]:
    """Weights under which every class counts alike: ``N / (K * n_k)``.

    Args:
        info: the model's facts; its groups are the questions.
        data: a data set with ``labels(index)``, class indices in the order of its ``groups``.

    Returns:
        For each of the model's groups, a weight for each class; its mean over the clips is 1.

    Raises:
        ValueError: the data set has no ``labels``, or no clip of a class.
    """
    if not hasattr(data, "labels"):
        raise ValueError(
            "Balanced class weights need a data set with labels(index), and "
            f"{type(data).__name__} has none."
        )
    counts = {name: [0] * len(outputs) for name, outputs in info.groups.items()}
    for index in range(len(data)):
        for name, label in zip(data.groups, data.labels(index), strict=True):
            if name in counts:
                counts[name][label] += 1
    for name, row in counts.items():
        absent = [info.classes[k] for k, n in zip(info.groups[name], row, strict=True) if n == 0]
        if absent:
            raise ValueError(
                f"Class weights cannot be balanced: of {len(data)} training clips none is of "
                f"{name} {', '.join(map(repr, absent))}."
            )
    return {name: [len(data) / (len(row) * n) for n in row] for name, row in counts.items()}


def check_weights(info: ModelInfo, by_group: Mapping[str, Sequence[float]]) -> None:
    """Refuses weights that do not fit a model.

    Args:
        info: the model's facts.
        by_group: weights by group.

    Raises:
        ValueError: weights for other groups or classes, or not positive and finite.
    """
    for name, row in by_group.items():
        if name not in info.groups:
            known = ", ".join(map(repr, info.groups))
            raise ValueError(f"class_weights names {name!r}, and the model's groups are {known}.")
        if len(row) != len(info.groups[name]):
            raise ValueError(
                f"class_weights must have {len(info.groups[name])} weights for {name!r}, "
                f"got {len(row)}."
            )
        for weight in row:
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(
                    f"class_weights must be positive and finite, got {weight} for {name!r}."
                )
