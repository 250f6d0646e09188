"""Shoulder exercises as a smartwatch felt them: windows of the recordings that seglearn carries.

Seven exercises of physiotherapy, 20 repetitions each, by ten subjects with the right and the left arm:
140 recordings of 19 to 52 s at 50 Hz with six channels, from the study of Burns, Leung, Hardisty, Whyne,
Henry and McLachlin: Shoulder physiotherapy exercise recognition: machine learning the inertial signals
from a smartwatch. Physiol. Meas. 39 (2018) 075007 (its data set has twenty subjects; seglearn's file has
ten). The channels ``ax, ay, az`` are accelerations in g, gravity included (a watch at rest shows 1.00);
``wx, wy, wz`` are angular rates, whose unit the file does not name: their size fits radians per second.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from captum_video._core.errors import missing_extra
from models.data._seeded import SeededClips

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
CLASSES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
)
GROUPS = {"exercise": range(len(CLASSES))}
#: the exercises as the file calls them, in the order of ``CLASSES``
CODES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
FRAMES = 150
RATE = 50
#: subjects up to this one train, the others validate
LAST_TRAINING_SUBJECT = 7


class Exercise(NamedTuple):
    """One window of a recording.

    Attributes:
        clip: ``(6, frames)`` float32, the channels in the order of ``CHANNELS``.
        exercise: 0 to 6, the index into ``CLASSES``.
        subject: 1 to 10.
        recording: 0 to 139, the recording's place in seglearn's file.
        start: the window's first sample in the recording.
    """

    clip: Tensor
    exercise: int
    subject: int
    recording: int
    start: int


@dataclass(frozen=True)
class Recordings:
    """What seglearn's file holds, recording by recording.

    Attributes:
        signals: float32, (6, T) each.
        exercises: indices into ``CLASSES``.
        subjects: from 1 on.
    """

    signals: tuple[Tensor, ...]
    exercises: tuple[int, ...]
    subjects: tuple[int, ...]


class Exercises(SeededClips[Exercise]):
    """Random windows of real recordings; sample ``i`` is a pure function of ``(seed, i)`` and the split.

    Subjects 1 to 7 train and 8 to 10 validate. A recording is drawn, each as likely as the others,
    then the window's place in it; exercises are so equally likely, as everybody did each of them
    once with either arm.

    Args:
        length: number of windows.
        seed: chooses the windows; not negative.
        split: ``"train"`` or ``"validation"``, which share no subject.
        frames: length of a window, at most that of the shortest recording; there are 50 in a second.

    Attributes:
        classes: names of the exercises.
        groups: for the only question, ``"exercise"``, its indices into ``classes``.

    Raises:
        ImportError: seglearn, whose file has the recordings, is not installed.
        FileNotFoundError: the installed seglearn lacks the file.
        ValueError: a negative length or seed, an unknown split, ``frames`` that are not positive or
            more than the shortest recording has, or a file with other channels or exercises.
    """

    classes = CLASSES
    groups = GROUPS

    def __init__(
        self, length: int, seed: int = 0, split: str = "train", *, frames: int = FRAMES
    ) -> None:
        super().__init__(length, seed, split)
        shortest = min(signal.shape[1] for signal in recordings().signals)
        if not 1 <= frames <= shortest:
            raise ValueError(f"frames must be from 1 to {shortest}, got {frames}.")
        self.frames = frames

    def __getitem__(self, index: int) -> Exercise:
        """Draws one window.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a window belongs to
                its index and not to the length of the data set.

        Returns:
            The window with its labels.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, recording = self._begin(index)
        bank = recordings()
        signal = bank.signals[recording]
        start = int(rng.integers(signal.shape[1] - self.frames + 1))
        clip = signal[:, start : start + self.frames].clone()
        return Exercise(clip, bank.exercises[recording], bank.subjects[recording], recording, start)

    def labels(self, index: int) -> tuple[int]:
        """The exercise of a window, without drawing it.

        Args:
            index: as for the window.

        Returns:
            The index of the exercise.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        return (recordings().exercises[self._begin(index)[1]],)

    def _begin(self, index: int) -> tuple[np.random.Generator, int]:
        """The window's source of randomness, and the recording, which is the first it gives."""
        rng = self._generator(index)
        choice = _of_split(self.split)
        return rng, choice[int(rng.integers(len(choice)))]


@cache
def recordings() -> Recordings:
    """The recordings in seglearn's file, read once per process.

    The package itself is not imported (it would ask for pandas). Its file is a pickle, which is
    trusted as much as the package's code would be.

    Returns:
        The recordings with their labels.

    Raises:
        ImportError: seglearn is not installed.
        FileNotFoundError: the installed seglearn lacks the file.
        ValueError: the file has other channels or exercises.
    """
    found = importlib.util.find_spec("seglearn")
    if found is None or not found.submodule_search_locations:
        raise missing_extra("seglearn", "models", "Exercises")
    path = Path(found.submodule_search_locations[0], "data", "watch_dataset.npy")
    if not path.is_file():
        raise FileNotFoundError(
            f"Exercises needs {path.name} of seglearn >= 1.2, and {path} is missing."
        )
    data = np.load(path, allow_pickle=True).item()
    for key, expected in (("X_labels", CHANNELS), ("y_labels", CODES)):
        if tuple(data[key]) != expected:
            raise ValueError(f"{path} must have {key} {expected}, got {tuple(data[key])}.")
    return Recordings(
        tuple(torch.from_numpy(np.ascontiguousarray(x.T, dtype=np.float32)) for x in data["X"]),
        tuple(int(exercise) for exercise in data["y"]),
        tuple(int(subject) for subject in data["subject"]),
    )


def _of_split(split: str) -> list[int]:
    """The recordings of a split."""
    train = split == "train"
    subjects = recordings().subjects
    return [k for k, s in enumerate(subjects) if (s <= LAST_TRAINING_SUBJECT) == train]
