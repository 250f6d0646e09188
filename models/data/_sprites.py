"""Small pictures that the procedural data sets move about: handwritten digits and distractors.

A sprite is a square of ``EXTENT`` cells seen at ``RESOLUTION`` pixels with two channels in
[0, 1]: the *ink* (what is drawn in the sprite's colour) and the *cover* (what hides the
background: the ink and, around a digit, a dark outline). A digit fills the middle ``CELLS`` cells,
one for each pixel of scikit-learn's 8x8 images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video._core.errors import missing_extra

CELLS = 8
EXTENT = 10
RESOLUTION = 40
SPLITS = ("train", "validation")
KINDS = ("bar", "ring", "blob", "cross")
#: kinds that look the same however they are turned
ROUND = ("ring", "blob")
_VALIDATION_SHARE = 0.2
_SPLIT_SEED = 1797


@dataclass(frozen=True)
class DigitBank:
    """Digit sprites of one split.

    Attributes:
        sprites: ``(digits, 2, RESOLUTION, RESOLUTION)``, ink and cover.
        indices: for each sprite, its index in ``sklearn.datasets.load_digits()``.
        by_class: for each of the ten digits, the rows of ``sprites`` that show it.
    """

    sprites: Tensor
    indices: tuple[int, ...]
    by_class: tuple[tuple[int, ...], ...]


@cache
def digit_bank(split: str) -> DigitBank:
    """The digits of a split, drawn once per process; no digit image is in both splits.

    Args:
        split: ``"train"`` or ``"validation"``.

    Returns:
        The sprites with their classes.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_extra("scikit-learn", "models", "The moving-digits data set") from error
    digits = load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(digits.target))
    held_out = round(len(order) * _VALIDATION_SHARE)
    chosen = np.sort(order[:held_out] if split == "validation" else order[held_out:])
    images = torch.from_numpy(digits.images[chosen]).float().div(16)
    labels = digits.target[chosen]
    by_class = tuple(tuple(np.flatnonzero(labels == digit).tolist()) for digit in range(10))
    return DigitBank(_draw_digits(images), tuple(chosen.tolist()), by_class)


def _draw_digits(images: Tensor) -> Tensor:
    """Ink and cover of 8x8 images: smooth upsampling, a crisp edge, an outline of 0.6 cells."""
    scale = RESOLUTION // EXTENT
    smooth = F.interpolate(images[:, None], scale_factor=scale, mode="bicubic", align_corners=False)
    ink = F.pad(smooth, [(RESOLUTION - CELLS * scale) // 2] * 4).sub(0.25).div(0.5).clamp(0, 1)
    cover = F.avg_pool2d(F.max_pool2d(ink, 5, 1, 2), 3, 1, 1).maximum(ink)
    return torch.cat([ink, cover], dim=1)


@cache
def distractor_bank() -> dict[str, Tensor]:
    """Distractor sprites, a few of each kind; none has an outline.

    Returns:
        For each of ``KINDS`` a tensor ``(variants, 2, RESOLUTION, RESOLUTION)``.
    """
    axis = (torch.arange(RESOLUTION) + 0.5) * (EXTENT / RESOLUTION) - EXTENT / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    radius = torch.sqrt(x * x + y * y)

    def inside(distance: Tensor) -> Tensor:
        """Coverage of the region where ``distance`` (in cells) is negative, with a soft edge."""
        return (0.5 - distance / 0.35).clamp(0, 1)

    def bar(width: float, length: float) -> Tensor:
        return inside(torch.maximum(x.abs() - width, y.abs() - length))

    shapes = {
        "bar": [bar(0.7, 4.2), bar(1.0, 4.0), bar(1.2, 3.2)],
        "ring": [inside((radius - 3.4).abs() - w) for w in (0.5, 0.7, 0.9)],
        "blob": [
            inside(radius - 3),
            inside(torch.sqrt((x / 1.3) ** 2 + y**2) - 2.7),
            torch.exp(-(radius**2) / 7),
        ],
        "cross": [torch.maximum(bar(w, 4), bar(w, 4).T) for w in (0.6, 0.8, 1.1)],
    }
    return {kind: torch.stack(drawn)[:, None].repeat(1, 2, 1, 1) for kind, drawn in shapes.items()}
