"""Inflation into fusion units and their parts: layers by hand, and whole networks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from captum_video.nn import FusionUnit, fusion_layers, inflate
from captum_video.nn.inflation import ConvKind
from captum_video.nn.strategies import current_strategy, set_strategy
from tests.nn.test_inflation import EXACT, still
from tests.nn.test_inflation_nets import TOLERANCE, like_trained, random_net

KINDS: tuple[ConvKind, ...] = ("fusion", "s", "st", "s+st")


def small_net() -> nn.Sequential:
    """Two spatial convolutions, one of them depthwise, and a 1x1 one."""
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
            norm=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            point=nn.Conv2d(4, 6, 1),
            depthwise=nn.Conv2d(6, 6, 3, padding=1, groups=6),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(6, 5),
        )
    ).double()


def small_dense(size: int = 32) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=10)
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    return like_trained(net, images), images


def shaken(net: nn.Module, seed: int = 0) -> Any:
    """The net with its paths off the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.split(".")[-2] in ("temporal", "s", "st") or ".both." in name:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(0.2 / parameter.shape[1] ** 0.5 * noise.to(parameter))
    return net


def one_hot(frames: int = 5) -> Tensor:
    """A clip of one lit place in its middle frame."""
    clip = torch.zeros(1, 1, frames, 3, 3, dtype=torch.float64)
    clip[0, 0, frames // 2, 1, 1] = 1
    return clip


def in_time(layer: nn.Module) -> list[float]:
    """What the middle place of each frame gets of the one-hot clip."""
    with torch.no_grad():
        return layer(one_hot())[0, 0, :, 1, 1].tolist()


def conv_of(value: float) -> nn.Conv2d:
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    nn.init.constant_(conv.weight, value)
    return conv


@pytest.mark.parametrize(
    ("kind", "options", "value", "expected"),
    [
        ("s", {}, 3, [0, 0, 3, 0, 0]),
        ("st", {}, 3, [0, 1, 1, 1, 0]),
        ("st", {"divide": False}, 3, [0, 3, 3, 3, 0]),
        ("st", {"depth": 5}, 5, [1, 1, 1, 1, 1]),
        ("st", {"depth": 1}, 5, [0, 0, 5, 0, 0]),
        ("s", {"divide": False, "depth": 5}, 3, [0, 0, 3, 0, 0]),
        ("s+st", {}, 6, [0, 1, 4, 1, 0]),  # S half of 6, each tap of ST a third of that
        ("s+st", {"divide": False}, 6, [0, 3, 6, 3, 0]),
        ("fusion", {}, 6, [0, 1, 4, 1, 0]),
        # 12 of S and 4 of ST, 6 and 2 of the third unit's
        ("fusion", {"gate_options": {"gates": "three"}}, 36, [0, 6, 24, 6, 0]),
    ],
)
def test_the_paths_start_as_the_identity_by_hand(
    kind: Any, options: Any, value: float, expected: list[float]
) -> None:
    layer = inflate(conv_of(value), kind, **options).eval()
    assert in_time(layer) == pytest.approx(expected, abs=1e-14)


def test_st_sees_time_in_its_order_and_a_dropped_gate_halves_the_signal() -> None:
    layer: Any = inflate(conv_of(1), "st")
    layer.temporal.weight.data = torch.tensor([1.0, 2, 3]).double().view(1, 1, 3, 1, 1)
    assert in_time(layer) == [0, 3, 2, 1, 0]
    unit: Any = inflate(conv_of(6), "fusion").eval()
    unit.gates.set_strategy([False, True])
    assert in_time(unit) == pytest.approx([0, 1, 1, 1, 0])
    unit.gates.set_strategy([True, False])
    assert in_time(unit) == [0, 0, 3, 0, 0]


def test_zeros_darken_the_ends_of_what_st_gives() -> None:
    clip = torch.ones(1, 1, 4, 3, 3, dtype=torch.float64)
    modes: dict[Any, list[int]] = {"zeros": [2, 3, 3, 2], "replicate": [3, 3, 3, 3]}
    for mode, expected in modes.items():
        layer = inflate(conv_of(1), "st", divide=False, temporal_padding=mode)
        assert layer(clip)[0, 0, :, 1, 1].tolist() == [9 * value for value in expected]
        assert layer(clip)[0, 0, 1, 0, 0] == 12  # zeros at the sides all the same


def test_names_shapes_and_numbers_of_weights() -> None:
    conv = nn.Conv2d(4, 6, 3, groups=2)
    gates = {"gates.drop_logit": (2,), "gates.strategy": (2,)}
    spatial = {"spatial.weight": (6, 2, 1, 3, 3), "spatial.bias": (6,)}
    paths = {"s.weight": (4, 2, 1, 1, 1), "st.weight": (4, 2, 3, 1, 1)}
    expected: dict[str, tuple[dict[str, Any], int]] = {
        "fusion": ({**paths, **spatial, **gates}, 8 + 24 + 108 + 6 + 2),
        "s+st": ({**paths, **spatial}, 8 + 24 + 108 + 6),
        "s": ({"temporal.weight": (4, 2, 1, 1, 1), **spatial}, 8 + 108 + 6),
        "st": ({"temporal.weight": (4, 2, 3, 1, 1), **spatial}, 24 + 108 + 6),
    }
    for kind in KINDS:
        shapes, count = expected[kind]
        layer: Any = inflate(conv, kind)
        assert {name: tuple(t.shape) for name, t in layer.state_dict().items()} == shapes
        assert sum(p.numel() for p in layer.parameters()) == count
        assert isinstance(layer, FusionUnit) is ("s.weight" in shapes)
        assert torch.equal(layer.spatial.weight[:, :, 0], conv.weight)
        assert torch.equal(layer.spatial.bias, conv.get_parameter("bias"))
    block = [[1.0, 0], [0, 1], [1, 0], [0, 1]]
    first: Any = inflate(conv, "s")
    assert first.temporal.weight[:, :, 0, 0, 0].tolist() == block
    without = inflate(nn.Conv2d(4, 6, 3, bias=False), "fusion")
    assert "spatial.bias" not in without.state_dict()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 0, "groups": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "bias": False},
        {"kernel_size": (1, 3), "padding": (0, 1), "stride": (1, 2)},
        {"kernel_size": (3, 1), "padding": (1, 0), "stride": (2, 1)},
        {"kernel_size": 4, "padding": "same"},
        {"kernel_size": (3, 4), "padding": "same", "groups": 2},
        {"kernel_size": (4, 3), "padding": "same", "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate", "stride": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("time", ["zeros", "replicate"])
def test_a_layer_is_its_paths_before_its_kernel(kind: Any, arguments: Any, time: Any) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **arguments).double()
    depth = 5
    layer = inflate(nn.Sequential(conv), kind, depth=depth, temporal_padding=time).eval()
    shaken(layer)
    names = {name.split(".")[-2] + "." + name.split(".")[-1]: value for name, value in
             layer.state_dict().items()}  # fmt: skip
    clip = torch.rand(2, 4, 7, 9, 8, dtype=torch.float64)
    axis = int(conv.kernel_size[1] > conv.kernel_size[0])
    modes = {"zeros": "constant"}
    mode = conv.padding_mode
    in_frames = time if mode == "zeros" else mode
    padded = F.pad(clip, (0, 0, 0, 0, 2, 2), mode=modes.get(in_frames, in_frames))
    stride = (conv.stride[axis], 1, 1)
    spatial_only: dict[str, Any] = {"stride": stride, "groups": conv.groups}
    paths = [
        F.conv3d(padded if weight.shape[2] > 1 else clip, weight, **spatial_only)
        for name, weight in names.items()
        if name in ("s.weight", "st.weight", "temporal.weight")
    ]
    assert len(paths) == (1 if kind in ("s", "st") else 2)
    sides = conv._reversed_padding_repeated_twice
    mixed = F.pad(sum(paths[1:], paths[0]), (*sides, 0, 0), mode=modes.get(mode, mode))
    want = F.conv3d(
        mixed, conv.weight.unsqueeze(2), conv.bias, (1, *conv.stride), 0, (1, *conv.dilation),
        conv.groups,
    )  # fmt: skip
    torch.testing.assert_close(layer(clip), want, **EXACT)
    assert want.shape[2] == (7 if stride[0] == 1 else 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "densenet", "mobilenet_v2"])
def test_a_still_clip_is_answered_as_its_frame(name: str, stride: bool, kind: Any) -> None:
    net, images = small_dense() if name == "densenet" else random_net(name, 32)
    video = inflate(net, kind, temporal_padding="replicate", temporal_stride=stride)
    assert not any(isinstance(module, nn.Conv2d | nn.BatchNorm2d) for module in video.modules())
    with torch.no_grad():
        want, got = net(images), video(still(images, 8))
    assert (want[0] - want[1]).abs().max() > 0.01 * want.abs().max()  # else the check says nothing
    assert (got - want).abs().max() <= TOLERANCE * want.abs().max()


@pytest.mark.parametrize("options", [{"gates": "three"}, {"drop_probability": 0.4}])
def test_open_gates_keep_the_answer_and_closed_ones_do_not(options: Any) -> None:
    net, images = small_dense()
    video = inflate(net, "fusion", temporal_padding="replicate", gate_options=options)
    with torch.no_grad():
        want = net(images)
        torch.testing.assert_close(video(still(images, 8)), want, rtol=0, atol=1e-10)
        closed = {
            name: (True, *kept[1:-1], False) for name, kept in current_strategy(video).items()
        }
        set_strategy(video, closed)
        assert (video(still(images, 8)) - want).abs().max() > 0.01 * want.abs().max()
        video.train()
        assert (video(still(images, 8)) - want).abs().max() > 0.01 * want.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("densenet121", 32, 32),
        ("resnet50", 8, 64),
        ("mobilenet_v2", 8, 64),
        ("resnext50_32x4d", 8, 64),
        ("inception_v3", 8, 139),  # convolutions without padding beside pools without
    ],
)
def test_the_papers_backbones_answer_a_still_clip_as_its_frame(
    name: str, frames: int, size: int, kind: Any
) -> None:
    net, images = random_net(name, size)
    video = inflate(net, kind, temporal_padding="replicate")
    with torch.no_grad():
        want, got = net(images), video(still(images, frames))
    assert (want[0] - want[1]).abs().max() > 0.01 * want.abs().max()
    assert (got - want).abs().max() <= TOLERANCE * want.abs().max()


def test_open_gates_are_s_and_st_together() -> None:
    net, _ = small_dense()
    fused = shaken(inflate(net, "fusion"))
    plain = inflate(net, "s+st")
    own = plain.state_dict()
    plain.load_state_dict(
        {name: value for name, value in fused.state_dict().items() if name in own}
    )
    clip = torch.rand(2, 3, 8, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        want, got = plain(clip), fused(clip)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
        reverse = fused(clip.flip(2))
    assert (want - reverse).abs().max() > 1e-6  # time counts


@pytest.mark.parametrize("name", ["densenet", "resnet18"])
def test_without_st_frames_are_seen_one_by_one(name: str) -> None:
    net, _ = small_dense() if name == "densenet" else random_net(name, 32)
    clip = torch.rand(1, 3, 6, 32, 32, dtype=torch.float64)
    order = [3, 0, 5, 1, 4, 2]
    for kind in ("s", "st"):
        video = shaken(inflate(net, kind, temporal_stride=False))
        maps: list[Tensor] = []
        layer = video.get_submodule(fusion_layers(net)[-1])
        layer.register_forward_hook(lambda module, given, out, maps=maps: maps.append(out))
        with torch.no_grad():
            answers = video(clip), video(clip[:, :, order])
        apart = (answers[0] - answers[1]).abs().max() / answers[0].abs().max()
        if kind == "s":
            torch.testing.assert_close(maps[1], maps[0][:, :, order], rtol=1e-9, atol=1e-9)
            assert apart < 1e-10
        else:
            assert apart > 1e-4


def test_pools_and_padding_layers_keep_the_frames_that_st_keeps() -> None:
    class Reduction(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 3, 3, stride=2), nn.MaxPool2d(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.conv(x), self.pool(x)], 1)

    padded = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 1, padding=1))
    reflect = nn.Sequential(nn.ReflectionPad2d((2, 1, 0, 1)), nn.Conv2d(3, 3, 3))
    torch.manual_seed(0)
    image = torch.rand(1, 3, 9, 9, dtype=torch.float64)
    for net, frames in ((Reduction(), 4), (padded, 7), (reflect, 7)):
        net.double()
        for depth in (None, 5):
            video = inflate(net, "fusion", depth=depth, temporal_padding="replicate").eval()
            want = net(image)
            torch.testing.assert_close(video(still(image, 7)), still(want, frames), **EXACT)
    for pool, frames in ((nn.MaxPool2d(2), 3), (nn.MaxPool2d(3, 2, ceil_mode=True), 3)):
        net = nn.Sequential(nn.Conv2d(3, 3, 3), pool)
        assert inflate(net, "s")(torch.rand(1, 3, 7, 9, 9)).shape[2] == frames
