"""NTU RGB+D, skeletons of 60 actions, from its ``.skeleton`` files on disk. Nothing is downloaded.

Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. CVPR 2016.
56,880 samples of 40 subjects, each seen by three cameras.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from captum_video.io import SkeletonError, read_skeleton
from models.data._ntu_actions import NTU_ACTIONS
from models.data.recorded._places import folder, one_of, some

FRAMES = 300
GROUPS = {"action": range(len(NTU_ACTIONS))}
#: by protocol, what tells the splits apart and its values in training; the others are validation
PROTOCOLS: Mapping[str, tuple[str, frozenset[int]]] = {
    "cross-subject": (
        "subject",
        frozenset({1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}),
    ),
    "cross-view": ("camera", frozenset({2, 3})),
}
_SPLITS = ("train", "validation", "test")
_ON_ERROR = ("raise", "skip")
_SUFFIX = ".skeleton"
_NAME = re.compile(r"S(\d{3})C(?P<camera>\d{3})P(?P<subject>\d{3})R(\d{3})A(?P<action>\d{3})")
_HIGHEST = {"camera": 3, "subject": 40, "action": len(NTU_ACTIONS)}


class NTUSample(NamedTuple):
    """One sequence with its labels.

    Attributes:
        clip: ``(150, T)`` float32, two actors: joint by joint, x, y, z in metres.
        action: 0 to 59, the index into ``NTU.classes``; A1 is 0.
        camera: 1 to 3, as in the file's name.
        subject: 1 to 40, as in the file's name.
    """

    clip: Tensor
    action: int
    camera: int
    subject: int


class NTU(Dataset[NTUSample]):
    """The ``.skeleton`` files in a folder, each read when it is asked for, in the order of names.

    A sequence holds the two bodies with most motion, without the frames that show neither, and its
    last frame is held until it is as long as the others; see
    :meth:`captum_video.io.SkeletonClip.sequence`. Positions are the sensor's, neither centred nor
    turned, as in the papers on Res-TCN.

    Args:
        root: the folder; subfolders are searched too. Files are named as the data set's are,
            ``SsssCcccPpppRrrrAaaa.skeleton``; hidden ones are passed over.
        split: ``"train"``, or ``"validation"``, which is the protocol's test set; ``"test"`` is
            another name for it.
        protocol: ``"cross-subject"`` (20 of the 40 subjects train) or ``"cross-view"`` (cameras 2
            and 3 train, camera 1 validates).
        frames: length of the sequences; ``None`` for their own.
        missing: names of samples to leave out, or the path of a text that has them, such as the
            published list of the 302 samples with missing skeletons.
        on_error: ``"raise"``: a file that cannot be read, or never shows a body, is an error when it
            is asked for. ``"skip"``: all files of the split are read once now, which takes a
            few minutes for every ten thousand, and such files are left out with a warning.

    Attributes:
        classes: names of the actions.
        groups: for the only question, ``"action"``, its indices into ``classes``.
        files: the split's files.
        skipped: files that could not be read, if ``on_error="skip"``.

    Raises:
        FileNotFoundError: if there is no such folder, or no file for ``missing``.
        NotADirectoryError: if ``root`` is a file.
        ValueError: an unknown split, protocol or ``on_error``; ``frames`` that are not positive; a
            folder without samples, or with ones that are misnamed, of another data set or there
            twice; a split without samples; a list of missing samples without a name.
    """

    classes = NTU_ACTIONS
    groups = GROUPS

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        protocol: str = "cross-subject",
        frames: int | None = FRAMES,
        missing: str | os.PathLike[str] | Iterable[str] | None = None,
        *,
        on_error: str = "raise",
    ) -> None:
        for name, value, known in (
            ("split", split, _SPLITS),
            ("protocol", protocol, tuple(PROTOCOLS)),
            ("on_error", on_error, _ON_ERROR),
        ):
            one_of(name, value, known)
        if frames is not None and frames < 1:
            raise ValueError(f"frames must be positive, got {frames}.")
        self.root = Path(root)
        self.split = split
        self.protocol = protocol
        self.frames = frames
        left_out = frozenset() if missing is None else _names(missing)
        found = _find(self.root)
        key, training = PROTOCOLS[protocol]
        self.files = tuple(
            path
            for name, path in sorted(found.items())
            if (_numbers(name)[key] in training) == (split == "train") and name not in left_out
        )
        self.skipped: tuple[Path, ...] = ()
        if on_error == "skip":
            self._skip()
        if not self.files:
            raise ValueError(
                f"None of the {len(found)} samples in {self.root} is left for the {split} split of "
                f"the {protocol} protocol."
            )

    def __len__(self) -> int:
        """The number of sequences."""
        return len(self.files)

    def __getitem__(self, index: int) -> NTUSample:
        """Reads one sequence.

        Args:
            index: from 0 to ``len(self) - 1``.

        Returns:
            The sequence with its labels.

        Raises:
            IndexError: for another index.
            SkeletonError: the file is damaged, or never shows a body.
        """
        path = self._file(index)
        numbers = _numbers(path.stem)
        clip = read_skeleton(path).sequence(frames=self.frames)
        return NTUSample(clip, numbers["action"] - 1, numbers["camera"], numbers["subject"])

    def labels(self, index: int) -> tuple[int]:
        """The action of a sequence, without reading it.

        Args:
            index: as for the sequence.

        Returns:
            The index of the action.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        return (_numbers(self._file(index).stem)["action"] - 1,)

    def _file(self, index: int) -> Path:
        """The file of a sequence."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}.")
        return self.files[index]

    def _skip(self) -> None:
        """Leaves out the files that cannot be read."""
        reasons = {}
        for path in self.files:
            try:
                read_skeleton(path).actors()
            except (SkeletonError, OSError) as error:
                reasons[path] = str(error)
        if reasons:
            self.skipped = tuple(reasons)
            self.files = tuple(path for path in self.files if path not in reasons)
            warnings.warn(
                f"{len(reasons)} of {len(reasons) + len(self.files)} samples cannot be read and are "
                f"left out: {some(reasons.values())}",
                stacklevel=3,
            )


def _find(root: Path) -> dict[str, Path]:
    """The files of samples under a folder, by the samples' names."""
    # absolute, so that they are found when the working directory changes
    base = folder(root, "NTU RGB+D's skeletons").absolute()
    paths = sorted(
        Path(place, name)
        for place, _, names in os.walk(base)
        for name in names
        if name.endswith(_SUFFIX) and not name.startswith(".")
    )
    if not paths:
        raise ValueError(f"There is no file SsssCcccPpppRrrrAaaa{_SUFFIX} in {root}.")
    strange = [path for path in paths if not _NAME.fullmatch(path.stem)]
    if strange:
        raise ValueError(
            f"Samples must be named SsssCcccPpppRrrrAaaa{_SUFFIX}, got {some(map(str, strange))}."
        )
    found: dict[str, Path] = {}
    for path in paths:
        for what, number in _numbers(path.stem).items():
            if not 1 <= number <= _HIGHEST[what]:
                raise ValueError(
                    f"NTU RGB+D's {what}s are 1 to {_HIGHEST[what]}, got {number} in {path}."
                )
        if path.stem in found:
            raise ValueError(f"A sample must be there once, got {found[path.stem]} and {path}.")
        found[path.stem] = path
    return found


def _numbers(name: str) -> dict[str, int]:
    """Camera, subject and action in a sample's name."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return {what: int(number) for what, number in match.groupdict().items()}


def _names(missing: str | os.PathLike[str] | Iterable[str]) -> frozenset[str]:
    """The names of samples in a text, or in what is given."""
    if isinstance(missing, (str, os.PathLike)):
        text = Path(missing).read_text(encoding="utf-8")
        names = frozenset(match.group() for match in _NAME.finditer(text))
        if not names:
            raise ValueError(
                f"missing must name samples (SsssCcccPpppRrrrAaaa), {missing} has none."
            )
        return names
    names = frozenset(name.removesuffix(_SUFFIX) for name in missing)
    strange = sorted(name for name in names if not _NAME.fullmatch(name))
    if strange:
        raise ValueError(f"missing must name samples (SsssCcccPpppRrrrAaaa), got {some(strange)}.")
    return names
