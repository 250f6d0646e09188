"""Colours and backgrounds of the procedural clips."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def colour(rng: np.random.Generator) -> Tensor:
    """A bright colour.

    Args:
        rng: draws it.

    Returns:
        ``(3, 1, 1)`` in [0, 1].
    """
    hue, saturation, value = rng.uniform([0, 0.25, 0.85], [1, 0.85, 1])
    rgb = colorsys.hsv_to_rgb(hue, saturation, value)
    return torch.tensor(rgb, dtype=torch.float32)[:, None, None]


def background(rng: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """A still texture of middling brightness: coarse clouds and fine grain.

    Args:
        rng: draws it.
        size: height and width.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    base = rng.uniform(0.25, 0.5, (3, 1, 1))
    clouds = torch.from_numpy(rng.standard_normal((1, 3, 13, 13), dtype=np.float32))
    clouds = F.interpolate(clouds, size=size, mode="bilinear", align_corners=True)[0]
    grain = torch.from_numpy(rng.standard_normal(size, dtype=np.float32))
    texture = torch.from_numpy(base).float() + 0.14 * clouds + 0.07 * grain
    return texture.clamp(0, 1)
