"""What readers of official lists share: lines, folders of lists, videos by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from models.data.recorded._halves import first_halves
from models.data.recorded._places import some, subfolders


class Line(NamedTuple):
    """One line of a list.

    Attributes:
        file: the list.
        number: the line's number, from 1.
        text: what it says, without blanks around it.
    """

    file: Path
    number: int
    text: str

    @property
    def place(self) -> str:
        """File and number, for errors."""
        return f"{self.file}, line {self.number}"

    def wrong(self, expected: str) -> ValueError:
        """The error for a line that says something else.

        Args:
            expected: what it should say.

        Returns:
            The error; the caller raises it.
        """
        return ValueError(f"{self.place}: expected {expected}, got {self.text!r}.")


class Entry(NamedTuple):
    """A video in a list.

    Attributes:
        line: where it is listed.
        video: its path from the folder of videos, with ``/``.
        label: the index of its class.
        source: the recording that it is from, known within its class.
    """

    line: Line
    video: str
    label: int
    source: str


def read_lines(path: Path, what: str) -> list[Line]:
    """The lines of a list that are not blank.

    Args:
        path: the list.
        what: what it is, for the error when it is not there.

    Returns:
        At least one line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no line, or is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}, {what}.")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: expected text in UTF-8, got byte 0x{content[error.start]:02x}."
        ) from error
    lines = [Line(path, number, row.strip()) for number, row in enumerate(text.split("\n"), 1)]
    lines = [line for line in lines if line.text]
    if not lines:
        raise ValueError(f"{path}, {what}, is empty.")
    return lines


def refuse_repeats(entries: Iterable[Entry]) -> None:
    """Refuses a video that is listed more than once, in one list or in two.

    Args:
        entries: all videos of these lists.

    Raises:
        ValueError: one is there twice.
    """
    seen: dict[str, Line] = {}
    for entry in entries:
        first = seen.setdefault(entry.video, entry.line)
        if first is not entry.line:
            raise ValueError(
                f"{entry.line.place}: {entry.video} is listed already, in {first.place}."
            )


def refuse_untrained(classes: Sequence[str], train: Iterable[Entry], source: Path) -> None:
    """Refuses classes without a training video.

    Args:
        classes: their names.
        train: the training videos.
        source: where the classes come from, for the error.

    Raises:
        ValueError: a class has none.
    """
    idle = sorted(set(range(len(classes))) - {entry.label for entry in train})
    if idle:
        raise ValueError(
            f"{len(idle)} of the {len(classes)} classes in {source} have no training video: "
            f"{some(repr(classes[label]) for label in idle)}."
        )


def items_of(
    split: str, entries: Sequence[Entry], base: Path, source: Path, *, any_case: bool = False
) -> list[tuple[Path, int]]:
    """The videos of a split with their classes, in the order of the list.

    Args:
        split: ``"validation"`` or ``"test"`` for one half of the list, else all of it.
        entries: the official list.
        base: the folder of videos.
        source: the list, or the folder of lists, for errors.
        any_case: as in :func:`locate`.

    Returns:
        At least one path and index of a class.

    Raises:
        FileNotFoundError: a video of the list is not there.
        ValueError: the half is empty.
    """
    paths = locate(base, [entry.video for entry in entries], source, any_case=any_case)
    chosen = [True] * len(entries)
    if split in ("validation", "test"):
        first = first_halves([e.label for e in entries], [e.source for e in entries])
        chosen = [flag is (split == "validation") for flag in first]
    if not any(chosen):
        raise ValueError(
            f"None of the {len(entries)} videos in {source} is left for the {split} split."
        )
    return [
        (path, entry.label)
        for path, entry, keep in zip(paths, entries, chosen, strict=True)
        if keep
    ]


def locate(base: Path, names: Sequence[str], source: Path, *, any_case: bool = False) -> list[Path]:
    """The paths of the videos that a list names.

    Args:
        base: the folder that the names start from.
        names: ``"NAME"`` or ``"FOLDER/NAME"``.
        source: the list, for the error.
        any_case: whether a name that is not there may be there in other small and capital letters.

    Returns:
        A path for each name.

    Raises:
        FileNotFoundError: some are not there.
    """
    there: dict[str, str] = {}
    folded: dict[str, str] = {}
    for parent in _folders(base, {name.rpartition("/")[0] for name in names}):
        for entry in os.listdir(base / parent):
            name = f"{parent}/{entry}" if parent else entry
            there[name] = name
            if any_case:
                folded[name.casefold()] = name
    found = [there.get(name) or folded.get(name.casefold()) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(
            f"{source} names {len(missing)} of {len(names)} videos that are not in {base}: "
            f"{some(missing)}."
        )
    return [base / path for path in found if path is not None]


def _folders(base: Path, names: Iterable[str]) -> list[str]:
    """Those of the folders that are there, in any letters, as they are spelled there."""
    wanted = {name.casefold() for name in names}
    if "" in wanted:
        return [""]
    return [path.name for path in subfolders(base) if path.name.casefold() in wanted]
