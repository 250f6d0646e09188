"""Rules on a handful of units, worked out on paper, and what rules refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import AlphaBeta, Epsilon, Flat, Rule, WSquare, ZBeta
from tests.relevance._tools import Explained, assert_same, explain, hidden, normal, uniform

X = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
#        both signs   one sign   nothing   one sign
W = [[1.0, -1.0], [2.0, 1.0], [0.0, 0.0], [-1.0, -3.0]]
B = [0.0, 5.0, 0.0, 5.0]


def unit(number: int, rule: Rule, bias: str, r: float, x: Tensor = X) -> Explained:
    """Relevance ``r`` at one unit."""
    weight, offset = torch.tensor(W, dtype=torch.float64), torch.tensor(B, dtype=torch.float64)
    seed = torch.zeros(1, 4, dtype=torch.float64)
    seed[0, number] = r
    return explain(
        lambda v: F.linear(v, weight, offset), x, seed=seed, bias=bias, rules={"first": rule}
    )


@pytest.mark.parametrize(
    ("number", "rule", "bias", "r", "given", "absorbed"),
    [
        (0, AlphaBeta(1, 0), "absorb", 6, [6, 0], 0),
        (0, AlphaBeta(2, 1), "absorb", 6, [12, -6], 0),
        (0, AlphaBeta(2, 1), "ignore", 6, [12, -6], 0),
        (0, AlphaBeta(2, 1), "ignore", -6, [-12, 6], 0),
        (0, AlphaBeta(1.5, 0.5), "ignore", 4, [6, -2], 0),
        (1, AlphaBeta(1, 0), "absorb", 10, [4, 1], 5),
        (1, AlphaBeta(2, 1), "absorb", 10, [4, 1], 5),
        (1, AlphaBeta(2, 1), "ignore", 10, [8, 2], 0),
        (2, AlphaBeta(2, 1), "absorb", 4, [0, 0], 4),
        (2, AlphaBeta(2, 1), "ignore", 4, [2, 2], 0),
        (2, AlphaBeta(1, 0), "ignore", -4, [-2, -2], 0),
        (3, AlphaBeta(1, 0), "absorb", 5, [0, 0], 5),
        (3, AlphaBeta(2, 1), "absorb", 5, [-2, -3], 10),
        (3, AlphaBeta(1, 0), "ignore", 5, [2, 3], 0),
        (3, AlphaBeta(2, 1), "ignore", 5, [2, 3], 0),
        (0, ZBeta(0, 4), "absorb", 5, [2, 3], 0),
        (1, ZBeta(-1, 4), "absorb", 8, [6, 2], 0),
        (2, ZBeta(0, 4), "absorb", 8, [0, 0], 8),
        (2, ZBeta(0, 4), "ignore", 8, [4, 4], 0),
        (0, WSquare(), "absorb", 4, [2, 2], 0),
        (3, WSquare(), "absorb", 10, [1, 9], 0),
        (2, WSquare(), "absorb", 4, [0, 0], 4),
        (2, WSquare(), "ignore", 4, [2, 2], 0),
        (2, Flat(), "absorb", 4, [2, 2], 0),
        (0, Epsilon(0), "absorb", 3, [6, -3], 0),
        (0, Epsilon(2), "ignore", 3, [2, -1], 2),
        (1, Epsilon(0), "absorb", 10, [4, 1], 5),
        (1, Epsilon(0), "ignore", 10, [8, 2], 0),
        (3, Epsilon(3), "ignore", 8, [2, 3], 3),
        (3, Epsilon(5), "absorb", 5, [-2, -3], 10),
        (2, Epsilon(0), "absorb", 4, [0, 0], 4),
        (2, Epsilon(0), "ignore", 4, [2, 2], 0),
        (2, Epsilon(1), "ignore", 4, [0, 0], 4),
    ],
)
def test_one_unit(
    number: int, rule: Rule, bias: str, r: float, given: list[float], absorbed: float
) -> None:
    result = unit(number, rule, bias, r)
    assert_same(result.relevance, torch.tensor([given], dtype=torch.float64), 1e-14)
    assert result.absorbed == pytest.approx(absorbed, abs=1e-13)


@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_input_at_the_edge_of_its_range(bias: str) -> None:
    """Dark pixels in [0, 1]: positive weights have nothing to give, negative ones all."""
    dark = torch.zeros(1, 2, dtype=torch.float64)
    result = unit(1, ZBeta(0, 1), bias, 6, dark)
    assert result.relevance.tolist() == [[3, 3] if bias == "ignore" else [0, 0]]
    assert result.absorbed == (0 if bias == "ignore" else 6)
    assert unit(0, ZBeta(0, 1), bias, 6, dark).relevance.tolist() == [[0, 6]]
    assert unit(3, ZBeta(0, 1), bias, 8, dark).relevance.tolist() == [[2, 6]]
    assert unit(3, ZBeta(0, 1), bias, 8, dark + 1).relevance.tolist() == [
        [4, 4] if bias == "ignore" else [0, 0]
    ]


def test_equal_division_leaves_padding_out() -> None:
    """A kernel of 3 over [0, 0] with padding 1: two of the three places lie inside."""
    x = torch.zeros(1, 1, 2, dtype=torch.float64)
    kernel = torch.ones(1, 1, 3, dtype=torch.float64)
    settings: dict[str, Any] = {"bias": "ignore", "rules": {"first": AlphaBeta()}}
    result = explain(lambda v: F.conv1d(v, kernel, padding=1), x, seed=[[[4, 8]]], **settings)
    assert result.relevance.tolist() == [[[6, 6]]]
    result = explain(
        lambda v: F.conv1d(v, kernel, padding=3), x, seed=[[[16, 1, 4, 8, 6, 32]]], **settings
    )
    assert result.relevance.tolist() == [[[7, 12]]]
    assert result.absorbed == 48


@pytest.mark.parametrize("bias", ["absorb", "ignore"])
@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (2, 1)])
def test_single_precision_holds_where_biases_dwarf_contributions(
    alpha: float, beta: float, bias: str
) -> None:
    """The rounding of a large bias must not pass for contributions of the other sign."""
    weight, offset = normal(6, 4, 3, seed=1), torch.full((6,), 3.0, dtype=torch.float64)
    weight[:3] = weight[:3].abs()
    x, seed = 0.01 * uniform(2, 4, 20, seed=2), uniform(2, 6, 18, seed=3)

    def relevance(dtype: torch.dtype) -> Tensor:
        return explain(
            lambda v: F.conv1d(v, weight.to(dtype), offset.to(dtype)),
            x.to(dtype),
            seed=seed.to(dtype),
            bias=bias,
            rules={"first": AlphaBeta(alpha, beta)},
        ).relevance.double()

    exact = relevance(torch.float64)
    assert float((relevance(torch.float32) - exact).abs().sum() / exact.abs().sum()) < 1e-3


@pytest.mark.parametrize(
    "rule", [AlphaBeta(1, 0), AlphaBeta(2, 1), ZBeta(0, 1), Epsilon(0)], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_too_small_to_divide_by_counts_as_nothing(rule: Rule, dtype: torch.dtype) -> None:
    """Not to overflow: a thousand over the smallest number is infinite."""
    x = torch.full((1, 2), 100 * torch.finfo(dtype).tiny, dtype=dtype)
    weight = torch.tensor([[1.0, 3.0]], dtype=dtype)
    rules = {"first": rule}
    result = explain(lambda v: F.linear(v, weight), x, seed=[[1e6]], bias="ignore", rules=rules)
    assert result.relevance.tolist() == [[5e5, 5e5]]
    result = explain(lambda v: F.linear(v, weight), x, seed=[[1e6]], rules=rules)
    assert result.absorbed == 1e6


def test_default_stabiliser_is_small() -> None:
    assert Epsilon() == Epsilon(1e-6)
    assert unit(1, Epsilon(), "absorb", 10).absorbed == pytest.approx(5, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_divides_in_single(dtype: torch.dtype) -> None:
    """Shares are those of the rounded input and weight, rounded once more at the end."""
    x, weight = uniform(2, 30, seed=1).to(dtype), normal(20, 30, seed=2).to(dtype)
    seed = uniform(2, 20, seed=3).to(dtype)
    rules = {"first": AlphaBeta(2, 1)}
    half = explain(lambda v: F.linear(v, weight), x, seed=seed, rules=rules, bias="ignore")
    exact = explain(
        lambda v: F.linear(v, weight.double()),
        x.double(),
        seed=seed.double(),
        rules=rules,
        bias="ignore",
    )
    assert half.relevance.dtype == dtype
    error = (half.relevance.double() - exact.relevance).abs()
    assert bool((error <= 0.51 * torch.finfo(dtype).eps * exact.relevance.abs()).all())


def test_settings_choose_the_default_rule() -> None:
    weight = torch.tensor(W, dtype=torch.float64)

    def net(v: Tensor) -> Tensor:
        return F.linear(hidden(v), weight)

    seed = [[6, 0, 0, 0]]
    assert explain(net, X, seed=seed).relevance.tolist() == [[6, 0]]
    assert explain(net, X, seed=seed, alpha=2, beta=1).relevance.tolist() == [[12, -6]]
    assert explain(net, X, seed=seed, alpha=4, beta=3).relevance.tolist() == [[24, -18]]


def test_input_has_the_squared_rule_or_its_range_has_z_beta() -> None:
    weight = torch.tensor([[1.0, -3.0]], dtype=torch.float64)

    def net(v: Tensor) -> Tensor:
        return F.linear(v, weight)

    assert explain(net, X, seed=[[10]]).relevance.tolist() == [[1, 9]]
    # (2 - 0) * 1 and (1 - 2) * -3
    assert explain(net, X, seed=[[10]], input_range=(0, 2)).relevance.tolist() == [[4, 6]]
    # (2 + 1) * 1 and (1 - 3) * -3: one range for each channel
    ends = (torch.tensor([-1.0, 0.0]), torch.tensor([9.0, 3.0]))
    assert explain(net, X, seed=[[9]], input_range=ends).relevance.tolist() == [[3, 6]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlphaBeta(2, 0), r"alpha - beta = 1.*got alpha=2 and beta=0"),
        (lambda: AlphaBeta(0.5, -0.5), r"beta >= 0.*got alpha=0.5 and beta=-0.5"),
        (lambda: ZBeta(0), r"needs both low and high or neither, got 0, None"),
        (lambda: ZBeta(None, 3), r"needs both low and high or neither, got None, 3"),
        (lambda: ZBeta(1, 1), r"low < high, got low=1 and high=1"),
        (lambda: Epsilon(-1e-3), r"epsilon >= 0, got -0.001"),
    ],
)
def test_rule_refuses(make: Callable[[], Rule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_z_beta_without_bounds_names_the_cure() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with pytest.raises(ValueError, match=r"ZBeta\(low, high\)"):
        explain(net, X, rules={"2": ZBeta()})
    with pytest.raises(ValueError, match=r"ZBeta\(low, high\)"):
        explain(net, X, rules={"0": ZBeta()})
