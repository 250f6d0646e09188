"""What the fusion study has measured so far: which cells, under which settings, with what outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from models._results import CellFile, refuse_others, write_cells

#: ways to use a trained template, and the only one to use a net without gates
OPEN, PROBABLE, SAMPLED = "all open", "most probable", "best sampled"
PLAIN = "as trained"


class Cell(NamedTuple):
    """One training: which question and temporal resolution, which convolutions, under which seed."""

    task: str
    resolution: str
    conv: str
    seed: int


@dataclass(frozen=True)
class Settings:
    """What all cells of a results file have in common.

    Attributes:
        recipe: the numbers that the trainings share, by name.
        sampled: strategies drawn from a posterior.
        choice_clips: validation clips that the best of them is chosen on.
        clips: other fresh clips that accuracy is measured on.
        threads: of the arithmetic; sums round differently with another number.
    """

    recipe: Mapping[str, Any]
    sampled: int = 20
    choice_clips: int = 400
    clips: int = 1000
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("sampled", "choice_clips", "clips", "threads"):
            value = getattr(self, name)
            if not (value >= 1 and math.isfinite(value)):
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}.")


@dataclass(frozen=True)
class Chosen:
    """A strategy, and the ordinary network that it leaves.

    Attributes:
        kinds: by layer ``"s"``, ``"st"``, ``"s+st"`` or ``"none"``.
        log_probability: the natural logarithm of its probability under the posterior.
        parameters: of the exported network.
    """

    kinds: Mapping[str, str]
    log_probability: float
    parameters: int


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        steps: optimiser steps.
        best_step: the step whose weights were kept.
        seconds: of training and measurement.
        parameters: of the network as it was trained.
        accuracy: by way of use and question, the share of right answers to fresh clips.
        keep: by layer and unit (and ``"time"``) the probability of being kept; empty without gates.
        chosen: by way of use, its strategy; empty without gates.
        choice: for each strategy that was drawn, its share of right answers to the clips that the
            best was chosen on, the mean over the questions; empty without gates.
    """

    steps: int
    best_step: int
    seconds: float
    parameters: int
    accuracy: Mapping[str, Mapping[str, float]]
    keep: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    choice: Sequence[float] = field(default_factory=list)


class Results:
    """Cells and their outcomes, from one file or several.

    Args:
        paths: the files; the first is written when there is none, and gets the finished cells.
            What the others hold counts as done.
        settings: those of this run; ``None`` to take those of the files, which must exist then.

    Attributes:
        path: the first file.
        settings: the settings of every cell.
        outcomes: by cell.

    Raises:
        ValueError: a file has other settings, or is not such a file.
        FileNotFoundError: there is no file and no settings are given.
    """

    def __init__(self, paths: Sequence[Path], settings: Settings | None) -> None:
        self.path = paths[0]
        self._file = _open(self.path, settings)
        self.settings = self._file.settings
        self.outcomes: dict[Cell, Outcome] = dict(self._file.cells)
        for path in paths[1:]:
            if settings is not None and not path.exists():
                continue  # another process has yet to begin it
            other = _open(path, None)
            refuse_others(path, other.settings, self.settings)
            for cell, outcome in other.cells:
                self.outcomes.setdefault(cell, outcome)

    def append(self, cell: Cell, outcome: Outcome) -> None:
        """Adds a finished cell, on disk before the call returns.

        Args:
            cell: which.
            outcome: what came of it.
        """
        self._file.append({**cell._asdict(), **asdict(outcome)})
        self.outcomes[cell] = outcome

    def write(self, path: Path) -> None:
        """Writes all cells into one file.

        Args:
            path: where to.
        """
        order = sorted(self.outcomes.items())
        lines = [{**cell._asdict(), **asdict(outcome)} for cell, outcome in order]
        write_cells(path, self.settings, lines)


def _open(path: Path, settings: Settings | None) -> CellFile[Settings, tuple[Cell, Outcome]]:
    return CellFile(path, settings, kind=Settings, parse=_parse, what="results of the fusion study")


def _parse(line: Mapping[str, Any]) -> tuple[Cell, Outcome]:
    """A line's cell and its outcome."""
    values = dict(line)
    cell = Cell(**{name: values.pop(name) for name in Cell._fields})
    chosen = {way: Chosen(**strategy) for way, strategy in values.pop("chosen").items()}
    return cell, Outcome(**values, chosen=chosen)
