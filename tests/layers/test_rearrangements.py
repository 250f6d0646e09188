"""Reshapes, permutations, slices, joins: which axis is which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captum_video.layers.layout import Layout
from tests.layers._twin import bounds, check, layout_of, strict_trace, text

D = torch.float64
Case = tuple[Callable[..., Any], tuple[int, ...], str]


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=D)


def kernel(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=D)


def by_frames(x: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(-1, *x.shape[1:2], *x.shape[3:])


def frames_first(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1, 3, 4).flatten(0, 1)


RESHAPES: dict[str, Case] = {
    "clips outside": (by_frames, (2, 3, 5, 4, 4), "0*2, 1, 3, 4"),
    "frames outside": (frames_first, (2, 3, 5, 4, 4), "2*0, 1, 3, 4"),
    "frames outside and back": (
        lambda x: frames_first(x).view(5, 2, 3, 4, 4).transpose(0, 1),
        (2, 3, 5, 4, 4),
        "0, 2, 1, 3, 4",
    ),
    "one clip": (lambda x: by_frames(x).view(1, 5, 3, 4, 4), (1, 3, 5, 4, 4), "0, 2, 1, 3, 4"),
    "per frame net": (
        lambda x: F.conv2d(by_frames(x), kernel(2, 3, 3, 3)).flatten(1).view(2, 5, -1),
        (2, 3, 5, 4, 4),
        "0, 2, -*3*4",
    ),
    "tubelets": (lambda x: x.unflatten(2, (3, 2)), (2, 3, 6), "0, 1, 2/, 2/"),
    "tubelets and back": (
        lambda x: x.unflatten(2, (3, 2)).transpose(2, 3).contiguous().transpose(3, 2).flatten(2),
        (2, 3, 6),
        "0, 1, 2",
    ),
    "three pieces": (
        lambda x: x.view(2, 3, 2, 3, 4).reshape(2, 3, 6, 4).flatten(2),
        (2, 3, 24),
        "0, 1, 2",
    ),
    "pieces in wrong order": (
        lambda x: x.view(2, 3, 2, 3, 4).permute(0, 1, 3, 2, 4).flatten(2),
        (2, 3, 24),
        "0, 1, 2/*2/*2/",
    ),
    "does not nest": (lambda x: x.reshape(2, 6, 2), (2, 4, 3), "0, -, -"),
    "does not nest, then does": (lambda x: x.reshape(6, 2, 5), (4, 3, 5), "-, -, 2"),
    "squeeze": (
        lambda x: x.mean((3, 4), keepdim=True).squeeze(-1).squeeze(),
        (2, 3, 5, 4, 4),
        "0, 1, 2",
    ),
    "squeeze axes": (lambda x: x.mean((1, 3), keepdim=True).squeeze((1, 3)), (2, 3, 5, 4), "0, 2"),
    "unsqueeze": (lambda x: x.unsqueeze(1)[:, 0].unsqueeze(-1), (2, 3), "0, 1, -"),
    "expand": (lambda x: x.mean(2, keepdim=True).expand(2, 3, 7), (2, 3, 5), "0, 1, 2"),
    "expand, new axis": (lambda x: x.expand(4, 2, 3), (2, 3), "-, 0, 1"),
    "repeat": (lambda x: x.repeat(1, 2, 3), (2, 3, 5), "0, -*1, -*2"),
    "repeat, new axis": (lambda x: x.repeat(4, 1, 1), (2, 3), "-, 0, 1"),
    "repeat each": (lambda x: x.repeat_interleave(3, 1), (2, 3), "0, 1*-"),
    "movedim": (lambda x: x.movedim((0, 2), (1, 0)), (2, 3, 4, 5), "2, 0, 1, 3"),
    "moveaxis": (lambda x: x.moveaxis(-1, 1), (2, 3, 4, 5), "0, 3, 1, 2"),
    "T": (lambda x: x.T, (2, 3), "1, 0"),
    "mT and swaps": (lambda x: x.mT.swapaxes(0, 1).swapdims(-1, 0), (2, 3, 4), "1, 0, 2"),
}

PICKS: dict[str, Case] = {
    "split": (lambda x: torch.cat(x.split([2, 3], 2)[::-1], 2), (2, 3, 5), "0, 1, 2"),
    "chunk": (lambda x: x.chunk(2, 2)[1], (2, 3, 5), "0, 1, 2"),
    "tensor_split": (lambda x: torch.tensor_split(x, (2, 3), dim=2)[2], (2, 3, 5), "0, 1, 2"),
    "select": (lambda x: x.select(2, -1), (2, 3, 5), "0, 1"),
    "narrow": (lambda x: x.narrow(2, 1, 3), (2, 3, 5), "0, 1, 2"),
    "index_select": (lambda x: x.index_select(2, torch.tensor([0, 3, 4])), (2, 3, 5), "0, 1, 2"),
    "flip": (lambda x: x.flip(2), (2, 3, 5), "0, 1, 2"),
    "roll": (lambda x: x.roll((1, -2), (1, 2)), (2, 3, 5), "0, 1, 2"),
    "list and steps": (lambda x: x[:, None, [0, 2], ..., ::2], (2, 3, 5, 6), "0, -, 1, 2, 3"),
    "negative": (lambda x: x[-1, :, 1:-1], (2, 3, 5, 6), "1, 2, 3"),
    "tensor": (lambda x: x[0, :, torch.tensor([1, 3])], (2, 3, 5), "1, 2"),
    "flags": (
        lambda x: x[:, :, torch.tensor([True, False, True, False, True])],
        (2, 3, 5),
        "0, 1, 2",
    ),
    "number in a tensor": (lambda x: x[:, torch.tensor(1)], (2, 3, 5), "0, 2"),
}

LOOPS: dict[str, Case] = {
    "unbind": (
        lambda x: torch.stack([f.sum((1,)) for f in x.unbind(1)], 2),
        (2, 5, 3, 4),
        "0, 3, 1",
    ),
    "iteration": (
        lambda x: torch.stack([f * 2 for f in x.transpose(0, 2)], 1),
        (2, 3, 5),
        "1, 2, 0",
    ),
    "reversed": (lambda x: torch.stack(list(reversed(x.transpose(0, 2)))), (2, 3, 5), "2, 1, 0"),
    "frame by frame": (
        lambda x: torch.cat([x[:, :, t].mean((2, 3)).unsqueeze(1) for t in range(5)], 1),
        (2, 3, 5, 4, 4),
        "0, 2, 1",
    ),
    "every other frame": (
        lambda x: torch.stack([x[:, :, t] for t in range(0, 6, 2)], 2),
        (2, 3, 6),
        "0, 1, 2",
    ),
    "constant before": (
        lambda x: torch.stack([torch.zeros(2, 3, dtype=D), x[:, :, 0], x[:, :, 1]], 2),
        (2, 3, 2),
        "0, 1, 2",
    ),
}


@pytest.mark.parametrize("name", RESHAPES | PICKS | LOOPS)
def test_axes_and_slices(name: str) -> None:
    function, shape, expected = (RESHAPES | PICKS | LOOPS)[name]
    check(function, clip(*shape), expected=expected)


def test_pieces_cover_what_falls_to_them() -> None:
    layout = layout_of(lambda x: x.unflatten(0, (3, 2)), clip(6))
    outer, inner = layout.axes[0][0][0], layout.axes[1][0][0]
    assert (outer.first, outer.last) == ((0, 2, 4), (1, 3, 5))
    assert (inner.first, inner.last) == ((0, 1), (4, 5))


def test_slices_picked_by_steps() -> None:
    # how SlowFast takes every fourth frame
    picked = torch.linspace(0, 31, 8).long()
    assert bounds(lambda x: x.index_select(2, picked), clip(1, 1, 32), 2) == [
        (float(i), float(i)) for i in picked
    ]
    assert bounds(lambda x: x[:, :, 2::7], clip(1, 1, 32), 2) == [
        (i, i) for i in (2.0, 9.0, 16.0, 23.0, 30.0)
    ]


def tokens(x: Tensor) -> Tensor:
    """A class token before the patches, as transformers do it."""
    patches = x.flatten(2).transpose(1, 2)
    return torch.cat([torch.zeros(len(x), 1, x.shape[1], dtype=D), patches], 1)


TOKENS: dict[str, Case] = {
    "with class token": (tokens, (2, 3, 4, 2, 2), "0, -+2*3*4, 1"),
    "taken off": (
        lambda x: tokens(x)[:, 1:].transpose(1, 2).unflatten(2, (4, 2, 2)),
        (2, 3, 4, 2, 2),
        "0, 1, 2, 3, 4",
    ),
    "taken off by split": (
        lambda x: tokens(x).split([1, 16], 1)[1],
        (2, 3, 4, 2, 2),
        "0, 2*3*4, 1",
    ),
    "one patch": (lambda x: tokens(x)[:, 6], (2, 3, 4, 2, 2), "0, 1"),
    "two frames": (lambda x: tokens(x)[:, 5:13], (2, 3, 4, 2, 2), "0, 2*3*4, 1"),
    "no whole frames": (lambda x: tokens(x)[:, 2:7], (2, 3, 4, 2, 2), "0, -, 1"),
    "a frame and a bit": (lambda x: tokens(x)[:, 1:6], (2, 3, 4, 2, 2), "0, -, 1"),
    "reflected": (
        lambda x: F.pad(tokens(x).transpose(1, 2), (2, 2), mode="reflect"),
        (2, 3, 4, 2, 2),
        "0, 1, -",
    ),
    "every other token": (lambda x: tokens(x)[:, ::2], (2, 3, 4, 2, 2), "0, -, 1"),
    "padded and cut": (
        lambda x: F.pad(tokens(x), (0, 0, 2, 3))[:, 3:-3],
        (2, 3, 4, 2, 2),
        "0, 2*3*4, 1",
    ),
    "mean of the patches": (
        lambda x: tokens(x)[:, 1:].mean(1, keepdim=True),
        (2, 3, 4, 2, 2),
        "0, 2*3*4, 1",
    ),
    "folded with the clips": (
        lambda x: torch.cat([torch.zeros(2, 1, 3, dtype=D), x], 1).flatten(0, 1),
        (2, 4, 3),
        "-, 2",
    ),
    "heads": (
        lambda x: tokens(x).unflatten(2, (3, 2)).transpose(1, 2).flatten(0, 1),
        (2, 6, 4, 2, 2),
        "0*1/, -+2*3*4, 1/",
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_class_tokens(name: str) -> None:
    function, shape, expected = TOKENS[name]
    check(function, clip(*shape), expected=expected)


def windows(x: Tensor) -> Tensor:
    """Shifted windows over two axes and back, with the last axis as channels."""
    y = F.pad(x, (0, 0, 0, 2, 0, 0)).roll((-1, -1), (1, 2))
    y = y.view(2, 2, 2, 2, 3, 3).permute(0, 1, 3, 2, 4, 5).reshape(8, 6, 3)
    y = (y @ y.transpose(1, 2)).softmax(-1) @ y
    y = y.view(2, 2, 2, 2, 3, 3).permute(0, 1, 3, 2, 4, 5).reshape(2, 4, 6, 3)
    return x + y.roll((1, 1), (1, 2))[:, :, :4]


def test_shifted_windows() -> None:
    check(windows, clip(2, 4, 4, 3), expected="0, 1~, 2~, 3~")


def averaged_token(x: Tensor) -> Tensor:
    """Divided attention: every frame has a class token, averaged over the frames in the end."""
    frames = x.transpose(1, 2).flatten(3).transpose(2, 3)  # (N, T, patches, C)
    token = frames.mean(2, keepdim=True)
    both = torch.cat([token, frames], 2)
    return torch.cat([both[:, :, 0].mean(1, keepdim=True), both[:, :, 1:].flatten(1, 2)], 1)


def test_class_token_averaged_over_frames() -> None:
    layout = check(averaged_token, clip(2, 3, 4, 2, 2), expected="0, -+2*3*4, 1")
    assert layout.axes[1][0][0].mixed  # no constant
    taken = check(lambda x: averaged_token(x)[:, 0], clip(2, 3, 4, 2, 2), expected="0, 1")
    assert all(taken.hidden[0, axis].mixed for axis in (2, 3, 4))


def test_windows_do_not_slide_over_class_tokens() -> None:
    def over_a_constant(x: Tensor) -> Tensor:
        return F.avg_pool1d(F.pad(x, (2, 0)), 3, 1)

    def over_a_token(x: Tensor) -> Tensor:
        return F.avg_pool1d(torch.cat([x.sum(2, keepdim=True) @ kernel(1, 2), x], 2), 3, 1)

    check(over_a_constant, clip(1, 2, 6), expected="0, 1, 2")
    check(over_a_token, clip(1, 2, 6), expected="0, 1, -")


def test_pieces_without_their_siblings_stand_alone() -> None:
    def rows_met_again(x: Tensor) -> Tensor:
        pieces = x.unflatten(0, (2, 3))
        return pieces * pieces.mean(1, keepdim=True)

    check(lambda x: x.unflatten(0, (2, 3)).mean(1), clip(6, 2), expected="0, 1")
    check(lambda x: x.unflatten(0, (2, 3))[:, 1], clip(6, 2), expected="0, 1", exact=False)
    check(rows_met_again, clip(6, 2), expected="0~/, 0~/, 1")


def test_places() -> None:
    layout = layout_of(tokens, clip(2, 3, 4, 2, 2))
    assert layout.places((0, 2)) == [(1, 1, 0)]
    assert layout.places((0, 3)) == [(1, 1, 1)]
    assert layout.places((1, 0)) == []
    assert layout.shape == (2, 17, 3)


def hidden(function: Callable[..., Any], *inputs: Tensor) -> dict[Any, Any]:
    layout: Layout = layout_of(function, *inputs)
    return {key: (r.first, r.last, r.mixed) for key, r in layout.hidden.items()}


def test_what_is_left_of_axes_that_are_gone() -> None:
    x = clip(2, 3, 5)
    assert hidden(lambda t: t[:, :, 3], x) == {(0, 2): (3, 3, False)}
    assert hidden(lambda t: t.mean(2), x) == {(0, 2): (0, 4, False)}
    assert hidden(lambda t: t[:, :, 1:4].softmax(2).sum(2), x) == {(0, 2): (1, 3, True)}
    assert hidden(lambda t: tokens(t[..., None, None])[:, 2], x) == {(0, 2): (1, 1, False)}


def test_empty_tensors_are_lost() -> None:
    x = clip(2, 3)
    with strict_trace(x) as trace:
        assert trace.layout(x[:, :0].reshape(0, 2)) is None


def test_joining_an_input_of_its_own() -> None:
    layout = check(
        lambda a, b: torch.cat([a, F.avg_pool1d(b, 4, 4)], 1), clip(2, 3, 4), clip(2, 3, 16)
    )
    assert text(layout) == "0, 1+1.1, 2"
