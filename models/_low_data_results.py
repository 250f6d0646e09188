"""What the low-data comparison has measured so far, in a file that survives being killed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from captum_video._core.files import written_whole


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
    """Cells and their accuracies, as lines of JSON that are on disk whole or not at all.

    The first line holds the settings, each further one a cell. A last line without its end, which
    a killed run leaves, is cut off.

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
        self.path = path
        self.accuracy: dict[Cell, float] = {}
        if settings is None and not path.is_file():
            raise FileNotFoundError(
                f"There are no results at {path}: run without --plot-only first."
            )
        whole = _whole_lines(path, cut=settings is not None) if path.exists() else []
        if not whole:
            if settings is None:
                raise ValueError(f"{path} holds no whole line.")
            self.settings = settings
            with written_whole(path) as part:
                part.write_text(json.dumps({"settings": asdict(settings)}) + "\n", encoding="utf-8")
            return
        self.settings = _settings(path, whole[0])
        if settings is not None:
            _refuse_others(path, self.settings, settings)
        for number, line in enumerate(whole[1:], start=2):
            cell, accuracy = _cell(path, number, line)
            self.accuracy[cell] = accuracy

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
        with self.path.open("ab") as file:
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self.accuracy[cell] = accuracy


def _whole_lines(path: Path, *, cut: bool) -> list[str]:
    """The lines that have an end; ``cut`` removes the rest from the file too."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if cut and len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        return whole.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a file of low-data results: {error}") from error


def _settings(path: Path, line: str) -> Settings:
    try:
        return Settings(**json.loads(line)["settings"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} does not begin with the settings of a run.") from error


def _cell(path: Path, number: int, line: str) -> tuple[Cell, float]:
    try:
        values: Mapping[str, Any] = json.loads(line)
        cell = Cell(**{name: values[name] for name in Cell._fields})
        return cell, float(values["accuracy"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}, line {number} is not a cell: {line[:80]!r}") from error


def _refuse_others(path: Path, have: Settings, wanted: Settings) -> None:
    """An error that names what differs."""
    there, here = asdict(have), asdict(wanted)
    names = [name for name in there if there[name] != here[name]]
    if names:
        differences = ", ".join(f"{name} {there[name]} (now {here[name]})" for name in names)
        raise ValueError(
            f"{path} holds cells of other settings: {differences}; choose another --results."
        )
