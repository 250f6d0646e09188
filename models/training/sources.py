"""Data sets on disk by name, as the trainer wants them: their classes, their sizes, their splits."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from captum_video._core.errors import close_matches
from models.data.ntu import NTU
from models.data.recorded import (
    HMDB51,
    UCF101,
    ClassFolders,
    Epochs,
    Jester,
    KittiOdometry,
    ListedVideos,
    Videos,
)
from models.data.recorded.listed import NoClipError
from models.info import ModelInfo
from models.training.recipes import DataFactory

_SPLITS = ("train", "validation", "test")
#: readers' arguments that are no options: the trainer or the model decides on them
_FIXED = ("root", "path", "split", "sequences", "classes", "items", "frames", "size")
#: options that say where something lies, which no card should
_PLACES = ("annotations", "cache", "missing", "table", *_SPLITS)


@dataclass(frozen=True)
class Readers:
    """The readers of a data set, opened before a model was there.

    Attributes:
        splits: a reader for each split.
        root: the folder.
        options: what they were opened with, beside ``cache``.
        cache: the folder for decoded frames.
        frames: how many frames a model must take; ``None`` for any number.
    """

    splits: Mapping[str, Any]
    root: Path
    options: Mapping[str, Any]
    cache: Path | None
    frames: int | None

    def fitted(self, split: str, info: ModelInfo) -> Dataset[Any]:
        """A reader with the frames and size of a model.

        Args:
            split: one of the splits.
            info: the model's facts.

        Returns:
            The reader. Clips that could not be read at opening are not looked for again.

        Raises:
            ValueError: the model's size does not fit the options.
        """
        reader = self.splits[split]
        if isinstance(reader, KittiOdometry):
            size = (info.size[0], info.size[1])
            return reader.at_size(size, cache=self.cache)
        reader = copy.copy(reader)
        if isinstance(reader, Videos):
            size = (info.size[0], info.size[1])
            reader.reading = replace(
                reader.reading, frames=info.frames, size=size, cache=self.cache
            )
        else:
            reader.frames = info.frames
        return reader


@dataclass(frozen=True)
class Source:
    """A data set on disk.

    Attributes:
        name: one of :data:`SOURCES`.
        classes: the names of its classes; empty for odometry.
        note: a sentence about the data, for the card.
        lengths: the number of clips in each split; ``"train"`` and ``"validation"`` at least.
    """

    name: str
    classes: tuple[str, ...]
    note: str
    lengths: Mapping[str, int]
    _readers: Readers = field(repr=False)

    @property
    def train_length(self) -> int:
        """The number of training clips, which are an epoch."""
        return self.lengths["train"]

    def check(self, info: ModelInfo) -> None:
        """Refuses a model that does not fit the data.

        Args:
            info: the model's facts.

        Raises:
            ValueError: the model takes or answers something else, or has other classes.
        """
        kind = _KINDS[self.name]
        if bool(info.size) != kind.clips:
            takes = "clips" if info.size else "sequences"
            raise ValueError(f"{info.name} takes {takes}, and {self.name} does not have such.")
        if tuple(info.groups) != (kind.group,):
            asked = ", ".join(info.groups)
            raise ValueError(f"{info.name} is to tell {asked}, and {self.name} tells {kind.group}.")
        if self._readers.frames not in (None, info.frames):
            raise ValueError(
                f"{info.name} takes {info.frames} frames, and {self.name} was opened for "
                f"{self._readers.frames}."
            )
        if not self.classes:
            return
        if len(info.classes) != len(self.classes):
            raise ValueError(
                f"{info.name} has {len(info.classes)} classes, and {self.name} has "
                f"{len(self.classes)}."
            )
        if info.classes != self.classes and set(info.classes) == set(self.classes):
            raise ValueError(f"{info.name} has the classes of {self.name} in another order.")

    def factory(self, info: ModelInfo) -> DataFactory:
        """What makes the data sets of a training run.

        Args:
            info: the model's facts; its ``frames`` and ``size`` are the samples'.

        Returns:
            A function of length, seed and split that can be pickled. Of ``"train"`` it gives
            :class:`models.data.recorded.Epochs`, of the length asked for and, as the options
            have it, varied; of another split the whole as it is, whatever the length.

        Raises:
            ValueError: the model does not fit the data, or its clips do not fit the options.
        """
        self.check(info)
        return _Factory({split: self._readers.fitted(split, info) for split in self.lengths})


@dataclass(frozen=True)
class _Factory:
    """The data sets of a run, by split."""

    splits: Mapping[str, Dataset[Any]]

    def __call__(self, length: int, seed: int, split: str) -> Dataset[Any]:
        if split not in self.splits:
            known = ", ".join(map(repr, self.splits))
            raise ValueError(f"The data have no split {split!r}, only {known}.")
        data: Any = self.splits[split]
        return Epochs(data, length, seed) if split == "train" else data


class _Kind(NamedTuple):
    """What is particular to a data set.

    Attributes:
        title: what to call it on a card.
        reader: its class.
        group: the question that its labels answer.
        clips: whether its samples are clips of pictures.
        samples: what to call them on a card.
        extra: options beside the reader's.
    """

    title: str
    reader: type[Any]
    group: str = "action"
    clips: bool = True
    samples: str = "clips"
    extra: tuple[str, ...] = ()


_KINDS = {
    "ucf101": _Kind("UCF101 (Soomro et al. 2012)", UCF101),
    "hmdb51": _Kind("HMDB51 (Kuehne et al. 2011)", HMDB51),
    "jester": _Kind("Jester (Materzynska et al. 2019)", Jester),
    "folders": _Kind("videos in a folder for each class", ClassFolders),
    "csv": _Kind("videos that a table lists", ListedVideos, extra=("table", *_SPLITS)),
    "kitti": _Kind(
        "KITTI odometry (Geiger et al. 2012)", KittiOdometry, "pose", samples="snippets"
    ),
    "ntu": _Kind("NTU RGB+D (Shahroudy et al. 2016)", NTU, clips=False, samples="sequences"),
}
#: the data sets that the trainer knows
SOURCES = tuple(_KINDS)


def open_source(
    name: str, root: str | os.PathLike[str], options: Mapping[str, Any] | None = None
) -> Source:
    """Opens a data set on disk: reads its lists, and no clip unless ``on_error="skip"``.

    ``folders`` has a folder ``train`` and a folder ``val``, and may have ``test``, with a folder for
    each class (:class:`models.data.recorded.ClassFolders`). ``csv`` has its splits in one table, by
    the option ``table``, with a column ``split``, or in a table for each, by the options ``train``,
    ``validation`` and, if there is one, ``test`` (:class:`models.data.recorded.ListedVideos`): files
    in ``root``, which is also where their paths start from. Variations, such as ``mirror`` and the
    place of a window or crop, are for training alone.

    Args:
        name: one of :data:`SOURCES`.
        root: the folder.
        options: of the reader, such as ``fold``, ``annotations``, ``protocol``, ``cache``, ``mirror``
            or ``on_error``; not ``frames`` and ``size``, which are the model's.

    Returns:
        The data set.

    Raises:
        ValueError: no such data set or option, or what the reader refuses.
        OSError: a file or folder that is not there.
    """
    if name not in _KINDS:
        raise ValueError(f"There is no data set {name!r}. {close_matches(name, SOURCES)}")
    root = Path(root)
    given = dict(options or {})
    _check_options(name, given)
    try:
        cache = None if given.get("cache") is None else Path(given["cache"])
        given.pop("cache", None)
        readers = _tables(root, given) if name == "csv" else _splits(name, root, given)
    except TypeError as error:
        raise ValueError(f"An option of {name} has a wrong type: {error}") from error
    train = readers["train"]
    return Source(
        name,
        tuple(getattr(train, "classes", ())),
        _note(name, readers, given),
        {split: len(reader) for split, reader in readers.items()},
        Readers(readers, root, given, cache, train.references + 1 if name == "kitti" else None),
    )


def _options(name: str) -> list[str]:
    """The options of a data set."""
    kind = _KINDS[name]
    known = {**inspect.signature(kind.reader).parameters}
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        known = {**known, **inspect.signature(Videos.__init__).parameters}
    names = [
        key
        for key, p in known.items()
        if p.kind is not p.VAR_KEYWORD and key not in (*_FIXED, "self")
    ]
    return [*names, *kind.extra]


def _check_options(name: str, given: Mapping[str, Any]) -> None:
    """Refuses options that the data set does not have."""
    known = _options(name)
    for key in given:
        if key in ("frames", "size"):
            raise ValueError(f"{key} is the model's: no option of {name}.")
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}. {close_matches(key, known)}")


def _splits(name: str, root: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """A reader for each split of a data set that knows its splits."""
    reader = _KINDS[name].reader
    splits: tuple[str, ...] = _SPLITS
    if name == "folders" and not (root / "test").is_dir():
        splits = _SPLITS[:2]
    return {
        split: reader(root, split, **given, **_size_at_opening(name, given)) for split in splits
    }


def _size_at_opening(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A size that the other options allow, until a model's is known."""
    resize = given.get("resize")
    return {} if resize is None or not issubclass(_KINDS[name].reader, Videos) else {"size": resize}


def _tables(root: Path, given: dict[str, Any]) -> dict[str, Any]:
    """A reader for each split of listed videos."""
    tables = {key: given.pop(key) for key in ("table", *_SPLITS) if key in given}
    size = _size_at_opening("csv", given)
    if set(tables) == {"table"}:
        path = root / tables["table"]
        readers = {s: ListedVideos(path, root, s, **given, **size) for s in _SPLITS[:2]}
        with suppress(NoClipError):  # a test split is not needed
            readers["test"] = ListedVideos(path, root, "test", **given, **size)
        return readers
    if "table" in tables or not {"train", "validation"} <= tables.keys():
        raise ValueError(
            "csv needs the option table, a file with a column split, or the options train and "
            f"validation, a file for each, got {', '.join(tables) or 'none of them'}."
        )
    readers = {}
    for split, file in tables.items():
        classes = readers["train"].classes if readers else None
        readers[split] = ListedVideos(root / file, root, None, classes, **given, **size)
    return readers


def _note(name: str, readers: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """A sentence for the card, without paths."""
    use = {"train": "training"}
    counts = ", ".join(f"{len(r):,} for {use.get(split, split)}" for split, r in readers.items())
    classes = getattr(readers["train"], "classes", ())
    of = f" in {len(classes)} classes" if classes else ""
    told = ", ".join(f"{key} {value!r}" for key, value in given.items() if key not in _PLACES)
    said = f" ({told})" if told else ""
    left = sum(len(getattr(reader, "skipped", ())) for reader in readers.values())
    out = f"; {left} that cannot be read are left out" if left else ""
    return f"{_KINDS[name].title}, {_KINDS[name].samples}{of}: {counts}{said}{out}."
