"""Convolutions, pools, padding and resizing: which input indices each slice covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.layers._twin import bounds, check, layout_of, text

D = torch.float64


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=D)


def net(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator, dtype=D) + 0.1
    return module.double().eval()


CONVOLUTIONS = {
    "centred": (nn.Conv3d(3, 4, 3, padding=1), (2, 3, 7, 5, 5)),
    "each axis its own": (
        nn.Conv3d(3, 4, (3, 1, 2), (2, 1, 2), padding=(1, 0, 0), dilation=(2, 1, 1)),
        (2, 3, 13, 3, 5),
    ),
    "same, even kernel": (nn.Conv1d(3, 4, 4, padding="same", dilation=2), (2, 3, 17)),
    "same, uneven": (nn.Conv1d(3, 4, 4, padding="same"), (2, 3, 12)),
    "valid, no batch": (nn.Conv1d(3, 4, 4, padding="valid"), (3, 17)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1), (2, 4, 7, 6)),
    "circular": (nn.Conv2d(2, 3, 3, padding_mode="circular", padding=1), (1, 2, 7, 6)),
    "reflected": (nn.Conv2d(2, 3, 3, padding_mode="reflect", padding=2), (1, 2, 7, 6)),
    "replicated": (nn.Conv2d(2, 3, 3, padding_mode="replicate", padding=2), (1, 2, 7, 6)),
    "transposed": (nn.ConvTranspose1d(3, 4, 4, stride=2, padding=1), (2, 3, 8)),
    "transposed 3d": (nn.ConvTranspose3d(2, 3, 3, stride=(1, 2, 2), padding=1), (1, 2, 4, 3, 3)),
    "causal": (
        nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 3, 3, dilation=2)),
        (1, 2, 9),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    module, shape = CONVOLUTIONS[name]
    layout = check(net(module), clip(*shape))
    batched = len(shape) - 2 if name != "valid, no batch" else 0
    expected = (
        ["0"] * (batched > 0) + ["-"] + [str(i) for i in range(2 - (not batched), len(shape))]
    )
    assert text(layout) == ", ".join(expected)


@pytest.mark.parametrize(
    "module",
    [
        nn.ConvTranspose1d(3, 4, 2, stride=3, output_padding=1),
        nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, dilation=2),
    ],
)
def test_transposed_convolutions_with_gaps(module: nn.Module) -> None:
    # outputs that no slice reaches lie between their neighbours
    check(net(module), clip(2, 3, 5), expected="0, -, 2", exact=False)
    centres = [(a + b) / 2 for a, b in bounds(net(module), clip(2, 3, 5), 2)]
    assert centres == sorted(centres)


POOLS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "max": (nn.MaxPool3d(2), (2, 3, 9, 4, 4)),
    "ceil mode": (nn.MaxPool1d(3, 2, ceil_mode=True), (2, 3, 8)),
    "dilated": (nn.MaxPool2d(2, 3, dilation=3), (2, 3, 10, 11)),
    "padded average": (nn.AvgPool3d((3, 2, 2), (2, 2, 2), (1, 0, 0)), (2, 3, 9, 4, 4)),
    "average, ceil": (nn.AvgPool1d(4, 3, 1, ceil_mode=True), (2, 3, 10)),
    "power": (lambda x: F.lp_pool1d(x, 2.0, 3, 2), (2, 3, 9)),
    "power 2d": (lambda x: F.lp_pool2d(x, 2.0, (3, 1)), (1, 2, 9, 2)),
    "adaptive, uneven": (nn.AdaptiveAvgPool3d((4, 2, 1)), (2, 3, 9, 4, 4)),
    "adaptive max": (nn.AdaptiveMaxPool1d(4), (2, 3, 9)),
    "adaptive, more slices": (nn.AdaptiveAvgPool1d(14), (2, 3, 9)),
    "with indices": (lambda x: F.max_pool1d(x, 2, return_indices=True)[0], (2, 3, 9)),
    "adaptive with indices": (
        lambda x: F.adaptive_max_pool2d(x, (2, 3), return_indices=True)[0],
        (1, 2, 5, 7),
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str) -> None:
    function, shape = POOLS[name]
    expected = ", ".join(str(i) for i in range(len(shape)))
    check(function, clip(*shape), expected=expected)


@pytest.mark.parametrize("size", [3, 5, 9, 17, 20, None])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "corners", "area"])
def test_resizing_in_time(mode: str, size: int | None) -> None:
    options: dict[str, Any] = {"mode": "linear" if mode == "corners" else mode}
    if options["mode"] == "linear":
        options["align_corners"] = mode == "corners"
    options |= {"scale_factor": 2.3} if size is None else {"size": size}
    check(lambda x: F.interpolate(x, **options), clip(1, 2, 9), expected="0, 1, 2")


@pytest.mark.parametrize("size", [(3, 5), (12, 7), (9, 9)])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_in_space(mode: str, antialias: bool, size: tuple[int, int]) -> None:
    # cubic weights are also zero at whole steps: slices may cover less than is said
    check(
        lambda x: F.interpolate(x, size=size, mode=mode, antialias=antialias),
        clip(1, 1, 9, 8),
        expected="0, 1, 2, 3",
        exact=mode == "bilinear",
    )


def test_upsampling_module_of_several_factors() -> None:
    check(nn.Upsample(scale_factor=(2, 1, 2), mode="trilinear"), clip(1, 1, 5, 3, 3))


OTHERS: dict[str, tuple[Callable[..., Any], tuple[int, ...], str]] = {
    "pad": (lambda x: F.pad(x, (1, 2, 0, 0, 3, -1)), (1, 2, 5, 3, 3), "0, 1, 2, 3, 4"),
    "zeros before": (
        lambda x: F.avg_pool1d(torch.cat([torch.zeros(1, 2, 2, dtype=D), x], 2), 3, 1),
        (1, 2, 9),
        "0, 1, 2",
    ),
    "unfold": (lambda x: x.unfold(2, 4, 2), (1, 2, 9), "0, 1, 2, -"),
    "shuffled pixels pooled": (
        lambda x: F.max_pool2d(F.pixel_shuffle(x, 2), 3, 1),
        (1, 4, 4, 3),
        "0, -, 2, 3",
    ),
    "repeated slices pooled": (
        lambda x: F.avg_pool1d(x.repeat_interleave(3, 2), 2),
        (1, 2, 4),
        "0, 1, 2",
    ),
    "differences": (lambda x: torch.diff(x, dim=2), (2, 3, 6), "0, 1, 2"),
    "second differences": (lambda x: x.diff(2, -1), (2, 3, 6), "0, 1, 2"),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (1, 4, 3, 3), "0, -, 2*-, 3*-"),
    "reversed clip": (lambda x: F.avg_pool1d(x.flip(2), 2), (2, 3, 6), "0, 1, 2"),
    "rolled clip": (lambda x: F.max_pool1d(x.roll(2, 2), 2), (2, 3, 6), "0, 1, 2"),
    "rolled, dilated": (
        lambda x: F.max_pool1d(x.roll(2, 2), 2, 1, dilation=2),
        (2, 3, 6),
        "0, 1, 2",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_windows(name: str) -> None:
    function, shape, expected = OTHERS[name]
    check(function, clip(*shape), expected=expected)


def test_integers_by_hand() -> None:
    ones = torch.ones(1, 1, 3)
    x = torch.rand(1, 1, 8)
    conv = bounds(lambda t: F.conv1d(t, ones, stride=2, padding=1), x, 2)
    assert conv == [(-1, 1), (1, 3), (3, 5), (5, 7)]  # centres 2j
    assert bounds(lambda t: F.avg_pool1d(t, 2), x, 2) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    both = bounds(lambda t: F.avg_pool1d(F.conv1d(t, ones, stride=2, padding=1), 2), x, 2)
    assert both == [(-1, 3), (3, 7)]
    # two padded convolutions: the padding of the second one continues the first one's arithmetic
    twice = bounds(lambda t: F.conv1d(F.conv1d(t, ones, padding=1), ones, padding=1), x, 2)
    assert twice == [(k - 2, k + 2) for k in range(8)]
    # continued in steps of the slices before, here two frames
    strided = bounds(
        lambda t: F.conv1d(F.conv1d(t, ones, stride=2, padding=1), ones, padding=1), x, 2
    )
    assert strided == [(-3, 3), (-1, 5), (1, 7), (3, 9)]
    uneven = bounds(lambda t: F.adaptive_avg_pool1d(t, 3), x, 2)
    assert uneven == [(0, 2), (2, 5), (5, 7)]
    ceil = bounds(lambda t: F.max_pool1d(t, 3, 3, ceil_mode=True), x, 2)
    assert ceil == [(0, 2), (3, 5), (6, 8)]
    widened = bounds(lambda t: F.conv_transpose1d(t[..., :3], ones, stride=2), x, 2)
    assert widened == [(-1, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]


def test_one_slice_is_continued_by_itself() -> None:
    ones = torch.ones(1, 1, 3)
    x = torch.rand(1, 1, 4)
    assert bounds(lambda t: F.conv1d(t.mean(2, keepdim=True), ones, padding=1), x, 2) == [(0, 3)]


def test_centres_are_the_middles() -> None:
    layout = layout_of(lambda t: F.avg_pool1d(t, 2), torch.rand(1, 1, 6))
    assert layout.axes[2][0][0].centres == (0.5, 2.5, 4.5)
    assert (
        layout_of(lambda t: F.conv1d(t, torch.ones(2, 1, 1)), torch.rand(1, 1, 6))
        .axes[1][0][0]
        .centres
        is None
    )
