from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from captum_video.nn import Conv3T, inflate


def refuse(net: nn.Module, text: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=text):
        inflate(net, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"conv": "4d"}, r"conv must be '3t' or '3t-free' or '3d' or 'fusion' or .*, got '4d'"),
        (
            {"temporal_padding": "zero"},
            r"temporal_padding must be 'zeros' or 'replicate', got 'zero'",
        ),
        ({"depth": 1}, "depth must be at least 2 for conv='3t', got 1"),
        ({"depth": 1, "conv": "3t-free"}, "depth must be at least 2 for conv='3t-free', got 1"),
        ({"depth": 0, "conv": "3d"}, "depth must be at least 1 for conv='3d', got 0"),
    ],
)
def test_options_are_checked(options: Any, text: str) -> None:
    refuse(nn.Conv2d(3, 4, 3), text, **options)


def test_types_are_checked() -> None:
    not_a_model: Any = "resnet18"
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got str"):
        inflate(not_a_model)
    depth: Any = 2.5
    with pytest.raises(TypeError, match=r"depth must be a whole number, got 2.5"):
        inflate(nn.Conv2d(3, 4, 3), depth=depth)


def test_a_model_without_2d_convolutions() -> None:
    refuse(nn.Sequential(nn.Linear(3, 4)), "must have 2D convolutions, got Sequential without")
    refuse(nn.Conv3d(3, 4, 3), "must have 2D convolutions, got Conv3d without")


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.ConvTranspose2d(4, 4, 3), r"\(ConvTranspose2d\): it has no counterpart in three"),
        (nn.PixelShuffle(2), r"\(PixelShuffle\): it has no counterpart"),
        (nn.LPPool2d(2, 2), r"\(LPPool2d\): it has no counterpart"),
        (nn.Unfold(2), r"\(Unfold\): it has no counterpart"),
        (nn.MaxPool2d(2, return_indices=True), r"\(MaxPool2d\): it returns indices"),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), r"\(AdaptiveMaxPool2d\): it returns"),
        (nn.AvgPool2d(3, padding=1, divisor_override=2), "its divisor_override does not fit"),
        (nn.AvgPool2d(3, ceil_mode=True, divisor_override=2), "its divisor_override does not fit"),
        (nn.Upsample((4, 4)), "it is given a size, which says nothing of time"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), "its mode 'bicubic' has no counterpart"),
        (nn.LayerNorm((4, 5, 5)), r"it normalises over a frame's size \(4, 5, 5\)"),
        (nn.Flatten(3), "flattening from 3 to -1 takes height and width apart"),
        (nn.LazyLinear(3), r"\(LazyLinear\): it is lazy and has no weights yet; run the model"),
        (nn.LazyConv2d(3, 3), r"\(LazyConv2d\): it is lazy"),
    ],
    ids=str,
)
def test_layers_without_counterpart_are_named(layer: nn.Module, text: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(layer))
    refuse(net, rf"inflate cannot handle '1.0'.*{text}")


def test_depth_cannot_be_chosen_beside_padding_layers() -> None:
    net = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3))
    refuse(net, r"'0' \(ZeroPad2d\): how many frames to pad depends .*leave out depth", depth=5)
    clip = torch.rand(1, 3, 4, 5, 5)
    assert inflate(net)(clip).shape == (1, 4, 4, 5, 5)
    none = nn.Sequential(nn.ZeroPad2d(0), nn.Conv2d(3, 4, 3))
    assert inflate(none, depth=2)(clip).shape == (1, 4, 3, 3, 3)


def test_what_would_be_lost_is_refused() -> None:
    hooked = nn.Sequential(nn.Conv2d(3, 4, 3))
    hooked[0].register_forward_hook(lambda module, inputs, output: None)
    refuse(hooked, r"'0' \(Conv2d\): it has hooks, which would be lost")
    refuse(spectral_norm(nn.Conv2d(3, 4, 3)), r"the model \(Conv2d\): it has hooks")
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    pooled[1].register_forward_pre_hook(lambda module, inputs: None)
    refuse(pooled, r"'1' \(MaxPool2d\): it has hooks")
    refuse(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), "it has parametrizations; remove them")
    kept = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    seen: list[torch.Size] = []
    kept[1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    inflate(kept)(torch.rand(2, 3, 4, 5, 5))
    assert seen == [(2, 4, 2, 3, 3)]


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_scripted_model_is_refused() -> None:
    scripted = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 5, 5))
    refuse(nn.Sequential(nn.Conv2d(3, 4, 3), scripted), "it is scripted; give the original")


class Padded(nn.Conv2d):
    """As in ports of TensorFlow's nets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.scale = nn.Hardtanh()

    def forward(self, input: Tensor) -> Tensor:
        x = self.scale(self.pad(input))
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def test_layers_inside_of_a_convolution_go_before_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Padded(4, 6, 3, stride=2, groups=2, bias=False)).double().eval()
    image = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    for kind in ("3d", "3t"):
        video = inflate(net, kind, divide=True, temporal_padding="replicate")
        assert [name for name, _ in video[0].named_children()] == ["pad", "scale", "conv"]  # type: ignore
        assert not any(module.training for module in video.modules())
        got = video(image.unsqueeze(2).expand(-1, -1, 6, -1, -1))
        assert got.shape[2] == 3
        torch.testing.assert_close(got, net(image).unsqueeze(2).expand_as(got), rtol=0, atol=1e-12)


class Same(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Renamed(nn.Conv2d):
    def extra_repr(self) -> str:
        return "renamed"


def test_subclasses_that_change_nothing_are_layers() -> None:
    assert type(inflate(Same(3, 4, 3))) is Conv3T
    assert type(inflate(Renamed(3, 4, 3))) is Conv3T


class Standardized(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight - self.weight.mean(), self.bias)


class Unstrided(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, self.bias)


class Activated(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class Dynamic(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if input.shape[-1] > 3 else input


class Noisy(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(input)
        return F.dropout(x) if self.training else x


class Unbiased(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight)


class Other(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight.abs(), bias)


class Clamped(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize(
    "layer",
    [
        Standardized(3, 4, 3),
        Unstrided(3, 4, 3, stride=2),
        Activated(3, 4, 3),
        Dynamic(3, 4, 3),
        Noisy(3, 4, 3),
        Unbiased(3, 4, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_convolutions_with_a_forward_of_their_own_are_named(layer: nn.Module) -> None:
    text = rf"'0' \({type(layer).__name__}\): its class has a forward of its own"
    refuse(nn.Sequential(layer), text)


def test_other_changes_of_a_layer_are_named() -> None:
    refuse(Other(3, 4, 3), r"\(Other\): its class changes _conv_forward of Conv2d")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Clamped(4))
    refuse(net, r"'1' \(Clamped\): its class changes forward of BatchNorm2d")


def test_an_error_leaves_the_model_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PixelShuffle(2))
    refuse(net, "PixelShuffle")
    assert [type(layer) for layer in net] == [nn.Conv2d, nn.BatchNorm2d, nn.PixelShuffle]
