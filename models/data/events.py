"""Clips whose label shows for a few frames only: a digit that comes and goes among distractors.

For three or four consecutive frames a handwritten digit, marked by a dark outline, stands somewhere
in the picture; its class is the label. Before, after and *beside* it distractors (bars, rings, blobs,
crosses) come and go in the same way, so that neither a change nor a lone object tells the moment.
No other frame depends on the label. The event's frames and place are kept, so that attention and maps
can be checked against what is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.data._motion import Pose, warp
from models.data._paint import background, colour
from models.data._seeded import SeededClips
from models.data._sprites import CELLS, KINDS, digit_bank, distractor_bank

FRAMES = 16
SIZE = (48, 48)
CLASSES = tuple(f"digit {digit}" for digit in range(10))
GROUPS = {"event": range(len(CLASSES))}
#: per-channel mean and standard deviation of the clips
MEAN = (0.39, 0.39, 0.39)
STD = (0.16, 0.16, 0.16)

_LASTING = (3, 4)  # frames, of the digit
_DISTRACTOR_LASTING = (2, 6)
_DISTRACTORS = (7, 11)
_DIGIT_SIZE = (17.0, 21.0)  # pixels
_DIGIT_TILT = 15.0  # degrees either way
_DIGIT_PLACE = 12.0  # pixels either way from the middle of the frame
_DISTRACTOR_SIZE = (11.0, 18.0)
_DISTRACTOR_PLACE = 20.0


class Event(NamedTuple):
    """One clip with its label, and when and where the label shows.

    Attributes:
        clip: ``(3, T, H, W)`` float32 in [0, 1].
        event: the digit, 0 to 9.
        frames: ``(T,)`` bool, the frames that show it.
        mask: ``(T, H, W)`` bool, the digit with its outline; empty in the other frames.
    """

    clip: Tensor
    event: int
    frames: Tensor
    mask: Tensor


class Events(SeededClips[Event]):
    """Procedural clips, ``(3, 16, 48, 48)``; sample ``i`` is a pure function of ``(seed, i)``.

    The two splits draw on disjoint sets of digit images.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``.

    Attributes:
        classes: names of the digits.
        groups: for the only question, ``"event"``, its indices into ``classes``.

    Raises:
        ValueError: a negative length or seed, or an unknown split.
    """

    classes = CLASSES
    groups = GROUPS

    def __getitem__(self, index: int) -> Event:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with its label, frames and mask.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng = self._generator(index)
        return _draw(rng, int(rng.integers(len(CLASSES))), self.split)


def _draw(rng: np.random.Generator, event: int, split: str) -> Event:
    """The clip of a label; everything else comes from ``rng``, in numbers that the label leaves."""
    bank = digit_bank(split)
    rows = bank.by_class[event]
    digit = bank.sprites[rows[int(rng.random() * len(rows))]]
    lasting = int(rng.integers(_LASTING[0], _LASTING[1] + 1))
    start = int(rng.integers(FRAMES - lasting + 1))
    shown = slice(start, start + lasting)
    tilt = np.deg2rad(rng.uniform(-_DIGIT_TILT, _DIGIT_TILT))
    size, place = rng.uniform(*_DIGIT_SIZE), rng.uniform(-_DIGIT_PLACE, _DIGIT_PLACE, 2)

    count = int(rng.integers(_DISTRACTORS[0], _DISTRACTORS[1] + 1))
    times = [_beside(rng, shown), *(_sometime(rng) for _ in range(count - 1))]
    sprites, poses = zip(*(_distractor(rng) for _ in times), strict=True)
    drawn = warp(torch.stack([*sprites, digit]), [*poses, _pose(place, size, tilt)], SIZE)
    clip = background(rng, SIZE)[:, None].repeat(1, FRAMES, 1, 1)
    for (ink, cover), when in zip(drawn, [*times, shown], strict=True):
        clip[:, when].mul_(1 - cover).addcmul_(ink, colour(rng)[:, None])
    frames = torch.zeros(FRAMES, dtype=torch.bool)
    frames[shown] = True
    return Event(clip.clamp_(0, 1), event, frames, frames[:, None, None] & (drawn[-1, 1] > 0.5))


def _sometime(rng: np.random.Generator) -> slice:
    """The frames of a distractor, any; those at the ends of the clip may be cut short."""
    lasting = int(rng.integers(_DISTRACTOR_LASTING[0], _DISTRACTOR_LASTING[1] + 1))
    start = int(rng.integers(1 - lasting, FRAMES))
    return slice(max(start, 0), start + lasting)


def _beside(rng: np.random.Generator, shown: slice) -> slice:
    """The frames of a distractor that is there in at least one of the event's frames."""
    lasting = int(rng.integers(_DISTRACTOR_LASTING[0], _DISTRACTOR_LASTING[1] + 1))
    start = int(rng.integers(shown.start - lasting + 1, shown.stop))
    return slice(max(start, 0), start + lasting)


def _distractor(rng: np.random.Generator) -> tuple[Tensor, Pose]:
    """A distractor of any kind, at any place, size and angle."""
    variants = distractor_bank()[KINDS[rng.integers(len(KINDS))]]
    place = rng.uniform(-_DISTRACTOR_PLACE, _DISTRACTOR_PLACE, 2)
    pose = _pose(place, rng.uniform(*_DISTRACTOR_SIZE), rng.uniform(0, 2 * np.pi))
    return variants[int(rng.integers(len(variants)))], pose


def _pose(place: np.ndarray, size: float, angle: float) -> Pose:
    """One frame's pose; a sprite stays where it is while it shows."""
    return Pose(place[None], np.array([size / CELLS]), np.array([angle]))
