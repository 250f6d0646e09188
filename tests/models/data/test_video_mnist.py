from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import _programs
from models.data._digit_images import digit_images
from models.data._programs import Draws
from models.data.video_mnist import DigitVideo, VideoMNIST, render

SHARED = VideoMNIST(300, seed=5, split="validation", decoupled=True, digits="sklearn")
STILL = np.zeros((29, 3), dtype=int)
MIDDLE = (np.arange(28) - 13.5).astype(np.float64)


def clips(motion: int, count: int = 4) -> list[DigitVideo]:
    """The first clips of a motion."""
    return [SHARED[i] for i in range(300) if SHARED.labels(i)[0] == motion][:count]


def draws(side: int = 14, start: tuple[int, int] = (1, -2), speed: int = 1, sign: int = 1) -> Draws:
    return Draws(side, start, speed, sign, STILL)


def equal(a: DigitVideo, b: DigitVideo) -> bool:
    return (
        (a.motion, a.digit) == (b.motion, b.digit)
        and torch.equal(a.clip, b.clip)
        and torch.equal(a.pose, b.pose)
    )


def centroids(clip: Tensor) -> np.ndarray:
    """x and y of the ink in every frame, from the frame's middle."""
    ink = clip[0].double().numpy()
    total = ink.sum((1, 2))
    return np.stack([ink.sum(1) @ MIDDLE / total, ink.sum(2) @ MIDDLE / total], axis=1)


def test_a_sample_is_a_tuple_of_the_stated_shapes() -> None:
    sample = SHARED[0]
    assert sample.clip.shape == (1, 30, 28, 28)
    assert sample.clip.dtype == sample.pose.dtype == torch.float32
    assert sample.clip.is_contiguous()
    assert sample.pose.shape == (30, 4)
    assert 0 <= float(sample.clip.min()) <= 0.01
    assert 0.9 <= float(sample.clip.max()) <= 1
    assert (sample.motion, sample.digit) == SHARED.labels(0)


def test_a_sample_depends_on_its_arguments_alone() -> None:
    first = VideoMNIST(9, seed=3, digits="sklearn")[7]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state()
    other = VideoMNIST(1000, seed=3, digits="sklearn")
    other[4]
    assert equal(other[7], first)
    assert equal(pickle.loads(pickle.dumps(other))[7], first)
    assert torch.equal(torch.get_rng_state(), state)
    for data in (VideoMNIST(9, 4, digits="sklearn"), VideoMNIST(9, 3, "validation")):
        assert not torch.equal(data[7].clip, first.clip)
    assert not torch.equal(other[6].clip, first.clip)


def test_the_papers_form_has_the_motions_number_as_its_digit() -> None:
    paper = VideoMNIST(300, seed=1, digits="sklearn")
    free = VideoMNIST(300, seed=1, decoupled=True, digits="sklearn")
    pairs = [paper.labels(i) for i in range(300)]
    assert all(motion == digit for motion, digit in pairs)
    assert {motion for motion, _ in pairs} == set(range(10))
    assert [motion for motion, _ in pairs] == [free.labels(i)[0] for i in range(300)]
    assert torch.equal(paper[2].pose, free[2].pose)


def test_decoupled_labels_are_uniform_and_independent() -> None:
    data = VideoMNIST(20_000, seed=2, decoupled=True, digits="sklearn")
    table = np.zeros((10, 10))
    for index in range(len(data)):
        table[data.labels(index)] += 1
    # 99 degrees of freedom: the statistic exceeds 160 once in ten thousand
    assert ((table - 200) ** 2 / 200).sum() < 160


def test_the_first_frame_does_not_tell_the_motion() -> None:
    data = VideoMNIST(4000, seed=2, decoupled=True, digits="sklearn")
    rng = [data._begin(i) for i in range(len(data))]
    table = np.zeros((10, 2))
    starts: list[list[tuple[int, int]]] = [[] for _ in range(10)]
    for source, motion, _ in rng:
        drawn = _programs.draw(source)
        table[motion, _programs.SIDES.index(drawn.side)] += 1
        starts[motion].append(drawn.start)
        first = _programs.poses(motion, drawn)[0]
        np.testing.assert_array_equal(first, [*drawn.start, 1, 0])
    expected = table.sum(1, keepdims=True) / 2
    # 10 degrees of freedom: exceeds 35.6 once in ten thousand
    assert ((table - expected) ** 2 / expected).sum() < 35.6
    for places in starts:
        # a coordinate's variance is (9^2 - 1) / 12
        assert np.abs(np.mean(places, axis=0)).max() < 4.5 * np.sqrt(80 / 12 / len(places))


HORIZONTAL = [1, 2, 3, 4, 5, 6, 7, 6, 4, 2, 0, -2, -4, -6, -6, -3, 0, 3, 6, 5, 1, -3, -7, -3, 2, 7]
HORIZONTAL += [2, -4, -4, 3]


def test_a_horizontal_bounce() -> None:
    # room 7: at 7 the next step would end at 8, one beyond, and is reflected to 6
    pose = _programs.poses(0, draws())
    np.testing.assert_array_equal(pose[:, 0], HORIZONTAL)
    np.testing.assert_array_equal(pose[:, 1:], np.tile([-2, 1, 0], (30, 1)))


def test_a_vertical_bounce_is_the_horizontal_one_turned() -> None:
    pose = _programs.poses(1, draws(start=(-2, -1), sign=-1))
    np.testing.assert_array_equal(pose[:, 1], np.negative(HORIZONTAL))
    np.testing.assert_array_equal(pose[:, [0, 2, 3]], np.tile([-2, 1, 0], (30, 1)))


def test_shrink_and_grow() -> None:
    pose = _programs.poses(2, draws(side=12))
    period = [12, 10, 8, 6, 4, 6, 8, 10]
    np.testing.assert_allclose(pose[:, 2] * 12, (period * 4)[:30], rtol=1e-15)
    np.testing.assert_array_equal(pose[:, [0, 1, 3]], np.tile([1, -2, 0], (30, 1)))


@pytest.mark.parametrize(("motion", "turn"), [(3, 12), (4, -12)])
def test_a_steady_turn(motion: int, turn: int) -> None:
    pose = _programs.poses(motion, draws())
    np.testing.assert_array_equal(pose[:, 3], [turn * frame for frame in range(30)])
    np.testing.assert_array_equal(pose[:, :3], np.tile([1, -2, 1], (30, 1)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_circle(sign: int) -> None:
    # from (3, 0) with radius 4 (side 12: room 8) about (-1, 0); a half turn is 15 frames
    pose = _programs.poses(5, draws(side=12, start=(3, 0), sign=sign))
    np.testing.assert_allclose(pose[0, :2], [3, 0], atol=1e-12)
    np.testing.assert_allclose(pose[15, :2], [-5, 0], atol=1e-12)
    # 5 frames are 60 degrees; clockwise is downwards at the right
    np.testing.assert_allclose(pose[5, :2], [1, sign * 4 * np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(np.hypot(pose[:, 0] + 1, pose[:, 1]), 4, atol=1e-12)
    np.testing.assert_array_equal(pose[:, 2:], np.tile([1, 0], (30, 1)))


def test_growing_clockwise() -> None:
    pose = _programs.poses(6, draws(side=14))
    np.testing.assert_allclose(pose[:, 2] * 28, [28 + frame for frame in range(30)], rtol=1e-15)
    np.testing.assert_array_equal(pose[:, 3], [12 * frame for frame in range(30)])
    np.testing.assert_array_equal(pose[:, :2], np.tile([1, -2], (30, 1)))


def test_a_horizontal_bounce_with_a_turn() -> None:
    pose = _programs.poses(7, draws())
    np.testing.assert_array_equal(pose[:, 0], HORIZONTAL)
    np.testing.assert_array_equal(pose[:, 3], [-12 * frame for frame in range(30)])
    np.testing.assert_array_equal(pose[:, 1:3], np.tile([-2, 1], (30, 1)))


def test_a_turn_and_back() -> None:
    pose = _programs.poses(8, draws())
    there = [24 * frame for frame in range(16)]
    np.testing.assert_array_equal(pose[:, 3], there + there[14:0:-1])
    np.testing.assert_array_equal(pose[:, :3], np.tile([1, -2, 1], (30, 1)))


def test_a_random_walk() -> None:
    steps = np.ones((29, 3), dtype=int)
    steps[:, 1], steps[10:, 2] = -1, 0
    pose = _programs.poses(9, draws(side=12, start=(4, 2))._replace(walk=steps))
    np.testing.assert_array_equal(pose[:, 0], [4, 5, 6, 7] + [8] * 26)
    np.testing.assert_array_equal(pose[:, 1], [2, 1, 0, -1, -2, -3, -4, -5, -6, -7] + [-8] * 20)
    np.testing.assert_array_equal(pose[:, 3], [12 * min(frame, 10) for frame in range(30)])
    np.testing.assert_array_equal(pose[:, 2], np.ones(30))


@pytest.mark.parametrize("motion", [0, 1, 2, 5, 7])
def test_the_box_stays_in_the_frame(motion: int) -> None:
    for index in range(200):
        drawn = _programs.draw(np.random.default_rng(index))
        pose = _programs.poses(motion, drawn)
        edge = np.abs(pose[:, :2]) + drawn.side * pose[:, 2:3] / 2
        assert edge.max() <= 14 + 1e-12


@pytest.mark.parametrize("motion", range(10))
def test_the_ink_moves_as_the_pose_says(motion: int) -> None:
    for clip, _, _, pose in clips(motion):
        x, y, size, angle = pose.double().numpy().T
        inside = clip[0, :, [0, -1]].sum((1, 2)) + clip[0, :, :, [0, -1]].sum((1, 2)) == 0
        assert inside.sum() >= 8
        found = centroids(clip)
        offset = found[0] - pose[0, :2].double().numpy()
        turn = np.deg2rad(angle)
        # clockwise with y downwards
        expected_x = x + size * (np.cos(turn) * offset[0] - np.sin(turn) * offset[1])
        expected_y = y + size * (np.sin(turn) * offset[0] + np.cos(turn) * offset[1])
        np.testing.assert_allclose(found[inside, 0], expected_x[inside], atol=0.15)
        np.testing.assert_allclose(found[inside, 1], expected_y[inside], atol=0.15)


@pytest.mark.parametrize("motion", [2, 6])
def test_the_ink_grows_as_the_pose_says(motion: int) -> None:
    for clip, _, _, pose in clips(motion):
        inside = clip[0, :, [0, -1]].sum((1, 2)) + clip[0, :, :, [0, -1]].sum((1, 2)) == 0
        area = clip[0].sum((1, 2)).double()
        expected = area[0] * pose[:, 2].double() ** 2
        torch.testing.assert_close(area[inside], expected[inside], rtol=0.06, atol=0)


@pytest.mark.parametrize("motion", [3, 4, 6, 7, 8])
def test_the_longest_axis_turns_as_the_pose_says(motion: int) -> None:
    image = torch.zeros(1, 20, 20)
    image[:, 2:18, 8:12] = 1  # an upright bar
    pose = _programs.poses(motion, draws(side=12, start=(0, 1)))
    clip = render(image, 0.8, pose, 12)
    ink = clip[0].double().numpy()
    centre = centroids(clip)
    x = MIDDLE - centre[:, :1]
    y = MIDDLE - centre[:, 1:]
    xx = np.einsum("tij,tj,tj->t", ink, x, x)
    yy = np.einsum("tij,ti,ti->t", ink, y, y)
    xy = np.einsum("tij,ti,tj->t", ink, y, x)
    axis = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy))  # from x, clockwise on the screen
    whole = slice(0, 12)
    error = (axis - 90 - pose[:, 3] + 90) % 180 - 90
    assert np.abs(error[whole]).max() < 1.5


def test_the_splits_share_no_image() -> None:
    train, validation = (digit_images("sklearn", split) for split in ("train", "validation"))
    both = [{image.numpy().tobytes() for image in bank.images} for bank in (train, validation)]
    assert not both[0] & both[1]
    assert len(train.images) + len(validation.images) == 1797
    a, b = (VideoMNIST(9, 1, split, digits="sklearn") for split in ("train", "validation"))
    assert torch.equal(a[3].pose, b[3].pose)
    assert not torch.equal(a[3].clip, b[3].clip)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"length must not be negative, got -1\."):
        VideoMNIST(-1)
    with pytest.raises(ValueError, match=r"seed must not be negative, got -2\."):
        VideoMNIST(1, -2)
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'validation', got 'x'\."):
        VideoMNIST(1, split="x")
    with pytest.raises(IndexError, match=r"index must be from 0 to 8, got -1\."):
        VideoMNIST(9, digits="sklearn")[-1]
    with pytest.raises(IndexError, match=r"index must be from 0 to 8, got 9\."):
        VideoMNIST(9, digits="sklearn").labels(9)
