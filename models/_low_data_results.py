"""What the low-data comparison has measured so far, in a file that survives being killed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from models._results import CellFile


class Cell(NamedTuple):
    """One training: which task and net, on how many clips, under which seed."""

    task: str
    net: str
    clips: int
    seed: int


@dataclass(frozen=True)
class Settings:
    """What all cells of a results file have in common.

    Attributes:
        lr_3d: Adam's learning rate for the 3D net.
        lr_3t: the same for the 3T net.
        lr_temporal: the same for the 3T net's temporal parameters; ``None`` for ``lr_3t``.
        batch_size: clips in a step; all of them where there are fewer.
        epochs: passes over the clips.
        min_steps: passes are added until there are so many steps.
        validation: fresh clips that accuracy is measured on.
        threads: of the arithmetic; sums round differently with another number.
        digits: whose handwritten digits the clips show, ``"sklearn"`` or ``"mnist"``.
    """

    lr_3d: float = 1e-3
    lr_3t: float = 1e-3
    lr_temporal: float | None = None
    batch_size: int = 20
    epochs: int = 20
    min_steps: int = 0
    validation: int = 1000
    threads: int = 1
    digits: str = "sklearn"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            option = f"--{name.replace('_', '-')}"
            if name == "digits" or (value is None and name == "lr_temporal"):
                continue
            if name == "min_steps":
                if value < 0:
                    raise ValueError(f"{option} must not be negative, got {value}.")
            elif not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{option} must be positive and finite, got {value}.")


class Results:
    """Cells and their accuracies, in a file as :class:`CellFile` keeps it.

    Args:
        path: the file; written when there is none.
        settings: those of this run; ``None`` to take those of the file, which must exist.

    Attributes:
        path: the file.
        settings: the settings of every cell in it.
        accuracy: the share of right answers, from 0 to 1, by cell.

    Raises:
        ValueError: the file has other settings, or is not such a file.
        FileNotFoundError: there is no file and no settings are given.
    """

    def __init__(self, path: Path, settings: Settings | None) -> None:
        self._file = CellFile(path, settings, kind=Settings, parse=_cell, what="low-data results")
        self.path, self.settings = path, self._file.settings
        self.accuracy: dict[Cell, float] = dict(self._file.cells)

    def append(self, cell: Cell, accuracy: float, steps: int, seconds: float) -> None:
        """Adds a finished cell, on disk before the call returns.

        Args:
            cell: which.
            accuracy: its share of right answers.
            steps: optimiser steps that it took.
            seconds: how long it took.
        """
        line = {
            **cell._asdict(),
            "accuracy": accuracy,
            "steps": steps,
            "seconds": round(seconds, 2),
        }
        self._file.append(line)
        self.accuracy[cell] = accuracy


def _cell(values: Mapping[str, Any]) -> tuple[Cell, float]:
    """A line's cell and its accuracy."""
    cell = Cell(**{name: values[name] for name in Cell._fields})
    return cell, float(values["accuracy"])
