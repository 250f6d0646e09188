"""Where the parts of a data set with official lists are: its folder, lists, and videos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from models.data.recorded._places import SPLITS, folder, one_of, some, subfolders


class Folds(NamedTuple):
    """Where the parts of a data set with official folds are.

    Attributes:
        root: the data set.
        lists: the folder of its lists.
        videos: the folder of the classes' folders.
    """

    root: Path
    lists: Path
    videos: Path


def open_folds(
    title: str,
    root: str | os.PathLike[str],
    split: str,
    fold: int,
    annotations: str | os.PathLike[str] | None,
    *,
    lists: str,
    videos: str,
) -> Folds:
    """Checks which part of a data set with three official folds is asked for, and finds it.

    Args:
        title: the data set's name, for errors.
        root: its folder.
        split: one of :data:`SPLITS`, or ``"official-test"``.
        fold: 1, 2 or 3.
        annotations: where the caller says that the lists are; ``None``: below ``root``.
        lists: what their folder is called in the official archive.
        videos: what the folder of videos is called there; without one, it is ``root``.

    Returns:
        Where everything is.

    Raises:
        FileNotFoundError: a folder is not there.
        NotADirectoryError: a folder is a file.
        ValueError: an unknown split or fold.
    """
    one_of("split", split, (*SPLITS, "official-test"))
    one_of("fold", fold, (1, 2, 3))
    place = folder(root, title)
    inside = place / videos
    return Folds(
        place,
        list_folder(place, annotations, lists, f"{title}'s lists"),
        inside if inside.is_dir() else place,
    )


def list_folder(
    root: Path, annotations: str | os.PathLike[str] | None, name: str, what: str
) -> Path:
    """The folder of a data set's lists.

    Args:
        root: the data set.
        annotations: where the caller says that the lists are; ``None``: below ``root``.
        name: what the folder is called in the official archive; ``"."`` for ``root`` itself.
        what: what the lists are, for the error.

    Returns:
        ``annotations``, or ``root / name``.

    Raises:
        FileNotFoundError: it is not there.
        NotADirectoryError: it is a file.
    """
    if annotations is not None:
        return folder(annotations, what, "annotations")
    found = root / name
    if not found.is_dir():
        raise FileNotFoundError(
            f"There is no folder {found} of {what}: give their folder as annotations."
        )
    return found


def class_folders(
    videos: Path, classes: Sequence[str], source: Path, *, any_case: bool = False
) -> None:
    """Refuses classes without a folder, and folders of videos without a class.

    Args:
        videos: the folder of the classes' folders.
        classes: their names.
        source: the list that has them, for the errors.
        any_case: whether small and capital letters are the same.

    Raises:
        FileNotFoundError: a class has no folder.
        ValueError: a folder that is none of a class holds videos.
    """
    on_disk = [path.name for path in subfolders(videos)]
    missing = _without(classes, on_disk, any_case)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(classes)} classes in {source} have no folder in {videos}: "
            f"{some(missing)}."
        )
    strange = [
        name
        for name in _without(on_disk, classes, any_case)
        if any(file.suffix.lower() == ".avi" for file in (videos / name).iterdir())
    ]
    if strange:
        raise ValueError(
            f"{videos} has folders of videos that are none of the {len(classes)} classes in "
            f"{source}: {some(strange)}."
        )


def _without(names: Iterable[str], known: Iterable[str], any_case: bool) -> list[str]:
    """The names that are not known."""
    same = str.casefold if any_case else str
    found = {same(name) for name in known}
    return [name for name in names if same(name) not in found]
