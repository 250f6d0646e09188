"""Nine ways to move, and the drawing of a sprite that moves so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data._sprites import EXTENT

MOTIONS = (
    "still",
    "left",
    "right",
    "up",
    "down",
    "growing",
    "shrinking",
    "clockwise",
    "counter-clockwise",
)
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
#: ranges of the whole clip's travel (pixels), growth (factor) and turn (degrees)
TRAVEL = (14.0, 20.0)
GROWTH = (1.45, 1.7)
TURN = (45.0, 70.0)


@dataclass(frozen=True)
class Pose:
    """Where a sprite is in every frame.

    Attributes:
        centre: ``(T, 2)``, x and y in pixels from the middle of the frame, y downwards.
        cell: ``(T,)``, the size of a sprite's cell in pixels.
        angle: ``(T,)``, radians, clockwise as seen on the screen.
    """

    centre: np.ndarray
    cell: np.ndarray
    angle: np.ndarray


def move(
    motion: str,
    frames: int,
    centre: tuple[float, float],
    cell: float,
    angle: float,
    rng: np.random.Generator,
) -> Pose:
    """The poses of a sprite that moves in one of the ``MOTIONS``.

    Place and size are those of the clip's middle, so that they are independent of the motion; the
    angle is the first frame's.

    Args:
        motion: one of ``MOTIONS``.
        frames: number of frames.
        centre: x and y in pixels from the middle of the frame, halfway through the clip.
        cell: the size of a sprite's cell in pixels, halfway through the clip.
        angle: radians, clockwise, in the first frame.
        rng: draws how far the motion goes; always three numbers, whatever the motion.

    Returns:
        One pose for each frame.
    """
    travel, growth, turn = (rng.uniform(*bounds) for bounds in (TRAVEL, GROWTH, TURN))
    ramp = np.linspace(-0.5, 0.5, frames)
    centres = np.tile(np.asarray(centre, dtype=float), (frames, 1))
    cells = np.full(frames, float(cell))
    angles = np.full(frames, float(angle))
    if motion in _DIRECTIONS:
        centres += np.outer(ramp * travel, _DIRECTIONS[motion])
    elif motion in ("growing", "shrinking"):
        cells *= growth ** (ramp if motion == "growing" else -ramp)
    elif motion in ("clockwise", "counter-clockwise"):
        angles += np.deg2rad(turn) * (ramp + 0.5) * (1 if motion == "clockwise" else -1)
    return Pose(centres, cells, angles)


def warp(sprites: Tensor, poses: list[Pose], size: tuple[int, int]) -> Tensor:
    """Draws sprites at their poses, all frames of all sprites in one bilinear sampling.

    Args:
        sprites: ``(S, channels, R, R)``.
        poses: for each sprite, its poses.
        size: height and width of a frame.

    Returns:
        ``(sum of the poses' frames, channels, H, W)``, zero outside of a sprite.
    """
    height, width = size
    centre = np.concatenate([pose.centre for pose in poses])
    cell = np.concatenate([pose.cell for pose in poses])
    angle = np.concatenate([pose.angle for pose in poses])
    # from the frame to the sprite: shift to its centre, turn back, divide by its half extent
    turn_back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    back = turn_back.transpose(2, 0, 1) / (cell * EXTENT / 2)[:, None, None]
    x = back[:, None, :, 0] * (np.arange(width) - (width - 1) / 2)[:, None]
    y = back[:, None, :, 1] * (np.arange(height) - (height - 1) / 2)[:, None]
    y -= np.einsum("fij,fj->fi", back, centre)[:, None]
    grid = torch.from_numpy(x).float()[:, None] + torch.from_numpy(y).float()[:, :, None]
    counts = torch.tensor([len(pose.cell) for pose in poses])
    pictures = sprites.repeat_interleave(counts, dim=0)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
