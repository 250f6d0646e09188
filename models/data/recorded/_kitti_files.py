"""The files of a sequence of KITTI odometry: images, calibration, true motion."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from captum_video.io import ClipError
from models.data.recorded._places import some

_IMAGE = re.compile(r"(\d+)\.(?:png|jpg|jpeg)", re.IGNORECASE)
_ORTHOGONAL = 1e-2  # files have seven digits, and rotations are inverted as they are


class Calibration(NamedTuple):
    """A camera of a rectified rig.

    Attributes:
        intrinsics: ``(fx, fy, cx, cy)`` in pixels, the first pixel's middle at 0.
        offset: ``(3,)`` float64, what takes a point from the coordinates of camera 0 to this one's.
    """

    intrinsics: tuple[float, float, float, float]
    offset: Tensor


def find_images(folder: Path) -> tuple[str, ...]:
    """The images of a sequence, which are numbered from 0 without a gap.

    Args:
        folder: ``image_2`` or another camera's.

    Returns:
        Their names in the order of numbers.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no image, lacks one, or has one twice.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of images {folder}.")
    found: dict[int, str] = {}
    for name in sorted(path.name for path in folder.iterdir()):
        match = _IMAGE.fullmatch(name)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            raise ValueError(
                f"{folder} must have an image once, got {found[number]} and {name} of number {number}."
            )
        found[number] = name
    if not found:
        raise ValueError(f"{folder} holds no image such as 000000.png.")
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        raise ValueError(
            f"The images of {folder} must be numbered from 0 to {max(found)} without a gap, and "
            f"{some(f'{number:06d}' for number in missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
    return tuple(found[number] for number in range(len(found)))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, from its first bytes.

    Args:
        path: the file.

    Returns:
        Height and width in pixels.

    Raises:
        ClipError: it is missing, or no image.
    """
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError) as error:
        raise ClipError(
            path, f"its size cannot be read ({error})", "Copy or download it again"
        ) from error


def read_calibration(path: Path, camera: int) -> Calibration:
    """A camera's line of ``calib.txt``, such as ``P2:`` and the twelve numbers of ``K [I | t]``.

    Args:
        path: the file.
        camera: from 0 to 3.

    Returns:
        The camera.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no such line, or the line is no projection of a rectified camera.
    """
    key = f"P{camera}:"
    for number, line in enumerate(_lines(path), 1):
        if not line.startswith(key):
            continue
        matrix = _matrix(line.removeprefix(key), f"{path}, line {number}: {key[:-1]}")
        (fx, skew, cx, _), (below, fy, cy, _), last = matrix.tolist()
        if min(fx, fy) <= 0 or (skew, below) != (0, 0) or last[:3] != [0, 0, 1]:
            raise ValueError(
                f"{path}, line {number}: {key[:-1]} must be fx 0 cx x 0 fy cy y 0 0 1 z with "
                f"positive focal lengths, got {line!r}."
            )
        offset = torch.linalg.solve(matrix[:, :3], matrix[:, 3])
        return Calibration((fx, fy, cx, cy), offset)
    raise ValueError(f"{path} must have a line that begins with {key!r}, and has none.")


def read_cameras(path: Path) -> Tensor:
    """The true motion: for each image the three rows of a matrix from camera 0 to the world.

    Args:
        path: the file, such as ``poses/00.txt``.

    Returns:
        ``(images, 4, 4)`` float64, in metres.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not twelve numbers, or has no rotation.
    """
    lines = _lines(path)
    if not lines:
        raise ValueError(f"{path} must have a pose in each line, and is empty.")
    cameras = torch.eye(4, dtype=torch.float64).repeat(len(lines), 1, 1)
    cameras[:, :3] = torch.stack(
        [_matrix(line, f"{path}, line {number}: a pose") for number, line in enumerate(lines, 1)]
    )
    turns = cameras[:, :3, :3]
    rest = (turns @ turns.mT - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2))
    wrong = ((rest > _ORTHOGONAL) | (torch.linalg.det(turns) < 0)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{path}, line {wrong[0] + 1}: a pose must be the rows of a rotation with a "
            f"translation, got {lines[wrong[0]]!r}."
        )
    return cameras


def _lines(path: Path) -> list[str]:
    """A text's lines, without empty ones at its end."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return path.read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()


def _matrix(text: str, what: str) -> Tensor:
    """Twelve numbers as ``(3, 4)`` float64."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 12 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{what} must be twelve finite numbers, got {text.strip()!r}.")
    return torch.tensor(numbers, dtype=torch.float64).view(3, 4)
