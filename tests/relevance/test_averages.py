"""Averages, sums and resizing divide by what went in, or equally."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import UnsupportedOperationError
from tests.relevance._dense import Array, matrix
from tests.relevance._tools import assert_same, explain, hidden, normal, uniform

CUBE, IMAGE, SEQUENCE = (2, 2, 4, 5, 6), (2, 2, 5, 6), (2, 3, 7)

AVERAGES: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), SEQUENCE),
    "avg_pool1d, padding left out": (
        lambda x: F.avg_pool1d(x, 3, 2, 1, count_include_pad=False),
        SEQUENCE,
    ),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (2, 3)), IMAGE),
    "avg_pool2d, ceil": (lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True), IMAGE),
    "avg_pool2d, divisor": (lambda x: F.avg_pool2d(x, 2, 1, divisor_override=3), IMAGE),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2, 2), CUBE),
    "avg_pool3d, padded": (lambda x: F.avg_pool3d(x, (1, 3, 2), (1, 2, 1), (0, 1, 1)), CUBE),
    "avg_pool3d, everything": (
        lambda x: F.avg_pool3d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        CUBE,
    ),
    "avg_pool3d, unbatched": (lambda x: F.avg_pool3d(x, 2), CUBE[1:]),
    "adaptive 1d": (lambda x: F.adaptive_avg_pool1d(x, 3), SEQUENCE),
    "adaptive 2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 4)), IMAGE),
    "adaptive 3d": (lambda x: F.adaptive_avg_pool3d(x, (3, 2, 4)), CUBE),
    "adaptive 3d, kept axis": (lambda x: F.adaptive_avg_pool3d(x, (None, 1, 1)), CUBE),
    "mean": (lambda x: x.mean((2, 3)), IMAGE),
    "mean, kept": (lambda x: torch.mean(x, dim=-1, keepdim=True), IMAGE),
    "mean of all": (lambda x: x.mean().view(1), SEQUENCE),
    "sum": (lambda x: x.sum(1), SEQUENCE),
    "sum of some": (lambda x: torch.sum(x, (0, 2)), SEQUENCE),
    "nearest": (lambda x: F.interpolate(x, size=(7, 4)), IMAGE),
    "nearest 3d": (lambda x: F.interpolate(x, scale_factor=(0.5, 2, 1)), CUBE),
    "nearest-exact": (lambda x: F.interpolate(x, size=(4, 9), mode="nearest-exact"), IMAGE),
    "area": (lambda x: F.interpolate(x, size=(2, 4), mode="area"), IMAGE),
    "linear": (lambda x: F.interpolate(x, 10, mode="linear"), SEQUENCE),
    "bilinear, small": (
        lambda x: F.interpolate(x, size=(3, 4), mode="bilinear", antialias=True),
        IMAGE,
    ),
    "trilinear": (lambda x: F.interpolate(x, size=(6, 3, 8), mode="trilinear"), CUBE),
    "trilinear, corners": (
        lambda x: F.interpolate(x, None, 2.0, "trilinear", align_corners=True),
        CUBE,
    ),
}


def divided(function: Callable[[Tensor], Tensor], x: Tensor, seed: Tensor, by: Tensor) -> Tensor:
    """Shares of ``by`` weighted by the operation's matrix; of the matrix alone where they cancel."""
    weight, values = matrix(function, x.shape), by.flatten().numpy()
    given: Array = np.zeros(x.numel())
    for j, r in enumerate(seed.flatten().tolist()):
        z = weight[j] * values
        if abs(z.sum()) < 1e-14 * np.abs(z).sum() or not z.any():
            z = weight[j]
        given += r * z / z.sum()
    return torch.from_numpy(given).view(x.shape)


def partly_dark(shape: tuple[int, ...]) -> Tensor:
    x = normal(*shape, seed=2)
    x[..., :3] = 0
    return x


@pytest.mark.parametrize("name", AVERAGES)
def test_proportional(name: str) -> None:
    function, shape = AVERAGES[name]
    x = partly_dark(shape)
    result = explain(lambda v: function(hidden(v)), x)
    assert_same(result.relevance, divided(function, x, result.seed, x), 1e-9)
    assert result.absorbed == 0


@pytest.mark.parametrize("name", AVERAGES)
def test_uniform(name: str) -> None:
    function, shape = AVERAGES[name]
    x = partly_dark(shape)
    result = explain(lambda v: function(hidden(v)), x, average="uniform")
    expected = divided(function, x, result.seed, torch.ones_like(x))
    assert_same(result.relevance, expected)
    assert result.absorbed == 0
    # the input itself, when nothing is known of its range
    assert_same(explain(function, x).relevance, expected)


@pytest.mark.parametrize("name", ["avg_pool3d, padded", "adaptive 2d", "mean", "trilinear"])
def test_average_of_the_input_starts_from_its_lowest_value(name: str) -> None:
    function, shape = AVERAGES[name]
    x = 0.25 + 0.75 * uniform(*shape, seed=2)
    x[..., :2] = 0.25
    result = explain(function, x, input_range=(0.25, 1))
    # (padding counts as the lowest value, which gives nothing)
    assert_same(result.relevance, divided(function, x, result.seed, x - 0.25))
    low = torch.tensor([-1.0, 0.125], dtype=torch.float64)
    result = explain(function, x, input_range=(low, 2.0))
    by = x - low.view(-1, *[1] * (len(shape) - 2))
    assert_same(result.relevance, divided(function, x, result.seed, by))


@pytest.mark.parametrize(
    ("x", "r", "proportional", "uniform_shares"),
    [
        ([1, 3], 8, [2, 6], [4, 4]),
        ([3, -1], 4, [6, -2], [2, 2]),
        ([-3, -1], 4, [3, 1], [2, 2]),
        ([0, 0], 6, [3, 3], [3, 3]),
        ([5, 0, 0, 5], -8, [-4, 0, 0, -4], [-2, -2, -2, -2]),
        ([1, -1], 6, [3, 3], [3, 3]),
    ],
)
@pytest.mark.parametrize(
    "function", [lambda x: x.mean(1), lambda x: x.sum(1), lambda x: F.avg_pool1d(x, x.shape[1])]
)
def test_by_hand(
    function: Callable[[Tensor], Tensor],
    x: list[float],
    r: float,
    proportional: list[float],
    uniform_shares: list[float],
) -> None:
    values = torch.tensor([x], dtype=torch.float64)

    def relevance(average: str) -> Tensor:
        net = lambda v: function(hidden(v)).reshape(1)  # noqa: E731
        return explain(net, values, seed=[r], average=average).relevance

    assert_same(relevance("proportional"), torch.tensor([proportional], dtype=torch.float64))
    assert_same(relevance("uniform"), torch.tensor([uniform_shares], dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_terms_that_cancel_but_for_rounding_share_equally(dtype: torch.dtype, scale: float) -> None:
    apart = torch.tensor([[3.0, -1.0]], dtype=dtype) * scale
    result = explain(lambda v: hidden(v).sum(1), apart, seed=[4])
    assert_same(result.relevance, torch.tensor([[6.0, -2.0]], dtype=dtype), 1e-6)
    x = torch.tensor([[0.1, 0.2, -0.3]], dtype=dtype) * scale
    result = explain(lambda v: hidden(v).sum(1), x, seed=[3])
    assert result.relevance.tolist() == [[1, 1, 1]]


def test_every_example_has_its_own_shares() -> None:
    x = torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, -1.0]], dtype=torch.float64)
    result = explain(lambda v: hidden(v).mean(1), x, seed=[4, 4, 1])
    assert result.relevance.tolist() == [[1, 3], [2, 2], [2, -1]]


def test_score_of_a_mean_of_scores_is_each_score() -> None:
    """The last mean over time hands every frame its own score: no frame borrows from another."""
    scores = normal(2, 3, 5)
    result = explain(lambda v: hidden(v).mean(2), scores)
    each = scores / scores.mean(2, keepdim=True) / 5 * result.seed.unsqueeze(2)
    assert_same(result.relevance, each, 1e-12)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: F.interpolate(x, size=(7, 7), mode="bicubic"), "interpolate"),
        (lambda x: x.mean(1, dtype=torch.float32), "mean"),
        (lambda x: x.sum(1, dtype=torch.float32), "sum"),
        (lambda x: x.std(1), "std"),
        (lambda x: x.median(1).values, "median"),
        (lambda x: x.amin(1), "amin"),
        (lambda x: F.lp_pool2d(x, 2, 2), "lp_pool2d"),
    ],
)
def test_refused(function: Callable[[Tensor], Any], name: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=name):
        explain(function, uniform(*IMAGE))


@pytest.mark.parametrize(
    "module",
    [
        nn.AvgPool3d(2, 1, 1),
        nn.AdaptiveAvgPool3d((2, None, 1)),
        nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear"),
    ],
    ids=str,
)
def test_modules(module: nn.Module) -> None:
    x = partly_dark(CUBE)
    result = explain(nn.Sequential(nn.Hardtanh(-9, 9), module), x)
    assert_same(result.relevance, divided(module, x, result.seed, x), 1e-9)
