"""A finite data set as an endless, reproducible stream for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, cast, final

import numpy as np
from torch.utils.data import Dataset

Sample = TypeVar("Sample", covariant=True)


class _Source(Protocol[Sample]):
    """What is needed of the data."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@final
class Epochs(Dataset[Sample]):
    """Goes through a data set again and again, each time in another order and with other variations.

    Sample ``i`` is a pure function of ``(seed, i)``: whoever begins at ``i``, in whatever process,
    gets what an uninterrupted run got. With n clips, epoch ``e = i // n`` is a permutation of them
    drawn by ``SeedSequence(seed, spawn_key=(e,))``; its clip ``i % n`` is varied, if the data has a
    method ``draw(index, rng)``, by ``SeedSequence([seed, i])``.

    Args:
        data: the clips, at least one; with ``classes``, ``groups`` and ``labels`` if they are wanted
            here too.
        length: number of samples; the last epoch need not be whole.
        seed: chooses orders and variations; not negative.

    Attributes:
        data: the clips.
        length: number of samples.
        seed: as given.
        epoch_length: number of clips, n.
        classes: those of the data, if it has any.
        groups: those of the data, if it has any.

    Raises:
        ValueError: a negative length or seed, or no clip.
    """

    classes: tuple[str, ...]
    groups: Mapping[str, range]

    def __init__(self, data: _Source[Sample], length: int, seed: int = 0) -> None:
        for name, value in (("length", length), ("seed", seed)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}.")
        if not len(data):
            raise ValueError("data must hold at least one clip, got none.")
        self.data = data
        self.length = length
        self.seed = seed
        self.epoch_length = len(data)
        for name in ("classes", "groups"):
            if hasattr(data, name):
                setattr(self, name, getattr(data, name))
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """The number of samples."""
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Args:
            index: from 0 to ``len(self) - 1``.

        Returns:
            What the data gives for its clip.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        item = self.item(index)
        draw = getattr(self.data, "draw", None)
        if draw is None:
            return self.data[item]
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index]))
        return cast(Sample, draw(item, rng))

    def labels(self, index: int) -> tuple[int, ...]:
        """The labels of a sample, without reading it.

        Args:
            index: as for the sample.

        Returns:
            What the data's ``labels`` gives for its clip.

        Raises:
            AttributeError: the data has no such method.
            IndexError: the index is negative or not below the length.
        """
        return cast("tuple[int, ...]", getattr(self.data, "labels")(self.item(index)))  # noqa: B009

    def item(self, index: int) -> int:
        """Which of the data's clips a sample is.

        Args:
            index: as for the sample.

        Returns:
            The clip's index in ``data``.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        if not 0 <= index < self.length:
            raise IndexError(
                f"index must be from 0 to {self.length - 1}, got {index}."
                if self.length
                else f"The stream is empty, got index {index}."
            )
        epoch, place = divmod(index, self.epoch_length)
        order = self._order
        if order is None or order[0] != epoch:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
            order = self._order = (epoch, rng.permutation(self.epoch_length))
        return int(order[1][place])
