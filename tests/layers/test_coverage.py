"""Frames of slices, and slices of frames."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from captum_video.layers.coverage import Coverage, time_weights


@pytest.mark.parametrize(
    ("slices", "length"),
    # the last two: shares that floating-point numbers miss by a hair
    [(1, 5), (2, 16), (3, 16), (4, 7), (6, 6), (9, 4), (14, 58), (22, 30)],
)
def test_uniform(slices: int, length: int) -> None:
    coverage = Coverage.uniform(slices, length)
    assert not coverage.traced
    assert coverage.slices == slices
    expected = [(k + 0.5) * length / slices - 0.5 for k in range(slices)]
    assert coverage.centres == pytest.approx(expected)
    for k in range(slices):
        share = range(math.floor(k * length / slices), math.ceil((k + 1) * length / slices))
        assert coverage.frames(k) == share
    assert {f for k in range(slices) for f in coverage.frames(k)} == set(range(length))


def test_frames_are_clipped() -> None:
    coverage = Coverage(8, (-3, 1, 5, 9), (3, 7, 11, 12))
    assert coverage.traced
    assert not coverage.mixed
    assert coverage.centres == (0, 4, 8, 10.5)
    assert [coverage.frames(k) for k in range(4)] == [
        range(4),
        range(1, 8),
        range(5, 8),
        range(8, 8),
    ]
    assert list(Coverage(8, (-9,), (-2,)).frames(0)) == []


@pytest.mark.parametrize("k", [-1, 2])
def test_no_such_slice(k: int) -> None:
    with pytest.raises(IndexError, match=f"from 0 to 1 of the 2, got {k}"):
        Coverage.uniform(2, 8).frames(k)


def test_what_is_no_coverage() -> None:
    with pytest.raises(ValueError, match="length must be at least 1 frame, got 0"):
        Coverage(0, (0,), (0,))
    with pytest.raises(ValueError, match="for each slice, got 2 and 1"):
        Coverage(4, (0, 1), (0,))
    with pytest.raises(ValueError, match="for each slice, got 0 and 0"):
        Coverage(4, (), ())
    with pytest.raises(ValueError, match="must be finite"):
        Coverage(4, (math.inf,), (-math.inf,))


@pytest.mark.parametrize(("slices", "length"), [(1, 5), (2, 16), (3, 16), (4, 7), (6, 6), (9, 4)])
def test_uniform_weights_are_linear_interpolation(slices: int, length: int) -> None:
    weights = time_weights(Coverage.uniform(slices, length).centres, length)
    unit = torch.eye(slices, dtype=torch.float64)[None]
    expected = F.interpolate(unit, size=length, mode="linear", align_corners=False)[0].T
    assert weights.dtype == torch.float64
    assert weights.shape == (length, slices)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


def test_weights_by_hand() -> None:
    assert time_weights((0, 2, 4), 5).tolist() == [
        [1, 0, 0],
        [0.5, 0.5, 0],
        [0, 1, 0],
        [0, 0.5, 0.5],
        [0, 0, 1],
    ]
    assert time_weights((1.5, 3.5), 6).tolist() == [
        [1, 0],
        [1, 0],
        [0.75, 0.25],
        [0.25, 0.75],
        [0, 1],
        [0, 1],
    ]
    assert time_weights((7,), 3).tolist() == [[1]] * 3


def test_descending_centres() -> None:
    ascending = time_weights((-1, 2.5, 4), 6)
    assert torch.equal(time_weights((4, 2.5, -1), 6), ascending.flip(1))


def test_equal_centres_share() -> None:
    assert time_weights((3, 3, 1), 5).tolist() == [
        [0, 0, 1],
        [0, 0, 1],
        [0.25, 0.25, 0.5],
        [0.5, 0.5, 0],
        [0.5, 0.5, 0],
    ]
    assert time_weights((2, 2), 2).tolist() == [[0.5, 0.5]] * 2


def test_rows_sum_to_one() -> None:
    weights = time_weights((0.3, 5.9, 2.2, 2.2, 40.0, -7.0), 11)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(11, dtype=torch.float64))


def test_what_is_no_set_of_centres() -> None:
    with pytest.raises(ValueError, match="length must be at least 1 frame, got 0"):
        time_weights((1,), 0)
    with pytest.raises(ValueError, match=r"one for each slice, got \(\)"):
        time_weights((), 4)
    with pytest.raises(ValueError, match="must be finite"):
        time_weights((1.0, math.nan), 4)
