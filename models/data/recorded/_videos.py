"""Recorded clips with one label each: what every reader of such a data set shares."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from captum_video.io import ClipError
from models.data.recorded._cache import cached_frames
from models.data.recorded._places import some
from models.data.recorded._reading import Chance, Reading


class VideoSample(NamedTuple):
    """One clip with its label.

    Attributes:
        clip: ``(3, T, H, W)`` float32 in [0, 1].
        action: index into the data set's ``classes``.
    """

    clip: Tensor
    action: int


class Videos(Dataset[VideoSample], ABC):
    """Videos, or folders of images, each with one class; a clip is decoded when it is asked for.

    All samples have the same shape, whatever the sizes and lengths of the clips. A clip taken by its
    index is always the same; :meth:`draw` varies it, for training.

    Args:
        items: path and index of the class of each clip.
        classes: names of the classes.
        frames: frames in a sample, T.
        size: height and width of a sample, or one number for both.
        fit: ``"squeeze"`` changes the proportions of frames to those of ``resize``, or of ``size``
            without one; ``"crop"`` keeps them, and covers it.
        sampling: ``"even"``: frames evenly spaced over the whole clip, as
            :func:`captum_video.io.frame_indices` gives them. ``"window"``: frames in a row, the
            middle ones or, in :meth:`draw`, any. Shorter clips repeat their first and last frame.
        stride: distance of the frames of a window.
        resize: the same before ``size`` is cut out, in the middle or, in :meth:`draw`, anywhere;
            ``None`` for ``size`` itself. C3D's is ``(128, 171)`` for ``(112, 112)``.
        mirror: whether :meth:`draw` mirrors every other clip, left to right.
        backend: what decodes; see :func:`captum_video.io.read_clip`.
        cache: a folder for decoded frames, where each clip is decoded once: it takes
            ``3 * height * width`` bytes per frame, of which there are ``frames`` per clip or, for
            windows, all. The samples are the same with it as without. It can be shared by processes
            and data sets, and be deleted at any time; ``None`` for none.
        on_error: ``"raise"``: a clip that cannot be read is an error when it is asked for.
            ``"skip"``: all clips are read once now (this fills the cache, if there is one), and such
            clips are left out with a warning.

    Attributes:
        classes: names of the classes.
        groups: for the only question, ``"action"``, its indices into ``classes``.
        root: the folder of the data set, of readers that take one.
        files: the clips, as absolute paths.
        skipped: clips that could not be read, if ``on_error="skip"``.
        reading: all options from ``frames`` on.

    Raises:
        FileNotFoundError: a clip is not there, unless ``on_error="skip"``.
        NotADirectoryError: ``cache`` is a file.
        ValueError: there is no clip, one is there twice, a label or an option makes no sense, or
            no clip can be read.
    """

    root: Path

    @abstractmethod
    def __init__(
        self,
        items: Sequence[tuple[Path, int]],
        classes: Sequence[str],
        *,
        frames: int = 16,
        size: tuple[int, int] = (112, 112),
        fit: str = "squeeze",
        sampling: str = "even",
        stride: int = 1,
        resize: tuple[int, int] | None = None,
        mirror: bool = False,
        backend: str = "pyav",
        cache: str | os.PathLike[str] | None = None,
        on_error: str = "raise",
    ) -> None:
        self.reading = Reading(
            frames=frames,
            size=size,
            fit=fit,
            sampling=sampling,
            stride=stride,
            resize=resize,
            mirror=mirror,
            backend=backend,
            cache=None if cache is None else Path(cache),
            on_error=on_error,
        )
        self.classes = tuple(classes)
        self.groups = {"action": range(len(self.classes))}
        # absolute, so that they are found when the working directory changes
        self.files = tuple(Path(path).absolute() for path, _ in items)
        self._actions = tuple(int(action) for _, action in items)
        self.skipped: tuple[Path, ...] = ()
        self._check_items()
        # names in the cache outlive a move of the whole data set, and tell its splits apart
        above = {path.parent for path in self.files}
        if hasattr(self, "root"):
            above.add(self.root)
        self._above = Path(os.path.commonpath([os.path.abspath(path) for path in above]))
        if on_error == "skip":
            self._skip()

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.files)

    def __getitem__(self, index: int) -> VideoSample:
        """Reads one clip: the middle window and the middle of its frames, not mirrored.

        Args:
            index: from 0 to ``len(self) - 1``.

        Returns:
            The clip with its label.

        Raises:
            IndexError: for another index.
            ClipError: the file is missing, damaged or no video.
        """
        return self.draw(index, None)

    def draw(self, index: int, rng: np.random.Generator | None) -> VideoSample:
        """Reads one clip with a random window, place of the crop and mirroring.

        Args:
            index: from 0 to ``len(self) - 1``.
            rng: the source of randomness, which gives four numbers whatever the options are;
                ``None`` for the clip as its index gives it.

        Returns:
            The clip with its label.

        Raises:
            IndexError: for another index.
            ClipError: the file is missing, damaged or no video.
        """
        self._check(index)
        chance = None if rng is None else Chance.draw(rng)
        frames = self._frames(self.files[index], chance)
        return VideoSample(self.reading.sample(frames, chance), self._actions[index])

    def labels(self, index: int) -> tuple[int]:
        """The class of a clip, without reading it.

        Args:
            index: as for the clip.

        Returns:
            The index of the class.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        self._check(index)
        return (self._actions[index],)

    def _frames(self, path: Path, chance: Chance | None) -> Tensor:
        """A clip's frames before they are cut to size."""
        if self.reading.cache is None:
            return self.reading.decode(path, chance)
        name = Path(os.path.abspath(path)).relative_to(self._above)
        return cached_frames(path, name, self.reading, chance)

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}.")

    def _check_items(self) -> None:
        """Refuses classes and clips that make no sense."""
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise ValueError(f"Every class must be named once, got {some(map(repr, twice))} twice.")
        if not self.files:
            raise ValueError("There must be at least one clip, got none.")
        wrong = [
            f"{action} for {path}"
            for path, action in zip(self.files, self._actions, strict=True)
            if not 0 <= action < len(self.classes)
        ]
        if wrong:
            raise ValueError(
                f"Labels must be from 0 to {len(self.classes) - 1}, got {some(wrong)}."
            )
        again = [str(path) for path, count in Counter(self.files).items() if count > 1]
        if again:
            raise ValueError(f"A clip must be there once, got more than once: {some(again)}.")
        missing = [str(path) for path in self.files if not path.exists()]
        if missing and self.reading.on_error == "raise":
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} clips are not there: {some(missing)}."
            )

    def _skip(self) -> None:
        """Leaves out the clips that cannot be read."""
        reasons = {}
        for path in self.files:
            try:
                if self.reading.cache is None:
                    self.reading.try_out(path)
                else:
                    self._frames(path, None)
            except ClipError as error:
                reasons[path] = str(error)
        if len(reasons) == len(self):
            raise ValueError(f"None of the {len(self)} clips can be read: {some(reasons.values())}")
        if reasons:
            warnings.warn(
                f"{len(reasons)} of {len(self)} clips cannot be read and are left out: "
                f"{some(reasons.values())}",
                stacklevel=4,
            )
            left = [
                pair
                for pair in zip(self.files, self._actions, strict=True)
                if pair[0] not in reasons
            ]
            self.skipped = tuple(reasons)
            self.files = tuple(path for path, _ in left)
            self._actions = tuple(action for _, action in left)
