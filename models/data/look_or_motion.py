"""Small clips in which look and motion are independent, and only the frames' order tells the motion.

Every clip shows a handwritten digit that moves in one of eight ways over a still texture with a still
distractor. Look and motion are drawn independently. The motions are four pairs; a clip played
backwards is a clip of the pair's other motion, as likely as it was. So the frames without their order,
however many are seen, leave two motions alike: a net that looks at frames one by one and averages is
right about half of the motions at most, while for the look one frame does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data import _motion
from models.data._motion import Pose, warp
from models.data._paint import background
from models.data._seeded import LookAndMotionClips
from models.data._sprites import CELLS, KINDS, digit_bank, distractor_bank

FRAMES = 9
HALVED_FRAMES = 4
SIZE = (24, 24)
#: in pairs that are each other's reverse
MOTIONS = _motion.MOTIONS[1:]
LOOKS = tuple(f"digit {digit}" for digit in range(10))
CLASSES = MOTIONS + LOOKS
GROUPS = {"motion": range(len(MOTIONS)), "look": range(len(MOTIONS), len(CLASSES))}
#: mean and standard deviation of the clips
MEAN = (0.40,)
STD = (0.19,)

_SCALE = 2  # the motions are for frames of 64x64
_DIGIT_SIZE = (10.0, 12.0)  # pixels, halfway through the clip
_DIGIT_TILT = 10.0  # degrees either way, halfway through the clip
_DIGIT_PLACE = 1.5  # pixels either way from the middle of the frame, halfway through the clip
_DISTRACTOR_SIZE = (5.0, 8.0)
_DISTRACTOR_PLACE = 10.0


class LookOrMotionSample(NamedTuple):
    """One clip with its labels and the digit's place.

    Attributes:
        clip: ``(1, T, 24, 24)`` float32 in [0, 1].
        motion: index into ``MOTIONS``.
        look: the digit, 0 to 9.
        mask: ``(T, 24, 24)`` bool, the digit with its outline.
    """

    clip: Tensor
    motion: int
    look: int
    mask: Tensor


class LookOrMotion(LookAndMotionClips[LookOrMotionSample]):
    """Procedural clips, ``(1, 9, 24, 24)``; sample ``i`` is a pure function of ``(seed, i)``.

    The two splits draw on disjoint sets of digit images.

    Under ``halved=True`` the same clips have half the temporal resolution, as in paper 3 (supplement,
    section 3): a temporal average over windows of 3 frames with stride 2. The nine frames give four
    windows without any padding, so that a clip backwards still is one of the reverse motion.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``.
        halved: whether to lower the temporal resolution, which leaves 4 frames. The mask then is
            where the digit is in any of a window's frames.

    Attributes:
        classes: names of the motions, then of the looks.
        groups: for each question, ``"motion"`` and ``"look"``, its indices into ``classes``.

    Raises:
        ValueError: a negative length or seed, or an unknown split.
    """

    classes = CLASSES
    groups = GROUPS

    def __init__(
        self, length: int, seed: int = 0, split: str = "train", *, halved: bool = False
    ) -> None:
        super().__init__(length, seed, split)
        self.halved = halved

    def __getitem__(self, index: int) -> LookOrMotionSample:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with its labels and mask.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, motion, look = self._begin(index)
        sample = _draw(rng, motion, look, self.split)
        return _halved(sample) if self.halved else sample


def _draw(rng: np.random.Generator, motion: int, look: int, split: str) -> LookOrMotionSample:
    """The clip of a motion and a look; everything else comes from ``rng``."""
    bank = digit_bank(split)
    digit = bank.sprites[int(rng.choice(bank.by_class[look]))]
    place = rng.uniform(-_DIGIT_PLACE, _DIGIT_PLACE, 2)
    cell = rng.uniform(*_DIGIT_SIZE) / CELLS
    tilt = np.deg2rad(rng.uniform(-_DIGIT_TILT, _DIGIT_TILT))
    digit_pose = _move(MOTIONS[motion], place, cell, tilt, rng)
    variants = distractor_bank()[KINDS[rng.integers(len(KINDS))]]
    distractor = variants[int(rng.integers(len(variants)))]
    distractor_pose = Pose(
        rng.uniform(-_DISTRACTOR_PLACE, _DISTRACTOR_PLACE, (1, 2)),
        rng.uniform(*_DISTRACTOR_SIZE, 1) / CELLS,
        rng.uniform(0, 2 * np.pi, 1),
    )
    drawn = warp(torch.stack([distractor, digit]), [distractor_pose, digit_pose], SIZE)
    clip = background(rng, SIZE)[:1, None].repeat(1, FRAMES, 1, 1)
    for layer in drawn.split([1, FRAMES]):
        ink, cover = layer.unbind(1)
        clip.mul_(1 - cover).add_(ink, alpha=rng.uniform(0.7, 1))
    return LookOrMotionSample(clip.clamp_(0, 1), motion, look, drawn[1:, 1] > 0.5)


def _move(
    motion: str, place: np.ndarray, cell: float, tilt: float, rng: np.random.Generator
) -> Pose:
    """The digit's poses; place, size and tilt are those halfway, whatever the motion."""
    pose = _motion.move(motion, FRAMES, (0.0, 0.0), cell, 0.0, rng)
    angle = pose.angle - pose.angle.mean() + tilt
    return replace(pose, centre=place + pose.centre / _SCALE, angle=angle)


def _halved(sample: LookOrMotionSample) -> LookOrMotionSample:
    """The sample at half the temporal resolution."""
    window, stride = (3, 1, 1), (2, 1, 1)
    clip = F.avg_pool3d(sample.clip, window, stride)
    mask = F.max_pool3d(sample.mask[None].float(), window, stride)[0] > 0
    return sample._replace(clip=clip, mask=mask)
