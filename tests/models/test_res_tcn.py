"""Res-TCN and MS-Res-TCN: sizes, and equations 1-4, 8, 9 and 11-16 written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from captum_video._core.skeletons import joint_dimensions
from models._res_tcn import MSResTCN, ResTCN
from models._residual_units import Pipe, ResidualUnit, SameConv1d
from models.data.actions import ACTIONS
from models.data.ntu import NTU_ACTIONS
from models.res_tcn import TARGET_JOINTS
from tests.attr.sequence_nets import part, sequences, settled


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


class TestSize:
    def test_of_the_paper(self) -> None:
        net = models.build("res_tcn", classes=60, frames=300)
        assert count(net) == 1_874_492
        assert net(torch.zeros(2, 150, 300)).shape == (2, 60)
        assert net.info.classes == NTU_ACTIONS
        assert net.info.frames == 300

    @pytest.mark.parametrize(("dimensions", "classes"), [(6, 7), (75, 16), (150, 101)])
    def test_of_other_data(self, dimensions: int, classes: int) -> None:
        # a filter has 8 taps for each dimension; a class has 256 weights and a bias
        expected = 1_874_492 + 64 * 8 * (dimensions - 150) + 257 * (classes - 60)
        net = models.build("res_tcn", dimensions=dimensions, classes=classes)
        assert count(net) == expected
        assert net(torch.zeros(1, dimensions, 9)).shape == (1, classes)
        assert net.info.classes[0] == "class 1"

    @pytest.mark.parametrize("name", ["res_tcn", "res_tcn_small", "ms_res_tcn", "ms_res_tcn_small"])
    def test_of_named_classes(self, name: str) -> None:
        with torch.device("meta"):
            net = models.build(name, classes=("sit", "stand", "walk"))
            sixty = models.build(name, classes=[f"a{number}" for number in range(60)])
        assert net.info.classes == ("sit", "stand", "walk")
        assert net.info.groups == {"action": range(3)}
        assert net.get_submodule("output").out_features == 3
        assert sixty.info.classes[59] == "a59"

    def test_of_two_streams(self) -> None:
        one, two = count(ResTCN()), count(MSResTCN(target=[3]))
        pipes = sum(3 * (width * width + 3 * width) for width in (64, 128, 256))
        # of the prediction layer there is one, whose norm and weights see twice the channels
        assert two == 2 * one + pipes - 60

    def test_targets_do_not_change_it(self) -> None:
        assert count(MSResTCN(target=[3])) == count(MSResTCN(target=range(150)))

    def test_of_the_bundled_nets(self) -> None:
        assert count(models.build("res_tcn_small")) == 314_480
        assert models.build("res_tcn_small").info.classes == ACTIONS
        assert count(models.build("ms_res_tcn_small")) == 673_296

    @pytest.mark.parametrize("frames", [1, 2, 7, 96, 97, 300])
    def test_any_length(self, frames: int) -> None:
        net, x = ResTCN(6, 3, widths=(4, 5, 7)).eval(), torch.rand(2, 6, frames)
        assert net(x).shape == (2, 3)
        seen: list[Tensor] = []
        part(net, "layer10").register_forward_hook(lambda *a: seen.append(a[2]))
        net(x)
        assert seen[0].shape == (2, 7, (frames + 3) // 4)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 1), (3, 2), (4, 2), (8, 2), (8, 1)])
@pytest.mark.parametrize("frames", [9, 10])
def test_same_convolution_sees_what_it_says(kernel: int, stride: int, frames: int) -> None:
    conv, x = settled(SameConv1d(2, 3, kernel, stride)), sequences(1, 2, frames)
    found = conv(x)[0]
    assert found.shape == (3, -(-frames // stride))
    for step in range(found.shape[1]):
        total = conv.bias.detach().clone()
        for tap in range(kernel):
            frame = stride * step - (kernel - 1) // 2 + tap
            if 0 <= frame < frames:
                total += conv.weight.detach()[:, :, tap] @ x[0, :, frame]
        assert torch.allclose(found[:, step], total)


def sigma(x: Tensor, norm: Any) -> Tensor:
    scaled = (x - norm.running_mean[:, None]) / (norm.running_var[:, None] + norm.eps).sqrt()
    return (scaled * norm.weight[:, None] + norm.bias[:, None]).clamp(min=0)


def residual(unit: Any, x: Tensor) -> Tensor:
    """F(W_l, X) of equations 2, 9, 13 and 14."""
    padded = F.pad(sigma(x, unit.norm), unit.conv.ends)
    return F.conv1d(padded, unit.conv.weight, unit.conv.bias, unit.conv.stride)


def carried(unit: Any, x: Tensor) -> Tensor:
    """The identity, or equation 8's convolution of length 1."""
    if isinstance(unit.shortcut, nn.Identity):
        return x
    return F.conv1d(x, unit.shortcut.weight, unit.shortcut.bias, unit.shortcut.stride)


def predicted(net: Any, x: Tensor) -> Tensor:
    return sigma(x, net.norm).mean(2) @ net.output.weight.T + net.output.bias


def test_res_tcn_equals_its_equations() -> None:
    net = settled(ResTCN(6, 3, widths=(4, 5, 7), units=2, kernel=4))
    net.set_mean(torch.arange(6, dtype=torch.float64))
    x = sequences(2, 6, 33)
    value = F.conv1d(F.pad(x - net.mean, (1, 2)), net.layer1.weight, net.layer1.bias)
    for number in range(2, 8):
        unit = part(net, f"layer{number}")
        value = carried(unit, value) + residual(unit, value)
    assert [u.conv.stride[0] for u in net.modules() if isinstance(u, ResidualUnit)] == [
        1, 1, 2, 1, 2, 1,
    ]  # fmt: skip
    assert torch.allclose(net(x), predicted(net, value))


def test_ms_res_tcn_equals_its_equations() -> None:
    net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5, 7), units=2, kernel=4))
    net.set_mean(torch.arange(6, dtype=torch.float64))
    x = sequences(2, 6, 33)
    masked = torch.zeros_like(x)
    masked[:, [1, 4]] = (x - net.mean)[:, [1, 4]]
    first, second = net.layer1_main, net.layer1_attention
    main = F.conv1d(F.pad(x - net.mean, (1, 2)), first.weight, first.bias)
    attention = F.conv1d(F.pad(masked, (1, 2)), second.weight, second.bias)
    for number in range(2, 8):
        layer = part(net, f"layer{number}")

        def piped(value: Tensor, pipe: Any = layer.pipe) -> Tensor:
            return sigma(F.conv1d(value, pipe.conv.weight, pipe.conv.bias), pipe.norm)

        next_main = carried(layer.main, main) + residual(layer.main, main)
        next_attention = carried(layer.attention, attention) + residual(layer.attention, attention)
        if number % 2 == 0:
            next_main = next_main + piped(next_attention)
        else:
            next_attention = next_attention + piped(next_main)
        main, attention = next_main, next_attention
    assert torch.allclose(net(x), predicted(net, torch.cat([main, attention], 1)))


class TestTarget:
    def test_the_attention_stream_sees_its_dimensions_alone(self) -> None:
        net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5, 7), units=2, kernel=4))
        seen: list[Tensor] = []
        net.layer1_attention.register_forward_hook(lambda *a: seen.append(a[2]))
        x = sequences(1, 6, 33)
        for others in (0.0, 9.0):
            other = x.clone()
            other[:, [0, 2, 3, 5]] = others
            net(other)
        other[:, 4] += 1
        net(other)
        assert torch.equal(seen[0], seen[1])
        assert not torch.equal(seen[1], seen[2])

    def test_untargeted_filters_start_and_stay_at_zero(self) -> None:
        net = MSResTCN(6, 3, target=[1, 4], widths=(4, 5), units=1, kernel=4).double()
        net(sequences(4, 6, 33)).square().sum().backward()
        weight = net.layer1_attention.weight
        assert weight.grad is not None
        for values in (weight, weight.grad):
            assert values[:, [0, 2, 3, 5]].abs().max() == 0
            assert values[:, [1, 4]].abs().max() > 0

    def test_joints_of_both_actors(self) -> None:
        net: Any = models.build("ms_res_tcn_small", target_joints="hand_tip_right, 3")
        dimensions = [*range(9, 12), *range(69, 72), *range(84, 87), *range(144, 147)]
        assert net.target.flatten().nonzero().flatten().tolist() == dimensions
        default: Any = models.build("ms_res_tcn_small")
        expected = joint_dimensions(TARGET_JOINTS)
        assert default.target.flatten().nonzero().flatten().tolist() == expected

    def test_dimensions_of_other_data(self) -> None:
        net: Any = models.build("ms_res_tcn", dimensions=6, classes=7, target_dimensions=(0, 5))
        assert net.target.flatten().tolist() == [1, 0, 0, 0, 0, 1]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"target_joints": "elbow"}, "There is no joint 'elbow'.*elbow_left"),
            ({"target_joints": "25"}, "number must be from 0 to 24, got 25"),
            ({"target_joints": []}, "at least one joint, got none"),
            ({"target_dimensions": [150]}, r"from 0 to 149, at least one, got \[150\]"),
            ({"target_dimensions": []}, r"at least one, got \[\]"),
            ({"dimensions": 6}, "target_dimensions must be given for 6 dimensions"),
            ({"classes": 0}, "classes must be positive, got 0"),
        ],
    )
    def test_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            models.build("ms_res_tcn_small", **options)


class TestBadInput:
    @pytest.mark.parametrize("shape", [(2, 149, 96), (150, 96), (2, 150, 0), (2, 150, 4, 4)])
    @pytest.mark.parametrize("name", ["res_tcn_small", "ms_res_tcn_small"])
    def test_shapes(self, name: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\(N, 150, T\) with at least one frame, got shape"):
            models.build(name)(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dimensions": 0}, "dimensions must be positive, got 0"),
            ({"widths": ()}, "widths must be positive numbers, at least one"),
            ({"widths": (4, 0)}, "widths must be positive"),
            ({"units": 0}, "units must be positive, got 0"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ResTCN(**options)

    def test_mean(self) -> None:
        with pytest.raises(ValueError, match=r"mean must be \(6,\), got \(6, 1\)"):
            ResTCN(6, 3).set_mean(torch.zeros(6, 1))


def test_dropout_follows_every_activation_but_the_last() -> None:
    net = MSResTCN(6, 3, target=[0], widths=(4, 5), units=2, kernel=4, dropout=0.25)
    drops = [m.p for m in net.modules() if isinstance(m, nn.Dropout)]
    activated = [m for m in net.modules() if isinstance(m, ResidualUnit | Pipe)]
    assert drops == [0.25] * len(activated) == [0.25] * 12
