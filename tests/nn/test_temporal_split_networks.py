"""Networks whose trained temporal kernels get gates, and back."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torchvision.models.video.resnet import Conv3DNoTemporal, Conv3DSimple

from captum_video.nn import Conv3T, FusionUnit, gated_modules, set_strategy
from captum_video.nn.strategies import fixed_network
from captum_video.nn.temporal_split import SplitConv3d, split_temporal_kernels
from tests.contract.kinds import assert_same, state, with_gradients
from tests.nets import C3DLike, Residual, clip, seeded
from tests.nn.layers import moved


class OwnForward(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


class OwnConvolution(nn.Conv3d):
    def _conv_forward(self, *args: Any) -> Tensor:
        return super()._conv_forward(*args) * 2


class Mixed(nn.Module):
    """Layers with and without temporal kernels, one of them used twice under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Conv3DSimple(2, 3)
        self.norm = nn.BatchNorm3d(3)
        self.spatial = Conv3DNoTemporal(3, 3)
        self.twice = Conv3T(3, 3, 3, padding=1)
        self.blocks = nn.Sequential(self.twice, nn.ReLU(), OwnForward(3, 3, 3, padding=1))
        self.own = OwnConvolution(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.spatial(self.norm(self.first(x)).relu())
        return self.own(self.blocks(self.twice(x).relu())).mean((2, 3, 4))


def mixed() -> nn.Module:
    net = seeded(Mixed())
    moved(net.get_submodule("twice"))  # type: ignore[arg-type]
    return net


class TestNetworks:
    def test_every_temporal_kernel_once(self) -> None:
        net, x = mixed(), clip(2, 2, 5, 6, 6)
        split = split_temporal_kernels(net)
        assert list(gated_modules(split)) == ["first", "twice"]
        assert split.get_submodule("twice") is split.get_submodule("blocks.0")
        assert isinstance(split.get_submodule("blocks.2"), OwnForward)
        assert isinstance(split.get_submodule("own"), OwnConvolution)
        assert torch.allclose(split(x), net.eval()(x), rtol=0, atol=1e-12)
        wanted = [name for name, p in split.named_parameters() if p.requires_grad]
        assert wanted == ["first.gates.drop_logit", "twice.gates.drop_logit"]
        assert not any(module.training for module in split.modules())

    @pytest.mark.parametrize("net", [C3DLike(), Residual()], ids=["chain", "residual"])
    def test_the_copy_does_what_the_model_does(self, net: nn.Module) -> None:
        net = seeded(net).eval()
        x = clip(2, 3, 8, 16, 16)
        split = split_temporal_kernels(net)
        assert gated_modules(split)
        assert torch.equal(split(x), net(x))

    def test_the_model_stays_as_it_was(self) -> None:
        net = with_gradients(mixed().train())
        before = state(net)
        split = split_temporal_kernels(net)
        split(clip(2, 2, 5, 6, 6))
        with torch.no_grad():
            for tensor in split.state_dict().values():
                tensor.zero_()
        assert_same(before, state(net))

    def test_some_layers(self) -> None:
        net = mixed()
        split = split_temporal_kernels(net, [net.get_submodule("blocks.0")])
        assert list(gated_modules(split)) == ["twice"]
        assert isinstance(split.get_submodule("first"), Conv3DSimple)

    def test_a_single_layer(self) -> None:
        layer, x = seeded(nn.Conv3d(4, 8, 3)).eval(), clip(2, 4, 5, 6, 6)
        split = split_temporal_kernels(layer, temperature=0.5, drop_probability=0.3)
        assert isinstance(split, SplitConv3d)
        assert torch.equal(split(x), layer(x))
        assert split.gates.temperature == 0.5
        assert split.gates.drop_probability().tolist() == pytest.approx([0.3, 0.3])

    def test_ordinary_again(self) -> None:
        net, x = mixed().eval(), clip(2, 2, 5, 6, 6)
        split = split_temporal_kernels(net)
        kept = {"first": (True, False), "twice": (True, True)}
        set_strategy(split, kept)
        expected = split(x)
        assert not torch.allclose(expected, net(x))
        fixed = fixed_network(split)
        assert not gated_modules(fixed)
        assert fixed.get_submodule("twice") is fixed.get_submodule("blocks.0")
        assert torch.allclose(fixed(x), expected, rtol=0, atol=1e-12)

    def test_trainable_again_as_the_model_was(self) -> None:
        net = mixed()
        net.get_submodule("norm").requires_grad_(False)
        net.get_submodule("first").weight.requires_grad_(False)
        split = split_temporal_kernels(net)
        # within another network, copied, and with a layer that is new
        whole = nn.Sequential(OrderedDict(net=copy.deepcopy(split), head=nn.Linear(3, 2)))
        whole.get_submodule("head").bias.requires_grad_(False)
        flags = {n: p.requires_grad for n, p in fixed_network(whole).named_parameters()}
        assert flags.pop("head.weight")
        assert not flags.pop("head.bias")
        frozen = {"net.norm.weight", "net.norm.bias", "net.first.weight"}
        assert {name for name, trains in flags.items() if not trains} == frozen
        assert flags["net.twice.weight"]
        assert flags["net.own.weight"]
        again = [n for n, p in split.named_parameters() if p.requires_grad]
        assert again == ["first.gates.drop_logit", "twice.gates.drop_logit"]

    def test_computed_weights_are_read_as_they_are(self) -> None:
        net, x = seeded(nn.Sequential(nn.Conv3d(4, 8, 3), nn.ReLU())), clip(2, 4, 5, 6, 6)
        parametrizations.spectral_norm(net.get_submodule("0"))
        net.eval()
        split = split_temporal_kernels(net)
        assert torch.equal(split(x), net(x))
        assert all(p.requires_grad for p in fixed_network(split).parameters())

    def test_a_compiled_model(self) -> None:
        net = mixed().eval()
        split = split_temporal_kernels(torch.compile(net))  # type: ignore[arg-type]
        assert list(gated_modules(split)) == ["first", "twice"]


class TestErrors:
    def test_no_module(self) -> None:
        with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got function"):
            split_temporal_kernels(lambda x: x)  # type: ignore[arg-type]

    def test_no_temporal_kernel(self) -> None:
        net = nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3)), nn.ReLU(), nn.Linear(4, 2))
        with pytest.raises(
            ValueError, match=r"more than one tap in time, got .* 1 Conv3d, 1 Linear"
        ):
            split_temporal_kernels(net)
        with pytest.raises(ValueError, match="got ReLU with no parameters"):
            split_temporal_kernels(nn.ReLU())

    def test_gates_already(self) -> None:
        with pytest.raises(ValueError, match=r"model must be without gates, got .* gates in 0"):
            split_temporal_kernels(nn.Sequential(FusionUnit(2, 2)))

    def test_layers(self) -> None:
        net = mixed()
        with pytest.raises(ValueError, match="layers must name at least one layer, got none"):
            split_temporal_kernels(net, [])
        with pytest.raises(ValueError, match="layers must be modules of the model, got another"):
            split_temporal_kernels(net, [nn.Conv3d(2, 2, 3)])
        for name in ("norm", "spatial", "own", "blocks.2"):
            with pytest.raises(ValueError, match=f"layer '{name}' must be a Conv3d or"):
                split_temporal_kernels(net, [net.get_submodule(name)])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("which", ["weight", "bias"])
    def test_weights_that_are_not_finite(self, value: float, which: str) -> None:
        net = nn.Sequential(nn.ReLU(), nn.Conv3d(2, 2, 3))
        with torch.no_grad():
            net.get_parameter(f"1.{which}").view(-1)[1] = value
        with pytest.raises(ValueError, match="layer '1': conv must have finite weights"):
            split_temporal_kernels(net)

    def test_hooks_would_be_lost(self) -> None:
        net = mixed()
        net.get_submodule("first").register_forward_hook(lambda *_: None)
        with pytest.raises(
            ValueError, match="layer 'first' has forward hooks, which would be lost"
        ):
            split_temporal_kernels(net)
        net = mixed()
        prune.random_unstructured(net.get_submodule("first"), "weight", amount=0.5)
        with pytest.raises(ValueError, match=r"layer 'first' has forward pre hooks.*prune.remove"):
            split_temporal_kernels(net)
        net = mixed()
        first = net.get_submodule("first")
        first.forward = lambda x: x
        with pytest.raises(ValueError, match="layer 'first' has a forward of its own, which"):
            split_temporal_kernels(net)

    def test_a_model_that_cannot_be_copied(self) -> None:
        net = nn.Sequential(nn.Conv3d(2, 2, 3))
        net.kept = torch.ones(1, requires_grad=True) * 2
        with pytest.raises(
            ValueError, match=r"model must be one that copy.deepcopy can copy, but Seq"
        ):
            split_temporal_kernels(net)

    def test_nothing_is_warned_of(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            split_temporal_kernels(mixed())
