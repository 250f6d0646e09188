"""Layers of real video nets: every slice covers the frames that NaN in a frame shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, video

from captum_video.layers.layout import Extent, Layout
from models.c3d import C3D
from tests.layers._twin import factors, strict_trace, text

D = torch.float64


@contextmanager
def outputs(
    net: nn.Module, names: Sequence[str], see: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Calls ``see`` with the first tensor that each of some modules gives."""

    def hook(name: str) -> Any:
        def run(module: nn.Module, args: Any, output: Any) -> None:
            see(name, output[0] if isinstance(output, tuple) else output)

        return run

    handles = [net.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layouts(net: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, Layout | None]:
    found: dict[str, Layout | None] = {}
    with torch.no_grad(), strict_trace(x) as trace:

        def see(name: str, output: Tensor) -> None:
            found[name] = trace.layout(output)

        with outputs(net, names, see):
            net(x)
    assert trace.unknown == set()
    return found


def spoilt_slices(
    net: nn.Module, names: Sequence[str], x: Tensor, axis: int, index: int
) -> dict[str, Tensor]:
    """For each module the entries that NaN in one index of an input axis comes out at."""
    found = {}
    x = x.clone()
    x.select(axis, index).fill_(float("nan"))

    def see(name: str, output: Tensor) -> None:
        found[name] = output.isnan()

    with torch.no_grad(), outputs(net, names, see):
        net(x)
    return found


def extent_of(layout: Layout | None, axis: int) -> Extent:
    assert layout is not None
    ((place, part, factor),) = layout.places((0, axis))
    return layout.axes[place][part][factor]


def compare(net: nn.Module, names: Sequence[str], x: Tensor, axis: int) -> dict[str, Extent]:
    """Slices in the interior of every layer, at both ends of what a middle slice of the last covers.

    Returns:
        The extents of the layers.
    """
    net = net.to(D).eval()
    known = layouts(net, names, x)
    extents = {name: extent_of(layout, axis) for name, layout in known.items()}
    last = extents[names[-1]]
    assert last.first is not None
    assert last.last is not None
    size = x.shape[axis]
    inside = [k for k in range(last.size) if last.first[k] > 0 and last.last[k] < size - 1]
    middle = inside[len(inside) // 2]
    first, final = int(last.first[middle]), int(last.last[middle])
    for index in (first - 1, first, final, final + 1):
        for name, marks in spoilt_slices(net, names, x, axis, index).items():
            layout = known[name]
            assert layout is not None
            for extent, flags in factors(layout, marks):
                if extent.source == (0, axis):
                    check_interior(name, extent, flags, index, size)
    return extents


def check_interior(name: str, extent: Extent, flags: Tensor, index: int, size: int) -> None:
    assert not extent.mixed
    assert extent.first is not None
    assert extent.last is not None
    interior = 0
    for k, (first, last) in enumerate(zip(extent.first, extent.last, strict=True)):
        if first >= 0 and last < size:
            interior += 1
            # dilated windows have holes, but not at their ends
            wanted = first <= index <= last if flags[k] else index not in (first, last)
            assert wanted, f"{name} slice {k} covers {first}..{last}, index {index}"
    assert interior, f"{name} has no slice in the interior"


RESNET = ["stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("build", "frames", "steps"),
    [
        (video.r3d_18, 136, (1, 1, 1, 2, 2, 4, 8)),
        (video.mc3_18, 24, (1, 1, 1, 1, 1, 1, 1)),
        (video.r2plus1d_18, 136, (1, 1, 1, 2, 2, 4, 8)),
    ],
)
def test_resnets_in_time(
    build: Callable[..., nn.Module], frames: int, steps: tuple[int, ...]
) -> None:
    extents = compare(build(), RESNET, torch.rand(1, 3, frames, 8, 8, dtype=D), 2)
    for name, step in zip(RESNET, steps, strict=True):
        assert extents[name].centres == tuple(float(step * k) for k in range(frames // step))


def test_resnet_in_space() -> None:
    x = torch.rand(1, 3, 2, 96, 8, dtype=D)
    extents = compare(video.r3d_18(), ["stem", "layer1.0", "layer1.1", "layer2.0"], x, 3)
    assert extents["layer2.0"].centres == tuple(4.0 * k for k in range(24))


def test_s3d_in_time() -> None:
    net = video.s3d()
    names = ["0", "1", "3", "5", "6", "8", "10", "12", "14", "15"]
    extents = compare(net.features, names, torch.rand(1, 3, 120, 32, 32, dtype=D), 2)
    centres = extents["15"].centres
    assert centres is not None
    assert centres[:3] == (2.0, 10.0, 18.0)  # a max pool of two frames shifts by half of them


def test_c3d_in_time() -> None:
    net = C3D(3, widths=((2,), (2,), (2, 2), (2,)), hidden=(4,), frames=64, size=(16, 16))
    names = ["conv1", "pool1", "conv2", "pool2", "conv3b", "pool3", "conv4a"]
    extents = compare(net, names, torch.rand(1, 3, 64, 16, 16, dtype=D), 2)
    assert extents["conv4a"].centres == tuple(4.0 * k + 1.5 for k in range(16))


class Causal(nn.Module):
    """A dilated causal net with a residual sum and a strided end, on sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 4, 3, dilation=2)
        self.second = nn.Conv1d(4, 4, 2, dilation=4)
        self.end = nn.Conv1d(4, 2, 3, stride=3)
        self.sum = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(nn.functional.pad(x, (4, 0)))
        y = self.sum(y + self.second(nn.functional.pad(y, (4, 0))))
        return self.end(y[:, :, 1::2])


def test_causal_net() -> None:
    extents = compare(Causal(), ["first", "second", "sum", "end"], torch.rand(1, 2, 60, dtype=D), 2)
    first = extents["first"]
    assert (first.first, first.last) == (tuple(range(-4, 56)), tuple(range(60)))
    assert extents["end"].last == tuple(6 * k + 5 for k in range(10))


def folded(order: str) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        axes = (0, 2, 1, 3, 4) if order == "clips outside" else (2, 0, 1, 3, 4)
        return x.permute(axes).flatten(0, 1)

    return forward


@pytest.mark.parametrize(
    ("order", "expected"), [("clips outside", "0*2, -, 3, 4"), ("frames outside", "2*0, -, 3, 4")]
)
def test_folded_batches(order: str, expected: str) -> None:
    x = torch.rand(2, 3, 4, 8, 8)
    conv = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    with strict_trace(x) as trace:
        layout = trace.layout(conv(folded(order)(x)))
    assert layout is not None
    assert text(layout) == expected
    assert extent_of(layout, 2).first == (0, 1, 2, 3)


def test_swin() -> None:
    net = video.SwinTransformer3d([2, 4, 4], 16, [2, 2, 2, 2], [1, 2, 2, 2], [8, 7, 7]).eval()
    # more slices than a window, so that windows are partitioned, shifted and put back
    x = torch.rand(1, 3, 18, 64, 32)
    blocks = [name for name, m in net.named_modules() if type(m).__name__ == "SwinTransformerBlock"]
    known = layouts(net, ["patch_embed", *blocks], x)
    first = known["patch_embed"]
    assert first is not None
    assert text(first) == "0, 2, 3, 4, -"
    assert extent_of(first, 2).centres == tuple(2 * k + 0.5 for k in range(9))
    assert len(blocks) == 8
    for name in blocks:
        layout = known[name]
        assert layout is not None
        assert text(layout) == "0, 2~, 3~, 4~, -", name
        assert extent_of(layout, 2).centres == tuple(2 * k + 0.5 for k in range(9))
    assert extent_of(known[blocks[-1]], 3).centres == (15.5, 47.5)


def test_mvit() -> None:
    net = video.MViT(
        spatial_size=(32, 32),
        temporal_size=8,
        block_setting=[
            video.mvit.MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 4, 4]),
            video.mvit.MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 2, 2]),
            video.mvit.MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [2, 1, 1], [1, 1, 1]),
        ],
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
    ).eval()
    names = [f"blocks.{i}" for i in range(3)]
    known = layouts(net, names, torch.rand(2, 3, 8, 32, 32))
    for name in names:
        layout = known[name]
        assert layout is not None
        assert text(layout) == "0, -+2~*3~*4~, -"
    assert extent_of(known["blocks.0"], 2).centres == (0.0, 2.0, 4.0, 6.0)
    assert extent_of(known["blocks.2"], 2).centres == (0.0, 4.0)
    assert extent_of(known["blocks.2"], 3).centres == tuple(8.0 * k for k in range(4))


def test_image_transformer_on_frames() -> None:
    net = VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=2).eval()
    clip = torch.rand(1, 3, 3, 32, 32)

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.transpose(1, 2).flatten(0, 1)).view(1, 3, -1).mean(1)

    model = Frames()
    known = layouts(model, ["net.encoder.layers.encoder_layer_1"], clip)
    layout = known["net.encoder.layers.encoder_layer_1"]
    assert layout is not None
    assert text(layout) == "0*2, -+3~*4~, -"
