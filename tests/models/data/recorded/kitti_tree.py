"""Small sequences in the exact layout of KITTI's odometry benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.data import drives

CAMERA = (20.0, 30.0, 5.5, 3.5)
#: of camera 2: what takes points from camera 0 to it, in metres
OFFSET = (0.5, -0.25, 0.125)


def write_sequence(
    root: Path,
    number: int,
    frames: Tensor,
    cameras: Tensor,
    intrinsics: Sequence[float] = CAMERA,
    offset: Sequence[float] = OFFSET,
) -> Path:
    """Writes frames as those of cameras 0 and 2, and poses of camera 0.

    ``frames`` are ``(T, 3, H, W)`` uint8, ``cameras`` ``(T, 4, 4)`` from camera 0 to the world.
    """
    place = root / "sequences" / f"{number:02d}"
    for camera in (0, 2):
        (place / f"image_{camera}").mkdir(parents=True)
        for index, frame in enumerate(frames):
            picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
            if camera == 0:
                picture = picture.convert("L")
            picture.save(place / f"image_{camera}" / f"{index:06d}.png")
    (place / "times.txt").write_text("".join(f"{0.1 * k:.6e}\n" for k in range(len(frames))))
    fx, fy, cx, cy = intrinsics
    lines = []
    for camera in range(4):
        x, y, z = offset if camera == 2 else (0.0, 0.0, 0.0)
        row = [fx, 0, cx, fx * x + cx * z, 0, fy, cy, fy * y + cy * z, 0, 0, 1, z]
        lines.append(f"P{camera}: {' '.join(f'{value:.12e}' for value in row)}\n")
    lines.append("Tr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n")
    (place / "calib.txt").write_text("".join(lines))
    write_poses(root, number, cameras)
    return place


def write_poses(root: Path, number: int, cameras: Tensor) -> None:
    """Writes the poses of camera 0."""
    (root / "poses").mkdir(exist_ok=True)
    rows = [" ".join(f"{v:.17g}" for v in camera[:3].flatten().tolist()) for camera in cameras]
    (root / "poses" / f"{number:02d}.txt").write_text("\n".join(rows) + "\n")


def write_still(root: Path, number: int, count: int, size: tuple[int, int] = (8, 12)) -> Path:
    """Writes a sequence whose frame k is of the even grey ``10 * number + k``, k metres ahead."""
    levels = torch.arange(count, dtype=torch.uint8) + 10 * number
    frames = levels[:, None, None, None].expand(count, 3, *size).contiguous()
    return write_sequence(root, number, frames, ahead(count))


def ahead(count: int) -> Tensor:
    """Cameras that go a metre straight ahead from frame to frame."""
    cameras = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    cameras[:, 2, 3] = torch.arange(count)
    return cameras


def write_drive(root: Path, number: int, count: int = 9, drive: int = 0) -> drives.Drive:
    """Writes the first frames of a procedural drive, which camera 2 has seen."""
    found = drives.draw(0, drive, "train")
    to_camera_2 = torch.eye(4, dtype=torch.float64)
    to_camera_2[:3, 3] = torch.tensor(OFFSET)
    frames = found.frames[:, :count].transpose(0, 1).contiguous()
    write_sequence(root, number, frames, found.cameras[:count] @ to_camera_2, drives.INTRINSICS)
    return found
