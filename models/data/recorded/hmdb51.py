"""HMDB51, videos of 51 actions, from the official videos and lists on disk.

Kuehne, Jhuang, Garrote, Poggio, Serre: HMDB: A Large Video Database for Human Motion Recognition.
ICCV 2011. 6,766 videos from films and the web.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, final

from models.data.recorded._folds import class_folders, open_folds
from models.data.recorded._lists import (
    Entry,
    items_of,
    read_lines,
    refuse_repeats,
    refuse_untrained,
)
from models.data.recorded._videos import Videos

_LISTS = "testTrainMulti_7030_splits"
_UNUSED, _TRAIN, _TEST = 0, 1, 2
_ENTRY = re.compile(r"(?P<name>[^/\\]+\.avi)\s+(?P<use>[012])")
#: what follows source and class in a name: body parts, camera, people, direction, quality, number
_TAGS = re.compile(r"_[a-z]_[a-z]{2}_np\d+_[a-z]{2}_[a-z]{3}_\d+\.avi")


@final
class HMDB51(Videos):
    """The videos of one split of HMDB51, class by class in the order of their names.

    The lists give 70 training and 30 test videos of each class for each of three folds; the other
    videos are not used. There is no official validation, so the test videos of each class are
    halved, as for :class:`UCF101`: the first are validation, the others test. Videos cut from the
    same film or upload, which the first part of their name tells, stay together where a class has
    more than one such source.

    Args:
        root: the folder with ``hmdb51_org``, in which each class has a folder, or the folder of
            these folders itself.
        split: ``"train"``, ``"validation"`` and ``"test"``, which share the official test videos, or
            ``"official-test"`` for all of these, by which the results of others are measured.
        fold: 1, 2 or 3.
        annotations: the folder with ``CLASS_test_split1.txt`` and so on; ``None`` for
            ``testTrainMulti_7030_splits`` below ``root``.
        **reading: how clips are read, the options of :class:`Videos` from ``frames`` on.

    Attributes:
        root: as given.
        split: as given.
        fold: as given.

    Raises:
        FileNotFoundError: there is no such folder, list, folder of a class, or video of the list.
        NotADirectoryError: ``root`` or ``annotations`` is a file.
        ValueError: an unknown split or fold; a list that is empty, not UTF-8, or has a line that
            says something else or names a video again; a class without a training video, a folder
            of videos without a list, no video for the split; options of :class:`Videos` that make
            no sense.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        fold: int = 1,
        *,
        annotations: str | os.PathLike[str] | None = None,
        **reading: Any,
    ) -> None:
        self.root, lists, videos = open_folds(
            "HMDB51", root, split, fold, annotations, lists=_LISTS, videos="hmdb51_org"
        )
        self.split = split
        self.fold = int(fold)
        every = _list(lists, "*", self.fold)
        classes = _classes(lists, self.fold)
        class_folders(videos, classes, every)
        train: list[Entry] = []
        test: list[Entry] = []
        for label, name in enumerate(classes):
            listed = _entries(lists, name, label, self.fold)
            train += listed[_TRAIN]
            test += listed[_TEST]
        refuse_untrained(classes, train, every)
        official = train if split == "train" else test
        super().__init__(items_of(split, official, videos, every), classes, **reading)


def _list(lists: Path, name: str, fold: int) -> Path:
    return lists / f"{name}_test_split{fold}.txt"


def _classes(lists: Path, fold: int) -> list[str]:
    """The classes that have a list."""
    end = _list(lists, "", fold).name
    classes = sorted(path.name[: -len(end)] for path in lists.glob(f"[!.]*{end}"))
    if not classes:
        raise FileNotFoundError(
            f"There is no {_list(lists, 'CLASS', fold)}, the list of a class in HMDB51's fold {fold}."
        )
    return classes


def _entries(lists: Path, name: str, label: int, fold: int) -> dict[int, list[Entry]]:
    """The videos of a class, by what they are for."""
    listed: dict[int, list[Entry]] = {_UNUSED: [], _TRAIN: [], _TEST: []}
    for line in read_lines(_list(lists, name, fold), f"the list of {name} in HMDB51's fold {fold}"):
        match = _ENTRY.fullmatch(line.text)
        if match is None:
            raise line.wrong("a video and 0 (unused), 1 (training) or 2 (test), as in 'NAME.avi 1'")
        source = _TAGS.sub("", match["name"])
        entry = Entry(line, f"{name}/{match['name']}", label, source)
        listed[int(match["use"])].append(entry)
    refuse_repeats(entry for entries in listed.values() for entry in entries)
    return listed
