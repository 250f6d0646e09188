import numpy as np
import pytest
import torch
from captum.attr import visualization as captum_visualization

from captum_video.visualization import SIGNED, clip_map, robust_maximum, signed_colours


def test_channels_are_summed() -> None:
    relevance = torch.arange(24.0).view(2, 3, 2, 2)  # (C, T, H, W)
    expected = (relevance[0] + relevance[1]).double().numpy()
    assert np.array_equal(clip_map(relevance), expected)
    assert np.array_equal(clip_map(relevance[None]), expected)
    assert np.array_equal(clip_map(relevance.sum(0)), expected)
    assert np.array_equal(clip_map(relevance.numpy()), expected)
    assert clip_map(relevance.to(torch.bfloat16).requires_grad_()).dtype == np.float64


def test_clip_map_refuses() -> None:
    with pytest.raises(ValueError, match=r"total holds 2 clips.*total\[i\]"):
        clip_map(torch.zeros(2, 3, 4, 5, 5), "total")
    with pytest.raises(ValueError, match=r"must have shape \(T, H, W\).*got \(4, 5\)"):
        clip_map(torch.zeros(4, 5))
    with pytest.raises(ValueError, match="2 values that are not finite"):
        clip_map(torch.tensor([0.0, float("nan"), float("inf")]).view(1, 1, 3))


def test_robust_maximum_by_hand() -> None:
    values = np.array([-1.0, 2.0, -3.0, 4.0, 90.0])  # magnitudes sum to 100
    assert robust_maximum(values, outlier_perc=0) == 90
    assert robust_maximum(values, outlier_perc=89) == 90  # the smaller four make up 10
    assert robust_maximum(values, outlier_perc=90) == 4
    assert robust_maximum(values, outlier_perc=93) == 4  # the smaller three make up 6
    assert robust_maximum(values, outlier_perc=94) == 3
    assert robust_maximum(values[:3], values[3:], outlier_perc=94) == 3
    assert robust_maximum(np.zeros(4)) == 0
    with pytest.raises(ValueError, match=r"outlier_perc must lie in \[0, 100\), got 100"):
        robust_maximum(values, outlier_perc=100)


def test_robust_maximum_of_a_sparse_map_is_not_zero() -> None:
    values = np.zeros(10_000)
    values[7] = -5
    assert robust_maximum(values) == 5


def test_robust_maximum_is_captum_s() -> None:
    values = np.random.default_rng(0).normal(size=(5, 6, 7)) ** 3
    theirs = captum_visualization._cumulative_sum_threshold(np.abs(values), 98)
    assert robust_maximum(values, outlier_perc=2) == theirs


def test_red_is_positive_blue_negative_white_none() -> None:
    red, white, blue = signed_colours(np.array([0.7, 0.0, -0.7]), 1.0)
    assert red[0] > red[1] + 0.4
    assert red[0] > red[2] + 0.4
    assert blue[2] > blue[0] + 0.4
    assert np.allclose(white, 1, atol=0.01)


def test_colours_are_symmetric_and_saturate() -> None:
    ends = signed_colours(np.array([-9.0, -2.0, 2.0, 9.0]), 2.0)
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[2], ends[3])
    assert np.array_equal(ends[3], SIGNED(1.0)[:3])
    assert np.array_equal(ends[0], SIGNED(0.0)[:3])
    darkness = signed_colours(np.linspace(0, 1, 50), 1.0).sum(-1)
    assert (np.diff(darkness) <= 1e-9).all()


def test_no_scale_is_neutral_and_maps_can_be_named() -> None:
    assert np.allclose(signed_colours(np.array([0.0, 3.0]), 0.0), 1, atol=0.01)
    assert np.allclose(signed_colours(np.array([5.0]), 5.0, "bwr"), [[1, 0, 0]])
