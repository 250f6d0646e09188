"""Rigid motions as six numbers and as matrices, and pinhole intrinsics.

A camera looks along z, with x to the right and y down. A *pose* takes a point from the coordinates
of one view (the target) to those of another (the reference): ``p_ref = R p_target + t``. Its six
numbers are the translation ``t = (x, y, z)`` and the angles ``(a, b, c)`` in radians of
``R = Rx(a) Ry(b) Rz(c)``, each factor turning the right-handed way about its axis.
"""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

#: ``(fx, fy, cx, cy)`` of all clips, or a tensor ``(N, 4)`` with a row for each
Intrinsics = tuple[float, float, float, float] | Tensor


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Rotation matrices ``Rx(a) Ry(b) Rz(c)``.

    Args:
        angles: ``(..., 3)``, radians.

    Returns:
        ``(..., 3, 3)``.
    """
    (sa, sb, sc), (ca, cb, cc) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = (
        *(cb * cc, -cb * sc, sb),
        *(ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb),
        *(sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb),
    )
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_euler(rotation: Tensor) -> Tensor:
    """The angles of rotation matrices: the inverse of :func:`euler_to_matrix`.

    Args:
        rotation: ``(..., 3, 3)``, with the second angle within a quarter turn either way.

    Returns:
        ``(..., 3)``, radians.
    """
    first = torch.atan2(-rotation[..., 1, 2], rotation[..., 2, 2])
    second = torch.asin(rotation[..., 0, 2].clamp(-1, 1))
    third = torch.atan2(-rotation[..., 0, 1], rotation[..., 0, 0])
    return torch.stack([first, second, third], dim=-1)


def pose_to_matrix(pose: Tensor) -> Tensor:
    """Poses as homogeneous matrices.

    Args:
        pose: ``(..., 6)``, translation and angles.

    Returns:
        ``(..., 4, 4)``.
    """
    top = torch.cat([euler_to_matrix(pose[..., 3:]), pose[..., :3, None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def matrix_to_pose(matrix: Tensor) -> Tensor:
    """Six numbers of homogeneous matrices: the inverse of :func:`pose_to_matrix`.

    Args:
        matrix: ``(..., 4, 4)``, rigid.

    Returns:
        ``(..., 6)``.
    """
    return torch.cat([matrix[..., :3, 3], matrix_to_euler(matrix[..., :3, :3])], dim=-1)


@overload
def scale_intrinsics(
    intrinsics: tuple[float, float, float, float], old: tuple[int, int], new: tuple[int, int]
) -> tuple[float, float, float, float]: ...
@overload
def scale_intrinsics(intrinsics: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor: ...
def scale_intrinsics(
    intrinsics: Intrinsics, old: tuple[int, int], new: tuple[int, int]
) -> Intrinsics:
    """The intrinsics of a picture resized by averaging areas.

    Args:
        intrinsics: focal lengths and centre ``(fx, fy, cx, cy)`` in pixels, or a tensor
            ``(..., 4)`` of them; the first pixel's middle is at 0.
        old: height and width that they belong to.
        new: height and width after resizing.

    Returns:
        The same for the new size.
    """
    four: Any = intrinsics.unbind(-1) if isinstance(intrinsics, Tensor) else intrinsics
    fx, fy, cx, cy = four
    y, x = new[0] / old[0], new[1] / old[1]
    scaled = fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5
    return torch.stack(scaled, -1) if isinstance(intrinsics, Tensor) else scaled
