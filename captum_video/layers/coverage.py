"""Which frames each time slice of a layer covers, and how slices become frames again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coverage:
    """The input frames behind the slices of one axis of a layer's output.

    Attributes:
        length: number of input frames.
        first: for each slice the lowest frame that it covers, before clipping to the clip: it may
            lie in the padding.
        last: for each slice the highest frame that it covers.
        mixed: whether slices also depend on frames beyond, through attention, recurrence or a gate;
            ``first`` and ``last`` then say where they sit.
        traced: whether this is the arithmetic of the layers; False for even spacing.

    Raises:
        ValueError: for no frames, no slices, or bounds that are not one finite pair per slice.
    """

    length: int
    first: tuple[float, ...]
    last: tuple[float, ...]
    mixed: bool = False
    traced: bool = True

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1 frame, got {self.length}.")
        if not self.first or len(self.first) != len(self.last):
            raise ValueError(
                "first and last must hold one number for each slice, got "
                f"{len(self.first)} and {len(self.last)}."
            )
        if not all(map(isfinite, (*self.first, *self.last))):
            raise ValueError(f"first and last must be finite, got {self.first} and {self.last}.")

    @classmethod
    def uniform(cls, slices: int, length: int) -> Coverage:
        """Even spacing: slice ``k`` gets its share of the clip.

        Args:
            slices: number of slices.
            length: number of input frames.

        Returns:
            A coverage whose centres are those of ``F.interpolate(mode="linear")``:
            ``(k + 0.5) * length / slices - 0.5``.
        """
        share = length / slices
        return cls(
            length,
            tuple(k * share for k in range(slices)),
            tuple((k + 1) * share - 1 for k in range(slices)),
            traced=False,
        )

    @property
    def slices(self) -> int:
        """The number of slices."""
        return len(self.first)

    @property
    def centres(self) -> tuple[float, ...]:
        """For each slice the middle of what it covers, unclipped."""
        return tuple((a + b) / 2 for a, b in zip(self.first, self.last, strict=True))

    def frames(self, k: int) -> range:
        """The frames of the clip that slice ``k`` covers.

        Args:
            k: the slice, from 0.

        Returns:
            A range within the clip; an empty one for a slice that lies in the padding altogether.

        Raises:
            IndexError: if there is no such slice.
        """
        if not 0 <= k < self.slices:
            raise IndexError(
                f"k must be a slice from 0 to {self.slices - 1} of the {self.slices}, got {k}."
            )
        # a hair of tolerance: thirds of frames are not exact
        start = floor(self.first[k] + 1e-6)
        stop = ceil(self.last[k] + 1 - 1e-6)
        return range(min(max(start, 0), self.length), min(max(stop, 0), self.length))


def time_weights(centres: Sequence[float], length: int) -> Tensor:
    """How much each slice counts in each frame: linear interpolation between slice centres.

    Before the first centre and after the last one the nearest slice counts alone, so one slice
    counts everywhere. The order of the slices does not matter: a flipped axis has descending
    centres. Slices with the same centre share its weight evenly.

    With the centres of :meth:`Coverage.uniform` this is
    ``F.interpolate(mode="linear", align_corners=False)``.

    Args:
        centres: one for each slice, in frames.
        length: number of frames.

    Returns:
        ``(length, slices)``, float64, not negative, every row sums to 1.

    Raises:
        ValueError: for no slices, no frames or centres that are not finite.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1 frame, got {length}.")
    if not centres or not all(map(isfinite, centres)):
        raise ValueError(f"centres must be finite, one for each slice, got {tuple(centres)}.")
    given = torch.tensor(centres, dtype=torch.float64)
    places, group = torch.unique(given, sorted=True, return_inverse=True)
    frames = torch.arange(length, dtype=torch.float64)
    right = torch.searchsorted(places, frames, right=True).clamp(max=len(places) - 1)
    left = (right - 1).clamp(min=0)
    width = (places[right] - places[left]).clamp(min=torch.finfo(torch.float64).tiny)
    part = ((frames - places[left]) / width).clamp(0, 1)
    weights = torch.zeros(length, len(places), dtype=torch.float64)
    rows = torch.arange(length)
    weights[rows, left] += 1 - part
    weights[rows, right] += part
    return weights[:, group] / torch.bincount(group)[group]
