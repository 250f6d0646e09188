"""Several tensors in, one out; and operations after which a slice has seen all the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.layers._twin import bounds, check, layout_of, text

D = torch.float64
Case = tuple[Callable[..., Any], tuple[tuple[int, ...], ...], str]


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=D)


def weight(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=D) + 0.1


def fixed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.data = weight(*parameter.shape) - 0.6
    return module.double().eval()


SUMS: dict[str, Case] = {
    "branches of unlike support": (
        lambda x: x[:, :, 1:-1] + F.avg_pool1d(x, 3, 1),
        ((2, 3, 9),),
        "0, 1, 2",
    ),
    "difference of frames": (lambda x: x[:, :, 1:] - x[:, :, :-1], ((2, 3, 9),), "0, 1, 2"),
    "channels joined": (
        lambda x: torch.cat([x, F.avg_pool1d(x, 5, 1, 2)], 1),
        ((2, 3, 9),),
        "0, 1, 2",
    ),
    "upsampled in two ways": (
        lambda x: x.repeat_interleave(2, 2) + F.interpolate(x, scale_factor=2, mode="linear"),
        ((2, 3, 5),),
        "0, 1, 2",
    ),
    "repeated for each frame": (
        lambda x: x.mean(2).repeat_interleave(5, 0) * x.transpose(1, 2).flatten(0, 1),
        ((2, 3, 5),),
        "0*2~, 1",
    ),
    "stacked": (lambda x: torch.stack([x, x * 2], 0), ((2, 3, 9),), "-, 0, 1, 2"),
    "maximum": (torch.max, ((2, 3, 5), (2, 3, 5)), "0, 1, 2"),
    "where": (lambda x, y: torch.where(x > 0.5, x, y), ((2, 5), (2, 5)), "0, 1"),
    "positions": (lambda x: x.flatten(2) + weight(1, 1, 5), ((2, 3, 5),), "0, 1, 2"),
    "positions, expanded": (
        lambda x: x + weight(1, 1, 5).expand_as(x).to(x).type_as(x),
        ((2, 3, 5),),
        "0, 1, 2",
    ),
    "masked": (lambda x: x.tril() * (x > 0.5).type(D), ((2, 3, 3),), "0, 1, 2"),
    "sampled": (
        lambda x: F.grid_sample(x, weight(2, 3, 3, 2), align_corners=False),
        ((2, 2, 4, 4),),
        "0, 1, -, -",
    ),
    "warped by itself": (
        lambda x: F.grid_sample(x, x.permute(0, 2, 3, 1), align_corners=False),
        ((2, 2, 4, 4),),
        "0, 1~, 2~, 3~",
    ),
    "two streams": (
        lambda a, b: a + F.avg_pool1d(b, 4, 4),
        ((2, 3, 4), (2, 3, 16)),
        "0, 1, 2",
    ),
    "gated channels": (
        lambda x: x * x.mean((2, 3, 4), keepdim=True).sigmoid(),
        ((2, 3, 5, 2, 2),),
        "0, 1, 2~, 3~, 4~",
    ),
    "gated, reshaped": (
        lambda x: x * x.mean((2, 3, 4)).sigmoid().view(2, 3, 1, 1, 1),
        ((2, 3, 5, 2, 2),),
        "0, 1, 2~, 3~, 4~",
    ),
    "gated frames": (
        lambda x: x * x.mean((1, 3, 4), keepdim=True).sigmoid(),
        ((2, 3, 5, 2, 2),),
        "0, 1~, 2, 3~, 4~",
    ),
    "less its mean": (lambda x: x - x.mean(2, keepdim=True), ((2, 3, 5),), "0, 1, 2~"),
    "times its repeated mean": (
        lambda x: x * x.mean(1, keepdim=True).repeat(1, 3, 1),
        ((2, 3, 5),),
        "0, 1~, 2",
    ),
    "against itself": (lambda x: x + x.transpose(1, 2), ((2, 4, 4),), "0, -, -"),
    "gated linear": (lambda x: F.glu(x, 1), ((2, 4, 5),), "0, 1, 2"),
    "gated linear in time": (lambda x: F.glu(x, 2), ((2, 4, 6),), "0, 1, 2"),
}

PRODUCTS: dict[str, Case] = {
    "linear": (lambda x: F.linear(x, weight(4, 5)), ((2, 3, 5),), "0, 1, -"),
    "linear on frames": (
        lambda x: F.linear(x.transpose(1, 2), weight(4, 3)).transpose(1, 2),
        ((2, 3, 5),),
        "0, -, 2",
    ),
    "mixer": (lambda x: x + F.linear(x, weight(5, 5)), ((2, 3, 5),), "0, 1, 2~"),
    "einsum": (lambda x: torch.einsum("bct, dc -> btd", x, weight(7, 3)), ((2, 3, 5),), "0, 2, -"),
    "einsum with dots": (
        lambda x, y: torch.einsum("...ij,...kj->...ik", x, y),
        ((2, 2, 5, 4), (2, 2, 3, 4)),
        "0, 1, 2, 1.2",
    ),
    "einsum, implicit": (lambda x: torch.einsum("tcb", x), ((2, 2, 5),), "2, 1, 0"),
    "affinity": (lambda x: torch.einsum("bct,bcs->bts", x, x), ((2, 2, 5),), "0, 2~, 2~"),
    "mm": (lambda x: x @ weight(5, 4), ((2, 5),), "0, -"),
    "mv": (lambda x: x @ weight(5), ((2, 3, 5),), "0, 1"),
    "vm": (lambda x: weight(3) @ x, ((2, 3, 5),), "0, 2"),
    "baddbmm": (
        lambda x: torch.baddbmm(weight(1, 1, 4), x, weight(2, 5, 4)),
        ((2, 3, 5),),
        "0, 1, -",
    ),
    "addmm": (lambda x: torch.addmm(weight(4), x, weight(5, 4)), ((2, 5),), "0, -"),
    "addmm onto": (lambda x: torch.addmm(x, weight(2, 4), weight(4, 5)), ((2, 5),), "0, 1"),
}

_lstm = fixed(nn.LSTM(3, 4, batch_first=True))
_gru = fixed(nn.GRU(3, 4, bidirectional=True, num_layers=2))
_heads = fixed(nn.MultiheadAttention(4, 2, batch_first=True))
_late = fixed(nn.MultiheadAttention(4, 2))
_encoder = fixed(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
_decoder = fixed(nn.TransformerDecoderLayer(4, 2, 8, batch_first=True))
_cell = fixed(nn.LSTMCell(3, 4))
_gated = fixed(nn.GRUCell(3, 4))


def unrolled(x: Tensor) -> Tensor:
    h = c = torch.zeros(len(x), 4, dtype=D)
    states = []
    for t in range(x.shape[1]):
        h, c = _cell(x[:, t], (h, c))
        states.append(h)
    return torch.stack(states, 1)


def unrolled_gru(x: Tensor) -> Tensor:
    state, states = None, []
    for frame in x.unbind(1):
        state = _gated(frame, state)
        states.append(state)
    return torch.stack(states, 0)


ATTENTION: dict[str, Case] = {
    "lstm": (lambda x: _lstm(x)[0], ((2, 5, 3),), "0, 1~, -"),
    "last state": (lambda x: _lstm(x)[0][:, -1], ((2, 5, 3),), "0, -"),
    "hidden state": (lambda x: _lstm(x)[1][0], ((2, 5, 3),), "-, 0, -"),
    "no batch": (lambda x: _lstm(x)[0], ((5, 3),), "0~, -"),
    "gru": (lambda x: _gru(x)[0], ((5, 2, 3),), "0~, 1, -"),
    "gru's state": (lambda x: _gru(x)[1], ((5, 2, 3),), "-, 1, -"),
    "gru from a state": (lambda x, h: _gru(x, h)[0], ((5, 2, 3), (4, 2, 4)), "0~, 1, -"),
    "lstm cells": (unrolled, ((2, 5, 3),), "0, 1, -"),
    "gru cells": (unrolled_gru, ((2, 5, 3),), "1, 0, -"),
    "scaled product": (
        lambda x: F.scaled_dot_product_attention(x, x, x),
        ((2, 2, 5, 4),),
        "0, 1, 2~, 3~",
    ),
    "scaled product of two": (
        lambda x, y: F.scaled_dot_product_attention(x, y, y),
        ((2, 2, 5, 4), (2, 2, 7, 4)),
        "0, 1, 2, 1.3~",
    ),
    "by hand": (
        lambda x: (x @ x.transpose(-1, -2)).softmax(-1) @ x,
        ((2, 2, 5, 4),),
        "0, 1, 2~, 3~",
    ),
    "heads": (lambda x: _heads(x, x, x)[0], ((2, 5, 4),), "0, 1~, -"),
    "heads, no weights": (
        lambda x: _heads(x, x, x, need_weights=False)[0],
        ((2, 5, 4),),
        "0, 1~, -",
    ),
    "their weights": (lambda x: _heads(x, x, x)[1], ((2, 5, 4),), "0, 1~, 1~"),
    "weights of each": (
        lambda x: _late(x, x, x, average_attn_weights=False)[1],
        ((5, 2, 4),),
        "1, -, 0~, 0~",
    ),
    "heads, no batch": (lambda x: _late(x, x, x)[0], ((5, 4),), "0~, -"),
    "weights, no batch": (
        lambda x: _late(x, x, x, average_attn_weights=False)[1],
        ((5, 4),),
        "-, 0~, 0~",
    ),
    "heads on another": (lambda x, y: _late(x, y, y)[0], ((5, 2, 4), (3, 2, 4)), "0, 1, -"),
    "encoder layer": (_encoder, ((2, 5, 4),), "0, 1~, 2~"),
    "decoder layer": (_decoder, ((2, 5, 4), (2, 3, 4)), "0, 1~, 2~"),
}

REDUCTIONS: dict[str, Case] = {
    "mean over time": (lambda x: x.mean(2), ((2, 3, 5, 4),), "0, 1, 3"),
    "kept": (lambda x: x.mean((-1, -2), keepdim=True), ((2, 3, 5, 4),), "0, 1, 2, 3"),
    "max over time": (lambda x: x.max(2)[0], ((2, 3, 5, 4),), "0, 1, 3"),
    "amax": (lambda x: x.amax((2, 3)), ((2, 3, 5, 4),), "0, 1"),
    "std": (lambda x: x.std(2), ((2, 3, 5),), "0, 1"),
    "std, flag first": (lambda x: torch.std(x, False), ((2, 3),), ""),
    "std_mean": (lambda x: torch.std_mean(x, dim=1)[1], ((2, 3, 5),), "0, 2"),
    "norm": (lambda x: x.norm(dim=2), ((2, 3, 5),), "0, 1"),
    "normalize": (lambda x: F.normalize(x, dim=1), ((2, 3, 5),), "0, 1~, 2"),
    "softmax": (lambda x: x.softmax(-1) + F.softmax(x, 1), ((2, 3, 5),), "0, 1~, 2~"),
    "cumsum": (lambda x: x.cumsum(2), ((2, 3, 5),), "0, 1, 2~"),
    "sort": (lambda x: x.sort(dim=1)[0], ((2, 3, 5),), "0, -, 2"),
    "topk": (lambda x: x.topk(2, dim=2)[0], ((2, 3, 5),), "0, 1, -"),
    "layer norm": (lambda x: F.layer_norm(x, (5,)), ((2, 3, 5),), "0, 1, 2~"),
    "group norm": (lambda x: F.group_norm(x, 2), ((2, 4, 5),), "0, 1~, 2~"),
    "instance norm": (lambda x: F.instance_norm(x), ((2, 4, 5),), "0, 1, 2~"),
    "batch norm": (lambda x: F.batch_norm(x, weight(4), weight(4)), ((2, 4, 5),), "0, 1, 2"),
    "batch norm of the batch": (
        lambda x: F.batch_norm(x, None, None, training=True),
        ((2, 4, 5),),
        "0~, 1, 2~",
    ),
}

ALL = SUMS | PRODUCTS | ATTENTION | {f"reduced by {key}": c for key, c in REDUCTIONS.items()}
ALL.pop("reduced by std, flag first")


@pytest.mark.parametrize("name", ALL)
def test_axes_and_slices(name: str) -> None:
    function, shapes, expected = ALL[name]
    check(function, *(clip(*shape) for shape in shapes), expected=expected)


def test_union_by_hand() -> None:
    x = clip(1, 1, 8)
    ones = torch.ones(1, 1, 3, dtype=D)

    def residual(t: Tensor) -> Tensor:
        return t[:, :, ::2] + F.conv1d(t, ones, stride=2, padding=1)

    def lagged(t: Tensor) -> Tensor:
        return t[:, :, 3:] + t[:, :, :-3]

    assert bounds(residual, x, 2) == [(-1, 1), (1, 3), (3, 5), (5, 7)]
    assert bounds(lagged, x, 2) == [(k, k + 3) for k in range(5)]


def test_mixed_slices_keep_their_place() -> None:
    def net(t: Tensor) -> Tensor:
        return F.avg_pool1d(t, 2) * t.mean((1, 2), keepdim=True)

    assert bounds(net, clip(2, 3, 6), 2) == [(0, 1), (2, 3), (4, 5)]


def test_states_reach_back() -> None:
    assert bounds(unrolled, clip(2, 4, 3), 1) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_first_of_two_inputs_names_the_axis() -> None:
    layout = layout_of(lambda a, b: b + a, clip(2, 4), clip(2, 4))
    assert text(layout) == "0, 1"
    assert set(layout.hidden) == {(1, 0), (1, 1)}
