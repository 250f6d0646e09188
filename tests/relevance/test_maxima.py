"""Maxima: the winner takes all, and what ties for the maximum shares equally."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.relevance._tools import assert_same, explain, hidden, random

Window = list[tuple[int, ...]]


def row(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("x", "options", "seed", "expected"),
    [
        ([1, 3, 3, 2], {"kernel_size": 2, "stride": 1}, [2, 4, 6], [0, 4, 8, 0]),
        ([1, 3, 2, 5, 9], {"kernel_size": 2}, [3, 7], [0, 3, 0, 7, 0]),
        ([1, 3, 2, 5, 9], {"kernel_size": 2, "ceil_mode": True}, [3, 7, 1], [0, 3, 0, 7, 1]),
        # negative values: zero padding would win
        ([-1, -2, -3, -4], {"kernel_size": 3, "stride": 2, "padding": 1}, [5, 6], [5, 6, 0, 0]),
        (
            [1, 2, 5, 0, 5],
            {"kernel_size": 2, "stride": 1, "dilation": 2},
            [1, 2, 4],
            [0, 2, 3, 0, 2],
        ),
        ([0, 0, 0], {"kernel_size": 3}, [9], [3, 3, 3]),
        ([4, 4, 1], {"kernel_size": 3}, [-8], [-4, -4, 0]),
    ],
)
def test_max_pool_by_hand(
    x: list[float], options: dict[str, Any], seed: list[float], expected: list[float]
) -> None:
    result = explain(lambda v: F.max_pool1d(v, **options), row(*x), seed=[[seed]])
    assert result.relevance.tolist() == [[expected]]


def pool_windows(
    size: tuple[int, ...], out: tuple[int, ...], options: dict[str, Any]
) -> dict[tuple[int, ...], Window]:
    """The places inside the input that each output looks at."""
    rank = len(size)

    def per_axis(name: str, default: Any) -> tuple[int, ...]:
        value = options.get(name, default)
        return value if isinstance(value, tuple) else (value,) * rank

    kernel, padding = per_axis("kernel_size", 0), per_axis("padding", 0)
    stride, dilation = per_axis("stride", kernel), per_axis("dilation", 1)
    windows = {}
    for place in product(*map(range, out)):
        taps = (
            [o * s - p + k * d for k in range(n)]
            for o, s, p, d, n in zip(place, stride, padding, dilation, kernel, strict=True)
        )
        windows[place] = [
            w for w in product(*taps) if all(0 <= i < n for i, n in zip(w, size, strict=True))
        ]
    return windows


def adaptive_windows(size: tuple[int, ...], out: tuple[int, ...]) -> dict[tuple[int, ...], Window]:
    """From ``floor(o n / m)`` up to ``ceil((o + 1) n / m)``."""
    windows = {}
    for place in product(*map(range, out)):
        spans = (
            range(o * n // m, ((o + 1) * n + m - 1) // m)
            for o, n, m in zip(place, size, out, strict=True)
        )
        windows[place] = list(product(*spans))
    return windows


def by_loops(x: Tensor, seed: Tensor, windows: dict[tuple[int, ...], Window], rank: int) -> Tensor:
    result = torch.zeros_like(x)
    for index in product(*map(range, x.shape[: x.dim() - rank])):
        for place, window in windows.items():
            values = {w: float(x[index + w]) for w in window}
            winners = [w for w in window if values[w] == max(values.values())]
            for w in winners:
                result[index + w] += seed[index + place] / len(winners)
    return result


def tied(*shape: int) -> Tensor:
    """Small integers: about half of the windows hold ties."""
    return torch.randint(-3, 2, shape, generator=random(4)).double()


POOLS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], dict[str, Any]]] = {
    "1d": (F.max_pool1d, (2, 2, 9), {"kernel_size": 3, "stride": 2}),
    "1d padded, ceil": (
        F.max_pool1d,
        (1, 2, 8),
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    ),
    "2d": (F.max_pool2d, (2, 2, 5, 6), {"kernel_size": (2, 3)}),
    "2d dilation": (
        F.max_pool2d,
        (1, 2, 6, 7),
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 3)},
    ),
    "2d ceil": (F.max_pool2d, (1, 2, 5, 6), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),
    "3d": (F.max_pool3d, (2, 2, 4, 4, 5), {"kernel_size": 2}),
    "3d overlapping": (
        F.max_pool3d,
        (1, 1, 4, 5, 6),
        {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)},
    ),
    "3d everything": (
        F.max_pool3d,
        (1, 2, 5, 6, 6),
        {
            "kernel_size": (2, 3, 2),
            "stride": (2, 1, 3),
            "padding": (1, 1, 0),
            "dilation": (1, 2, 2),
            "ceil_mode": True,
        },
    ),
    "1d with gaps": (F.max_pool1d, (2, 2, 9), {"kernel_size": 2, "stride": 3}),
    "1d tiles that start outside": (
        F.max_pool1d,
        (2, 2, 7),
        {"kernel_size": 5, "stride": 5, "padding": 1},
    ),
    "2d tiles that reach over each other": (
        F.max_pool2d,
        (2, 2, 6, 7),
        {"kernel_size": 2, "stride": 2, "dilation": (2, 1)},
    ),
    "2d tiles, ceil": (F.max_pool2d, (2, 2, 5, 4), {"kernel_size": 2, "ceil_mode": True}),
    "3d tiles, unbatched": (F.max_pool3d, (2, 4, 5, 4), {"kernel_size": 2}),
    "3d unbatched": (F.max_pool3d, (2, 4, 4, 5), {"kernel_size": 2, "stride": 1}),
    "2d by torch": (torch.max_pool2d, (1, 2, 5, 6), {"kernel_size": 2, "stride": ()}),
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pool_is_its_windows(name: str) -> None:
    function, shape, options = POOLS[name]
    rank = len(shape) - (1 if "unbatched" in name else 2)
    x = tied(*shape)
    result = explain(lambda v: function(v, **options), x)
    described = {k: v for k, v in options.items() if v != ()}
    windows = pool_windows(shape[-rank:], tuple(result.output.shape[-rank:]), described)
    assert_same(result.relevance, by_loops(x, result.seed, windows, rank), 1e-13)


@pytest.mark.parametrize(
    ("function", "shape", "out"),
    [
        (F.adaptive_max_pool1d, (2, 2, 7), 3),
        (F.adaptive_max_pool2d, (2, 2, 5, 7), (3, 2)),
        (F.adaptive_max_pool2d, (1, 2, 5, 4), (None, 3)),
        (F.adaptive_max_pool3d, (1, 2, 5, 7, 4), (2, 3, 3)),
        (F.adaptive_max_pool3d, (1, 2, 4, 4, 4), 1),
        (F.adaptive_max_pool3d, (1, 1, 3, 4, 3), (5, 4, 2)),
    ],
)
def test_adaptive_max_pool_is_its_windows(
    function: Callable[..., Tensor], shape: tuple[int, ...], out: Any
) -> None:
    x, rank = tied(*shape), len(shape) - 2
    result = explain(lambda v: function(v, out), x)
    windows = adaptive_windows(shape[-rank:], tuple(result.output.shape[-rank:]))
    assert_same(result.relevance, by_loops(x, result.seed, windows, rank), 1e-13)


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool3d(2, return_indices=True),
        nn.AdaptiveMaxPool3d((2, 3, 1), return_indices=True),
    ],
    ids=["fixed", "adaptive"],
)
def test_indices_change_nothing(module: Any) -> None:
    x = tied(2, 2, 4, 5, 4)
    with_indices = explain(lambda v: module(hidden(v))[0], x)
    module.return_indices = False
    without = explain(lambda v: module(hidden(v)), x)
    assert torch.equal(with_indices.relevance, without.relevance)
    assert float(without.relevance.abs().sum()) > 0


# column and row maxima tie
GRID = torch.tensor([[[1.0, 4.0, 4.0], [5.0, 4.0, 0.0]]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("function", "seed", "expected"),
    [
        (lambda x: x.amax(2), [[6, 8]], [[0, 3, 3], [8, 0, 0]]),
        (lambda x: x.amax(dim=-1, keepdim=True), [[[6], [8]]], [[0, 3, 3], [8, 0, 0]]),
        (lambda x: x.max(1).values, [[2, 6, 4]], [[0, 3, 4], [2, 3, 0]]),
        (lambda x: x.max(dim=1, keepdim=True)[0], [[[2, 6, 4]]], [[0, 3, 4], [2, 3, 0]]),
        (lambda x: torch.max(x, 1)[0], [[2, 6, 4]], [[0, 3, 4], [2, 3, 0]]),
        (lambda x: x.amax((1, 2)), [5], [[0, 0, 0], [5, 0, 0]]),
        (lambda x: x.amax((2, 1), keepdim=True), [[[5]]], [[0, 0, 0], [5, 0, 0]]),
        (lambda x: torch.amax(x, (2, 0)), [6, 8], [[0, 3, 3], [8, 0, 0]]),
        (lambda x: x.amax().view(1), [5], [[0, 0, 0], [5, 0, 0]]),
        (lambda x: x.max().view(1), [5], [[0, 0, 0], [5, 0, 0]]),
        (lambda x: x[:, :, 1].max(1).values, [6], [[0, 3, 0], [0, 3, 0]]),
    ],
)
def test_maximum_over_axes(
    function: Callable[[Tensor], Tensor], seed: list[Any], expected: list[Any]
) -> None:
    assert explain(function, GRID, seed=seed).relevance.tolist() == [expected]
    assert explain(lambda x: function(hidden(x)), GRID, seed=seed).relevance.tolist() == [expected]


A = torch.tensor([[3.0, 1.0, 2.0, -1.0]], dtype=torch.float64)
B = torch.tensor([[1.0, 3.0, 2.0, -1.0]], dtype=torch.float64)


@pytest.mark.parametrize("function", [torch.maximum, torch.max, torch.fmax])
def test_larger_of_two(function: Callable[..., Tensor]) -> None:
    result = explain(function, A, B, seed=[[5, 6, 8, -4]])
    assert [part.tolist() for part in result.parts] == [[[5, 0, 4, -2]], [[0, 6, 4, -2]]]


def test_larger_of_two_that_broadcast() -> None:
    column = torch.tensor([[2.0]], dtype=torch.float64)
    result = explain(torch.maximum, A, column, seed=[[5, 6, 8, -4]])
    assert [part.tolist() for part in result.parts] == [[[5, 0, 4, 0]], [[6 + 4 - 4]]]


@pytest.mark.parametrize(
    "function",
    [lambda x: torch.maximum(x, B), lambda x: torch.maximum(B, x), lambda x: torch.max(x, B)],
    ids=["after", "before", "max"],
)
def test_larger_than_a_constant_passes(function: Callable[[Tensor], Tensor]) -> None:
    assert explain(function, A, seed=[[5, 6, 8, -4]]).relevance.tolist() == [[5, 6, 8, -4]]
