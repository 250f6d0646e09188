"""Tables of the refinement study."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from models._refinement_cells import ARMS, BASELINE, TARGETED, Cell, Outcome
from models._tables import interval
from models.data.actions import ACTIONS, FINE_GRAINED

#: rows of the tables: what each class or group is the mean of
GROUPS: dict[str, tuple[str, ...]] = {
    "fine-grained": tuple(FINE_GRAINED),
    "others": tuple(name for name in ACTIONS if name not in FINE_GRAINED),
    "all": tuple(ACTIONS),
    **{name: (name,) for name in ACTIONS},
}


def accuracy(outcome: Outcome, classes: Sequence[str]) -> float:
    """The mean share of right answers to the clips of each class.

    Args:
        outcome: of a cell.
        classes: names.

    Returns:
        A number from 0 to 1.
    """
    return statistics.fmean(outcome.right[name] / outcome.clips[name] for name in classes)


def by_class(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """Accuracy of every net, for groups of classes and for each class.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each; means with the 95 % interval over seeds, in percent.
    """
    arms = [arm for arm in ARMS if _seeds(outcomes, arm)]
    lines = [["classes", *arms]]
    for group, names in GROUPS.items():
        cells = [[accuracy(outcomes[Cell(a, s)], names) for s in _seeds(outcomes, a)] for a in arms]
        lines.append([group, *(str(interval(values)) for values in cells)])
    return lines


def differences(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """What the targeted net gains over each of the others.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each group and class; means of paired differences with the 95 %
        interval over the seeds that both have, in points.
    """
    others = [a for a in ARMS if a != TARGETED and _both(outcomes, a)]
    lines = [["targeted minus", *(f"{a} ({len(_both(outcomes, a))} seeds)" for a in others)]]
    if not others:
        return lines
    for group, names in GROUPS.items():
        row = [group]
        for arm in others:
            gains = [
                accuracy(outcomes[Cell(TARGETED, seed)], names)
                - accuracy(outcomes[Cell(arm, seed)], names)
                for seed in _both(outcomes, arm)
            ]
            row.append(str(interval(gains)))
        lines.append(row)
    return lines


def proposals(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """What the diagnosis of each baseline found.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each seed.
    """
    lines = [["seed", "weak classes", "proposed joints"]]
    for seed in _seeds(outcomes, BASELINE):
        outcome = outcomes[Cell(BASELINE, seed)]
        lines.append([str(seed), ", ".join(outcome.weak), ", ".join(outcome.target)])
    return lines


TABLES = {
    "accuracy": ("Right answers in percent", by_class),
    "differences": ("Points that the targeted net is ahead", differences),
    "proposals": ("What the baselines' diagnoses propose", proposals),
}


def _seeds(outcomes: Mapping[Cell, Outcome], arm: str) -> list[int]:
    return sorted(cell.seed for cell in outcomes if cell.arm == arm)


def _both(outcomes: Mapping[Cell, Outcome], arm: str) -> list[int]:
    """The seeds that a net and the targeted one have."""
    return [seed for seed in _seeds(outcomes, arm) if Cell(TARGETED, seed) in outcomes]
