"""Which half of a held-out list is validation, and which is test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate


def first_halves(labels: Sequence[int], sources: Sequence[Hashable]) -> list[bool]:
    """Which clips of an official list are validation when its first half is; the others test.

    A list sorted by class, cut in its middle, would leave either half without half of the classes;
    so each class is cut on its own. Clips of one recording stay together: the first recordings of a
    class are validation, as many as bring it nearest to half of its clips. Where two cuts are
    equally near (an odd number of clips), validation gets the smaller and the larger part in turn,
    so that a list of n clips without common recordings gives n // 2. Only a class that is a single
    recording is cut within it.

    Args:
        labels: the class of each clip, in the order of the list.
        sources: the recording that each clip is from, known within its class.

    Returns:
        For each clip, whether it is validation.
    """
    clips: dict[int, dict[Hashable, list[int]]] = {}
    for index, (label, source) in enumerate(zip(labels, sources, strict=True)):
        clips.setdefault(label, {}).setdefault(source, []).append(index)
    chosen = [False] * len(labels)
    larger = False
    for recordings in clips.values():
        parts = list(recordings.values())
        if len(parts) == 1:
            parts = [[index] for index in parts[0]]
        reached = [0, *accumulate(map(len, parts))]
        # both halves get something, unless there is but one clip
        cuts = range(1, len(parts)) if len(parts) > 1 else range(2)
        off = [abs(2 * reached[cut] - reached[-1]) for cut in cuts]
        least = min(off)
        nearest = [cut for cut, by in zip(cuts, off, strict=True) if by == least]
        cut = nearest[-1] if larger else nearest[0]
        larger ^= len(nearest) > 1
        for index in (index for part in parts[:cut] for index in part):
            chosen[index] = True
    return chosen
