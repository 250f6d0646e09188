"""Predictions, and the class to explain."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video.cli._errors import UsageError
from captum_video.cli._model import Facts


@dataclass(frozen=True)
class Prediction:
    """The answer to one of a model's questions.

    Attributes:
        group: the question's name; empty if the model answers only one.
        indices: its outputs.
        ranking: outputs from the most to the least likely.
        probabilities: of the outputs in ``ranking``, softmax over the group; ``None`` for a
            single output.
        scores: of the outputs in ``ranking``.
    """

    group: str
    indices: range
    ranking: list[int]
    probabilities: list[float] | None
    scores: list[float]


@dataclass(frozen=True)
class Target:
    """The output to explain.

    Attributes:
        index: the output: a number, one for each axis of a regression's answer, or ``None`` for
            all of them.
        name: what to call it.
        group: the question that it answers; empty if there is only one.
        indices: that question's outputs.
        score: the output's value for the clip.
    """

    index: int | tuple[int, ...] | None
    name: str
    group: str
    indices: range
    score: float


def groups_of(facts: Facts, outputs: int) -> dict[str, range]:
    """The model's questions.

    Args:
        facts: what is known of the model.
        outputs: how many outputs it has.

    Returns:
        Output indices by name; one group named ``""`` where the model has none.

    Raises:
        UsageError: if names or groups do not fit the outputs.
    """
    if facts.classes and len(facts.classes) != outputs:
        raise UsageError(
            f"there are {len(facts.classes)} class names but the model has {outputs} outputs: "
            "give a fitting file with --classes"
        )
    groups = {name: indices for name, indices in facts.groups.items() if len(indices)}
    if any(max(indices) >= outputs for indices in groups.values()):
        raise UsageError(f"the model's groups {dict(groups)} do not fit its {outputs} outputs")
    return groups or {"": range(outputs)}


def predictions(facts: Facts, answer: Tensor) -> list[Prediction]:
    """Reads a model's answer to one clip.

    Args:
        facts: what is known of the model.
        answer: (classes).

    Returns:
        One prediction for each question.
    """
    found = []
    for group, indices in groups_of(facts, len(answer)).items():
        values = answer[list(indices)]
        order = values.argsort(descending=True, stable=True)
        chances = None
        if len(indices) > 1:
            # A net that ends in softmax answers in probabilities already.
            ready = bool((values >= 0).all()) and abs(float(values.sum()) - 1) < 1e-4
            chances = (values if ready else values.softmax(0))[order].tolist()
        found.append(
            Prediction(
                group,
                indices,
                [indices[i] for i in order.tolist()],
                chances,
                values[order].tolist(),
            )
        )
    return found


def check_target(text: str, facts: Facts) -> None:
    """Refuses a target that no clip can have, as far as names tell, before any clip is read.

    Args:
        text: the option's value.
        facts: what is known of the model.

    Raises:
        UsageError: if it cannot be a target.
    """
    if facts.classes:
        _index(text, facts, groups_of(facts, len(facts.classes)))


def resolve_target(text: str, facts: Facts, answer: Tensor) -> Target:
    """Finds the class to explain.

    Args:
        text: the option's value.
        facts: what is known of the model.
        answer: what it answers to the clip, (classes).

    Returns:
        The target.

    Raises:
        UsageError: if there is no such class.
    """
    groups = groups_of(facts, len(answer))
    index = _index(text, facts, groups)
    if index is None:
        group = text if text in groups else next(iter(groups))
        index = next(p.ranking[0] for p in predictions(facts, answer) if p.group == group)
    else:
        group = next((name for name, indices in groups.items() if index in indices), "")
    indices = groups.get(group, range(len(answer)))
    return Target(index, facts.class_name(index), group, indices, float(answer[index]))


def _index(text: str, facts: Facts, groups: dict[str, range]) -> int | None:
    """The class that a text names, or ``None`` if it means 'whatever is predicted'."""
    group, colon, name = text.partition(":")
    if colon and group in groups and group:
        named = [i for i in groups[group] if facts.classes and facts.classes[i] == name]
        if len(named) == 1:
            return named[0]
        known = [facts.class_name(i) for i in groups[group]]
        raise UsageError(
            f"--target {text}: {group} has no class {name!r}. {close_matches(name, known)}"
        )
    named = [i for i, known in enumerate(facts.classes) if known == text]
    total = 1 + max(max(indices) for indices in groups.values())
    if text.isdecimal():
        number = int(text)
        if any(i != number for i in named):
            raise UsageError(
                f"--target {text}: is it the class of that name or of that index? "
                + (f"Say GROUP:{text}" if "" not in groups else "Give the index of the class")
            )
        if number >= total:
            raise UsageError(f"--target {text}: the model's classes are 0 to {total - 1}")
        return number
    if text == "predicted" or (text and text in groups):
        if named:
            raise UsageError(f"--target {text}: a class has that name too: give its index")
        return None
    if len(named) == 1:
        return named[0]
    if named:
        homes = [f"{g}:{text}" for g, indices in groups.items() if g for i in named if i in indices]
        raise UsageError(
            f"--target {text}: {len(named)} classes have that name: say {' or '.join(homes)}"
            if homes
            else f"--target {text}: {len(named)} classes have that name: give the index"
        )
    if not facts.classes:
        raise UsageError(
            f"--target {text}: the model's classes have no names: give an index from 0 to "
            f"{total - 1}, or names with --classes FILE"
        )
    known = ["predicted", *(g for g in groups if g), *facts.classes]
    raise UsageError(f"--target {text}: there is no such class. {close_matches(text, known)}")
