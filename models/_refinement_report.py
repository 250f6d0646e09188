"""Tables of the refinement study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from models._refinement_cells import ARMS, BASELINE, RANDOM, TARGETED, Cell, Outcome
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
    """The mean share of right answers to the clips of each class that has any.

    Args:
        outcome: of a cell.
        classes: names.

    Returns:
        A number from 0 to 1; NaN if no class has clips.
    """
    shares = [outcome.right[name] / outcome.clips[name] for name in classes if outcome.clips[name]]
    return statistics.fmean(shares) if shares else math.nan


def by_class(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """Accuracy of every net, for groups of classes and for each class.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each; means with the 95 % interval over the seeds that have clips of
        it, in percent.
    """
    arms = [arm for arm in ARMS if _seeds(outcomes, arm)]
    lines = [["classes", *arms]]
    for group, names in GROUPS.items():
        cells = [[accuracy(outcomes[Cell(a, s)], names) for s in _seeds(outcomes, a)] for a in arms]
        lines.append([group, *(_mean(values) for values in cells)])
    return lines


def differences(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """What the targeted net gains over each of the others.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each group and class; means of paired differences with the 95 %
        interval over the seeds that both have and that have clips of it, in points.
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
            row.append(_mean(gains))
        lines.append(row)
    return lines


def proposals(outcomes: Mapping[Cell, Outcome]) -> list[list[str]]:
    """What the diagnosis of each baseline found, and what was drawn in its place.

    Args:
        outcomes: by cell.

    Returns:
        A header and a row for each seed: the joints that the diagnosis proposes, those that the
        random net sees, and how many of the latter are among the former; empty without that net.
    """
    header = ["seed", "weak classes", "proposed joints", "random joints", "of them proposed"]
    lines = [header]
    for seed in _seeds(outcomes, BASELINE):
        outcome = outcomes[Cell(BASELINE, seed)]
        line = [str(seed), ", ".join(outcome.weak), ", ".join(outcome.target), "", ""]
        if Cell(RANDOM, seed) in outcomes:
            drawn = outcomes[Cell(RANDOM, seed)].target
            line[3:] = [", ".join(drawn), str(len(set(drawn) & set(outcome.target)))]
        lines.append(line)
    return lines


TABLES = {
    "accuracy": ("Right answers in percent", by_class),
    "differences": ("Points that the targeted net is ahead", differences),
    "proposals": ("What the baselines' diagnoses propose", proposals),
}


def _mean(values: Sequence[float]) -> str:
    """The mean of what is a number, with its interval; a dash if nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return str(interval(known)) if known else "-"


def _seeds(outcomes: Mapping[Cell, Outcome], arm: str) -> list[int]:
    return sorted(cell.seed for cell in outcomes if cell.arm == arm)


def _both(outcomes: Mapping[Cell, Outcome], arm: str) -> list[int]:
    """The seeds that a net and the targeted one have."""
    return [seed for seed in _seeds(outcomes, arm) if Cell(TARGETED, seed) in outcomes]
