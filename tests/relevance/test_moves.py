"""Calls that move, copy, drop or overwrite values take relevance back where the value came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.relevance import AlphaBeta
from tests.relevance._dense import matrix
from tests.relevance._tools import assert_same, explain, hidden, normal, randomise, uniform

SHAPE = (2, 4, 3, 4)
MASK = uniform(*SHAPE, seed=3) > 0.4
ROWS = torch.tensor([2, 0, 2])
OTHER = normal(*SHAPE, seed=4)


def temporal_shift(x: Tensor) -> Tensor:
    """As TSM does it: channels written into a new tensor, one frame on or back."""
    result = torch.zeros_like(x)
    result[:, :1, 1:] = x[:, :1, :-1]
    result[:, 1:2, :-1] = x[:, 1:2, 1:]
    result[:, 2:] = x[:, 2:]
    return result


def loop_over_rows(x: Tensor) -> Tensor:
    return torch.stack([row * (2 if number else 1) for number, row in enumerate(x)])


def loop_over_frames(x: Tensor) -> Tensor:
    return torch.stack([frame.flatten(1) for frame in x.unbind(2)], 1)


def written(x: Tensor, index: Any, value: Any) -> Tensor:
    y = x.clone()
    y[index] = value
    return y


def filled(x: Tensor) -> Tensor:
    frames = torch.empty(x.shape[2], x.shape[0], x.shape[1], dtype=x.dtype)
    for t in range(x.shape[2]):
        frames[t] = x[:, :, t, 0]
    return frames


def copied(x: Tensor) -> Tensor:
    result = torch.ones(2, *x.shape, dtype=x.dtype)
    result.copy_(x)
    return result


def swapped_halves(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :2], y[:, 2:] = x[:, 2:], x[:, :2]
    return y


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(2, -1),
    "reshape": lambda x: torch.reshape(x.transpose(1, 2), (-1,)),
    "flatten": lambda x: torch.flatten(x, 1, 2),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "permute": lambda x: x.permute(3, 0, 2, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "movedim": lambda x: x.movedim(1, -1),
    "T": lambda x: x[0, 0].T,
    "mT": lambda x: x.mT,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(2),
    "squeeze_": lambda x: x[:, :1].squeeze_(1),
    "unsqueeze_": lambda x: x.clone().unsqueeze_(0),
    "transpose_": lambda x: x.clone().transpose_(1, 3),
    "[None]": lambda x: x[:, None, ..., 0],
    "slice": lambda x: x[:, 1:, ::2, -1],
    "rows": lambda x: x[:, ROWS],
    "mask": lambda x: x[MASK],
    "masked_select": lambda x: x.masked_select(MASK),
    "index_select": lambda x: x.index_select(1, ROWS),
    "gather": lambda x: x.gather(1, ROWS.view(1, 3, 1, 1).expand(2, 3, 3, 4)),
    "take": lambda x: torch.take(x, ROWS),
    "select": lambda x: x.select(2, -1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "flip": lambda x: x.flip(1, 2),
    "roll": lambda x: torch.roll(x, 1, 2),
    "rot90": lambda x: torch.rot90(x, 1, (1, 3)),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1, -1),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: x.tile(2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "pad with a value": lambda x: F.pad(x, (1, 1), value=3.0),
    "crop": lambda x: F.pad(x, (-1, 0, 0, -1)),
    "replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "reflect": lambda x: nn.ReflectionPad2d(1)(x),
    "circular": lambda x: F.pad(x, (1, 1, 0, 0), mode="circular"),
    "cat": lambda x: torch.cat([x, x.flip(1), OTHER], 1),
    "cat itself": lambda x: torch.cat((x, x)),
    "concat": lambda x: torch.concat([OTHER, x], dim=-1),
    "stack": lambda x: torch.stack([x[0], OTHER[0], x[1]], 1),
    "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "one chunk": lambda x: x.chunk(3, 1)[1],
    "split": lambda x: x.split([1, 3], 1)[1],
    "torch.split": lambda x: torch.split(x, 2, 3)[0],
    "tensor_split": lambda x: torch.cat(x.tensor_split(3, 3)[1:], 0),
    "unbind": lambda x: x.unbind(1)[2],
    "loop over rows": loop_over_rows,
    "loop over frames": loop_over_frames,
    "unpacked": lambda x: (lambda a, b: torch.cat([b, a]))(*x),
    "unfold": lambda x: x.unfold(3, 2, 1),
    "im2col": lambda x: F.unfold(x, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "diagonal": lambda x: x.diagonal(0, 2, 3),
    "tril": torch.tril,
    "contiguous": lambda x: x.transpose(1, 2).contiguous(),
    "already contiguous": lambda x: x.contiguous(),
    "clone": torch.clone,
    "to": lambda x: x.to(torch.float64, copy=True),
    "there and back": lambda x: x.float().double(),
    "where": lambda x: torch.where(MASK, x, OTHER),
    "where, second": lambda x: torch.where(MASK, 0.0, x),
    "where, both": lambda x: torch.where(MASK, x, x.flip(1)),
    "where, method": lambda x: x.where(MASK, OTHER),
    "masked_fill": lambda x: x.masked_fill(MASK, -1.0),
    "view_as": lambda x: x.reshape(4, 2, 3, 4).view_as(x),
    "expand_as": lambda x: x[:, :1].expand_as(OTHER),
    "written over": lambda x: written(x, (slice(None), 1), 0.0),
    "written by another": lambda x: written(x, (slice(None), 1), x[:, 2]),
    "written by a mask": lambda x: written(x, MASK, 2.0),
    "written by rows": lambda x: written(x, (slice(None), ROWS[:2]), x[:, 2:]),
    "written by broadcasting": lambda x: written(x, (0, slice(1, 3)), x[1, 0]),
    "written by one value": lambda x: written(x, ..., x[0, 0, 0, 0]),
    "written through a leading axis": lambda x: written(x, 0, x[:1, 1:2]),
    "temporal shift": temporal_shift,
    "filled frame by frame": filled,
    "swapped halves": swapped_halves,
    "copy_": copied,
    "copy_ over": lambda x: x.clone().copy_(x.flip(1)),
}


@pytest.mark.parametrize("name", MOVES)
def test_relevance_goes_back_where_the_value_came_from(name: str) -> None:
    function, x = MOVES[name], normal(*SHAPE)
    places = (matrix(function, SHAPE) != 0).astype(float)
    assert places.any()
    for net in (function, lambda v: function(hidden(v))):
        result = explain(net, x)
        assert torch.equal(result.output, function(x))
        expected = torch.from_numpy(result.seed.flatten().numpy() @ places).view(SHAPE)
        assert_same(result.relevance, expected, 1e-6 if name == "there and back" else 1e-12)


@pytest.mark.parametrize(
    "like",
    [
        lambda c, x: c.to(x),
        lambda c, x: c.type_as(x),
        lambda c, x: c.expand_as(x),
        lambda c, x: c.expand(x.shape).contiguous().view_as(x),
        lambda c, x: c.expand(x.shape).reshape_as(x),
        lambda c, x: torch.broadcast_to(c, x.shape),
        lambda c, x: x.new_tensor([2.0]),
        lambda c, x: torch.full_like(x, 3.0),
    ],
)
def test_constant_made_after_the_value_is_a_constant(
    like: Callable[[Tensor, Tensor], Tensor],
) -> None:
    constant = uniform(4, 1, 1).float()
    result = explain(lambda x: hidden(x) * like(constant, x) + like(constant, x), normal(*SHAPE))
    assert torch.equal(result.relevance, result.seed)


@pytest.mark.parametrize("name", ["pad with a value", "where", "cat", "written over"])
@pytest.mark.parametrize("bias", ["absorb", "ignore"])
def test_relevance_of_constants_is_counted(name: str, bias: str) -> None:
    """What a constant was given, inputs do not get back: the sum must say so."""
    result = explain(lambda x: MOVES[name](hidden(x)), normal(*SHAPE), bias=bias)
    assert abs(float(result.seed.sum()) - result.total) > 0.1
    assert float(result.seed.sum()) - result.total == pytest.approx(result.absorbed, rel=1e-9)


INPUT_MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "flipped": lambda x: x.flip(3),
    "permuted": lambda x: x.permute(0, 1, 3, 2),
    "cropped": lambda x: x[..., 1:],
    "dropped": lambda x: F.dropout(x, training=False),
    "normalised": lambda x: (x - 0.4) / 0.25,
    "negated": lambda x: 1 - 2 * x,
    "normalised by channel": lambda x: (
        (x - uniform(4, 1, 1, seed=1)) * torch.tensor([2.0, -1.0, 0.5, -3.0]).view(4, 1, 1)
    ),
    "normalised in place": lambda x: x.mul_(2).sub_(1),
    "stacked": lambda x: torch.cat([x[:, :2], 1 - x[:, 2:]], 1),
    "padded": lambda x: F.pad(x, (1, 1)),
    "pooled": lambda x: F.max_pool2d(x, 2, 1),
    "batch norm": lambda x: F.batch_norm(
        x, normal(4, seed=1), 0.5 + uniform(4, seed=2), normal(4, seed=3), normal(4, seed=4)
    ),
    "frame by frame": lambda x: torch.stack(x.unbind(3), 3),
}


@pytest.mark.parametrize("name", INPUT_MOVES)
def test_range_follows_the_input(name: str) -> None:
    """Behind calls that move or rescale the input, z-beta sees it in the range it has there."""
    move, conv = INPUT_MOVES[name], randomise(nn.Conv2d(4, 3, 2), 2)
    x = uniform(*SHAPE, seed=5)
    result = explain(lambda v: conv(move(v)), x, input_range=(0, 1))
    moved = move(x.clone())
    ends = move(torch.zeros_like(x)), move(torch.ones_like(x))
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    with torch.no_grad():
        above, below = conv.weight.clamp(min=0), conv.weight.clamp(max=0)
        total = F.conv2d(moved - low, above) + F.conv2d(moved - high, below)
        share = result.seed / total
        given = (moved - low) * F.conv_transpose2d(share, above)
        given += (moved - high) * F.conv_transpose2d(share, below)
    back = explain(move, x, seed=given)
    assert_same(result.relevance, back.relevance)


@pytest.mark.parametrize(
    "change",
    [torch.relu, lambda x: x + x.flip(1), lambda x: x.clamp(0, 1), lambda x: x + hidden(x)],
)
def test_range_ends_where_the_input_is_changed(change: Callable[[Tensor], Tensor]) -> None:
    conv, x = randomise(nn.Conv2d(4, 3, 2), 2), uniform(*SHAPE, seed=5)
    result = explain(lambda v: conv(change(v)), x, input_range=(0, 1), alpha=2, beta=1)
    middle = explain(conv, change(x), rules={"first": AlphaBeta(2, 1)})
    expected = explain(change, x, seed=middle.relevance, alpha=2, beta=1)
    assert_same(result.relevance, expected.relevance)


def test_unknown_range_makes_the_first_layer_w_square_behind_moves() -> None:
    conv, x = randomise(nn.Conv2d(4, 3, 2), 2), uniform(*SHAPE, seed=5)
    for move in (
        lambda x: x.flip(3),
        lambda x: x / 255 - 0.5,
        lambda x: torch.cat([x[:, :2]] * 2, 1),
    ):
        result = explain(lambda v, move=move: conv(move(v)), x)
        other = explain(lambda v, move=move: conv(move(v)), 7 * x - 2)
        assert_same(result.relevance, other.relevance)  # whatever the input's values are
        assert float(result.relevance.std()) > 0


def test_range_of_two_streams() -> None:
    """One stream with a range, one without: together they have none, apart each its own."""
    conv, other = randomise(nn.Conv1d(2, 3, 2), 1), randomise(nn.Conv1d(2, 3, 2), 2)
    a, b = uniform(1, 2, 5, seed=1), uniform(1, 2, 5, seed=2)
    ranges = ((0, 1), None)
    both = lambda a, b: torch.cat([conv(a), other(b)], 1)  # noqa: E731
    result = explain(both, a, b, input_range=ranges)
    of_a = explain(conv, a, seed=result.seed[:, :3], input_range=(0, 1))
    of_b = explain(other, b, seed=result.seed[:, 3:])
    assert_same(result.parts[0], of_a.relevance)
    assert_same(result.parts[1], of_b.relevance)
    wide = randomise(nn.Conv1d(4, 3, 2), 1)
    joined = explain(lambda a, b: wide(torch.cat([a, b], 1)), a, b, input_range=ranges)
    alone = explain(wide, torch.cat([a, b], 1))
    assert_same(torch.cat(joined.parts, 1), alone.relevance)
