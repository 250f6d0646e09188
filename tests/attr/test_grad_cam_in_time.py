"""Maps line up with the frames: a stimulus in one frame, seen through nets without temporal reach."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import video

from captum_video import VideoGradCam
from models.c3d import C3D
from tests.attr.cam_nets import Strided


def centre_taps(net: nn.Module) -> nn.Module:
    """The net with positive weights, no biases, and temporal kernels reduced to their centre tap."""
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            weight = module.weight.data.abs_()
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if weight.dim() == 5 and weight.shape[2] > 1:
                middle = torch.zeros(weight.shape[2])
                middle[(weight.shape[2] - 1) // 2] = 1
                weight.mul_(middle.view(-1, 1, 1))
    return net.double().eval()


def c3d() -> nn.Module:
    return C3D(5, widths=((4,), (4,), (4,)), hidden=(), frames=32, size=(16, 16))


NETS = [
    ("r3d_18", "layer3", (3, 32, 16, 16)),
    ("r3d_18", "layer4", (3, 32, 16, 16)),
    ("r2plus1d_18", "layer4", (3, 32, 16, 16)),
    ("s3d", "features.8", (3, 32, 32, 32)),
    ("c3d", "conv3a", (3, 32, 16, 16)),
    ("strided", "third", (1, 32, 6, 6)),
]


def build(name: str) -> nn.Module:
    if name == "c3d":
        return c3d()
    if name == "strided":
        return Strided()
    net: nn.Module = getattr(video, name)(weights=None)
    if name == "s3d":
        net.avgpool = nn.AdaptiveAvgPool3d(1)  # its own needs frames of 224x224
    return net


@pytest.mark.parametrize(("name", "layer", "shape"), NETS, ids=[f"{n}-{la}" for n, la, _ in NETS])
def test_a_stimulus_is_shown_when_it_happens(name: str, layer: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = centre_taps(build(name))
    x = torch.zeros(1, *shape, dtype=torch.float64)
    cam = VideoGradCam(net, layer)
    coverage = cam.coverage(x)
    assert coverage.traced
    step = coverage.centres[1] - coverage.centres[0]
    seen = 0
    for t in range(8, 24):
        x.zero_()
        x[:, :, t] = 1
        with warnings.catch_warnings():
            # strides skip some frames: nothing of them reaches the score
            warnings.filterwarnings("ignore", "the gradient at layer .* is zero for example")
            low = cam.attribute(x, 1, upsample=False)
        carried = low.sum((0, 1, 3, 4))
        if not bool(carried.any()):
            continue
        seen += 1
        over_time = cam.attribute(x, 1).sum((0, 1, 3, 4))
        assert abs(int(over_time.argmax()) - t) <= step / 2
        # linear interpolation of one slice is a tent: its centroid is where the slice sits
        slices = carried.nonzero().flatten().tolist()
        where = centroid(over_time)
        if len(slices) == 1:
            assert where == pytest.approx(coverage.centres[slices[0]], abs=1e-6)
        assert abs(where - t) <= step / 2
        uniform = cam.attribute(x, 1, temporal_alignment="uniform").sum((0, 1, 3, 4))
        offset = (slices[0] + 0.5) * 32 / len(carried) - 0.5 - coverage.centres[slices[0]]
        # a pool that overlaps spreads the stimulus over several slices, whose ends differ a little
        assert centroid(uniform) - where == pytest.approx(
            offset, abs=1e-6 if len(slices) == 1 else 0.05
        )
    assert seen >= 2


def centroid(values: Tensor) -> float:
    frames = torch.arange(len(values), dtype=values.dtype)
    return float((values * frames).sum() / values.sum())


def test_uniform_spacing_is_off_by_half_a_stride() -> None:
    cam = VideoGradCam(centre_taps(video.r3d_18(weights=None)), "layer4")
    x = torch.zeros(1, 3, 32, 16, 16, dtype=torch.float64)
    assert cam.coverage(x).centres == (0, 8, 16, 24)  # uniform: 3.5, 11.5, 19.5, 27.5
    x[:, :, 16] = 1
    assert int(cam.attribute(x, 0).sum((0, 1, 3, 4)).argmax()) == 16
    uniform = cam.attribute(x, 0, temporal_alignment="uniform").sum((0, 1, 3, 4))
    assert int(uniform.argmax()) in (19, 20)


TORCHVISION = [
    ("r3d_18", "layer4", (3, 19, 40, 48)),
    ("mc3_18", "layer3", (3, 19, 40, 48)),
    ("r2plus1d_18", "layer3", (3, 19, 40, 48)),
    ("s3d", "features.11", (3, 17, 224, 240)),
    ("swin3d_t", "features.6", (3, 7, 64, 80)),
    ("mvit_v2_s", "blocks.14", (3, 16, 224, 224)),
]


@pytest.mark.parametrize(("name", "layer", "shape"), TORCHVISION, ids=[n for n, *_ in TORCHVISION])
def test_torchvisions_nets(name: str, layer: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = getattr(video, name)(weights=None).eval()
    net.requires_grad_(False)  # frozen parameters, in-place ReLUs
    x = torch.rand(2, *shape)
    cam = VideoGradCam(net, layer)
    both = cam.attribute(x, [3, 5])
    assert both.shape == (2, 1, *shape[1:])
    alone = cam.attribute(x[1:], 5)
    assert (both[1:] - alone).abs().sum() <= 1e-4 * alone.abs().sum()
    assert alone.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in net.parameters())
