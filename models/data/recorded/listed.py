"""Videos that a table lists with their labels, wherever they lie."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from captum_video._core.errors import close_matches
from models.data.recorded._places import check_split, folder, some
from models.data.recorded._videos import Videos

_COLUMNS = ("path", "label")
_SPLIT_COLUMN = "split"
_SPLIT_NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_DELIMITERS = (",", ";", "\t")
_INTEGER = re.compile(r"-?[0-9]+")


class NoClipError(ValueError):
    """A table lists no clip of the split that is asked for."""


@final
class ListedVideos(Videos):
    r"""Clips that a CSV file lists, one row each: ``path,label`` and, if wanted, ``split``.

    The header is needed; other columns are passed over. The text is UTF-8, its delimiter a comma,
    unless the header shows that it is a semicolon or a tab. A path may be a video or a folder of
    images. Classes are the labels of all rows, whatever their split, in the order of names, or of
    numbers if all are integers.

    Args:
        path: the CSV file.
        root: the folder that its paths start from; ``None`` for the file's own.
        split: ``"train"``, ``"validation"`` (``val`` in the file is the same) or ``"test"``: take the
            rows that say so in the column ``split``. ``None``: take all rows.
        classes: the labels in another order, or more of them; ``None`` for those in the file.
        **reading: options of :class:`Videos`.

    Raises:
        FileNotFoundError: there is no such file or ``root``.
        NotADirectoryError: ``root`` is a file.
        ValueError: an unknown split; a text that is not UTF-8, without header or without rows (of
            the split); rows that cannot be used, with their lines; or what :class:`Videos` refuses.

    Example:
        The file ``clips.csv``::

            path,label,split
            videos/0001.mp4,wave,train
            videos/0002.mp4,clap,validation
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        **reading: Any,
    ) -> None:
        if split is not None:
            check_split(split)
        self.path = Path(path)
        self.split = split
        lines = list(io.StringIO(_text(self.path), newline=""))
        self.root = self.path.parent if root is None else folder(root, "the videos", "root")
        table = _Table(self.path, lines, self.root, split, classes)
        if classes is None:
            classes = _in_order({row.label for row in table.rows})
        number = {name: index for index, name in enumerate(classes)}
        items = [(row.path, number[row.label]) for row in table.rows if row.taken]
        if not items:
            there = Counter(row.split for row in table.rows)
            counts = ", ".join(f"{count} of {name!r}" for name, count in sorted(there.items()))
            wanted = "one clip" if split is None else f"one clip of the split {split!r}"
            raise NoClipError(
                f"{self.path} must list at least {wanted}, and lists {counts or 'none'}."
            )
        super().__init__(items, classes, **reading)


class _Row(NamedTuple):
    """What one row says."""

    path: Path
    label: str
    split: str
    taken: bool


class _Table:
    """The rows of a file; the errors of all rows come together.

    Args:
        file: where it is.
        lines: its text.
        root: the folder that paths start from.
        split: which rows are taken; ``None`` for all.
        classes: known labels; ``None`` for any.
    """

    def __init__(
        self,
        file: Path,
        lines: list[str],
        root: Path,
        split: str | None,
        classes: Sequence[str] | None,
    ) -> None:
        self.root, self.split, self.classes = root, split, classes
        self.columns, delimiter, skipped = _header(file, lines)
        if split is not None and _SPLIT_COLUMN not in self.columns:
            raise ValueError(
                f"{file}, line {skipped}: split={split!r} needs a column {_SPLIT_COLUMN!r}, got "
                f"{', '.join(self.columns)}."
            )
        self.rows: list[_Row] = []
        self._lines: dict[str, int] = {}
        wrong = []
        for line, fields in _fields(lines[skipped:], delimiter, skipped + 1):
            outcome = fields if isinstance(fields, str) else self._row(line, fields)
            if isinstance(outcome, str):
                wrong.append(f"line {line}: {outcome}")
            else:
                self.rows.append(outcome)
        if wrong:
            rows = "row" if len(wrong) == 1 else "rows"
            raise ValueError(f"{file}: {len(wrong)} {rows} cannot be used: {some(wrong, '; ')}.")

    def _row(self, line: int, fields: list[str]) -> _Row | str:
        """A row, or what is wrong with it."""
        if len(fields) != len(self.columns):
            expected = f"{len(self.columns)} columns ({', '.join(self.columns)})"
            return f"it has {len(fields)} columns where the header has {expected}"
        values = dict(zip(self.columns, map(str.strip, fields), strict=True))
        for name in _COLUMNS:
            if not values[name]:
                return f"its {name} is empty"
        label = values["label"]
        if self.classes is not None and label not in self.classes:
            return f"{label!r} is none of the classes. {close_matches(label, self.classes)}"
        split = values.get(_SPLIT_COLUMN, "")
        if _SPLIT_COLUMN in values and split not in _SPLIT_NAMES:
            return f"its split is {split!r}, not one of {', '.join(_SPLIT_NAMES)}"
        split = _SPLIT_NAMES.get(split, split)
        taken = self.split in (None, split)
        name = values["path"]
        if "\0" in name:
            return f"its path is {name!r}"
        path = self.root / name
        before = self._lines.setdefault(os.path.normpath(path), line)
        if before != line:
            return f"{name} is on line {before} already"
        if taken and not os.path.exists(path):  # unlike Path.exists, of any name
            return f"there is no {path}"
        return _Row(path, label, split, taken)


def _text(file: Path) -> str:
    """The text of a file."""
    if not file.exists():
        raise FileNotFoundError(f"path must be a CSV file of videos and labels, got {file}.")
    if file.is_dir():
        raise IsADirectoryError(f"path must be a CSV file, and {file} is a folder.")
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        raise ValueError(
            f"{file}, line {line}: the text must be UTF-8, got the byte 0x{data[error.start]:02x}: "
            "save it as UTF-8."
        ) from error


def _header(file: Path, lines: list[str]) -> tuple[list[str], str, int]:
    """The names of the columns, the delimiter, and how many lines the header ends after."""
    at = next((number for number, line in enumerate(lines) if line.strip()), None)
    if at is None:
        raise ValueError(f"{file} is empty: its first line must be path,label.")
    for delimiter in _DELIMITERS:
        names = [name.strip().strip('"').lower() for name in lines[at].split(delimiter)]
        if all(name in names for name in _COLUMNS):
            again = [name for name, count in Counter(names).items() if count > 1 and name]
            if again:
                raise ValueError(
                    f"{file}, line {at + 1}: every column must be named once, got {some(again)} twice."
                )
            return names, delimiter, at + 1
    raise ValueError(
        f"{file}, line {at + 1}: the header must be path,label (and split, if wanted), got "
        f"{lines[at].strip()!r}."
    )


def _fields(lines: list[str], delimiter: str, first: int) -> Iterator[tuple[int, list[str] | str]]:
    """For each row that is not blank its line, and its fields or what is wrong with its quoting."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = first + reader.line_num
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"its quoting cannot be read ({error})"
            return  # where the next row begins is unknown
        if any(field.strip() for field in fields):
            yield line, fields


def _in_order(labels: set[str]) -> list[str]:
    """Labels in the order of names, or of numbers if all are integers."""
    if all(_INTEGER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
