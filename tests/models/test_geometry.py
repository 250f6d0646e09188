from __future__ import annotations

import math

import torch
from torch import Tensor

from models.geometry import (
    euler_to_matrix,
    matrix_to_euler,
    matrix_to_pose,
    pose_to_matrix,
    scale_intrinsics,
)

QUARTER = math.pi / 2
X, Y, Z = torch.eye(3, dtype=torch.float64)


def turned(angles: list[float], vector: Tensor) -> list[float]:
    matrix = euler_to_matrix(torch.tensor(angles, dtype=torch.float64))
    return [round(value, 9) + 0.0 for value in (matrix @ vector).tolist()]


def test_quarter_turns_by_hand() -> None:
    assert turned([QUARTER, 0, 0], Y) == [0, 0, 1]
    assert turned([0, QUARTER, 0], Z) == [1, 0, 0]
    assert turned([0, 0, QUARTER], X) == [0, 1, 0]
    # the third angle's turn comes first, the first's last
    assert turned([QUARTER, QUARTER, 0], Z) == [1, 0, 0]
    assert turned([0, QUARTER, QUARTER], X) == [0, 1, 0]
    assert turned([QUARTER, 0, QUARTER], X) == [0, 0, 1]


def test_small_turns_by_hand() -> None:
    # 0.1 rad about y: the sine and cosine from a table
    found = euler_to_matrix(torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64))
    expected = torch.tensor(
        [[0.995004165, 0, 0.099833417], [0, 1, 0], [-0.099833417, 0, 0.995004165]],
        dtype=torch.float64,
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_matrix_is_the_product_of_its_turns() -> None:
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(7, 3, generator=generator, dtype=torch.float64) * 3 - 1.5
    for row, found in zip(angles, euler_to_matrix(angles), strict=True):
        # exp of the generators of rotation
        expected = torch.eye(3, dtype=torch.float64)
        for angle, (i, j) in zip(row, ((1, 2), (2, 0), (0, 1)), strict=True):
            skew = torch.zeros(3, 3, dtype=torch.float64)
            skew[j, i], skew[i, j] = angle, -angle
            expected = expected @ torch.linalg.matrix_exp(skew)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(angles)), angles)


def test_a_pose_turns_and_then_shifts() -> None:
    pose = torch.tensor([1.0, 2, 3, 0, QUARTER, 0], dtype=torch.float64)
    point = torch.tensor([0.0, 0, 5, 1], dtype=torch.float64)
    found = pose_to_matrix(pose) @ point
    torch.testing.assert_close(found, torch.tensor([6.0, 2, 3, 1], dtype=torch.float64))
    poses = torch.rand(2, 3, 6, dtype=torch.float64)
    assert pose_to_matrix(poses).shape == (2, 3, 4, 4)
    torch.testing.assert_close(matrix_to_pose(pose_to_matrix(poses)), poses)


def test_intrinsics_follow_the_averaged_picture() -> None:
    # the middle between pixels 51 and 52 becomes that between pixels 25 and 26
    assert scale_intrinsics((58, 60, 51.5, 13.5), (32, 104), (16, 52)) == (29, 30, 25.5, 6.5)
    assert scale_intrinsics((58, 60, 51.5, 13.5), (32, 104), (32, 104)) == (58, 60, 51.5, 13.5)
    # four pixels to one: pixel 2 is a quarter beyond the middle of the first block
    assert scale_intrinsics((4, 8, 2.5, 1.5), (8, 4), (2, 1)) == (1, 2, 0.25, 0)


def test_intrinsics_of_several_cameras() -> None:
    cameras = torch.tensor([[58, 60, 51.5, 13.5], [4, 8, 2.5, 1.5]], dtype=torch.float64)
    found = scale_intrinsics(cameras, (8, 4), (2, 1))
    assert found.tolist() == [[14.5, 15, 12.5, 3], [1, 2, 0.25, 0]]
    # twice as wide, half as high
    found = scale_intrinsics(cameras, (8, 4), (4, 8))
    assert found.tolist() == [[116, 30, 103.5, 6.5], [8, 4, 5.5, 0.5]]
    assert scale_intrinsics((4, 8, 2.5, 1.5), (8, 4), (4, 8)) == (8, 4, 5.5, 0.5)
    found = scale_intrinsics(cameras, (8, 4), (2, 1))
    assert torch.equal(scale_intrinsics(cameras[1], (8, 4), (2, 1)), found[1])
