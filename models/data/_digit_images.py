"""Handwritten digits for Video-MNIST: torchvision's MNIST from disk, or scikit-learn's digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video._core.errors import missing_extra
from models.data._sprites import CELLS, EXTENT, digit_bank

SKLEARN = "sklearn"
_MNIST_BOX = 20 / 28  # MNIST fits each digit into 20 of the picture's 28 pixels


@dataclass(frozen=True)
class DigitImages:
    """The digit images of one split.

    Attributes:
        images: ``(digits, 1, R, R)`` in [0, 1], ink on black.
        box: the share of a picture's side that the digit's box takes.
        by_class: for each of the ten digits, the rows of ``images`` that show it.
    """

    images: Tensor
    box: float
    by_class: tuple[np.ndarray, ...]


@cache
def digit_images(source: str, split: str) -> DigitImages:
    """The digits of a split, read once per process; no image is in both splits.

    Args:
        source: ``"sklearn"``, or the root folder of torchvision's MNIST, whose training images serve
            training and whose test images serve validation. Nothing is downloaded.
        split: ``"train"`` or ``"validation"``.

    Returns:
        The images with their classes.

    Raises:
        ImportError: scikit-learn or torchvision is not installed.
        FileNotFoundError: the folder has no MNIST.
        ValueError: a digit has no image.
    """
    if source == SKLEARN:
        bank = digit_bank(split)
        by_class = tuple(np.array(rows) for rows in bank.by_class)
        return DigitImages(F.avg_pool2d(bank.sprites[:, :1], 2), CELLS / EXTENT, by_class)
    images, labels = _mnist(source, split)
    by_class = tuple(np.flatnonzero(labels == digit) for digit in range(10))
    empty = [str(digit) for digit, rows in enumerate(by_class) if len(rows) == 0]
    if empty:
        raise ValueError(f"The MNIST in {source!r} has no image of {', '.join(empty)} ({split}).")
    return DigitImages(images, _MNIST_BOX, by_class)


def _mnist(root: str, split: str) -> tuple[Tensor, np.ndarray]:
    """Images and labels of torchvision's MNIST."""
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise missing_extra("torchvision", "models", "MNIST") from error
    try:
        digits = MNIST(root, train=split == "train", download=False)
    except RuntimeError as error:
        wanted = Path(root) / "MNIST" / "raw"
        raise FileNotFoundError(
            f"digits must be 'sklearn' or a folder with torchvision's MNIST, got {root!r}: "
            f"{wanted} lacks the unpacked idx files. Nothing is downloaded."
        ) from error
    return digits.data[:, None].to(torch.float32) / 255, digits.targets.numpy()
