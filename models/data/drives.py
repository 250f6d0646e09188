"""Drives through streets that are drawn, with the camera's true motion, depth and what moves.

A camera drives along a winding road between textured houses, past parked vehicles and among moving
ones. Speed and yaw rate differ between drives and change within them, so that the mean motion says
little. A drive has ``DRIVE_FRAMES`` frames, cast ray by ray; a sample is a *snippet* of five
consecutive ones whose middle frame is the target and whose others are its references.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.data import _raycast, _street
from models.data._seeded import SeededClips
from models.data._sprites import SPLITS
from models.geometry import matrix_to_pose, scale_intrinsics

FRAMES = 5
SIZE = (32, 104)
DRIVE_FRAMES = _street.FRAMES
#: focal lengths and centre in pixels, the first pixel's middle at 0
INTRINSICS = (58.0, 58.0, 51.5, 13.5)
#: the frames that the target (frame 2) is compared with
REFERENCES = (0, 1, 3, 4)
TARGET = 2
#: per-channel mean and standard deviation that bring clips to [-1, 1]
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)

_SNIPPETS = DRIVE_FRAMES - FRAMES  # each has a frame before it
_SUPERSAMPLING = 2
_GROUP = 12  # drives whose snippets are mixed
_MIRROR_SIGNS = (-1.0, 1.0, 1.0, 1.0, -1.0, -1.0)


class Drive(NamedTuple):
    """All frames of a drive.

    Attributes:
        frames: ``(3, DRIVE_FRAMES, H, W)`` uint8.
        depth: ``(DRIVE_FRAMES, H, W)``, along the camera's view in metres; infinite for the sky.
        kind: ``(DRIVE_FRAMES, H, W)`` uint8, 1 a parked vehicle, 2 a moving one, 3 the ground, 0 else.
        cameras: ``(DRIVE_FRAMES, 4, 4)`` float64, from camera to world.
    """

    frames: Tensor
    depth: Tensor
    kind: Tensor
    cameras: Tensor


class Snippet(NamedTuple):
    """Five consecutive frames with the truth about them.

    Attributes:
        clip: ``(3, 5, H, W)`` float32 in [0, 1].
        poses: ``(4, 6)`` float32, the true poses from the target to frames 0, 1, 3 and 4, as
            ``models.geometry`` has them, in metres and radians.
        before: ``(6,)`` float32, the true pose from frame 0 to the frame before the snippet.
        depth: ``(5, H, W)`` float32, in metres; infinite for the sky.
        moving: ``(5, H, W)`` bool, vehicles that move.
        vehicles: ``(5, H, W)`` bool, all vehicles.
        road: ``(5, H, W)`` bool, the ground.
    """

    clip: Tensor
    poses: Tensor
    before: Tensor
    depth: Tensor
    moving: Tensor
    vehicles: Tensor
    road: Tensor


class Drives(SeededClips[Snippet]):
    """Snippets of procedural drives; sample ``i`` is a pure function of ``(seed, i)``.

    The snippets come from ``drives`` drives, a dozen at a time in random order, again and again,
    each as it is or mirrored at random. No drive is in both splits. Drives are drawn when first
    needed (about 0.3 s each) and the last ``CACHED`` kept in memory (0.4 MB each).

    Args:
        length: number of snippets.
        seed: chooses the drives; not negative.
        split: ``"train"`` or ``"validation"``.
        drives: number of different drives, a multiple of 12.

    Raises:
        ValueError: a negative length or seed, an unknown split, or no fitting number of drives.
    """

    def __init__(
        self, length: int, seed: int = 0, split: str = "train", *, drives: int = 480
    ) -> None:
        super().__init__(length, seed, split)
        if drives <= 0 or drives % _GROUP:
            raise ValueError(f"drives must be a positive multiple of {_GROUP}, got {drives}.")
        self.drives = drives

    def __getitem__(self, index: int) -> Snippet:
        """Cuts one snippet.

        Args:
            index: from 0 to ``len(self) - 1``; negative ones are refused, since a snippet belongs
                to its index and not to the length of the data set.

        Returns:
            The snippet with its truth.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        drive, first, mirrored = self.source(index)
        snippet = cut(draw(self.seed, drive, self.split), first)
        return mirror(snippet) if mirrored else snippet

    def poses(self, index: int) -> Tensor:
        """The true poses of a snippet, without drawing it.

        Args:
            index: as for the snippet.

        Returns:
            ``(4, 6)`` float32.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        drive, first, mirrored = self.source(index)
        poses = _poses(_cameras(self.seed, drive, self.split), first)
        return poses * torch.tensor(_MIRROR_SIGNS) if mirrored else poses

    def source(self, index: int) -> tuple[int, int, bool]:
        """Where a snippet comes from, without drawing it.

        Args:
            index: as for the snippet.

        Returns:
            The drive's number, its first frame, and whether left and right change places.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        self._check(index)
        turn, place = divmod(index, self.drives * _SNIPPETS)
        group, place = divmod(place, _GROUP * _SNIPPETS)
        order = np.random.default_rng([self.seed, turn, 0]).permutation(self.drives)
        rng = np.random.default_rng([self.seed, turn, 1, group])
        drive, first = divmod(int(rng.permutation(_GROUP * _SNIPPETS)[place]), _SNIPPETS)
        mirrored = bool(rng.integers(2, size=_GROUP * _SNIPPETS)[place])
        return int(order[group * _GROUP + drive]), first + 1, mirrored


#: drives that are kept in memory
CACHED = 640


@lru_cache(maxsize=CACHED)
def draw(seed: int, drive: int, split: str) -> Drive:
    """Draws a drive; its tensors are shared by all who ask for it.

    Args:
        seed: the data set's.
        drive: the drive's number.
        split: ``"train"`` or ``"validation"``.

    Returns:
        The frames with their truth.
    """
    street = _build(seed, drive, split)
    fine = (SIZE[0] * _SUPERSAMPLING, SIZE[1] * _SUPERSAMPLING)
    fine_intrinsics = scale_intrinsics(INTRINSICS, SIZE, fine)
    blocks = (SIZE[0], _SUPERSAMPLING, SIZE[1], _SUPERSAMPLING, 3)
    kinds = np.append(street.kind, [0, _street.ROAD]).astype(np.uint8)  # boxes, sky, ground
    frames, depths, kind = [], [], []
    for frame in range(DRIVE_FRAMES):
        seen = _raycast.cast(street, frame, fine, fine_intrinsics)
        picture = _raycast.shade(street, frame, seen, fine_intrinsics[0])
        picture = picture.reshape(blocks).mean(axis=(1, 3))
        frames.append(np.rint(picture * 255).astype(np.uint8))
        middle = _raycast.cast(street, frame, SIZE, INTRINSICS)
        depths.append(middle.depth.astype(np.float32))
        kind.append(kinds[middle.what])
    return Drive(
        torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).contiguous(),
        torch.from_numpy(np.stack(depths)),
        torch.from_numpy(np.stack(kind)),
        _cameras(seed, drive, split),
    )


def _build(seed: int, drive: int, split: str) -> _street.Street:
    """The street of a drive."""
    return _street.build(np.random.default_rng([seed, drive, SPLITS.index(split)]))


@lru_cache(maxsize=CACHED)
def _cameras(seed: int, drive: int, split: str) -> Tensor:
    """From camera to world, ``(DRIVE_FRAMES, 4, 4)``."""
    street = _build(seed, drive, split)
    cameras = np.tile(np.eye(4), (DRIVE_FRAMES, 1, 1))
    cameras[:, :3, 3] = street.position
    for frame in range(DRIVE_FRAMES):
        cameras[frame, :3, :3] = _raycast.camera_axes(street, frame)
    return torch.from_numpy(cameras)


def _poses(cameras: Tensor, first: int) -> Tensor:
    """From the target to the references of the snippet that begins at a frame."""
    target, references = cameras[first + TARGET], [first + frame for frame in REFERENCES]
    poses = torch.linalg.solve(cameras[references], target.expand(len(references), 4, 4))
    return matrix_to_pose(poses).float()


def cut(drive: Drive, first: int) -> Snippet:
    """The snippet of a drive that begins at a frame.

    Args:
        drive: the drive.
        first: its first frame, not the drive's first.

    Returns:
        The snippet.
    """
    frames = slice(first, first + FRAMES)
    before = torch.linalg.solve(drive.cameras[first - 1], drive.cameras[first])
    kind = drive.kind[frames]
    return Snippet(
        clip=drive.frames[:, frames].float() / 255,
        poses=_poses(drive.cameras, first),
        before=matrix_to_pose(before).float(),
        depth=drive.depth[frames].clone(),
        moving=kind == _street.MOVING,
        vehicles=(kind == _street.PARKED) | (kind == _street.MOVING),
        road=kind == _street.ROAD,
    )


def mirror(snippet: Snippet) -> Snippet:
    """The same snippet with left and right changed.

    Args:
        snippet: the snippet; ``INTRINSICS`` have the centre in the middle of a row.

    Returns:
        What a camera sees and does in the mirrored world.
    """
    signs = torch.tensor(_MIRROR_SIGNS)
    clip, *others = (part.flip(-1) for part in (snippet.clip, *snippet[3:]))
    return Snippet(clip, snippet.poses * signs, snippet.before * signs, *others)
