"""Clips in which look and motion are independent: a digit that moves in one of nine ways.

Every clip shows a handwritten digit, marked by a dark outline, over a still texture, in one of ten
looks and one of nine motions, drawn independently. Still distractors (bars, rings, blobs, crosses)
lie about, and three more *move* without meaning anything, so that a difference of frames alone does
not find the digit. Both answers are kept, with the places of the digit and of what moves beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.data._motion import MOTIONS, Pose, move, warp
from models.data._paint import background, colour
from models.data._seeded import LookAndMotionClips
from models.data._sprites import CELLS, KINDS, ROUND, digit_bank, distractor_bank

FRAMES = 16
SIZE = (64, 64)
LOOKS = tuple(f"digit {digit}" for digit in range(10))
CLASSES = MOTIONS + LOOKS
GROUPS = {"motion": range(len(MOTIONS)), "look": range(len(MOTIONS), len(CLASSES))}
#: per-channel mean and standard deviation of the clips
MEAN = (0.37, 0.37, 0.37)
STD = (0.18, 0.18, 0.18)

_DIGIT_SIZE = (19.0, 23.0)  # pixels, halfway through the clip
_DIGIT_TILT = 15.0  # degrees either way, in the first frame
_DIGIT_PLACE = 8.0  # pixels either way from the middle of the frame, halfway through the clip
_DISTRACTOR_SIZE = (14.0, 22.0)
_MOVING_DISTRACTORS = 3
_DISTRACTOR_PLACE = 25.0


class Sample(NamedTuple):
    """One clip with its labels and the places of what moves in it.

    Attributes:
        clip: ``(3, T, H, W)`` float32 in [0, 1].
        motion: index into ``MOTIONS``.
        look: the digit, 0 to 9.
        mask: ``(T, H, W)`` bool, the digit with its outline.
        distractor_mask: ``(T, H, W)`` bool, what is seen of the moving distractors.
    """

    clip: Tensor
    motion: int
    look: int
    mask: Tensor
    distractor_mask: Tensor


class MovingDigits(LookAndMotionClips[Sample]):
    """Procedural clips, ``(3, 16, 64, 64)``; sample ``i`` is a pure function of ``(seed, i)``.

    The two splits draw on disjoint sets of digit images.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``.

    Attributes:
        classes: names of the motions, then of the looks.
        groups: for each question, ``"motion"`` and ``"look"``, its indices into ``classes``.

    Raises:
        ValueError: a negative length or seed, or an unknown split.
    """

    classes = CLASSES
    groups = GROUPS

    def __getitem__(self, index: int) -> Sample:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with its labels and masks.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, motion, look = self._begin(index)
        return _draw(rng, motion, look, self.split)


def _draw(rng: np.random.Generator, motion: int, look: int, split: str) -> Sample:
    """The clip of a motion and a look; everything else comes from ``rng``."""
    bank = digit_bank(split)
    digit = bank.sprites[int(rng.choice(bank.by_class[look]))]
    place = rng.uniform(-_DIGIT_PLACE, _DIGIT_PLACE, 2)
    cell = rng.uniform(*_DIGIT_SIZE) / CELLS
    tilt = np.deg2rad(rng.uniform(-_DIGIT_TILT, _DIGIT_TILT))
    digit_pose = move(MOTIONS[motion], FRAMES, (place[0], place[1]), cell, tilt, rng)
    movers = [_moving_distractor(rng, place) for _ in range(_MOVING_DISTRACTORS)]
    still = [_distractor(rng, KINDS[rng.integers(len(KINDS))]) for _ in range(rng.integers(1, 3))]
    still_poses = [
        move("still", 1, tuple(rng.uniform(-_DISTRACTOR_PLACE, _DISTRACTOR_PLACE, 2)), *size, rng)
        for _, size in still
    ]
    drawn = warp(
        torch.stack([*(sprite for sprite, _ in still), *(sprite for sprite, _ in movers), digit]),
        [*still_poses, *(pose for _, pose in movers), digit_pose],
        SIZE,
    )
    clip = background(rng, SIZE)[:, None].repeat(1, FRAMES, 1, 1)
    lengths = [1] * len(still) + [FRAMES] * (len(movers) + 1)
    moving = torch.zeros(FRAMES, *SIZE, dtype=torch.bool)
    mask = moving
    for layer in drawn.split(lengths):
        ink, cover = layer.unbind(1)
        clip.mul_(1 - cover).addcmul_(ink, colour(rng)[:, None])
        moving = (moving | mask) & (cover <= 0.5)
        mask = (cover > 0.5) & (len(layer) == FRAMES)
    return Sample(clip.clamp_(0, 1), motion, look, mask, moving)


def _moving_distractor(rng: np.random.Generator, digit: np.ndarray) -> tuple[Tensor, Pose]:
    """A distractor that visibly moves, at the farthest from the digit of three random places."""
    motion = MOTIONS[rng.integers(1, len(MOTIONS))]
    turns = motion in ("clockwise", "counter-clockwise")
    kinds = [kind for kind in KINDS if not (turns and kind in ROUND)]
    sprite, (cell, angle) = _distractor(rng, kinds[rng.integers(len(kinds))])
    places = rng.uniform(-_DISTRACTOR_PLACE, _DISTRACTOR_PLACE, (3, 2))
    x, y = places[np.argmax(((places - digit) ** 2).sum(axis=1))]
    return sprite, move(motion, FRAMES, (x, y), cell, angle, rng)


def _distractor(rng: np.random.Generator, kind: str) -> tuple[Tensor, tuple[float, float]]:
    """A sprite of a kind, with the size of its cell and its angle."""
    variants = distractor_bank()[kind]
    sprite = variants[int(rng.integers(len(variants)))]
    return sprite, (rng.uniform(*_DISTRACTOR_SIZE) / CELLS, rng.uniform(0, 2 * np.pi))
