"""Where a camera went, and how far an estimate is from the truth, in the manner of SfMLearner."""

from __future__ import annotations

import torch
from torch import Tensor

from models.geometry import matrix_to_pose, pose_to_matrix


def camera_path(poses: Tensor, target: int = 2) -> Tensor:
    """The camera's places during a snippet, seen from its first frame.

    Args:
        poses: ``(..., R, 6)``, from the target view to each reference in the order of time.
        target: the target's place among the ``R + 1`` frames, not the first.

    Returns:
        ``(..., R + 1, 3)``, in the first frame's coordinates; the first is the origin.

    Raises:
        ValueError: the target is the first frame or beyond the last.
    """
    if not 1 <= target <= poses.shape[-2]:
        raise ValueError(f"target must be from 1 to {poses.shape[-2]}, got {target}.")
    to_reference = pose_to_matrix(poses)
    # in the target's coordinates, a reference's camera is where its own origin comes from
    rotation, shift = to_reference[..., :3, :3], to_reference[..., :3, 3:]
    places = -(rotation.mT @ shift)[..., 0]
    own = torch.zeros_like(places[..., :1, :])
    places = torch.cat([places[..., :target, :], own, places[..., target:, :]], dim=-2)
    first = to_reference[..., :1, :, :]
    return (first[..., :3, :3] @ places[..., None])[..., 0] + first[..., :3, 3]


def trajectory_error(path: Tensor, truth: Tensor) -> Tensor:
    """The absolute trajectory error of snippets, as SfMLearner's evaluation has it.

    Both paths begin at the origin. One factor ``s = sum(truth * path) / sum(path ** 2)`` for each
    snippet brings the estimate to the scale of the truth; with ``F`` places the error is
    ``sqrt(sum(|s * path - truth| ** 2)) / F``. (This is the root mean square of the distances
    divided by ``sqrt(F)``; the published figures are of this form.)

    Args:
        path: ``(..., F, 3)``, the estimate.
        truth: ``(..., F, 3)``.

    Returns:
        ``(...)``, in the truth's unit. An estimate that stays at the origin is taken as it is.
    """
    path, truth = path - path[..., :1, :], truth - truth[..., :1, :]
    size = path.square().sum((-1, -2))
    scale = (truth * path).sum((-1, -2)) / size.where(size > 0, torch.ones_like(size))
    rest = scale[..., None, None] * path - truth
    return rest.square().sum((-1, -2)).sqrt() / path.shape[-2]


def repeated_motion(before: Tensor, steps: int = 4, target: int = 2) -> Tensor:
    """The poses of a camera that goes on as it went: the constant-velocity estimate.

    Args:
        before: ``(..., 6)``, the pose from one frame to the frame before it.
        steps: steps of the snippet, one less than its frames.
        target: the target's place among the frames.

    Returns:
        ``(..., steps, 6)``, from the target to each other frame.
    """
    back = pose_to_matrix(before)
    poses = [
        matrix_to_pose(torch.linalg.matrix_power(back, target - frame))
        for frame in range(steps + 1)
        if frame != target
    ]
    return torch.stack(poses, dim=-2)
