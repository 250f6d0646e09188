"""Videos in one folder per class, as Kinetics and most private data sets are kept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

from models.data.recorded._places import (
    VIDEO_SUFFIXES,
    check_split,
    clips,
    folder,
    some,
    subfolders,
)
from models.data.recorded._videos import Videos

_FOLDERS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_LAYOUT = "ROOT/[train|val|test/]CLASS/CLIP"


@final
class ClassFolders(Videos):
    """Clips in folders that are named as their classes: ``ROOT/CLASS/CLIP``.

    A clip is a video, known by its suffix (mp4, avi, webm, mkv, mov, gif, ...), or a folder of images.
    Other files, hidden ones and what lies deeper are passed over. Classes and clips come in the order
    of names. All splits have the classes of the folder ``train`` where there is one, so that their
    indices agree; they need not have clips of all of them.

    Args:
        root: the folder.
        split: ``"train"``, ``"validation"`` (in a folder ``val`` or ``validation``) or ``"test"``, for
            ``ROOT/SPLIT/CLASS/CLIP``; ``None`` if the classes are directly in ``root``.
        **reading: options of :class:`Videos`.

    Raises:
        FileNotFoundError: there is no such folder, or none for the split.
        NotADirectoryError: ``root`` is a file.
        ValueError: an unknown split, no classes, classes without clips, classes that ``train`` does
            not have, or what :class:`Videos` refuses.
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str | None = None, **reading: Any
    ) -> None:
        self.root = folder(root, f"the videos ({_LAYOUT})")
        self.split = split
        if split is None:
            base = training = self.root
        else:
            check_split(split)
            base = _split_folder(self.root, split)
            training = self.root / "train" if (self.root / "train").is_dir() else base
        classes = _classes(training)
        found = [path.name for path in _classes(base)]
        numbers = {path.name: number for number, path in enumerate(classes)}
        unknown = [name for name in found if name not in numbers]
        if unknown:
            raise ValueError(
                f"The classes of {base} must be in {training} too, which lacks {some(unknown)}."
            )
        by_class = {name: clips(base / name) for name in found}
        _refuse_empty(base, split, by_class)
        items = [(path, numbers[name]) for name, paths in by_class.items() for path in paths]
        super().__init__(items, [path.name for path in classes], **reading)


def _split_folder(root: Path, split: str) -> Path:
    """The one folder of a split."""
    found = [root / name for name in _FOLDERS[split] if (root / name).is_dir()]
    if len(found) > 1:
        raise ValueError(f"split {split!r} must have one folder, got {some(map(str, found))}.")
    if not found:
        raise FileNotFoundError(
            f"split {split!r} needs a folder {' or '.join(_FOLDERS[split])} in {root}, which holds "
            f"{_named(path.name for path in subfolders(root))}; split=None takes its folders for "
            "classes."
        )
    return found[0]


def _classes(base: Path) -> list[Path]:
    found = subfolders(base)
    if not found:
        raise ValueError(f"{base} must hold one folder per class ({_LAYOUT}), and holds none.")
    return found


def _refuse_empty(base: Path, split: str | None, by_class: dict[str, list[Path]]) -> None:
    """Refuses classes without clips."""
    empty = [name for name, paths in by_class.items() if not paths]
    if not empty:
        return
    splits = [name for names in _FOLDERS.values() for name in names if name in empty]
    if split is None and splits:
        cure = f"{_named(splits)} may be splits: choose one by split={_split_of(splits[0])!r}."
    else:
        cure = (
            f"A clip is a file that ends in {', '.join(VIDEO_SUFFIXES)}, or a folder of images "
            f"({_LAYOUT})."
        )
    raise ValueError(
        f"{len(empty)} of the {len(by_class)} classes in {base} have no clip: {some(empty)}. {cure}"
    )


def _split_of(name: str) -> str:
    return next(split for split, names in _FOLDERS.items() if name in names)


def _named(names: Iterable[str]) -> str:
    return some(map(repr, names)) or "no folder"
