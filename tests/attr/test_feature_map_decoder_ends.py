"""Held ends, and pipes where the width changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video import FeatureMapDecoder
from captum_video.attr._decoding import compressed, stretched
from models._res_tcn import MSResTCN
from tests.attr.sequence_nets import OneLayer, part, sequences, settled, small


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("frames", [37, 64])
def test_held_ends_are_those_of_a_longer_sequence(number: int, frames: int) -> None:
    net, x = small(), sequences(2, 6, frames)
    held = FeatureMapDecoder(net, f"layer{number}", ends="held")
    longer = F.pad(x, (80, 80), mode="replicate")
    plain = FeatureMapDecoder(net, f"layer{number}")
    assert torch.allclose(held.attribute(x), plain.attribute(longer)[..., 80 : 80 + frames])
    step = 1 if number < 4 else 2 if number < 6 else 4
    expected = plain.responses(longer)[..., 80 // step : 80 // step - (-frames // step)]
    assert torch.allclose(held.responses(x), expected)


def test_ends_do_not_reach_the_middle() -> None:
    net, x = small(), sequences(1, 6, 200)
    held = FeatureMapDecoder(net, "layer7", ends="held").attribute(x)
    padded = FeatureMapDecoder(net, "layer7").attribute(x)
    assert torch.allclose(held[..., 60:140], padded[..., 60:140])
    assert not torch.allclose(held[..., :10], padded[..., :10])


def test_who_stands_still_stands_still() -> None:
    net = small()
    x = sequences(1, 6, 1).expand(1, 6, 64)
    held = FeatureMapDecoder(net, "layer7", ends="held").attribute(x)
    padded = FeatureMapDecoder(net, "layer7").attribute(x)
    assert torch.allclose(held, held[..., :1].expand_as(held))
    assert float(padded.std(2).max()) > 0.01 * float(padded.abs().max())


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_steps_inside_the_sequence(padding: int) -> None:
    conv = nn.Conv1d(5, 5, 3, padding=padding)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[range(5), range(5), 1] = 1
        assert conv.bias is not None
        conv.bias.zero_()
    x = torch.rand(1, 5, 20)
    decoder = FeatureMapDecoder(OneLayer(conv).eval(), "conv", ends="held")
    assert torch.allclose(decoder.responses(x), x)
    assert torch.allclose(decoder.attribute(x), x)


def test_held_ends_in_the_inputs_size() -> None:
    net, x = small(), sequences(1, 6, 64)
    decoder = FeatureMapDecoder(net, "layer7", ends="held", scale="input")
    assert torch.allclose((decoder.attribute(x) - net.mean).norm(), (x - net.mean).norm())


def test_the_shortest_sequence_is_what_it_was() -> None:
    decoder = FeatureMapDecoder(small(), "layer7", ends="held")
    assert decoder.attribute(sequences(1, 6, 37)).shape == (1, 6, 37)
    with pytest.raises(ValueError, match=r"has 36 frames, but .* 'layer7' sees 37"):
        decoder.attribute(sequences(1, 6, 36))


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="ends must be 'padded' or 'held', got 'open'"):
        FeatureMapDecoder(small(), "layer1", ends="open")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"std must not be zero, got \[1.0, 0.0\]"):
        FeatureMapDecoder(small(), "layer1", std=torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("number", [4, 5])
def test_equation_10_takes_a_widening_layer_with_its_pipe(number: int) -> None:
    net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5), units=2, kernel=4))
    x = sequences(1, 6, 40)
    kept: dict[int, Tensor] = {}
    for name in (4, 5):
        part(net, f"layer{name}").main.register_forward_hook(
            lambda module, args, output, name=name: kept.__setitem__(name, output.detach())
        )
    net(x)
    entry = part(net, "layer4").main
    kernel, shortcut = compressed(entry.conv.weight), entry.shortcut.weight[:, :, 0]
    retrieved = torch.einsum("nit,ic->nct", kept[number] - kept[4], kernel)
    retrieved = retrieved + torch.einsum("nit,ic->nct", kept[4], shortcut)
    fine = stretched(retrieved, 40, 2, 0)
    expected = torch.einsum("nit,ic->nct", fine, compressed(net.layer1_main.weight)).detach()
    decoded = FeatureMapDecoder(net, f"layer{number}.main").attribute(x)
    assert float(part(net, "layer4").pipe.norm.weight.detach().abs().max()) > 0
    assert torch.allclose(decoded, expected)
