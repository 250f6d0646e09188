"""Video-MNIST (paper 1, appendix B): one digit that moves in one of ten ways, and its decoupled form.

The paper names the ten motions by a picture; the programs are those of its released code, as far as
that tells them. Chosen here:

* The digit's box is 12 or 14 pixels in the first frame, its centre a whole number of pixels, at most
  4, from the frame's middle in x and in y; the digit begins upright. All of this is independent of
  the motion. Ink is white, the rest is black.
* A bounce reflects the *box* at the frame's edge, whatever the digit's angle; it starts to either
  side.
* Shrink and grow: down to 4 pixels, back to the first size, and again.
* Grow clockwise: half a pixel per frame, 12 degrees per frame.
* Circle: in either direction, 12 degrees per frame, its radius half of the box's room, its centre
  towards the middle of the frame, so that the box stays inside.
* Clockwise and back: 24 degrees per frame until frame 15, then back.
* Random walk: each frame -1, 0 or 1 pixel in x and in y, and -12, 0 or 12 degrees; the box stops at
  the frame's edge.

A digit that turns or grows near the edge may be cut off a little.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data import _programs
from models.data._digit_images import SKLEARN, digit_images
from models.data._motion import Pose, warp
from models.data._programs import FRAME, MOTIONS
from models.data._seeded import SeededClips
from models.data._sprites import EXTENT

FRAMES = _programs.FRAMES
SIZE = (FRAME, FRAME)
DIGITS = tuple(f"digit {digit}" for digit in range(10))
CLASSES = MOTIONS + DIGITS
GROUPS = {"motion": range(len(MOTIONS)), "digit": range(len(MOTIONS), len(CLASSES))}
#: mean and standard deviation of the clips
MEAN = (0.07,)
STD = (0.22,)
#: names the folder of torchvision's MNIST for ``digits=None``
MNIST_VARIABLE = "CAPTUM_VIDEO_MNIST"

_SUPERSAMPLING = 2  # a shrunken digit has finer strokes than pixels


class DigitVideo(NamedTuple):
    """One clip with its labels and the digit's pose.

    Attributes:
        clip: ``(1, 30, 28, 28)`` float32 in [0, 1].
        motion: index into ``MOTIONS``.
        digit: 0 to 9.
        pose: ``(30, 4)`` float32: x and y of the box's centre in pixels from the frame's middle, y
            downwards; its size as a factor of its first size; its angle in degrees, clockwise.
    """

    clip: Tensor
    motion: int
    digit: int
    pose: Tensor


class VideoMNIST(SeededClips[DigitVideo]):
    """Procedural clips, ``(1, 30, 28, 28)``; sample ``i`` is a function of ``(seed, i)``.

    In the paper's form the digit *is* the motion's number, so that one frame gives the answer away;
    decoupled, the two are drawn independently, and either can be the label. The two forms of a clip
    differ in nothing but the digit. The splits draw on disjoint sets of digit images.

    Args:
        length: number of clips.
        seed: chooses the clips; not negative.
        split: ``"train"`` or ``"validation"``.
        decoupled: whether digit and motion are independent.
        digits: ``"sklearn"`` for scikit-learn's 8x8 digits, or the root folder of torchvision's
            MNIST, which must be there unpacked (nothing is downloaded); ``None`` for the folder that
            the environment variable ``CAPTUM_VIDEO_MNIST`` names, and scikit-learn's if it names
            none.

    Attributes:
        classes: names of the motions, then of the digits.
        groups: for each question, ``"motion"`` and ``"digit"``, its indices into ``classes``.

    Raises:
        ValueError: a negative length or seed, an unknown split, or an MNIST that lacks a digit.
        FileNotFoundError: ``digits`` names a folder without MNIST.
        ImportError: scikit-learn or torchvision, whichever is asked for, is not installed.
    """

    classes = CLASSES
    groups = GROUPS

    def __init__(
        self,
        length: int,
        seed: int = 0,
        split: str = "train",
        *,
        decoupled: bool = False,
        digits: str | Path | None = None,
    ) -> None:
        super().__init__(length, seed, split)
        self.decoupled = decoupled
        self.digits = str(digits or os.environ.get(MNIST_VARIABLE) or SKLEARN)
        digit_images(self.digits, split)

    def __getitem__(self, index: int) -> DigitVideo:
        """Draws one clip.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a clip belongs to
                its index and not to the length of the data set.

        Returns:
            The clip with its labels and the digit's poses.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        rng, motion, digit = self._begin(index)
        draws = _programs.draw(rng)
        pose = _programs.poses(motion, draws)
        bank = digit_images(self.digits, self.split)
        rows = bank.by_class[digit]
        image = bank.images[rows[int(rng.random() * len(rows))]]
        clip = render(image, bank.box, pose, draws.side)
        return DigitVideo(clip, motion, digit, torch.from_numpy(pose).float())

    def labels(self, index: int) -> tuple[int, int]:
        """The motion and the digit of a clip, without drawing it.

        Args:
            index: as for the clip.

        Returns:
            Both, from 0 to 9.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        return self._begin(index)[1:]

    def _begin(self, index: int) -> tuple[np.random.Generator, int, int]:
        """The clip's source of randomness, and the labels, which are the first it gives."""
        rng = self._generator(index)
        motion, digit = int(rng.integers(len(MOTIONS))), int(rng.integers(len(DIGITS)))
        return rng, motion, digit if self.decoupled else motion


def render(image: Tensor, box: float, pose: np.ndarray, side: float) -> Tensor:
    """Draws a digit at its poses.

    Args:
        image: ``(1, R, R)`` in [0, 1].
        box: the share of the image's side that the digit's box takes.
        pose: ``(T, 4)``, as :class:`DigitVideo` has it.
        side: of the box at size 1, pixels.

    Returns:
        ``(1, T, 28, 28)`` in [0, 1].
    """
    cell = _SUPERSAMPLING * side / (box * EXTENT) * pose[:, 2]
    finer = Pose(_SUPERSAMPLING * pose[:, :2], cell, np.deg2rad(pose[:, 3]))
    drawn = warp(image[None], [finer], (_SUPERSAMPLING * FRAME, _SUPERSAMPLING * FRAME))
    return F.avg_pool2d(drawn, _SUPERSAMPLING).transpose(0, 1).contiguous()
