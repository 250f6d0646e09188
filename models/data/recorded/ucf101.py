"""UCF101, videos of 101 actions, from the official videos and lists on disk.

Soomro, Zamir, Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild.
CRCV-TR-12-01, 2012. 13,320 videos; in each class they come from 25 groups, that is recordings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
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

_LISTS = "ucfTrainTestlist"
_CLASS = re.compile(r"(\d+) (\S+)")
_VIDEO = re.compile(r"(?P<folder>[^/\s]+)/v_(?P<spelled>\w+)_g(?P<group>\d+)_c\d+\.avi")


@final
class UCF101(Videos):
    """The videos of one split of UCF101, in the order of the official list.

    The lists give training and test videos for each of three folds. As validation, the 3TConv paper
    took "the first half" of fold 1's 3783 test videos (appendix C.1). Since that list is sorted by
    class, its literal first half would hold videos of 50 of the classes and hardly one of the
    others; here *each class* is halved. Its test videos come from seven groups, and videos of a
    group resemble each other, so groups stay whole: the first groups of the class, three or four
    of seven, are validation and the others test. Training and test never share a group.

    Args:
        root: the folder with ``UCF-101``, in which each class has a folder, or the folder of these
            folders itself.
        split: ``"train"`` (9537 videos in fold 1), ``"validation"`` and ``"test"``, which share the
            official test list, or ``"official-test"`` for all of that list, by which the results of
            others are measured.
        fold: 1, 2 or 3.
        annotations: the folder with ``classInd.txt``, ``trainlist01.txt``, ``testlist01.txt`` and
            so on; ``None`` for ``ucfTrainTestlist`` below ``root``.
        **reading: how clips are read, the options of :class:`Videos` from ``frames`` on. The 3TConv
            paper has ``frames=30, size=(168, 224)``.

    Attributes:
        root: as given.
        split: as given.
        fold: as given.

    Raises:
        FileNotFoundError: there is no such folder, list, folder of a class, or video of the list.
        NotADirectoryError: ``root`` or ``annotations`` is a file.
        ValueError: an unknown split or fold; a list that is empty, not UTF-8, or has a line that
            says something else, a class that ``classInd.txt`` has not, or a video twice; a video
            that both trains and tests; a class without a training video, a folder of videos that
            is none of a class, no video for the split; options of :class:`Videos` that make no
            sense.
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
            "UCF101", root, split, fold, annotations, lists=_LISTS, videos="UCF-101"
        )
        self.split = split
        self.fold = int(fold)
        named = lists / "classInd.txt"
        classes = _classes(named)
        class_folders(videos, classes, named, any_case=True)
        train = _entries(lists / f"trainlist{self.fold:02}.txt", self.fold, classes, labelled=True)
        test = _entries(lists / f"testlist{self.fold:02}.txt", self.fold, classes, labelled=False)
        refuse_repeats([*train, *test])
        refuse_untrained(classes, train, named)
        official = train if split == "train" else test
        items = items_of(split, official, videos, official[0].line.file, any_case=True)
        super().__init__(items, classes, **reading)


def _classes(path: Path) -> list[str]:
    """The names of the classes, in the order of their numbers."""
    names: list[str] = []
    for line in read_lines(path, "the list of UCF101's classes"):
        expected = f"the number and name of class {len(names) + 1}, as in '1 ApplyEyeMakeup'"
        match = _CLASS.fullmatch(line.text)
        if match is None or int(match[1]) != len(names) + 1:
            raise line.wrong(expected)
        if match[2] in names:
            raise line.wrong(f"{expected}, of a name that is new")
        names.append(match[2])
    return names


def _entries(path: Path, fold: int, classes: Sequence[str], *, labelled: bool) -> list[Entry]:
    """The videos of a list. Lists of tests need no label, but some copies have one."""
    what = f"the list of {'training' if labelled else 'test'} videos of UCF101's fold {fold}"
    example = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi" + (" 1" if labelled else "")
    entries = []
    for line in read_lines(path, what):
        video, *number = line.text.split()
        match = _VIDEO.fullmatch(video)
        if match is None or len(number) > 1 or (labelled and not number):
            raise line.wrong(f"a video{' and its label' if labelled else ''}, as in {example!r}")
        name = match["folder"]
        if name not in classes:
            raise line.wrong(f"a class of {path.with_name('classInd.txt')}")
        if match["spelled"].casefold() != name.casefold():
            raise line.wrong(f"a video of {name}")
        label = classes.index(name)
        if number and number[0] != str(label + 1):
            raise line.wrong(f"the label {label + 1} of {name}")
        entries.append(Entry(line, video, label, match["group"]))
    return entries
