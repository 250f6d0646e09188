from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.geometry import matrix_to_pose, pose_to_matrix
from models.trajectory import camera_path, repeated_motion, trajectory_error


def poses_of(cameras: Tensor) -> Tensor:
    """From the middle view to the others, of cameras given as matrices to the world."""
    others = [0, 1, 3, 4]
    return matrix_to_pose(torch.linalg.inv(cameras[others]) @ cameras[2])


def straight(lengths: list[float]) -> Tensor:
    path = torch.zeros(len(lengths), 3, dtype=torch.float64)
    path[:, 2] = torch.tensor(lengths)
    return path


def test_the_path_of_a_straight_drive() -> None:
    # the target's points are ahead of the earlier views and behind the later ones
    poses = torch.zeros(4, 6)
    poses[:, 2] = torch.tensor([2.0, 1, -1, -2])
    assert torch.equal(camera_path(poses).double(), straight([0, 1, 2, 3, 4]))


def test_the_path_is_seen_from_the_first_frame() -> None:
    # a camera that looks along x, then goes two along x (its own ahead) and one along z (its left)
    cameras = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    turn = pose_to_matrix(torch.tensor([0.0, 0, 0, 0, math.pi / 2, 0], dtype=torch.float64))
    cameras[0] = turn
    cameras[1:, 0, 3] = 2
    cameras[2:, 2, 3] = 1
    found = camera_path(poses_of(cameras))
    expected = torch.tensor([[0.0, 0, 0], [0, 0, 2], [-1, 0, 2], [-1, 0, 2], [-1, 0, 2]])
    torch.testing.assert_close(found, expected.double())


def test_the_path_of_any_drive() -> None:
    generator = torch.Generator().manual_seed(0)
    cameras = pose_to_matrix(torch.rand(5, 6, generator=generator, dtype=torch.float64))
    origins = cameras @ torch.tensor([0.0, 0, 0, 1], dtype=torch.float64)
    expected = (origins @ torch.linalg.inv(cameras[0]).mT)[:, :3]
    both = torch.stack([poses_of(cameras)] * 2)
    torch.testing.assert_close(camera_path(both), torch.stack([expected] * 2))


def test_the_error_by_hand() -> None:
    truth = straight([0, 1, 2, 3, 4])
    assert float(trajectory_error(0.5 * truth, truth)) == pytest.approx(0)
    aside = truth.flip(1)
    assert float(trajectory_error(aside, truth)) == pytest.approx(math.sqrt(30) / 5)
    assert float(trajectory_error(0 * truth, truth)) == pytest.approx(math.sqrt(30) / 5)
    # scale 30 / 31; every place falls short by k / 31, the last is 30 / 31 aside
    bent = truth.clone()
    bent[4, 0] = 1
    error = math.sqrt((30 + 900) / 31**2) / 5
    assert float(trajectory_error(bent, truth)) == pytest.approx(error)
    # where the first place is does not matter
    assert float(trajectory_error(bent + 7, truth - 2)) == pytest.approx(error)
    found = trajectory_error(torch.stack([bent, truth]), torch.stack([truth, truth]))
    torch.testing.assert_close(found, torch.tensor([error, 0], dtype=torch.float64))


def test_constant_velocity_goes_on_as_before() -> None:
    step = pose_to_matrix(torch.tensor([0.1, 0, 1, 0, 0.05, 0], dtype=torch.float64))
    # the camera moves by the same step each time: its places are the powers of one matrix
    cameras = torch.stack([torch.linalg.matrix_power(step, k) for k in range(6)])
    before = matrix_to_pose(torch.linalg.inv(cameras[0]) @ cameras[1])
    torch.testing.assert_close(repeated_motion(before), poses_of(cameras[1:]))
    assert repeated_motion(torch.stack([before] * 3), steps=2, target=1).shape == (3, 2, 6)


@pytest.mark.parametrize("target", [0, 5])
def test_a_target_beyond_the_frames_is_an_error(target: int) -> None:
    with pytest.raises(ValueError, match=rf"target must be from 1 to 4, got {target}"):
        camera_path(torch.zeros(4, 6), target)
