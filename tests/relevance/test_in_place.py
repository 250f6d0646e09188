"""In-place calls: the plain forward's output and its twin's relevance, or an error, never neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.relevance._tools import assert_same, explain, normal, randomise


class Net(nn.Module):
    """Two convolutions with something in between that works in place."""

    def __init__(self, between: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.side = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 2, 3)
        self.between = between
        randomise(self, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self, self.first(x)))


def block(*statements: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Tensor]:
    """Runs statements for their effect on ``y`` alone."""

    def run(net: Any, y: Tensor) -> Tensor:
        for statement in statements:
            statement(net, y)
        return y

    return run


def residual(net: Any, y: Tensor) -> Tensor:
    out = net.norm(net.side(y))
    out += y
    return F.relu(out, inplace=True)


def residual_into_the_skip(net: Any, y: Tensor) -> Tensor:
    y += net.side(y).relu_()
    return y


def saved_before(net: Any, y: Tensor) -> Tensor:
    out = net.side(y)
    y.relu_()
    return out + y


def used_before_and_after(net: Any, y: Tensor) -> Tensor:
    before = y.sigmoid()
    y.mul_(-3)
    return before + y.relu()


def max_before(net: Any, y: Tensor) -> Tensor:
    pooled = F.max_pool2d(y, 3, 1, 1)
    y.fill_(7)
    return pooled.relu_()


def average_before(net: Any, y: Tensor) -> Tensor:
    pooled = F.avg_pool2d(y, 3, 1, 1)
    y.neg_()
    return pooled


def sum_before(net: Any, y: Tensor) -> Tensor:
    z = net.side(y)
    out = y + z
    y.mul_(0.5)
    z.relu_()
    return out


def output_changed(net: Any, y: Tensor) -> Tensor:
    out = net.norm(net.side(y))
    out.mul_(-2)
    return out


def maximum_changed(net: Any, y: Tensor) -> Tensor:
    out = F.max_pool2d(y, 3, 1, 1)
    out += 1
    return out


def own_doubled(net: Any, y: Tensor) -> Tensor:
    y += y
    return y


# in place, and the same written out of place
RIGHT: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "relu_": (block(lambda n, y: y.relu_()), lambda n, y: y.relu()),
    "torch.relu_": (block(lambda n, y: torch.relu_(y)), lambda n, y: y.relu()),
    "F.relu": (block(lambda n, y: F.relu(y, inplace=True)), lambda n, y: y.relu()),
    "nn.ReLU": (block(lambda n, y: nn.ReLU(True)(y)), lambda n, y: y.relu()),
    "F.hardtanh": (block(lambda n, y: F.hardtanh(y, -1, 1, True)), lambda n, y: F.hardtanh(y)),
    "add_": (block(lambda n, y: y.add_(1)), lambda n, y: y + 1),
    "several": (
        block(lambda n, y: y.add_(1), lambda n, y: y.relu_(), lambda n, y: y.mul_(2)),
        lambda n, y: (y + 1).relu() * 2,
    ),
    "norm, dropped relu_": (
        lambda n, y: block(lambda n, z: z.relu_())(n, n.norm(n.side(y))),
        lambda n, y: n.norm(n.side(y)).relu(),
    ),
    "out += skip": (residual, lambda n, y: (n.norm(n.side(y)) + y).relu()),
    "skip += out": (residual_into_the_skip, lambda n, y: y + n.side(y).relu()),
    "input of a layer changed later": (saved_before, lambda n, y: n.side(y) + y.relu()),
    "both states used": (used_before_and_after, lambda n, y: y.sigmoid() + (y * -3).relu()),
    "input of a maximum changed later": (
        max_before,
        lambda n, y: F.max_pool2d(y, 3, 1, 1).relu(),
    ),
    "input of an average changed later": (average_before, lambda n, y: F.avg_pool2d(y, 3, 1, 1)),
    "terms of a sum changed later": (sum_before, lambda n, y: y + n.side(y)),
    "output of a layer changed": (output_changed, lambda n, y: n.norm(n.side(y)) * -2),
    "maximum changed": (maximum_changed, lambda n, y: F.max_pool2d(y, 3, 1, 1) + 1),
    "y += y": (own_doubled, lambda n, y: y + y),
    "y[...] = z": (
        block(lambda n, y: y.__setitem__(..., n.side(y))),
        lambda n, y: n.side(y),
    ),
    "y[:, 1:3] = z": (
        block(lambda n, y: y.__setitem__((slice(None), slice(1, 3)), n.side(y)[:, :2])),
        lambda n, y: torch.cat([y[:, :1], n.side(y)[:, :2], y[:, 3:]], 1),
    ),
    "y[:, 0] = constant": (
        block(lambda n, y: y.__setitem__((slice(None), 0), 1.0)),
        lambda n, y: torch.cat([torch.ones_like(y[:, :1]), y[:, 1:]], 1),
    ),
    "y[:, 0] *= 2": (
        block(lambda n, y: y.__setitem__((slice(None), 0), y[:, 0] * 2)),
        lambda n, y: torch.cat([y[:, :1] * 2, y[:, 1:]], 1),
    ),
    "copy_": (block(lambda n, y: y.copy_(n.side(y))), lambda n, y: n.side(y)),
    "squeeze_ and unsqueeze_": (
        block(lambda n, y: y.unsqueeze_(0), lambda n, y: y.squeeze_(0)),
        lambda n, y: y,
    ),
    "view, then relu_": (
        lambda n, y: y.flatten(2).relu_().view(2, 4, 5, 5),
        lambda n, y: y.relu(),
    ),
    "split, last half changed": (
        lambda n, y: torch.cat([y[:, :2].clone(), y[:, 2:].clone().relu_()], 1),
        lambda n, y: torch.cat([y[:, :2], y[:, 2:].relu()], 1),
    ),
}


@pytest.mark.parametrize(("alpha", "bias"), [(1, "absorb"), (2, "ignore")])
@pytest.mark.parametrize("name", RIGHT)
def test_in_place_is_as_out_of_place(name: str, alpha: int, bias: str) -> None:
    inside, outside = (Net(between) for between in RIGHT[name])
    x = normal(2, 2, 5, 5)
    settings: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "bias": bias}
    with torch.no_grad():
        plain = inside(x)
    result = explain(inside, x, **settings)
    expected = explain(outside, x, **settings)
    assert torch.equal(result.output, plain)
    assert_same(result.output, expected.output, 1e-14)
    assert_same(result.relevance, expected.relevance)
    assert result.absorbed == pytest.approx(expected.absorbed)


def test_model_that_writes_into_its_input() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), randomise(nn.Conv2d(2, 3, 3)))
    x = normal(1, 2, 5, 5)
    before, version = x.clone(), x._version
    result = explain(net, x)
    assert torch.equal(x, before)
    assert x._version == version
    expected = explain(nn.Sequential(nn.ReLU(), net[1]), x)
    assert torch.equal(result.output, expected.output)
    assert torch.equal(result.relevance, expected.relevance)
