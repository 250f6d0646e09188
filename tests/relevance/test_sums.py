"""Residual sums, constants and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import UnsupportedOperationError
from tests.relevance._dense import Dense, matrix
from tests.relevance._tools import assert_same, explain, hidden, normal, random, uniform

A = torch.tensor([[3.0, 1.0, 0.0, -1.0, 4.0, 0.0, -2.0]], dtype=torch.float64)
B = torch.tensor([[1.0, -4.0, 0.0, -3.0, -1.0, 5.0, 6.0]], dtype=torch.float64)
R = [[8, 8, 8, 8, 8, 8, -8]]


@pytest.mark.parametrize(
    ("alpha", "beta", "to_a", "to_b"),
    [
        (1, 0, [6, 8, 4, 2, 8, 0, 0], [2, 0, 4, 6, 0, 8, -8]),
        (2, 1, [6, 16, 4, 2, 16, 0, 8], [2, -8, 4, 6, -8, 8, -16]),
    ],
)
def test_two_terms_by_hand(alpha: int, beta: int, to_a: list[int], to_b: list[int]) -> None:
    result = explain(torch.add, A, B, seed=R, alpha=alpha, beta=beta)
    assert [part.tolist() for part in result.parts] == [[to_a], [to_b]]


SUMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, float]] = {
    "+": (lambda a, b: a + b, 1, 1),
    "add": (torch.add, 1, 1),
    "method": (lambda a, b: a.add(b), 1, 1),
    "alpha": (lambda a, b: torch.add(a, b, alpha=-2), 1, -2),
    "-": (lambda a, b: a - b, 1, -1),
    "sub": (lambda a, b: torch.sub(a, b, alpha=0.5), 1, -0.5),
    "subtract": (lambda a, b: torch.subtract(b, a), -1, 1),
    "rsub": (lambda a, b: torch.rsub(a, b), -1, 1),
    "rsub, alpha": (lambda a, b: torch.rsub(a, b, alpha=3), -3, 1),
    "__rsub__": (lambda a, b: a.__rsub__(b), -1, 1),
    "__radd__": (lambda a, b: a.__radd__(b), 1, 1),
    "+=": (lambda a, b: a.__iadd__(b), 1, 1),
    "-=": (lambda a, b: a.__isub__(b), 1, -1),
    "add_": (lambda a, b: a.add_(b, alpha=2), 1, 2),
    "sub_": (lambda a, b: a.sub_(b, alpha=2), 1, -2),
    "sum of a list": (lambda a, b: sum([a, b], torch.zeros(())), 1, 1),
}


@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (2, 1), (1.5, 0.5)])
@pytest.mark.parametrize("name", SUMS)
def test_two_terms_are_a_unit_of_two_inputs(name: str, alpha: float, beta: float) -> None:
    function, to_a, to_b = SUMS[name]
    result = explain(function, A, B, alpha=alpha, beta=beta)
    eye = np.eye(A.numel())
    w = np.concatenate([to_a * eye, to_b * eye], 1)
    dense = Dense(w, np.zeros(A.numel()), np.abs(w) > 0, absorbs=False)
    terms = torch.cat([A, B], 1).flatten()
    given, _ = dense.alpha_beta(terms.numpy(), result.seed.flatten().numpy(), alpha, beta)
    assert_same(torch.cat(result.parts, 1), torch.from_numpy(given).view(1, -1), 1e-14)


def test_three_terms_pair_up_from_the_left() -> None:
    """(1 + 2) + 3: 12 is 6 and 6, and 6 is 2 and 4."""
    one = torch.ones(1, 1, dtype=torch.float64)
    result = explain(lambda a, b, c: sum([a, b, c]), one, 2 * one, 3 * one, seed=[[12]])
    assert [part.item() for part in result.parts] == [2, 4, 6]


def test_terms_that_broadcast() -> None:
    a = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    b = torch.tensor([[[1.0, 2.0, 0.0]]], dtype=torch.float64)
    seed = [[[2, 3, 5], [4, 5, 7]]]
    to_a, to_b = explain(lambda a, b: a + b, a, b, seed=seed).parts
    assert_same(to_a, torch.tensor([[[7.0], [13.0]]], dtype=torch.float64), 1e-14)
    assert_same(to_b, torch.tensor([[[2.0, 4.0, 0.0]]], dtype=torch.float64), 1e-14)


def test_term_without_a_leading_axis() -> None:
    result = explain(lambda x: x.view(3, 4) + x[:, 0].view(4), normal(1, 3, 4))
    x, seed = normal(1, 3, 4), result.seed
    first = x[:, :1].expand(1, 3, 4)
    share = torch.where(x * first > 0, x / (x + first), (x > 0).double())
    expected = (share * seed).clone()
    expected[:, 0] += ((1 - share) * seed)[0].sum(0)
    assert_same(result.relevance, expected, 1e-12)


@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (2, 1)])
@pytest.mark.parametrize(
    "function", [lambda x: x + x, lambda x: x.add(x, alpha=3), lambda x: hidden(x).add_(x)]
)
def test_value_added_to_itself(
    function: Callable[[Tensor], Tensor], alpha: float, beta: float
) -> None:
    result = explain(function, A, alpha=alpha, beta=beta)
    assert_same(result.relevance, result.seed, 1e-15)


def test_value_that_takes_itself_away() -> None:
    """Both signs, always: alpha to the first, -beta to the second, which is the same."""
    assert explain(lambda x: x - x, A, seed=R).relevance.tolist() == R


C = torch.tensor([[2.0, -1.0, 0.5, 3.0, -2.0, 1.0, 4.0]], dtype=torch.float64)

CONSTANTS: dict[str, Callable[[Tensor], Tensor]] = {
    "x + 1": lambda x: x + 1,
    "x + c": lambda x: x + C,
    "c + x": lambda x: C + x,
    "1 + x": lambda x: 1 + x,
    "x - c": lambda x: x - C,
    "c - x": lambda x: C - x,
    "1 - x": lambda x: 1 - x,
    "rsub": lambda x: torch.rsub(x, C),
    "x * 2": lambda x: x * 2,
    "2 * x": lambda x: 2 * x,
    "x * c": lambda x: x * C,
    "c * x": lambda x: C * x,
    "multiply": lambda x: torch.multiply(C, x),
    "x / 2": lambda x: x / 2,
    "x / c": lambda x: x.div(C),
    "divide": lambda x: torch.divide(x, C),
    "-x": lambda x: -x,
    "+x": lambda x: +x,
    "negative": torch.negative,
    "alpha": lambda x: torch.add(x, C, alpha=2),
    "constant plus alpha": lambda x: torch.add(C, x, alpha=-2),
    "add_": lambda x: x.add_(C),
    "+=": lambda x: x.__iadd__(1),
    "-=": lambda x: x.__isub__(C),
    "*=": lambda x: x.__imul__(C),
    "/=": lambda x: x.__itruediv__(2),
    "neg_": lambda x: x.neg_(),
    "normalise": lambda x: (x / 255 - C) / 0.5,
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_passes_everything(name: str) -> None:
    function = CONSTANTS[name]
    for net in (function, lambda v: function(hidden(v))):
        result = explain(net, A, alpha=2, beta=1)
        assert torch.equal(result.output, function(A.clone()))
        assert torch.equal(result.relevance, result.seed)
        assert result.absorbed == 0


@pytest.mark.parametrize(
    "function", [lambda x, c: x + c, lambda x, c: c * x, lambda x, c: c - x, lambda x, c: x / c]
)
def test_constant_that_broadcasts_the_value(function: Callable[..., Tensor]) -> None:
    """The copies' relevance adds up."""
    x = torch.tensor([[[1.0], [2.0]]], dtype=torch.float64)
    c = torch.tensor([[[[1.0, 2.0, 4.0]]], [[[3.0, 5.0, 1.0]]]], dtype=torch.float64)
    seed = torch.arange(12.0, dtype=torch.float64).view(2, 1, 2, 3)
    result = explain(lambda v: function(v, c), x, seed=seed)
    assert result.relevance.tolist() == [[[0 + 1 + 2 + 6 + 7 + 8], [3 + 4 + 5 + 9 + 10 + 11]]]


ACTIVATIONS: list[nn.Module] = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.ReLU6(inplace=True),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.SiLU(inplace=True),
    nn.Mish(),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Hardtanh(-1, 2),
    nn.Hardtanh(inplace=True),
    nn.Hardswish(),
    nn.Hardswish(inplace=True),
    nn.Hardsigmoid(),
    nn.PReLU(dtype=torch.float64),
    nn.PReLU(7, dtype=torch.float64),
    nn.LeakyReLU(0.1),
    nn.LeakyReLU(0.1, inplace=True),
    nn.ELU(),
    nn.ELU(inplace=True),
    nn.SELU(),
    nn.CELU(),
    nn.Softplus(),
    nn.Softsign(),
    nn.Softshrink(),
    nn.Hardshrink(),
    nn.Tanhshrink(),
    nn.LogSigmoid(),
    nn.Threshold(0.5, 0.0),
    nn.RReLU().eval(),
    nn.Identity(),
    nn.Dropout(0.5).eval(),
    nn.Dropout(0.5, inplace=True).eval(),
    nn.Dropout3d(0.5).eval(),
    nn.AlphaDropout(0.5).eval(),
    nn.Sequential(nn.Sequential(nn.ReLU(True), nn.Identity()), nn.Sequential()),
]


@pytest.mark.parametrize("module", ACTIVATIONS, ids=str)
def test_activation_passes_everything(module: nn.Module) -> None:
    x = normal(1, 7) if isinstance(module, nn.PReLU) else normal(1, 7, 2, 2, 2)
    for net in (module, nn.Sequential(nn.Flatten(0, 0), module)):
        result = explain(net, x, alpha=2, beta=1)
        assert torch.equal(result.output, module(x.clone()))
        assert torch.equal(result.relevance, result.seed)


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        torch.relu,
        torch.relu_,
        Tensor.relu_,
        F.relu_,
        F.leaky_relu_,
        torch.abs,
        abs,
        torch.exp,
        torch.square,
        lambda x: x**2,
        lambda x: x.pow(3),
        lambda x: x.clamp(0, 1),
        lambda x: x.clamp_(min=C),
        lambda x: torch.clip(x, max=1),
        lambda x: F.relu(x, inplace=True),
        lambda x: F.relu(x, True),
        lambda x: F.dropout(x, 0.5, False),
        lambda x: F.dropout(x, p=0.0, training=True),
        lambda x: F.rrelu(x, training=False),
    ],
)
def test_functional_activation_passes_everything(function: Callable[[Tensor], Tensor]) -> None:
    result = explain(lambda x: function(hidden(x)), A)
    assert torch.equal(result.output, function(A.clone()))
    assert torch.equal(result.relevance, result.seed)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x * x, r"mul.*product of two values"),
        (lambda x: x * x.sigmoid(), r"mul.*product of two values"),
        (lambda x: x / x.sum(1, keepdim=True), "div"),
        (lambda x: C / x, "div"),
        (lambda x: 1 / x, "truediv|reciprocal|div"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "div"),
        (lambda x: x @ x.T, "matmul"),
        (lambda x: 2**x, "pow"),
        (lambda x: torch.prelu(x, x.mean().view(1)), "prelu"),
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: F.log_softmax(x, 1), "log_softmax"),
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: F.glu(x[:, :6]), "glu"),
        (lambda x: F.dropout(x, 0.5), r"dropout.*training mode"),
        (lambda x: F.layer_norm(x, (7,)), "layer_norm"),
        (lambda x: torch.addcmul(x, C, C), "addcmul"),
        (lambda x: x.masked_fill_(C > 0, 0.0), "masked_fill_"),
        (lambda x: torch.where(C > 0, x, 0).round(), "round"),
    ],
)
def test_refused(function: Callable[[Tensor], Any], name: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=name):
        explain(lambda x: function(hidden(x)), A)


def test_smooth_activation_between_layers_changes_shares_only() -> None:
    """Relevance behind an activation is divided by what left it; the activation adds nothing."""
    first, second = normal(5, 7, seed=1), normal(3, 5, seed=2)
    x = uniform(2, 7, seed=3)
    net = lambda v: F.linear(F.silu(F.linear(hidden(v), first)), second)  # noqa: E731
    result = explain(net, x, bias="ignore")
    middle = F.silu(F.linear(x, first))
    seed = torch.randn(2, 3, generator=random(7), dtype=torch.float64)
    at_middle = torch.stack(
        [divide(second, row, given) for row, given in zip(middle, seed, strict=True)]
    )
    expected = [divide(first, row, given) for row, given in zip(x, at_middle, strict=True)]
    assert_same(result.relevance, torch.stack(expected))


def divide(weight: Tensor, x: Tensor, relevance: Tensor) -> Tensor:
    w = matrix(lambda v: F.linear(v, weight), x.shape)
    dense = Dense(w, np.zeros(len(w)), np.ones_like(w), absorbs=False)
    return torch.from_numpy(dense.alpha_beta(x.numpy(), relevance.numpy(), 1, 0)[0])
