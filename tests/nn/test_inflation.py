from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.nn import Conv3T, FreeConv3T, inflate

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def still(image: Tensor, frames: int) -> Tensor:
    """A clip of equal frames."""
    return image.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 8, 1),
        nn.Dropout2d(0.3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    ).double()


def test_kernels_are_stacked_and_divided_or_put_first() -> None:
    conv = nn.Conv2d(4, 6, (3, 5), groups=2).double()
    bias = conv.get_parameter("bias")
    plain: Any = inflate(conv, "3d")
    chain: Any = inflate(conv)
    free: Any = inflate(conv, "3t-free")
    assert (type(plain), type(chain), type(free)) == (nn.Conv3d, Conv3T, FreeConv3T)
    assert plain.weight.shape == (6, 2, 5, 3, 5)
    for step in range(5):
        torch.testing.assert_close(plain.weight[:, :, step], conv.weight / 5, rtol=0, atol=0)
    for factorized in (chain, free):
        assert torch.equal(factorized.first_slice, conv.weight)
        kernel = factorized.kernel()
        torch.testing.assert_close(kernel, conv.weight.unsqueeze(2).expand_as(kernel), **EXACT)
    assert torch.equal(chain.scale, torch.ones(4, 6))
    for name in ("rotation", "translation_x", "translation_y"):
        assert torch.equal(getattr(chain, name), torch.zeros(4, 6))
    assert all(torch.equal(layer.bias, bias) for layer in (plain, chain, free))


@pytest.mark.parametrize("kind", ["3d", "3t", "3t-free"])
@pytest.mark.parametrize("divide", [True, False])
def test_division_is_a_choice(kind: Any, divide: bool) -> None:
    conv = nn.Conv2d(1, 1, 3)
    nn.init.constant_(conv.weight, 3)
    layer: Any = inflate(conv, kind, divide=divide)
    kernel = layer.weight if kind == "3d" else layer.kernel()
    assert torch.equal(kernel, torch.full((1, 1, 3, 3, 3), 1.0 if divide else 3.0))


def test_zeros_darken_the_ends_and_replication_does_not() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    nn.init.ones_(conv.weight)
    clip = torch.ones(1, 1, 4, 5, 5, dtype=torch.float64)
    dark = inflate(conv, "3t")(clip)[0, 0, :, 2, 2]
    assert dark.tolist() == [18, 27, 27, 18]
    even = inflate(conv, "3t", temporal_padding="replicate")(clip)[0, 0]
    assert even[:, 2, 2].tolist() == [27, 27, 27, 27]
    assert even[0, 0].tolist() == [12, 18, 18, 18, 12]  # zeros at the sides all the same
    divided = inflate(conv, "3d", temporal_padding="replicate")(clip)[0, 0, :, 2, 2]
    torch.testing.assert_close(divided, torch.full((4,), 9.0, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(
    ("arguments", "depth", "expected"),
    [
        # depth, stride, padding in time
        ({"kernel_size": 1, "stride": 2}, None, (1, 2, 0)),
        ({"kernel_size": 7, "stride": 2, "padding": 3}, None, (7, 2, 3)),
        ({"kernel_size": 7, "stride": 2, "padding": 3}, 3, (3, 2, 1)),
        ({"kernel_size": 3, "padding": 1}, 5, (5, 1, 2)),
        ({"kernel_size": 3, "padding": 0}, 5, (5, 1, 0)),
        ({"kernel_size": 3, "padding": 1}, 1, (1, 1, 0)),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, None, (3, 1, 1)),
        ({"kernel_size": 4, "stride": 2, "padding": 1}, None, (4, 2, 1)),
        ({"kernel_size": (1, 7), "padding": (0, 3), "stride": (1, 2)}, None, (7, 2, 3)),
        ({"kernel_size": (7, 1), "padding": (3, 0), "stride": (2, 1)}, None, (7, 2, 3)),
        ({"kernel_size": 3, "padding": (1, 0), "stride": (2, 1)}, None, (3, 2, 1)),
        ({"kernel_size": 5, "padding": "valid"}, None, (5, 1, 0)),
        ({"kernel_size": 5, "padding": "same", "dilation": 3}, None, (5, 1, 2)),
    ],
)
def test_time_follows_the_longer_side(arguments: Any, depth: Any, expected: Any) -> None:
    conv = nn.Conv2d(2, 3, **arguments)
    layer = inflate(conv, "3d", depth=depth)
    assert isinstance(layer, nn.Conv3d)
    assert (layer.kernel_size[0], layer.stride[0], layer.padding[0]) == expected
    assert layer.dilation == (1, *conv.dilation)
    assert layer(torch.rand(1, 2, 16, 24, 24)).shape[3:] == conv(torch.rand(1, 2, 24, 24)).shape[2:]


@pytest.mark.parametrize(
    ("arguments", "depth", "frames"),
    [
        ({"kernel_size": 3, "padding": 1}, 4, (1, 2)),  # 1.5 either way
        ({"kernel_size": 3, "padding": 1}, 2, (0, 1)),
        ({"kernel_size": 4, "padding": "same"}, None, (1, 2)),
        ({"kernel_size": (4, 3), "padding": "same"}, 3, (1, 1)),
        ({"kernel_size": (3, 4), "padding": "same"}, 5, (2, 2)),
        ({"kernel_size": 4, "padding": 1}, 2, (0, 1)),  # 2/3 of a frame
        ({"kernel_size": 6, "padding": 1}, 2, (0, 0)),  # 2/5 of a frame
    ],
)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_an_odd_frame_of_padding_goes_to_the_end(
    arguments: Any, depth: Any, frames: tuple[int, int], mode: Any
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, **arguments).double()
    layer = inflate(conv, "3d", depth=depth, temporal_padding=mode)
    clip = torch.rand(1, 2, 9, 8, 8, dtype=torch.float64)
    height, width = conv.kernel_size
    plain = nn.Conv3d(2, 3, (depth or 4, height, width)).double()
    plain.load_state_dict({k.split(".")[-1]: v for k, v in layer.state_dict().items()})
    sides = conv._reversed_padding_repeated_twice
    fill = "replicate" if mode == "replicate" else "constant"
    want = plain(F.pad(F.pad(clip, (0, 0, 0, 0, *frames), mode=fill), (*sides, 0, 0)))
    torch.testing.assert_close(layer(clip), want, **EXACT)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, "same"])
@pytest.mark.parametrize("size", [3, 4])
def test_padding_modes_hold_in_time_too(mode: Any, padding: Any, size: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, size, padding=padding, padding_mode=mode).double()
    layer = inflate(conv, "3d")
    image = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    want = conv(image)
    got = layer(still(image, 5))
    torch.testing.assert_close(got, still(want, got.shape[2]), **EXACT)
    clip = torch.rand(1, 2, 5, 6, 6, dtype=torch.float64)
    one = 1 if padding == 1 else (size - 1) // 2
    other = 1 if padding == 1 else size // 2
    padded = F.pad(clip, (one, other) * 3, mode=mode)
    kernel = conv.weight.unsqueeze(2).expand(-1, -1, size, -1, -1) / size
    torch.testing.assert_close(layer(clip), F.conv3d(padded, kernel, conv.bias), **EXACT)


def test_the_model_given_stays_as_it_is() -> None:
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    text, rng = str(net), torch.get_rng_state()
    video = inflate(net, temporal_padding="replicate")
    with torch.no_grad():
        for tensor in video.state_dict().values():
            tensor.zero_()
    assert str(net) == text
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)


def test_names_flags_and_kinds_are_kept() -> None:
    net: Any = small_net().to(torch.bfloat16)
    for number in (1, 3):  # the norm and the pool
        net[number].eval()
    net[0].requires_grad_(False)
    net[1].running_mean.fill_(3)
    net[1].num_batches_tracked.fill_(7)
    video: Any = inflate(net)
    names = {"first_slice", "scale", "rotation", "translation_x", "translation_y"}
    renamed = {"0.weight"} ^ set(net.state_dict()) | {f"0.{name}" for name in names}
    assert set(video.state_dict()) == renamed
    assert [m.training for m in video] == [m.training for m in net]
    assert {p.dtype for p in video.parameters()} == {torch.bfloat16}
    frozen = {name for name, p in video.named_parameters() if not p.requires_grad}
    assert frozen == {f"0.{name}" for name in names}
    assert type(video[1]) is nn.BatchNorm3d
    state = video.state_dict()
    assert state["1.running_mean"].tolist() == [3.0] * 6
    assert int(state["1.num_batches_tracked"]) == 7
    assert type(video[5]) is nn.Dropout3d
    assert video[5].p == 0.3


def test_the_meta_device_is_kept() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    video = inflate(net)
    assert {tensor.device.type for tensor in video.state_dict().values()} == {"meta"}


def test_shared_modules_and_weights_stay_shared() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    tied = nn.Conv2d(3, 3, 3, padding=1, dilation=1)
    tied.weight, tied.bias = shared.weight, shared.bias
    net = nn.ModuleDict({"one": shared, "two": nn.Sequential(shared), "three": tied})
    for kind in ("3d", "3t"):
        video = inflate(net, kind)
        one, two, three = (video.get_submodule(name) for name in ("one", "two.0", "three"))
        assert one is two
        assert one is not three
        name = "weight" if kind == "3d" else "first_slice"
        assert getattr(one, name) is getattr(three, name)
        assert one.bias is three.bias


@pytest.mark.parametrize("kind", ["3d", "3t", "3t-free"])
def test_a_still_clip_is_answered_as_its_frame(kind: Any) -> None:
    net = small_net().eval()
    video = inflate(net, kind, temporal_padding="replicate", divide=True)
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(video(still(image, 5)), net(image), **EXACT)


def test_the_result_can_be_copied_saved_and_exported() -> None:
    net = small_net().eval()
    video: Any = inflate(net, temporal_padding="replicate", divide=True)
    image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    want = net(image)
    clip = still(image, 8)
    for other in (copy.deepcopy(video), pickle.loads(pickle.dumps(video))):
        torch.testing.assert_close(other(clip), want, **EXACT)
    fresh = inflate(small_net(), temporal_padding="replicate").eval()
    fresh.load_state_dict(video.state_dict())
    torch.testing.assert_close(fresh(clip), want, **EXACT)
    assert isinstance(video[0][1], Conv3T)
    video[0][1] = video[0][1].to_conv3d()
    torch.testing.assert_close(video(clip), want, **EXACT)


def test_gradients_reach_every_parameter() -> None:
    video = inflate(small_net()).train()
    video(torch.rand(4, 3, 8, 16, 16, dtype=torch.float64)).square().sum().backward()
    for name, parameter in video.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
