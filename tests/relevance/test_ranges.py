"""The range of the input, and which rule a layer takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video.relevance import (
    AlphaBeta,
    Epsilon,
    Flat,
    Rule,
    Settings,
    WSquare,
    ZBeta,
    normalized_range,
)
from tests.relevance._tools import assert_same, explain, hidden, normal, randomise, uniform

MEAN, STD = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]


def test_normalized_range() -> None:
    low, high = normalized_range([0.5, 0.25], [0.5, 0.125], 0, 1)
    assert low.tolist() == [-1, -2]
    assert high.tolist() == [1, 6]
    low, high = normalized_range(128, 64.0, high=255)
    assert (low.item(), high.item()) == (-2, 127 / 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_normalised_clip_stays_in_its_range(dtype: torch.dtype) -> None:
    """Black and white pixels lie on the edge, where rounding must not make a warning."""
    x = uniform(1, 3, 2, 4, 4).to(dtype)
    x[..., 0], x[..., 1] = 0, 1
    along = (-1, 1, 1, 1)
    mean, std = torch.tensor(MEAN, dtype=dtype), torch.tensor(STD, dtype=dtype)
    clip = (x - mean.view(along)) / std.view(along)
    conv = randomise(nn.Conv3d(3, 2, 2)).to(dtype)
    result = explain(conv, clip, input_range=normalized_range(MEAN, STD))
    other = explain(lambda v: conv((v - mean.view(along)) / std.view(along)), x, input_range=(0, 1))
    coarse = 100 * float(torch.finfo(dtype).eps)
    assert_same(result.relevance.double(), other.relevance.double(), coarse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 0, "std": 0}, "std must be positive, got 0"),
        ({"mean": 0, "std": [1, -1]}, r"std must be positive, got \[1, -1\]"),
        ({"mean": 0, "std": 1, "low": 2}, "low must not exceed high, got low=2 and high=1.0"),
    ],
)
def test_normalized_range_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalized_range(**options)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((1, 0), r"low < high everywhere, got \(1, 0\)"),
        ((1, 1), r"low < high everywhere"),
        (([0, 0, 2], 1), r"low < high everywhere"),
        ((0, float("inf")), "must be finite"),
        ((float("nan"), 1), "must be finite"),
        (([0] * 5, 1), r"bound of shape \(5,\) does not fit .* \(2, 3, 2, 2, 2\).*3 values"),
        ((0, 1, 2), "must be .*pair"),
        (0.5, "input_range"),
    ],
)
def test_range_refuses(ends: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        explain(nn.Conv3d(3, 2, 2), torch.zeros(2, 3, 2, 2, 2), input_range=ends)


def test_range_that_does_not_hold_the_input_is_widened_for_that_example() -> None:
    conv, x = randomise(nn.Conv1d(2, 3, 2)), uniform(3, 2, 5)
    x[1, 0, 0], x[2, 1, 3] = 1.5, -0.5
    seed = normal(3, 3, 4)
    with pytest.warns(
        UserWarning, match=r"inputs reaches from -0.5 to 1.5, outside input_range"
    ) as w:
        result = explain(conv, x, seed=seed, input_range=(0, 1))
    assert len(w) == 1
    for number, ends in enumerate([(0, 1), (0, 1.5), (-0.5, 1)]):
        part = slice(number, number + 1)
        alone = explain(conv, x[part], seed=seed[part], input_range=ends)
        assert_same(result.relevance[part], alone.relevance)


def test_warning_names_the_input_among_several() -> None:
    a, b = randomise(nn.Linear(2, 3)), randomise(nn.Linear(2, 3))
    with pytest.warns(UserWarning, match=r"inputs\[1\] reaches from 2 to 2"):
        explain(
            lambda u, v: a(u) + b(v),
            uniform(1, 2),
            torch.full((1, 2), 2.0, dtype=torch.float64),
            input_range=((0, 1), (0, 1)),
        )


def test_two_bounds_or_two_inputs() -> None:
    """A pair is one range for one input and two ranges for two."""
    settings = Settings(input_range=(0, 1))
    assert settings.range_of(0, 1) == (0, 1)
    pairs: Any = ((0, 1), (2, 3))
    assert Settings(input_range=pairs).range_of(1, 2) == (2, 3)
    one: Any = ((0, 1),)
    assert Settings(input_range=one).range_of(0, 1) == (0, 1)
    per_channel: Any = ([0.0, 1.0], [2.0, 3.0])
    assert Settings(input_range=per_channel).range_of(0, 1) == per_channel
    none: Any = (None, (0, 1))
    assert Settings(input_range=none).range_of(0, 2) is None
    for wrong, count in (((0, 1), 2), (pairs, 3)):
        with pytest.raises(
            ValueError, match=f"one .low, high. pair for each of the {count} inputs"
        ):
            Settings(input_range=wrong).range_of(0, count)


class Block(nn.Sequential):
    pass


def net() -> Any:
    layers = nn.Sequential(
        nn.Conv1d(2, 3, 2),
        nn.ReLU(),
        Block(nn.Conv1d(3, 3, 2), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(9, 2),
    )
    return randomise(layers, 3)


FIRST, INNER, LAST = "0", "2.0", "4"


def by_hand(x: Tensor, first: Rule, inner: Rule, last: Rule) -> Tensor:
    """Each layer explained on its own with the rule that it should have taken."""
    model = net()
    with torch.no_grad():
        one = model[:2](x)
        two = model[2](one).flatten(1)
    at_two = explain(model[4], two, rules={"first": last}).relevance
    at_one = explain(
        model[2][0], one, seed=at_two.view(len(x), 3, 3), rules={"first": inner}
    ).relevance
    return explain(model[0], x, seed=at_one, rules={"first": first}).relevance


DEFAULT, A, B = AlphaBeta(), Flat(), Epsilon(0.5)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, (WSquare(), DEFAULT, DEFAULT)),
        ({"first": A}, (A, DEFAULT, DEFAULT)),
        ({"4": A}, (WSquare(), DEFAULT, A)),
        ({"0": A}, (A, DEFAULT, DEFAULT)),
        ({"0": A, "first": B}, None),
        ({nn.Linear: A}, (WSquare(), DEFAULT, A)),
        ({nn.Conv1d: A}, (WSquare(), A, DEFAULT)),
        ({nn.Conv1d: A, "first": B}, (B, A, DEFAULT)),
        ({"2": A}, (WSquare(), A, DEFAULT)),
        ({Block: A}, (WSquare(), A, DEFAULT)),
        ({Block: A, nn.Conv1d: B}, None),
        ({"2": A, nn.Conv1d: B}, None),
        ({"2": A, "2.0": B}, None),
        ({nn.Module: A}, (WSquare(), A, A)),
        ({nn.Module: A, "2.0": B}, (WSquare(), B, A)),
    ],
)
def test_rule_of_each_layer(rules: Any, expected: tuple[Rule, Rule, Rule] | None) -> None:
    x = normal(2, 2, 5)
    if expected is None:  # one of the two never has a layer to itself
        with pytest.raises(ValueError, match=r"no weighted operation runs in .*has no effect"):
            explain(net(), x, rules=rules)
        return
    result = explain(net(), x, rules=rules)
    alone = explain(net()[4], net()[:4](x).detach(), rules={"first": expected[2]})
    assert torch.equal(result.seed, alone.seed)
    assert_same(result.relevance, by_hand(x, *expected))


def test_inner_rule_comes_before_outer_rule() -> None:
    outer = randomise(Block(nn.Conv1d(3, 3, 1), nn.Sequential(nn.Conv1d(3, 3, 1))))
    x = normal(1, 3, 4)
    result = explain(nn.Sequential(nn.Hardtanh(-9, 9), outer), x, rules={"1": A, "1.1": B})
    back = explain(outer[1], outer[0](x).detach(), seed=result.seed, rules={"first": B})
    expected = explain(outer[0], x, seed=back.relevance, rules={"first": A})
    assert_same(result.relevance, expected.relevance)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"alpha": 2}, ValueError, "alpha - beta = 1 and beta >= 0, got alpha=2 and beta=0.0"),
        ({"alpha": 0, "beta": -1}, ValueError, "got alpha=0 and beta=-1"),
        ({"bias": "keep"}, ValueError, "bias must be 'absorb' or 'ignore', got 'keep'"),
        (
            {"average": "mean"},
            ValueError,
            "average must be 'proportional' or 'uniform', got 'mean'",
        ),
        ({"rules": {"first": "flat"}}, TypeError, r"rules\['first'\] must be a Rule .*got 'flat'"),
        ({"rules": {3: Flat()}}, TypeError, "module names or module types, got 3"),
        ({"rules": {int: Flat()}}, TypeError, "module names or module types"),
    ],
)
def test_settings_refuse(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Settings(**settings)


def test_unknown_module_name_gets_close_matches() -> None:
    model = nn.ModuleDict({"features": nn.Linear(1, 1), "classifier": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match=r"no module 'clasifier'.*classifier"):
        Settings(rules={"clasifier": Flat()}).check_names(model)
    Settings(rules={"first": Flat(), "features": Flat(), nn.Linear: Flat()}).check_names(model)


@pytest.mark.parametrize("make", [lambda: ZBeta(-1, 2), WSquare, Flat, lambda: Epsilon(0.1)])
def test_rules_are_values(make: Callable[[], Rule]) -> None:
    assert make() == make()
    assert hash(make()) == hash(make())


def test_no_warning_without_cause() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(lambda v: hidden(v), torch.zeros(1, 2), input_range=(0, 1))
