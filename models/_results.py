"""Finished cells of an experiment, as lines of JSON in a file that survives being killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from captum_video._core.files import written_whole

#: a dataclass of what all cells of a file have in common
Settings = TypeVar("Settings")
Cell = TypeVar("Cell")


class CellFile(Generic[Settings, Cell]):
    """Settings and finished cells, as lines that are on disk whole or not at all.

    The first line holds the settings, each further one a cell. A last line without its end, which
    a killed run leaves, is cut off.

    Args:
        path: the file; written when there is none.
        settings: those of this run, a dataclass; ``None`` to take those of the file, which must exist.
        kind: the settings' class.
        parse: makes a cell of a line's values; ``KeyError``, ``TypeError`` and ``ValueError`` say that
            it is none.
        what: what the file is of, for errors.

    Attributes:
        path: the file.
        settings: the settings of every cell in it.
        cells: the cells that were in it when it was opened.

    Raises:
        ValueError: the file has other settings, or is not such a file.
        FileNotFoundError: there is no file and no settings are given.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings | None,
        *,
        kind: type[Settings],
        parse: Callable[[Mapping[str, Any]], Cell],
        what: str,
    ) -> None:
        self.path = path
        self.cells: list[Cell] = []
        if settings is None and not path.is_file():
            raise FileNotFoundError(
                f"There are no results at {path}: run without --plot-only first."
            )
        whole = _whole_lines(path, what, cut=settings is not None) if path.exists() else []
        if not whole:
            if settings is None:
                raise ValueError(f"{path} holds no whole line.")
            self.settings: Settings = settings
            write_cells(path, settings, [])
            return
        try:
            self.settings = kind(**json.loads(whole[0])["settings"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not begin with the settings of a run.") from error
        if settings is not None:
            refuse_others(path, self.settings, settings)
        for number, line in enumerate(whole[1:], start=2):
            try:
                self.cells.append(parse(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{path}, line {number} is not a cell: {line[:80]!r}") from error

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a finished cell, on disk before the call returns.

        Args:
            line: its values.
        """
        with self.path.open("ab") as file:
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def write_cells(path: Path, settings: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes a file of cells, whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        settings: of all cells, a dataclass.
        lines: the cells' values.
    """
    content = [{"settings": asdict(settings)}, *lines]
    with written_whole(path) as part:
        part.write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")


def refuse_others(path: Path, have: Any, wanted: Any) -> None:
    """An error that names the settings that differ.

    Args:
        path: the file.
        have: its settings, a dataclass.
        wanted: those that are asked for.

    Raises:
        ValueError: they differ.
    """
    there, here = _flat(asdict(have)), _flat(asdict(wanted))
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if names:
        differences = ", ".join(
            f"{name} {there.get(name)} (now {here.get(name)})" for name in names
        )
        raise ValueError(
            f"{path} holds cells of other settings: {differences}; choose another --results."
        )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, those of a mapping under ``name.key``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            flat[name] = value
    return flat


def _whole_lines(path: Path, what: str, *, cut: bool) -> list[str]:
    """The lines that have an end; ``cut`` removes the rest from the file too."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if cut and len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        return whole.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a file of {what}: {error}") from error
