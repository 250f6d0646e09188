"""What the feature map decoder refuses, and how it says so."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video import FeatureMapDecoder
from models._residual_units import SameConv1d
from tests.attr.sequence_nets import (
    OneLayer,
    PostActivation,
    Sum,
    TwoConvolutions,
    part,
    sequences,
    settled,
    small,
)
from tests.nets import C3DLike, seeded

LAYERS = "Layers of the stack: layer1, layer2, layer3, layer4, layer5, layer6, layer7"


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("norm", "it is made by 'batch_norm'"),
        ("layer3.conv", "whose input is made by 'relu'"),
        ("layer3.relu", "it is made by 'relu'"),
        ("layer4.shortcut", "whose input is made by 'add'"),
        ("output", "it is made by 'linear'"),
    ],
)
def test_a_layer_outside_the_stack(layer: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"layer '{layer}' cannot be decoded") as caught:
        FeatureMapDecoder(small(), layer).attribute(sequences(1, 6, 64))
    assert reason in str(caught.value)
    assert LAYERS in str(caught.value)


def test_a_layer_by_a_wrong_name() -> None:
    with pytest.raises(ValueError, match=r"layer 'layer88': the model has no such layer.*layer"):
        FeatureMapDecoder(small(), "layer88")


def test_a_layer_of_another_model_or_called_twice() -> None:
    net, x = small(), sequences(1, 6, 64)
    with pytest.raises(ValueError, match="'Conv1d' cannot be decoded, since it is called 0 times"):
        FeatureMapDecoder(net, nn.Conv1d(6, 4, 3)).attribute(x)
    relu = nn.ReLU()
    for number in range(2, 8):
        part(net, f"layer{number}").relu = relu
    with pytest.raises(ValueError, match="it is called 6 times in a forward pass, not once"):
        FeatureMapDecoder(net, relu).attribute(x)


@pytest.mark.parametrize(
    ("net", "layer", "reason"),
    [
        (PostActivation(), "relu", "it is made by 'relu'"),
        (TwoConvolutions(), "sum", "is no single convolution of its normalised and activated"),
    ],
)
def test_models_that_are_not_like_res_tcn(net: nn.Module, layer: str, reason: str) -> None:
    with pytest.raises(ValueError, match="The model is not like a Res-TCN") as caught:
        FeatureMapDecoder(settled(net), layer).attribute(sequences(1, 6, 30))
    assert reason in str(caught.value)


def test_a_model_of_clips() -> None:
    with pytest.raises(ValueError, match=r"sequences \(N, D, T\), got shape \(2, 3, 4, 8, 8\)"):
        FeatureMapDecoder(seeded(C3DLike()), "features.0").attribute(torch.rand(2, 3, 4, 8, 8))
    with pytest.raises(ValueError, match=r"cannot be run on zeros to find its first layer"):
        FeatureMapDecoder(seeded(C3DLike()), "features.0").motion_primitives()


class Odd(nn.Module):
    """A stack whose second layer is made in a way that may not be decoded."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem, self.conv = SameConv1d(6, 4, 3), SameConv1d(4, 4, 3)
        self.far, self.sum = SameConv1d(4, 4, 3), Sum()

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "a transposed input":
            x = x.transpose(1, 2).transpose(1, 2)
        if self.kind == "the input as a divisor":
            x = torch.div(torch.ones((), dtype=x.dtype), x)
        first = self.stem(x)
        branch = self.conv(F.relu(first))
        if self.kind == "no residual branch":
            return self.sum(first, F.relu(first)).mean(2)
        if self.kind == "two long convolutions":
            return self.sum(self.far(first), branch).mean(2)
        if self.kind == "a weighted sum":
            return self.sum(torch.add(first, branch, alpha=2)).mean(2)
        if self.kind == "a gate of an older layer":
            second = first + branch
            return self.sum(second, self.far(F.relu(first))).mean(2)
        if self.kind == "a pooled shortcut":
            branch = F.conv1d(F.pad(F.relu(first), (1, 1)), self.conv.weight, stride=2)
            return self.sum(F.avg_pool1d(first, 2), branch).mean(2)
        if self.kind == "strides that differ":
            branch = F.conv1d(F.pad(F.relu(first), (1, 1)), self.conv.weight, stride=2)
            short = F.conv1d(first, self.far.weight[:, :, :1], stride=1)[:, :, : branch.shape[2]]
            return self.sum(short, branch).mean(2)
        return self.sum(first, branch).mean(2)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a transposed input", "whose input is made by 'transpose'"),
        ("the input as a divisor", "the input is a divisor"),
        ("no residual branch", "no single convolution"),
        ("two long convolutions", "whose input is made by 'conv1d' is neither the first"),
        ("a weighted sum", "alpha=2"),
        ("a gate of an older layer", "no single convolution"),
        ("a pooled shortcut", "is made by 'avg_pool1d'"),
        ("strides that differ", "is made by 'getitem'"),
    ],
)
def test_sums_that_are_no_layer(kind: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FeatureMapDecoder(settled(Odd(kind)), "sum").attribute(sequences(1, 6, 30))


def test_the_same_net_without_oddity_is_decoded() -> None:
    decoded = FeatureMapDecoder(settled(Odd("none")), "sum").attribute(sequences(1, 6, 30))
    assert decoded.shape == (1, 6, 30)


def test_convolutions_in_groups() -> None:
    net = OneLayer(nn.Conv1d(6, 6, 3, groups=3)).eval()
    with pytest.raises(
        ValueError, match="a convolution in 3 groups has no filters of all channels"
    ):
        FeatureMapDecoder(net, "conv").attribute(torch.rand(1, 6, 20))


def test_wrong_dimensions() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, 6, T\) .* got shape \(2, 5, 64\)"):
        FeatureMapDecoder(small(), "layer2").attribute(sequences(2, 5, 64))
    net = OneLayer(nn.Conv1d(6, 4, 3)).eval()
    with pytest.raises(RuntimeError, match="to have 6 channels, but got 5 channels instead"):
        FeatureMapDecoder(net, "conv").attribute(torch.rand(2, 5, 64))


@pytest.mark.parametrize(
    ("layer", "least"),
    # kernels of 4: 4, then 3 more for each unit, times the strides before it
    [("layer1", 4), ("layer2", 7), ("layer3", 10), ("layer4", 13), ("layer5", 19), ("layer7", 37)],
)
def test_shorter_than_the_receptive_field(layer: str, least: int) -> None:
    decoder = FeatureMapDecoder(small(), layer)
    assert decoder.attribute(sequences(1, 6, least)).shape == (1, 6, least)
    with pytest.raises(ValueError, match=f"has {least - 1} frames, but .* '{layer}' sees {least}"):
        decoder.attribute(sequences(1, 6, least - 1))


def test_the_receptive_field_is_what_an_activation_sees() -> None:
    net = small()
    seen: list[Tensor] = []
    part(net, "layer5").register_forward_hook(lambda *a: seen.append(a[2]))
    x = sequences(1, 6, 80).requires_grad_()
    net(x)
    (gradient,) = torch.autograd.grad(seen[0][0, :, 20].sum(), x)
    frames = gradient[0].abs().sum(0).nonzero().flatten()
    assert int(frames[-1] - frames[0]) + 1 <= 19
    far = torch.zeros(80, dtype=torch.bool)
    far[frames] = True
    assert far.sum() > 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 6, 0), r"must be a non-empty batch .* got shape \(2, 6, 0\)"),
        (torch.zeros(0, 6, 64), "must be a non-empty batch"),
        (torch.zeros(6, 64), r"sequences \(N, D, T\), got shape \(6, 64\)"),
        (torch.full((1, 6, 64), torch.nan), "holds 384 values that are NaN or infinite"),
        ((torch.zeros(1, 6, 64), torch.zeros(1, 6, 64)), r"must be one tensor of sequences"),
    ],
)
def test_inputs_that_are_no_sequences(given: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureMapDecoder(small().float(), "layer2").attribute(given)


def test_integers() -> None:
    with pytest.raises(TypeError, match=r"floating-point dtype, got torch.int64"):
        FeatureMapDecoder(small(), "layer2").attribute(torch.zeros(1, 6, 64, dtype=torch.long))


def test_means_of_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"mean must be a number or .* \(D,\), got shape \(6, 1\)"):
        FeatureMapDecoder(small(), "layer2", mean=torch.zeros(6, 1))
    decoder = FeatureMapDecoder(small(), "layer2", std=torch.ones(5))
    with pytest.raises(ValueError, match="std must have one value for each of 6 dimensions, got 5"):
        decoder.attribute(sequences(1, 6, 64))


def test_a_model_in_training_mode() -> None:
    with pytest.raises(RuntimeError, match=r"in training mode.*call model.eval\(\) first"):
        FeatureMapDecoder(small().train(), "layer2").attribute(sequences(1, 6, 64))
