"""Tables of the fusion study: posteriors, their differences, accuracies, and the chosen strategies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from models._fusion_study_cells import FUSION, RESOLUTIONS, TASKS, TWINS
from models._fusion_study_results import OPEN, PLAIN, PROBABLE, SAMPLED, Cell, Outcome
from models._tables import Interval, interval

UNITS = ("S", "ST", "S+ST")
KINDS = ("s", "st", "s+st", "none")
MEAN = "mean"
Outcomes = Mapping[Cell, Outcome]
Table = list[tuple[str, ...]]


class Way(NamedTuple):
    """A network in the table of accuracies: whose, and used how."""

    title: str
    conv: str
    way: str


#: in the order of the columns
WAYS = (
    Way("best sampled", FUSION, SAMPLED),
    Way("most probable", FUSION, PROBABLE),
    Way("all open", FUSION, OPEN),
    *(Way(f"{conv.upper()} everywhere", conv, PLAIN) for conv in TWINS),
)


def fusion(outcomes: Outcomes, task: str, resolution: str) -> dict[int, Outcome]:
    """The outcomes of the templates.

    Args:
        outcomes: by cell.
        task: one of ``TASKS``.
        resolution: one of ``RESOLUTIONS``.

    Returns:
        By seed.
    """
    return {
        cell.seed: outcome
        for cell, outcome in sorted(outcomes.items())
        if (cell.task, cell.resolution, cell.conv) == (task, resolution, FUSION)
    }


def over_layers(outcome: Outcome, unit: str) -> float:
    """A unit's probability of being kept, the mean over the layers.

    Args:
        outcome: of a template.
        unit: one of ``UNITS``.

    Returns:
        From 0 to 1.
    """
    return statistics.fmean(row[unit] for row in outcome.keep.values())


def posterior_table(outcomes: Outcomes) -> Table:
    """The units' probabilities, means over layers.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows: for each task and resolution its seeds, and each unit with its interval.
    """
    rows: Table = [("task", "resolution", "seeds", *(f"{unit}, %" for unit in UNITS))]
    for task in TASKS:
        for resolution in RESOLUTIONS:
            found = fusion(outcomes, task, resolution).values()
            if found:
                units = [interval([over_layers(one, unit) for one in found]) for unit in UNITS]
                rows.append((task, resolution, str(len(found)), *map(str, units)))
    return rows


def layer_rows(outcomes: Outcomes, task: str, resolution: str) -> dict[str, dict[str, Interval]]:
    """The units' probabilities by layer.

    Args:
        outcomes: by cell.
        task: one of ``TASKS``.
        resolution: one of ``RESOLUTIONS``.

    Returns:
        By layer and unit, the interval over seeds; empty without a seed.
    """
    found = list(fusion(outcomes, task, resolution).values())
    layers = list(found[0].keep) if found else []
    return {
        layer: {unit: interval([one.keep[layer][unit] for one in found]) for unit in UNITS}
        for layer in layers
    }


def layers_table(outcomes: Outcomes) -> Table:
    """The units' probabilities, layer by layer.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows.
    """
    rows: Table = [("task", "resolution", "layer", *(f"{unit}, %" for unit in UNITS))]
    for task in TASKS:
        for resolution in RESOLUTIONS:
            for layer, units in layer_rows(outcomes, task, resolution).items():
                rows.append((task, resolution, layer, *map(str, units.values())))
    return rows


def differences_table(outcomes: Outcomes) -> Table:
    """How the posteriors of two kinds of data differ, seed by seed.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows: motion less look for each resolution, and halved less full for each task; with
        each unit's difference, the mean over layers, and in how many layers S and ST are higher, in
        the mean over seeds.
    """
    units = [f"{unit}, points" for unit in UNITS]
    rows: Table = [("difference", "seeds", *units, "S higher in", "ST higher in")]
    pairs = [
        (f"motion - look, {resolution}", ("motion", resolution), ("look", resolution))
        for resolution in RESOLUTIONS
    ] + [(f"halved - full, {task}", (task, "halved"), (task, "full")) for task in TASKS]
    for title, more, less in pairs:
        first, second = fusion(outcomes, *more), fusion(outcomes, *less)
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            continue
        found = [
            interval([over_layers(first[s], unit) - over_layers(second[s], unit) for s in seeds])
            for unit in UNITS
        ]
        higher = [_higher(first, second, seeds, unit) for unit in ("S", "ST")]
        rows.append((title, str(len(seeds)), *map(str, found), *higher))
    return rows


def _higher(
    first: Mapping[int, Outcome], second: Mapping[int, Outcome], seeds: Sequence[int], unit: str
) -> str:
    """In how many layers a unit's mean over seeds is higher for the first."""
    layers = first[seeds[0]].keep
    gaps = [
        statistics.fmean(first[s].keep[layer][unit] - second[s].keep[layer][unit] for s in seeds)
        for layer in layers
    ]
    return f"{sum(gap > 0 for gap in gaps)} of {len(layers)} layers"


def accuracies(
    outcomes: Outcomes, task: str, resolution: str, question: str, way: Way
) -> dict[int, float]:
    """Right answers of a network.

    Args:
        outcomes: by cell.
        task: one of ``TASKS``.
        resolution: one of ``RESOLUTIONS``.
        question: one of ``questions(task)``.
        way: which network.

    Returns:
        By seed, the share.
    """
    found = {}
    for cell, outcome in sorted(outcomes.items()):
        if (cell.task, cell.resolution, cell.conv) == (task, resolution, way.conv):
            shares = outcome.accuracy[way.way]
            found[cell.seed] = (
                statistics.fmean(shares.values()) if question == MEAN else shares[question]
            )
    return found


def questions(task: str) -> tuple[str, ...]:
    """What a task is measured by.

    Args:
        task: one of ``TASKS``.

    Returns:
        Its question; for both, either and their mean.
    """
    return ("look", "motion", MEAN) if task == "both" else (task,)


def accuracy_table(outcomes: Outcomes) -> Table:
    """Right answers to fresh clips, of each network over all its seeds.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows.
    """

    def shown(task: str, resolution: str, question: str, way: Way) -> str:
        found = accuracies(outcomes, task, resolution, question, way)
        return f"{interval(list(found.values()))} ({len(found)})" if found else ""

    return _by_question([f"{way.title}, %" for way in WAYS], WAYS, shown)


def paired_table(outcomes: Outcomes) -> Table:
    """By how much the best sampled strategy is better than other networks, seed by seed.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows; a star marks the intervals that leave zero out.
    """
    best = WAYS[0]

    def shown(task: str, resolution: str, question: str, way: Way) -> str:
        ours = accuracies(outcomes, task, resolution, question, best)
        theirs = accuracies(outcomes, task, resolution, question, way)
        seeds = sorted(ours.keys() & theirs.keys())
        if not seeds:
            return ""
        found = interval([ours[seed] - theirs[seed] for seed in seeds])
        return f"{found}{' *' if found.sign else ''} ({len(seeds)})"

    return _by_question([f"less {way.title}, points" for way in WAYS[1:]], WAYS[1:], shown)


def strategies_table(outcomes: Outcomes) -> Table:
    """What the best sampled strategies are.

    Args:
        outcomes: by cell.

    Returns:
        Header and rows: for each task and resolution the layers of each kind, means over seeds, and
        the parameters of the template and of the exported networks, least and most.
    """
    kinds = [f"layers {kind}" for kind in KINDS]
    rows: Table = [
        ("task", "resolution", "seeds", *kinds, "parameters, template", "parameters, exported")
    ]
    for task in TASKS:
        for resolution in RESOLUTIONS:
            found = list(fusion(outcomes, task, resolution).values())
            if not found:
                continue
            best = [one.chosen[SAMPLED] for one in found]
            counts = [
                statistics.fmean(list(one.kinds.values()).count(kind) for one in best)
                for kind in KINDS
            ]
            sizes = sorted(one.parameters for one in best)
            rows.append(
                (
                    task, resolution, str(len(found)), *(f"{count:.1f}" for count in counts),
                    f"{found[0].parameters:,}", f"{sizes[0]:,} to {sizes[-1]:,}",
                )
            )  # fmt: skip
    return rows


#: by the ending of the file
TABLES: dict[str, tuple[str, Callable[[Outcomes], Table]]] = {
    "posterior": ("probability of being kept, mean over layers", posterior_table),
    "differences": ("difference of the probabilities, mean over layers", differences_table),
    "layers": ("probability of being kept, by layer", layers_table),
    "accuracy": ("right answers to fresh clips (seeds)", accuracy_table),
    "paired": ("best sampled less other networks, seed by seed (seeds)", paired_table),
    "strategies": ("the best sampled strategies", strategies_table),
}


def _by_question(
    titles: Sequence[str], ways: Sequence[Way], shown: Callable[[str, str, str, Way], str]
) -> Table:
    """A row for each task, resolution and question that has anything to show, a column for each way."""
    rows: Table = [("task", "resolution", "question", *titles)]
    for task in TASKS:
        for resolution in RESOLUTIONS:
            for question in questions(task):
                columns = [shown(task, resolution, question, way) for way in ways]
                if any(columns):
                    rows.append((task, resolution, question, *columns))
    return rows
