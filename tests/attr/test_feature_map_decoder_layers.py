"""Which layers the feature map decoder says that it can decode."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from captum_video import FeatureMapDecoder
from models._res_tcn import MSResTCN
from tests.attr.sequence_nets import Functional, sequences, settled, small


def test_layers_in_order_with_the_frames_that_they_see() -> None:
    # kernel 4: 3 frames more for each layer, at step 1 up to layer 4, at step 2 up to layer 6, at 4
    found = FeatureMapDecoder.layers(small(), sequences(1, 6, 9))
    assert [layer.name for layer in found] == [f"layer{n}" for n in range(1, 8)]
    assert [layer.number for layer in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [layer.stream for layer in found] == [0] * 7
    assert [layer.field for layer in found] == [4, 7, 10, 13, 19, 25, 37]


def test_a_field_is_the_frames_that_change_an_activation() -> None:
    net = small()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(parameter.abs() if "conv" in name or "layer1" in name else parameter)
    x = sequences(1, 6, 120).requires_grad_()
    for layer in FeatureMapDecoder.layers(net, x):
        kept: list[Tensor] = []
        hook = net.get_submodule(layer.name).register_forward_hook(
            lambda module, args, output, kept=kept: kept.append(output)
        )
        net(x)
        hook.remove()
        seen = set()
        for channel in range(kept[0].shape[1]):
            middle = kept[0][0, channel, kept[0].shape[2] // 2]
            (slope,) = torch.autograd.grad(middle, x, retain_graph=True)
            seen |= set(slope.abs().sum(1)[0].nonzero().flatten().tolist())
        assert max(seen) - min(seen) + 1 == layer.field


def test_both_streams_are_told_apart() -> None:
    net = settled(MSResTCN(6, 3, target=[0, 1], widths=(4, 5), units=1, kernel=4))
    found = FeatureMapDecoder.layers(net, sequences(2, 6, 9))
    streams: dict[int, list[str]] = {0: [], 1: []}
    for layer in found:
        streams[layer.stream].append(layer.name)
    assert streams[0] == ["layer1_main", "layer2.main", "layer3.main"]
    assert streams[1] == ["layer1_attention", "layer2.attention", "layer3.attention"]
    assert [layer.number for layer in found] == [1, 1, 2, 2, 3, 3]


def test_each_layer_listed_can_be_decoded_and_no_other() -> None:
    net, x = Functional(small()).eval(), sequences(1, 6, 40)
    names = [layer.name for layer in FeatureMapDecoder.layers(net, x)]
    assert names[0] == "marks.0"
    for name, _ in net.named_modules():
        if name in names:
            assert FeatureMapDecoder(net, name).attribute(x).shape == x.shape
        elif name:
            with pytest.raises(ValueError, match="cannot be decoded"):
                FeatureMapDecoder(net, name).attribute(x)


def test_a_layer_that_runs_twice_is_not_listed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(6, 4, 3, padding=1)
            self.gate = nn.Conv1d(4, 4, 3, padding=1)
            self.sum = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for _ in range(2):
                x = self.sum(x + self.gate(x.relu()))
            return x.mean(2)

    net, x = Twice().double().eval(), sequences(1, 6, 20)
    assert [layer.name for layer in FeatureMapDecoder.layers(net, x)] == ["first"]
    with pytest.raises(ValueError, match="called 2 times"):
        FeatureMapDecoder(net, "sum").attribute(x)


def test_models_unlike_a_res_tcn_have_no_such_layers() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(54, 3)).double().eval()
    assert FeatureMapDecoder.layers(plain, sequences(1, 6, 9)) == []
    with pytest.raises(ValueError, match="must be one tensor of sequences"):
        FeatureMapDecoder.layers(plain, sequences(6, 9))
    with pytest.raises(RuntimeError, match="training mode"):
        FeatureMapDecoder.layers(small().train(), sequences(1, 6, 9))
