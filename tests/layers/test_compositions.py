"""Random chains of operations: nothing may reach a slice from beyond what it is said to cover."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.layers._twin import check, strict_trace

Step = Callable[[Tensor, list[Tensor]], Tensor]

D = torch.float64
SHAPES = [(2, 3, 4), (1, 2, 6), (2, 2, 4, 3), (1, 3, 4, 2, 2)]


def weights(*shape: int) -> Tensor:
    return torch.linspace(0.3, 9.7, torch.Size(shape).numel(), dtype=D).sin().view(shape)


def part(axis: int, chosen: slice | int) -> tuple[slice | int, ...]:
    return (*(slice(None),) * axis, chosen)


def add_shifted(x: Tensor, axis: int) -> Tensor:
    x = x.clone()
    x[part(axis, slice(1, None))] += x[part(axis, slice(None, -1))].clone()
    return x


def write_shifted(x: Tensor, axis: int) -> Tensor:
    y = torch.zeros_like(x)
    y[part(axis, slice(1, None))] = x[part(axis, slice(None, -1))]
    return y


def copy_row(x: Tensor, axis: int) -> Tensor:
    x = x.clone()
    x.select(axis, 1).copy_(x.select(axis, 0) * 3 + x.select(axis, 1))
    return x


def add_to_view(x: Tensor, axis: int) -> Tensor:
    x = x.clone()
    x.movedim(axis, 0)[1:].add_(x.movedim(axis, 0)[:1])
    return x


def along(axis: int, size: int, rng: random.Random) -> list[Step]:
    """Steps that concern one axis."""
    index = rng.randrange(size)
    steps: list[Step] = [
        lambda x, _: x.unsqueeze(axis),
        lambda x, _: x.mean(axis, keepdim=True),
        lambda x, _: x.flip(axis),
        lambda x, _: x.softmax(axis),
        lambda x, _: x.repeat_interleave(2, axis),
        lambda x, _: x.repeat([2 if i == axis else 1 for i in range(x.dim())]),
        lambda x, _: torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), x], axis),
        lambda x, _: torch.cat([x, x.narrow(axis, 0, 1)], axis),
    ]
    if size == 1:
        return [*steps, lambda x, _: x.expand([3 if i == axis else -1 for i in range(x.dim())])]
    steps += [
        lambda x, _: x.narrow(axis, 0, size - 1),
        lambda x, _: x[part(axis, slice(None, None, 2))],
        lambda x, _: x.select(axis, index),
        lambda x, _: x.roll(1, axis),
        lambda x, _: torch.stack([row * 2 for row in x.unbind(axis)], 0),
        lambda x, _: add_shifted(x, axis),
        lambda x, _: write_shifted(x, axis),
        lambda x, _: copy_row(x, axis),
        lambda x, _: add_to_view(x, axis),
    ]
    inner = [d for d in range(2, size) if size % d == 0]
    if inner:
        steps += [lambda x, _: x.unflatten(axis, (inner[0], -1))] * 3
    return steps


def on_all(shape: torch.Size, rng: random.Random) -> list[Step]:
    """Steps that concern several axes."""
    rank, total = len(shape), shape.numel()
    order = rng.sample(range(rank), rank)
    rows = rng.choice([d for d in range(1, total + 1) if total % d == 0])
    steps: list[Step] = [
        lambda x, _: x.permute(order),
        lambda x, _: x.reshape(rows, total // rows),
        lambda x, _: F.linear(x, weights(3, shape[-1])),
    ]
    if rank > 1:
        first = rng.randrange(rank - 1)
        steps += [lambda x, _: x.flatten(first, first + 1)] * 3
        steps += [
            lambda x, _: x.mean(first),
            lambda x, _: (x @ x.transpose(-1, -2)).softmax(-1) @ x,
            lambda x, _: torch.einsum("...ij,kj->...ik", x, weights(2, shape[-1])),
        ]
    if rank == 3 and shape[2] > 1:
        steps += [
            lambda x, _: F.conv1d(x, weights(2, shape[1], 3), padding=1, stride=2),
            lambda x, _: F.avg_pool1d(x, 2, 1),
            lambda x, _: F.conv_transpose1d(x, weights(shape[1], 2, 3), stride=2, padding=1),
        ]
    return steps


def with_earlier(shape: torch.Size, values: list[Tensor], rng: random.Random) -> list[Step]:
    """Steps that meet an earlier value again."""
    number = rng.randrange(len(values))
    other = values[number].shape
    steps: list[Step] = []
    if len(other) != len(shape):
        return steps
    unlike = [i for i, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    if len(unlike) <= 1:
        axis = unlike[0] if unlike else rng.randrange(len(shape))
        steps += [lambda x, known: torch.cat([x, known[number]], axis)] * 3
    if all(shape[i] == 1 or other[i] == 1 for i in unlike):
        steps += [lambda x, known: x * (known[number] + 3)] * 3
        steps += [lambda x, known: x + 2 * known[number]] * 3
    return steps


def chain(x: Tensor, rng: random.Random) -> list[Step]:
    """Some steps that fit each other."""
    steps: list[Step] = []
    values = [x]
    for _ in range(rng.randrange(2, 9)):
        y = values[-1]
        axis = rng.randrange(y.dim())
        possible = [
            *along(axis, y.shape[axis], rng),
            *on_all(y.shape, rng) * 2,
            *with_earlier(y.shape, values, rng) * 2,
        ]
        step = rng.choice(possible)
        y = step(y, values)
        if 1 <= y.dim() <= 6 and y.numel() < 1500:
            steps.append(step)
            values.append(y)
    return steps


@pytest.mark.parametrize("seed", range(8))
def test_chains(seed: int) -> None:
    followed = 0
    for number in range(40):
        rng = random.Random(1000 * seed + number)
        x = weights(*rng.choice(SHAPES)) + 1
        steps = chain(x, rng)

        def net(x: Tensor, steps: list[Step] = steps) -> Tensor:
            values = [x]
            for step in steps:
                values.append(step(values[-1], values))
            return values[-1]

        with strict_trace(x) as trace:
            output = net(x)
        if trace.layout(output) is not None:
            followed += 1
            check(net, x, exact=False)
    assert followed >= 15
