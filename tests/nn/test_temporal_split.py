"""Trained kernels split into temporal mean and rest: against torch's convolutions and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video.nn import Conv3T, fusion_regularizer
from captum_video.nn.gates import forced_gates
from captum_video.nn.temporal_split import SplitConv3d
from tests.nets import clip, seeded
from tests.nn.layers import moved

GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel_size": 3},
    {"kernel_size": (2, 3, 1), "stride": (2, 1, 3), "padding": (1, 2, 0), "bias": False},
    {"kernel_size": 3, "padding": "same", "dilation": (2, 1, 1), "groups": 2},
    {"kernel_size": (3, 1, 1), "padding": "same", "padding_mode": "reflect"},
    {"kernel_size": (5, 3, 3), "padding": (2, 1, 1), "padding_mode": "replicate", "stride": 2},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular", "dilation": (1, 2, 1)},
    {"kernel_size": (2, 2, 2), "padding": "valid", "groups": 4},
)


def conv(**geometry: Any) -> nn.Conv3d:
    layer = seeded(nn.Conv3d(4, 8, **geometry))
    assert isinstance(layer, nn.Conv3d)
    return layer


@contextmanager
def gates_at(layer: nn.Module, values: Tensor) -> Iterator[None]:
    assert isinstance(layer, SplitConv3d)
    with forced_gates({layer.gates: values}):
        yield


def by_hand(layer: Any, x: Tensor, e_s: float, e_st: float) -> Tensor:
    """The docstring's equation, with torch's layer for each part."""
    with torch.no_grad():
        slices = layer.weight.unbind(2)
        mean = torch.stack([sum(slices) / len(slices)] * len(slices), 2)
        parts = []
        for kernel in (mean, layer.weight - mean):
            part = nn.Conv3d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                layer.padding, layer.dilation, layer.groups, False, layer.padding_mode,
                dtype=torch.float64,
            )  # fmt: skip
            part.weight.copy_(kernel)
            parts.append(part(x))
        y = e_s * parts[0] + e_st * parts[1]
        return y if layer.bias is None else y + layer.bias.view(-1, 1, 1, 1)


@pytest.mark.parametrize("geometry", GEOMETRIES)
class TestTheLayer:
    def test_open_gates_change_no_bit(self, geometry: dict[str, Any]) -> None:
        layer, x = conv(**geometry).eval(), clip(2, 4, 7, 6, 6)
        assert torch.equal(SplitConv3d(layer)(x), layer(x))
        assert torch.equal(SplitConv3d(layer.float())(x.float()), layer.float()(x.float()))
        assert torch.equal(SplitConv3d(layer.double())(x[0]), layer(x[0]))

    def test_each_clip_has_its_own_gates(self, geometry: dict[str, Any]) -> None:
        layer, x = conv(**geometry), clip(4, 4, 7, 6, 6)
        split = SplitConv3d(layer)
        values = torch.tensor([[1, 1], [0.3, 0.9], [0, 1], [0.7, 0]], dtype=torch.float64)
        with gates_at(split, values):
            found = split(x)
        for number, (e_s, e_st) in enumerate(values.tolist()):
            expected = by_hand(layer, x[number : number + 1], e_s, e_st)
            assert torch.allclose(found[number : number + 1], expected, rtol=0, atol=1e-12)
            # the same gates for all clips are one kernel
            with gates_at(split, values[number : number + 1]):
                assert torch.allclose(split(x)[number], expected[0], rtol=0, atol=1e-12)
                assert torch.allclose(split(x[number]), expected[0], rtol=0, atol=1e-12)

    def test_what_a_strategy_leaves_is_an_ordinary_convolution(
        self, geometry: dict[str, Any]
    ) -> None:
        layer, x = conv(**geometry), clip(2, 4, 7, 6, 6)
        split = SplitConv3d(layer).eval()
        for kept in ((True, True), (True, False), (False, True), (False, False)):
            fixed = split.fixed(kept)
            assert type(fixed) is nn.Conv3d
            assert not fixed.training
            expected = by_hand(layer, x, *map(float, kept))
            assert torch.allclose(fixed(x), expected, rtol=0, atol=1e-12)
            split.gates.set_strategy(kept)
            assert torch.allclose(split(x), expected, rtol=0, atol=1e-12)
        assert torch.equal(split.fixed((True, True)).weight, layer.weight)
        assert not split.fixed((False, False)).weight.any()


class TestTheParts:
    def test_by_hand(self) -> None:
        layer = nn.Conv3d(1, 1, (3, 1, 1), bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1, 1))
        split = SplitConv3d(layer)
        assert split.weights_of("S")[0].flatten().tolist() == [3, 3, 3]
        assert split.weights_of("ST")[0].flatten().tolist() == [-2, -1, 3]
        # squares 27 and 14, at keep probabilities 3/4 and 1/2, k^2/2 = 2, less the entropies
        split.gates.set_drop_probability((0.25, 0.5))
        entropy = torch.distributions.Bernoulli(torch.tensor([0.75, 0.5])).entropy().sum()
        found = fusion_regularizer(split, 1, length_scale=2.0).detach()
        assert found.item() == pytest.approx(0.75 * 2 * 27 + 0.5 * 2 * 14 - float(entropy))

    def test_they_are_orthogonal(self) -> None:
        split = SplitConv3d(conv(kernel_size=3))
        (mean,), (rest,) = split.weights_of("S"), split.weights_of("ST")
        assert float((mean * rest).sum()) == pytest.approx(0, abs=1e-12)
        assert torch.allclose(mean + rest, split.weight, rtol=0, atol=1e-15)
        assert torch.allclose(rest.sum(2), torch.zeros(()).double(), rtol=0, atol=1e-15)

    def test_the_mean_cannot_tell_the_order_in_its_window(self) -> None:
        split, x = SplitConv3d(conv(kernel_size=3)), clip(2, 4, 3, 5, 5)
        order = torch.tensor([2, 0, 1])
        for gates, same in (((1.0, 0.0), True), ((0.0, 1.0), False), ((1.0, 1.0), False)):
            with gates_at(split, torch.tensor([gates])):
                close = torch.allclose(split(x), split(x[:, :, order]), rtol=0, atol=1e-12)
                assert close is same

    def test_the_rest_is_silent_on_still_clips_but_at_zero_padding(self) -> None:
        still = clip(1, 4, 1, 6, 6).expand(1, 4, 5, 6, 6)
        for mode, silent in (
            ("replicate", [True] * 5),
            ("zeros", [False, True, True, True, False]),
        ):
            split = SplitConv3d(conv(kernel_size=3, padding=1, padding_mode=mode, bias=False))
            with gates_at(split, torch.tensor([[0.0, 1.0]])):
                largest = split(still).abs().amax((0, 1, 3, 4))
            assert (largest < 1e-12).tolist() == silent

    def test_gates_alone_learn(self) -> None:
        layer, x = conv(kernel_size=3, padding=1), clip(3, 4, 4, 5, 5)
        split = SplitConv3d(layer).train()
        values = torch.tensor([[0.2, 0.9], [0.6, 0.1], [1, 0.5]], requires_grad=True).double()
        weights = clip(3, 8, 4, 5, 5, seed=1)
        with gates_at(split, values):
            (found,) = torch.autograd.grad((split(x) * weights).sum(), values)
        for unit in range(2):
            part = by_hand(layer, x, unit == 0, unit == 1) - by_hand(layer, x, 0, 0)
            assert torch.allclose(found[:, unit], (part * weights).sum((1, 2, 3, 4)), atol=1e-10)
        split(x).sum().backward()
        assert [n for n, p in split.named_parameters() if p.grad is not None] == [
            "gates.drop_logit"
        ]
        assert [n for n, p in split.named_parameters() if p.requires_grad] == ["gates.drop_logit"]

    def test_factorised_kernels(self) -> None:
        layer, x = moved(Conv3T(4, 8, 3, padding=1, dtype=torch.float64)), clip(2, 4, 5, 6, 6)
        split = SplitConv3d(layer.eval())
        assert torch.allclose(split(x), layer(x), rtol=0, atol=1e-12)
        assert split.weights_of("ST")[0].norm() > 1e-2

    def test_half_precision(self) -> None:
        layer, x = conv(kernel_size=3).to(torch.bfloat16), clip(2, 4, 5, 6, 6).bfloat16()
        split = SplitConv3d(layer.eval())
        assert split.gates.drop_logit.dtype == torch.float32
        assert torch.equal(split(x), layer(x))
        assert split.train()(x).dtype == torch.bfloat16

    def test_the_layer_is_copied(self) -> None:
        layer = conv(kernel_size=3)
        split = SplitConv3d(layer, temperature=0.7, drop_probability=(0.2, 0.4))
        assert split.weight.data_ptr() != layer.weight.data_ptr()
        assert split.bias is not None
        assert layer.bias is not None
        assert split.bias.data_ptr() != layer.bias.data_ptr()
        assert split.gates.temperature == 0.7
        assert split.gates.drop_probability().tolist() == pytest.approx([0.2, 0.4])
        assert "kernel_size=(3, 3, 3)" in repr(split)

    def test_bad_layers(self) -> None:
        with pytest.raises(
            TypeError, match=r"conv must be a Conv3d or a FactorizedConv3d .* Conv2d"
        ):
            SplitConv3d(nn.Conv2d(1, 1, 3))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"more than one tap in time, got .*\(1, 3, 3\)"):
            SplitConv3d(nn.Conv3d(1, 1, (1, 3, 3)))

    @pytest.mark.parametrize("part", ["", "gates"])
    def test_hooks_would_be_lost(self, part: str) -> None:
        split = SplitConv3d(conv(kernel_size=3))
        handle = split.get_submodule(part).register_forward_hook(lambda *_: None)
        with pytest.raises(ValueError, match=f"{part or 'SplitConv3d'} has forward hooks, which"):
            split.fixed((True, True))
        handle.remove()
        split.fixed((True, True))

    @pytest.mark.parametrize("weight", [True, False])
    @pytest.mark.parametrize("bias", [True, False])
    def test_trainable_again_as_the_layer_was(self, weight: bool, bias: bool) -> None:
        layer = conv(kernel_size=3)
        assert layer.bias is not None
        layer.weight.requires_grad_(weight)
        layer.bias.requires_grad_(bias)
        fixed = SplitConv3d(layer).fixed((True, False))
        assert [p.requires_grad for p in fixed.parameters()] == [weight, bias]
        assert all(p.is_leaf for p in fixed.parameters())
