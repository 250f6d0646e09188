"""Jester, 27 hand gestures before a camera, from the official frames and lists on disk.

Materzynska, Berger, Bax, Memisevic: The Jester Dataset: A Large-Scale Video Dataset of Human
Gestures. ICCV Workshops 2019. 148,092 videos, as folders of images at 12 frames per second.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from captum_video._core.errors import close_matches
from models.data.recorded._folds import list_folder
from models.data.recorded._lists import (
    Entry,
    items_of,
    read_lines,
    refuse_repeats,
    refuse_untrained,
)
from models.data.recorded._places import SPLITS, folder, one_of
from models.data.recorded._videos import Videos

_SPLITS = (*SPLITS, "official-validation")
_ENTRY = re.compile(r"(\d+)\s*;\s*(.+)")


@final
class Jester(Videos):
    """The videos of one split of Jester, version 1, in the order of the official list.

    The official test videos have no labels. As the 3TConv paper's counts tell (table 2: 118562,
    7393 and 7394 videos), it halved the official validation list; so it is here, class by class:
    the first half of the videos of a class, in the order of the list, is validation and the others
    are test. Of an odd number, test gets the middle one of one class, validation that of the next
    such, which makes the paper's counts.

    Args:
        root: the folder with ``20bn-jester-v1``, in which each video has a folder of images, or the
            folder of these folders itself.
        split: ``"train"``, ``"validation"`` and ``"test"``, which share the official validation
            list, or ``"official-validation"`` for all of that list, by which the results of
            others are measured.
        annotations: the folder with ``jester-v1-labels.csv``, ``jester-v1-train.csv`` and
            ``jester-v1-validation.csv``; ``None`` for ``root``.
        **reading: how clips are read, the options of :class:`Videos` from ``frames`` on. The 3TConv
            paper has ``frames=30, size=(150, 224)``. Mirroring makes other gestures of some.

    Attributes:
        root: as given.
        split: as given.

    Raises:
        FileNotFoundError: there is no such folder or list, or no folder of a video of the list.
        NotADirectoryError: ``root`` or ``annotations`` is a file.
        ValueError: an unknown split, or the test list, which has no labels; a list that is empty,
            not UTF-8, or has a line that says something else, an unknown class, or a video
            twice; a video that both trains and validates; a class without a training video;
            options of :class:`Videos` that make no sense.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        annotations: str | os.PathLike[str] | None = None,
        **reading: Any,
    ) -> None:
        if split == "official-test":
            raise ValueError(
                "split must have labels, and Jester's official test list has none, got "
                "'official-test': use 'test' or 'official-validation'."
            )
        one_of("split", split, _SPLITS)
        self.root = folder(root, "Jester")
        self.split = split
        lists = list_folder(self.root, annotations, ".", "Jester's lists")
        named = lists / "jester-v1-labels.csv"
        classes = _classes(named)
        train = _entries(lists / "jester-v1-train.csv", "training", classes, named)
        held = _entries(lists / "jester-v1-validation.csv", "validation", classes, named)
        refuse_repeats([*train, *held])
        refuse_untrained(classes, train, named)
        official = train if split == "train" else held
        videos = self.root / "20bn-jester-v1"
        videos = videos if videos.is_dir() else self.root
        items = items_of(split, official, videos, official[0].line.file)
        super().__init__(items, classes, **reading)


def _classes(path: Path) -> list[str]:
    """The names of the gestures, in the order of their list."""
    names: list[str] = []
    for line in read_lines(path, "the list of Jester's classes"):
        if line.text in names or ";" in line.text:
            raise line.wrong("the name of a class that is new")
        names.append(line.text)
    return names


def _entries(path: Path, what: str, classes: Sequence[str], named: Path) -> list[Entry]:
    """The videos of a list."""
    numbers = {name: label for label, name in enumerate(classes)}
    entries = []
    for line in read_lines(path, f"the list of Jester's {what} videos"):
        match = _ENTRY.fullmatch(line.text)
        if match is None:
            raise line.wrong("a video's number and its class, as in '34870;Drumming Fingers'")
        video, name = match[1], match[2]
        if name not in numbers:
            raise line.wrong(f"a class of {named} ({close_matches(name, classes)})")
        # who made a video is not published: each is a recording of its own
        entries.append(Entry(line, video, numbers[name], video))
    return entries
