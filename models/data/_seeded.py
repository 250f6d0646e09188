"""What all procedural data sets share: a sample belongs to its seed and index, and to nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from torch.utils.data import Dataset

from models.data._sprites import SPLITS

Sample = TypeVar("Sample", covariant=True)


class SeededClips(Dataset[Sample]):
    """Clips that are drawn on demand; sample ``i`` is a pure function of ``(seed, i)`` and the split.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``, which draw on disjoint sets of digit images.

    Raises:
        ValueError: a negative length or seed, or an unknown split.
    """

    def __init__(self, length: int, seed: int = 0, split: str = "train") -> None:
        if length < 0:
            raise ValueError(f"length must not be negative, got {length}.")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}.")
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}.")
        self.length = length
        self.seed = seed
        self.split = split

    def __len__(self) -> int:
        """The number of clips."""
        return self.length

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with what is known about it.

        Raises:
            IndexError: the index is negative or not below the length.
        """

    def _check(self, index: int) -> None:
        """Refuses an index that is negative or not below the length."""
        if not 0 <= index < self.length:
            raise IndexError(
                f"index must be from 0 to {self.length - 1}, got {index}."
                if self.length
                else f"The data set is empty, got index {index}."
            )

    def _generator(self, index: int) -> np.random.Generator:
        """The clip's source of randomness."""
        self._check(index)
        return np.random.default_rng(np.random.SeedSequence([self.seed, index]))


class LookAndMotionClips(SeededClips[Sample]):
    """Clips with a motion and a look, drawn independently and before everything else.

    Attributes:
        groups: for each question, ``"motion"`` and ``"look"``, its indices into the classes.
    """

    groups: Mapping[str, range]

    def labels(self, index: int) -> tuple[int, int]:
        """The motion and the look of a clip, without drawing it.

        Args:
            index: as for the clip.

        Returns:
            The indices of motion and look.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        return self._begin(index)[1:]

    def _begin(self, index: int) -> tuple[np.random.Generator, int, int]:
        """The clip's source of randomness, and the labels, which are the first it gives."""
        rng = self._generator(index)
        motions, looks = len(self.groups["motion"]), len(self.groups["look"])
        return rng, int(rng.integers(motions)), int(rng.integers(looks))
