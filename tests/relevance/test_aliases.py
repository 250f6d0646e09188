"""Memory that has two names: what is written through one is seen through the other, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import UnsupportedOperationError
from tests.relevance._tools import assert_same, explain, hidden, normal, randomise
from tests.relevance.test_in_place import Net


def through_a_view(net: Any, y: Tensor) -> Tensor:
    y[:, 0].mul_(2)
    return y


def chunk_changed(net: Any, y: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    a.relu_()
    return torch.cat([a, b], 1)


def row_changed_in_a_loop(net: Any, y: Tensor) -> Tensor:
    for row in y:
        row.relu_()
    return y


def copied_into_a_view(net: Any, y: Tensor) -> Tensor:
    result = torch.zeros_like(y)
    result[:, :2].copy_(y[:, 2:])
    result[:, 2:].copy_(y[:, :2])
    return result


def added_into_a_view(net: Any, y: Tensor) -> Tensor:
    result = torch.zeros_like(y)
    result[:, :2].add_(y[:, 2:])
    return y + result


def constant_changed(net: Any, y: Tensor) -> Tensor:
    total = torch.zeros_like(y)
    for _ in range(2):
        total += y
    return total


def out_argument(net: Any, y: Tensor) -> Tensor:
    result = torch.empty_like(y)
    torch.add(y, 1, out=result)
    return result


def view_taken_before(net: Any, y: Tensor) -> Tensor:
    first = y[:, :1]
    y.relu_()
    return y + first


def detached_and_changed(net: Any, y: Tensor) -> Tensor:
    y.detach().mul_(2)
    return y


def data_changed(net: Any, y: Tensor) -> Tensor:
    y.data.mul_(2)
    return y


def shape_read_after(net: Any, y: Tensor) -> Tensor:
    return y.flatten(2).relu_().view(y.shape)


def foreach(net: Any, y: Tensor) -> Tensor:
    z = net.side(y)
    torch._foreach_mul_([z], -2)
    return z


def foreach_into_a_constant(net: Any, y: Tensor) -> Tensor:
    result = torch.zeros_like(y)
    torch._foreach_copy_([result], [y])
    return y + result


def data_replaced(net: Any, y: Tensor) -> Tensor:
    result = torch.zeros_like(y)
    result.data = y * 2
    return y + result


def aten_in_place(net: Any, y: Tensor) -> Tensor:
    torch.ops.aten.relu_(y)
    return y


def aten_into_a_constant(net: Any, y: Tensor) -> Tensor:
    result = torch.zeros_like(y)
    torch.ops.aten.copy_(result, y)
    return y + result


def index_put(net: Any, y: Tensor) -> Tensor:
    y.index_fill_(1, torch.tensor([0]), 0.0)
    return y


def strided_alias(net: Any, y: Tensor) -> Tensor:
    alias = y.as_strided(y.shape, y.stride())
    alias.mul_(2)
    return y


EITHER: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]] = {
    "y[:, 0].mul_(2)": (
        through_a_view,
        lambda n, y: torch.cat([y[:, :1] * 2, y[:, 1:]], 1),
    ),
    "chunk.relu_()": (chunk_changed, lambda n, y: torch.cat([y[:, :2].relu(), y[:, 2:]], 1)),
    "row.relu_()": (row_changed_in_a_loop, lambda n, y: y.relu()),
    "result[:, :2].copy_(y)": (copied_into_a_view, lambda n, y: y.roll(2, 1)),
    "result[:, :2].add_(y)": (
        added_into_a_view,
        lambda n, y: y + torch.cat([y[:, 2:], torch.zeros_like(y[:, 2:])], 1),
    ),
    "total += y": (constant_changed, lambda n, y: torch.zeros_like(y) + y + y),
    "out=": (out_argument, lambda n, y: y + 1),
    "view before": (view_taken_before, lambda n, y: y.relu() + y[:, :1].relu()),
    "detach().mul_": (detached_and_changed, lambda n, y: y * 2),
    "data.mul_": (data_changed, lambda n, y: y * 2),
    "shape read after": (shape_read_after, lambda n, y: y.relu()),
    "_foreach_mul_": (foreach, lambda n, y: n.side(y) * -2),
    "_foreach_copy_": (foreach_into_a_constant, lambda n, y: y + y),
    "data = y": (data_replaced, lambda n, y: y + y * 2),
    "aten.relu_": (aten_in_place, lambda n, y: y.relu()),
    "aten.copy_": (aten_into_a_constant, lambda n, y: y + y),
    "index_fill_": (
        index_put,
        lambda n, y: torch.cat([torch.zeros_like(y[:, :1]), y[:, 1:]], 1),
    ),
    "as_strided": (strided_alias, lambda n, y: y * 2),
}


@pytest.mark.parametrize("name", EITHER)
def test_in_place_through_another_name_is_right_or_refused(name: str) -> None:
    inside, outside = (Net(between) for between in EITHER[name])
    x = normal(2, 2, 5, 5)
    expected = explain(outside, x, alpha=2, beta=1)
    with torch.no_grad():
        assert_same(inside(x), expected.output, 1e-12)
    try:
        result = explain(inside, x, alpha=2, beta=1)
    except UnsupportedOperationError as error:
        assert error.operations  # noqa: PT017
    else:
        assert_same(result.output, expected.output, 1e-12)
        assert_same(result.relevance, expected.relevance)


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (through_a_view, r"in-place call that changed a \(2, 4, 5, 5\) tensor through a view"),
        (copied_into_a_view, r"wrote into a \(2, 4, 5, 5\) tensor by a view"),
        (detached_and_changed, r"detach .*cuts relevance off"),
        (index_put, "index_fill_"),
    ],
)
def test_refusal_names_the_call(between: Callable[[Any, Tensor], Tensor], message: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=message):
        explain(Net(between), normal(2, 2, 5, 5))


@pytest.mark.parametrize("what", ["index", "mask", "weight", "written index", "bias", "statistics"])
def test_constants_that_change_after_their_use(what: str) -> None:
    """What a call was given is what counts on the way back, not what it became later."""
    x = normal(2, 2, 5, 5)

    def net(change: bool) -> Callable[[Tensor], Tensor]:
        conv: Any = randomise(nn.Conv2d(2, 2, 3), 1)
        norm: Any = randomise(nn.BatchNorm2d(2), 2)
        weight, bias = conv.weight.detach(), conv.bias.detach()
        index, mask = torch.tensor([1, 1]), normal(5, 5, seed=3) > 0

        def forward(v: Tensor) -> Tensor:
            v = hidden(v)
            if what == "index":
                v = v[:, index]
            elif what == "mask":
                v = torch.where(mask, v, 0.0)
            elif what == "written index":
                v[:, index[:1]] = 0.0
            y = F.conv2d(v, weight, bias)
            if what == "statistics":
                y = norm(y)
            if change:
                index.zero_()
                mask.logical_not_()
                if what in ("weight", "bias"):
                    (weight if what == "weight" else bias).neg_()
                if what == "statistics":
                    norm.running_var.mul_(9)
            return y

        return forward

    expected = explain(net(False), x, alpha=2, beta=1)
    try:
        result = explain(net(True), x, pure=False, alpha=2, beta=1)
    except UnsupportedOperationError as error:
        assert error.operations  # noqa: PT017
    else:
        assert_same(result.relevance, expected.relevance)
