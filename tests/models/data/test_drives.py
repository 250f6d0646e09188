from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from models.data import Drives, Snippet, _raycast, _street
from models.data.drives import DRIVE_FRAMES, INTRINSICS, SIZE, cut, draw, mirror
from models.geometry import pose_to_matrix


@pytest.fixture(scope="module")
def samples() -> list[Snippet]:
    data = Drives(40)
    return [data[index] for index in range(40)]


def same(first: Snippet, second: Snippet) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_a_snippet_holds(samples: list[Snippet]) -> None:
    for sample in samples:
        assert sample.clip.shape == (3, 5, *SIZE)
        assert sample.clip.dtype == torch.float32
        assert 0 <= float(sample.clip.min()) < 0.2
        assert 0.6 < float(sample.clip.max()) <= 1
        assert sample.poses.shape == (4, 6)
        assert sample.before.shape == (6,)
        for truth in (sample.depth, sample.moving, sample.vehicles, sample.road):
            assert truth.shape == (5, *SIZE)
        assert not (sample.moving & ~sample.vehicles).any()
        assert not (sample.road & sample.vehicles).any()
        # the ground is below the horizon, and most of what is below is ground or vehicles
        assert not sample.road[:, :13].any()
        assert float((sample.road | sample.vehicles)[:, 22:].float().mean()) > 0.5
        assert float(sample.depth.min()) > 0.05
        assert not sample.depth.isnan().any()
    clips = torch.stack([sample.clip for sample in samples])
    assert 0.3 < float(clips.mean()) < 0.55
    assert 0.15 < float(clips.std()) < 0.3
    moving = torch.stack([sample.moving for sample in samples]).float().mean()
    vehicles = torch.stack([sample.vehicles for sample in samples]).float().mean()
    assert 0.02 < float(moving) < 0.25
    assert float(moving) + 0.05 < float(vehicles) < 0.5


def test_a_snippet_is_a_function_of_seed_and_index() -> None:
    one, other = Drives(3), Drives(200)
    first = one[2]
    assert same(first, other[2])
    drive, begin, mirrored = one.source(2)
    again = cut(draw.__wrapped__(0, drive, "train"), begin)  # not the one that is kept
    assert same(first, mirror(again) if mirrored else again)
    assert not torch.equal(first.clip, Drives(3, seed=2)[2].clip)
    assert torch.equal(first.poses, one.poses(2))


def test_every_snippet_comes_once_a_round() -> None:
    data = Drives(600, seed=1, drives=24)
    sources = [data.source(index) for index in range(600)]
    starts = DRIVE_FRAMES - 5
    once = {(drive, first) for drive, first, _ in sources[: 24 * starts]}
    assert once == {(drive, 1 + first) for drive in range(24) for first in range(starts)}
    assert sources[:50] != sources[24 * starts : 24 * starts + 50]
    # only half of the drives are needed for half of a round
    assert len({drive for drive, _, _ in sources[: 12 * starts]}) == 12
    assert 0.4 < np.mean([mirrored for _, _, mirrored in sources]) < 0.6


def test_the_splits_share_no_drive() -> None:
    train, held_out = draw(0, 3, "train"), draw(0, 3, "validation")
    assert float((train.cameras - held_out.cameras).abs().max()) > 0.1
    for one, other in ((train, held_out), (train, draw(0, 4, "train"))):
        assert not torch.equal(one.frames, other.frames)


def test_poses_by_matrices() -> None:
    drive = draw(0, 0, "train")
    sample = cut(drive, 4)
    cameras = drive.cameras.numpy()
    for pose, frame in zip(sample.poses, (4, 5, 7, 8), strict=True):
        expected = np.linalg.inv(cameras[frame]) @ cameras[6]
        np.testing.assert_allclose(pose_to_matrix(pose.double()), expected, atol=1e-6)
    expected = np.linalg.inv(cameras[3]) @ cameras[4]
    np.testing.assert_allclose(pose_to_matrix(sample.before.double()), expected, atol=1e-6)
    # the camera drives ahead: earlier views have the target's points farther away
    assert (sample.poses[:2, 2] > 0).all()
    assert (sample.poses[2:, 2] < 0).all()
    assert sample.before[2] > 0
    assert torch.equal(sample.clip[:, 1], drive.frames[:, 5] / 255)


def test_motion_differs_between_and_within_drives() -> None:
    data = Drives(600, drives=120)
    poses = torch.stack([data.poses(index) for index in range(600)])
    turn = torch.rad2deg(poses[:, 3, 4])
    assert 2 < float(turn.std()) < 6
    assert abs(float(turn.mean())) < 0.5
    speed = -poses[:, 3, 2] / 2
    assert float(speed.std() / speed.mean()) > 0.2
    # two steps later the yaw rate is another one
    assert float(torch.rad2deg(poses[:, 0, 4] + poses[:, 3, 4]).std()) > 0.4
    assert float(poses[..., 1].abs().max()) < 0.2


def test_a_mirrored_snippet() -> None:
    sample = cut(draw(0, 0, "train"), 4)
    other = mirror(sample)
    assert same(mirror(other), sample)
    assert torch.equal(other.clip[..., 0], sample.clip[..., -1])
    assert torch.equal(other.moving[..., 0], sample.moving[..., -1])
    change = np.diag([-1.0, 1, 1, 1])
    for pose, mirrored in zip(sample.poses, other.poses, strict=True):
        expected = change @ pose_to_matrix(pose.double()).numpy() @ change
        np.testing.assert_allclose(pose_to_matrix(mirrored.double()), expected, atol=1e-7)


def street(turn: float = 0.0, heading: float = 0.0, pitch: float = 0.0) -> _street.Street:
    """A single box, 2 wide, 1.5 high and 4 long, whose middle is 12 ahead."""
    count = _street.FRAMES
    single = _street.build(np.random.default_rng(0))
    return dataclasses.replace(
        single,
        position=np.tile(np.array([0, -1.5, 0], np.float32), (count, 1)),
        heading=np.full(count, heading, np.float32),
        pitch=np.full(count, pitch, np.float32),
        place=np.tile(np.array([0, 12], np.float32), (count, 1, 1)),
        turn=np.full((count, 1), turn, np.float32),
        half=np.array([[1, 0.75, 2]], np.float32),
        base=np.zeros(1, np.float32),
        kind=np.array([2]),
        colour=single.colour[:1],
        contrast=single.contrast[:1],
        shift=single.shift[:1],
    )


def test_a_box_is_where_it_should_be() -> None:
    hits = _raycast.cast(street(), 0, SIZE, INTRINSICS)
    rows, columns = np.nonzero(hits.what == 0)
    # the front is 10 ahead: 58 / 10 pixels to each side of 51.5, from 13.5 down by 8.7
    assert (columns.min(), columns.max()) == (46, 57)
    assert (rows.min(), rows.max()) == (14, 22)
    assert len(rows) == 12 * 9
    np.testing.assert_allclose(hits.depth[hits.what == 0], 10, rtol=1e-5)
    # turned by a quarter the front is 11 ahead and 4 wide
    hits = _raycast.cast(street(turn=math.pi / 2), 0, SIZE, INTRINSICS)
    columns = np.nonzero(hits.what == 0)[1]
    np.testing.assert_allclose(hits.depth[hits.what == 0], 11, rtol=1e-5)
    assert (columns.min(), columns.max()) == (41, 62)


def test_the_ground_and_the_sky() -> None:
    hits = _raycast.cast(street(), 0, SIZE, INTRINSICS)
    row = np.arange(32)
    left = hits.depth[:, 0]
    np.testing.assert_allclose(left[16:], 1.5 * 58 / (row[16:] - 13.5), rtol=1e-4)
    assert (hits.what[:13] == _raycast.SKY).all()
    assert np.isinf(left[:14]).all()
    assert (hits.what[16:, 0] == _raycast.GROUND).all()


def test_the_camera_turns_right_and_up() -> None:
    def middle(view: _street.Street) -> tuple[float, float]:
        rows, columns = np.nonzero(_raycast.cast(view, 0, SIZE, INTRINSICS).what == 0)
        return float(rows.mean()), float(columns.mean())

    # what is ahead moves to the left and down
    row, column = middle(street())
    assert middle(street(heading=0.1))[1] == pytest.approx(column - 5.8, abs=0.6)
    assert middle(street(pitch=0.1))[0] == pytest.approx(row + 5.8, abs=0.6)
    x, y, z = _raycast.camera_axes(street(heading=0.1, pitch=0.05), 0)[:, 2]
    assert x == pytest.approx(math.sin(0.1) * math.cos(0.05))
    assert y == pytest.approx(-math.sin(0.05))
    assert z == pytest.approx(math.cos(0.1) * math.cos(0.05))


def test_nothing_is_finer_than_the_picture_shows() -> None:
    # the same wall of noise from near and from far: contrast fades, and no grain is left over
    from models.data._noise import noise

    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 500, (2, 4000)).astype(np.float32)
    shift = np.zeros((4000, 2), np.float32)

    def spread(footprint: float) -> float:
        return float(noise(u, v, np.full_like(u, footprint), shift).std())

    assert 0.4 < spread(0.05) < 1.2
    assert spread(0.05) > 1.1 * spread(1.0) > 1.2 * spread(3.0)
    assert spread(5.0) == 0
    step = np.float32(1.0)
    near = noise(u, v, np.full_like(u, step), shift)
    beside = noise(u + step, v, np.full_like(u, step), shift)
    assert np.corrcoef(near, beside)[0, 1] > 0.8


def test_moving_vehicles_move_and_parked_ones_do_not() -> None:
    built = [_street.build(np.random.default_rng(seed)) for seed in range(12)]
    kinds = np.concatenate([b.kind for b in built])
    assert {0, 1, 2} == set(kinds)
    for view in built:
        travelled = np.linalg.norm(view.place[-1] - view.place[0], axis=1)
        assert (travelled[view.kind != 2] == 0).all()
        assert (travelled[view.kind == 2] > 1).all()
        # nobody drives into the camera
        away = np.linalg.norm(view.place - view.position[:, None, ::2], axis=2)
        assert away[:, view.kind == 2].min(initial=9) > 2


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', got 'test'"):
        Drives(3, split="test")
    with pytest.raises(ValueError, match="length must not be negative, got -1"):
        Drives(-1)
    with pytest.raises(ValueError, match="seed must not be negative, got -2"):
        Drives(1, seed=-2)
    for drives in (0, 5, -12):
        with pytest.raises(ValueError, match=f"positive multiple of 12, got {drives}"):
            Drives(1, drives=drives)
    for index in (-1, 3):
        with pytest.raises(IndexError, match=rf"index must be from 0 to 2, got {index}"):
            Drives(3)[index]
        with pytest.raises(IndexError, match=rf"got {index}"):
            Drives(3).poses(index)
    with pytest.raises(IndexError, match="empty, got index 0"):
        Drives(0)[0]
