"""Pools, norms, padding and the like in three dimensions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum_video.nn import inflate
from tests.nn.test_inflation import EXACT, still


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, dilation=2),
        nn.MaxPool2d((1, 3), (1, 2)),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(3, 1, 1),
        nn.AdaptiveAvgPool2d((3, None)),
        nn.AdaptiveMaxPool2d(2),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.GroupNorm(2, 4),
        nn.LocalResponseNorm(3),
        nn.Dropout2d(),
        nn.Softmax2d(),
        nn.PReLU(4),
        nn.ChannelShuffle(2),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=(2.0, 1.5), mode="bilinear", align_corners=True),
        nn.UpsamplingBilinear2d(scale_factor=2),
        nn.ZeroPad2d(1),
        nn.ConstantPad2d((1, 2, 0, 1), 3.0),
        nn.ReplicationPad2d(2),
        nn.ReflectionPad2d((1, 2, 1, 1)),
        nn.CircularPad2d(1),
    ],
    ids=str,
)
@pytest.mark.parametrize("stride", [True, False])
def test_each_layer_answers_a_still_clip_with_still_frames(layer: nn.Module, stride: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), layer).double().eval()
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.3, 2)
    image = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    net3d = inflate(net, "3d", temporal_padding="replicate", temporal_stride=stride)
    want, got = net(image), net3d(still(image, 7))
    torch.testing.assert_close(got, still(want, got.shape[2]), **EXACT)


def test_every_frame_is_kept_if_wanted() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1, 2), nn.AvgPool2d(3, 1, 1)
    )
    clip = torch.rand(1, 3, 24, 32, 32)
    assert inflate(net, temporal_stride=False)(clip).shape == (1, 4, 24, 4, 4)
    assert inflate(net)(clip).shape == (1, 4, 3, 4, 4)
    up = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2))
    assert inflate(up)(clip).shape == (1, 4, 48, 64, 64)
    assert inflate(up, temporal_stride=False)(clip).shape == (1, 4, 24, 64, 64)


def test_pools_by_hand() -> None:
    clip = torch.arange(1.0, 9).view(1, 1, 8, 1, 1).expand(-1, -1, -1, 3, 3)
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(conv.weight)

    def first_place(pool: nn.Module, **options: Any) -> list[float]:
        return inflate(nn.Sequential(conv, pool), "3d", **options)(clip)[0, 0, :, 1, 1].tolist()

    average = nn.AvgPool2d(3, 1, 1)
    assert first_place(average) == pytest.approx([1, 2, 3, 4, 5, 6, 7, 5])
    repeated = first_place(average, temporal_padding="replicate")
    assert repeated == pytest.approx([4 / 3, 2, 3, 4, 5, 6, 7, 23 / 3])
    assert first_place(average, temporal_stride=False) == first_place(average)
    present = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    for padding in ("zeros", "replicate"):
        got = first_place(present, temporal_padding=padding)
        assert got == pytest.approx([1.5, 2, 3, 4, 5, 6, 7, 7.5])
    assert first_place(nn.MaxPool2d(3, 1, 1)) == [2, 3, 4, 5, 6, 7, 8, 8]
    # no dilation in time, and half of the padding for it, which cannot be one-sided
    dilated = inflate(nn.Sequential(conv, nn.MaxPool2d(3, 1, 1, dilation=2)), "3d")
    assert dilated(clip).flatten().tolist() == [3, 4, 5, 6, 7, 8]
    pool = inflate(nn.Sequential(conv, nn.AdaptiveAvgPool2d(1)), "3d")
    assert pool(clip).flatten().tolist() == pytest.approx([4.5])


@pytest.mark.parametrize(
    ("sides", "frames"), [((1, 2, 0, 1), (1, 2)), ((0, 1, 2, 1), (2, 1)), ((1, 1, 1, 1), (1, 1))]
)
def test_padding_layers_add_frames_as_on_the_side_that_grows_more(
    sides: Any, frames: tuple[int, int]
) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ConstantPad2d(sides, 7.0))
    clip = torch.rand(1, 3, 4, 3, 3)
    inside = inflate(net[:1])(clip)
    want = F.pad(inside, (*sides, *frames), value=7)
    torch.testing.assert_close(inflate(net)(clip), want, **EXACT)
    repeated = F.pad(F.pad(inside, (0, 0, 0, 0, *frames), mode="replicate"), sides, value=7)
    got = inflate(net, temporal_padding="replicate")(clip)
    torch.testing.assert_close(got, repeated, **EXACT)


def test_flattening_takes_time_along() -> None:
    clip = torch.rand(2, 3, 4, 5, 6)
    for flatten, shape in (
        (nn.Flatten(), (2, 360)),
        (nn.Flatten(2), (2, 3, 120)),
        (nn.Flatten(2, 3), (2, 3, 120)),
        (nn.Flatten(-2), (2, 3, 120)),
        (nn.Flatten(-3), (2, 360)),
    ):
        assert inflate(nn.Sequential(nn.Conv2d(3, 3, 1), flatten))(clip).shape == shape
