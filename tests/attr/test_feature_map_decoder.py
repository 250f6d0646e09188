"""The feature map decoder against hand-worked integers, loops, and axioms."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from captum_video import FeatureMapDecoder
from models._res_tcn import MSResTCN, ResTCN
from models._residual_units import SameConv1d
from tests.attr.sequence_nets import (
    Functional,
    OneLayer,
    decoded_in_loops,
    part,
    sequences,
    settled,
    small,
)


@pytest.fixture
def by_hand() -> ResTCN:
    """Two dimensions, filters of two taps, blocks of two and three filters."""
    net = ResTCN(2, 1, widths=(2, 3), units=2, kernel=2).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.weight.fill_(1)
                module.eps = 0.0
        net.layer1.weight[0, 0] = torch.tensor([2.0, 0])
        net.layer1.weight[1, 1] = torch.tensor([2.0, 4])
        layer2, layer4, layer5 = (part(net, f"layer{n}") for n in (2, 4, 5))
        layer2.conv.weight[0, 1, 0] = layer2.conv.weight[1, 0, 0] = 1
        layer4.shortcut.weight[:, :, 0] = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
        layer4.conv.weight[0, 0] = torch.tensor([1.0, 1])
        layer4.conv.weight[1, 1] = torch.tensor([1.0, -1])
        layer4.conv.weight[2] = torch.tensor([[2.0, 0], [0, 4]])
        layer5.conv.weight[0, 1, 0] = 1
    return net


HAND = torch.tensor([[[1.0, 2, 3, 4], [0, 1, 0, -1]]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("layer1", [[2, 4, 6, 8], [12, 6, -12, -6]]),
        ("layer2", [[6, 6, 6, 8], [18, 18, 6, 18]]),
        ("layer3", [[6, 6, 6, 8], [18, 18, 6, 18]]),
        # X_4 = [18 20], [6 -2], [48 44]; its shortcut gives [66 64], [54 42] at frames 0 and 2
        ("layer4", [[66, 65, 64, 64], [162, 144, 126, 126]]),
        # X_5 is X_4 but for 6 more in the first filter at frame 0, which stands for (1, 0)
        ("layer5", [[72, 68, 64, 64], [162, 144, 126, 126]]),
    ],
)
def test_worked_by_hand(by_hand: ResTCN, layer: str, expected: list[list[float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # the receptive field is longer than a case to be worked by hand
        patch.setattr("captum_video.layers.residual_stack.Convolution.reach", 0)
        decoded = FeatureMapDecoder(by_hand, layer).attribute(HAND)
    assert decoded[0].tolist() == expected


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("number", range(1, 8))
def test_equals_loops(kernel: int, number: int) -> None:
    net, x = small(kernel), sequences(2, 6, 63)
    decoded = FeatureMapDecoder(net, f"layer{number}").attribute(x)
    expected = torch.from_numpy(decoded_in_loops(net, x, number))
    assert torch.allclose(decoded, expected, rtol=1e-12, atol=1e-10 * float(expected.abs().max()))


def one_hot(length: int, tap: int) -> OneLayer:
    conv = SameConv1d(5, 5, length)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[range(5), range(5), tap] = 1
    return OneLayer(conv.double()).eval()


@pytest.mark.parametrize("length", [1, 3, 7])
def test_odd_one_hot_filters_give_the_input_back(length: int) -> None:
    x = sequences(2, 5, 20)
    decoded = FeatureMapDecoder(one_hot(length, length // 2), "conv").attribute(x)
    assert torch.equal(decoded, x)


@pytest.mark.parametrize("length", [2, 4, 8])
def test_even_one_hot_filters_give_half_the_input_back(length: int) -> None:
    x = sequences(2, 5, 20)
    decoded = FeatureMapDecoder(one_hot(length, length // 2 - 1), "conv").attribute(x)
    assert torch.equal(decoded, x / 2)


@pytest.mark.parametrize("number", range(1, 8))
def test_reads_the_architecture_and_not_its_names(number: int) -> None:
    net, x = small(), sequences(2, 6, 64)
    expected = FeatureMapDecoder(net, f"layer{number}").attribute(x)
    other = Functional(copy.deepcopy(net)).eval()
    decoded = FeatureMapDecoder(other, f"marks.{number - 1}").attribute(x)
    assert torch.allclose(decoded, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("prepare", "undo"),
    [
        (lambda x: x - 3, lambda y: y + 3),
        (lambda x: 3 - x, lambda y: 3 - y),
        (lambda x: torch.tensor(3.0) - x, lambda y: 3 - y),
        (lambda x: 2 + x, lambda y: y - 2),
        (lambda x: 4 * x, lambda y: y / 4),
        (lambda x: x / 4, lambda y: y * 4),
        (lambda x: (x - 1) / 2, lambda y: y * 2 + 1),
        (lambda x: x.clone().contiguous().mul_(2), lambda y: y / 2),
    ],
)
def test_undoes_what_was_done_before_the_first_layer(prepare, undo) -> None:  # type: ignore[no-untyped-def]
    conv, x = settled(nn.Conv1d(5, 4, 3, padding=1)), sequences(2, 5, 20)
    bare = FeatureMapDecoder(OneLayer(conv).eval(), "conv").attribute(prepare(x))
    decoded = FeatureMapDecoder(OneLayer(conv, prepare).eval(), "conv").attribute(x)
    assert torch.allclose(decoded, undo(bare))


def test_mean_and_std_that_were_taken_off_outside() -> None:
    net, x = small(), sequences(1, 6, 64)
    mean, std = torch.arange(6.0), torch.full((6,), 2.0)
    decoded = FeatureMapDecoder(net, "layer2", mean=mean, std=std).attribute(x)
    plain = FeatureMapDecoder(net, "layer2").attribute(x)
    assert torch.allclose(decoded, plain * 2 + mean.double()[:, None])
    assert torch.allclose(FeatureMapDecoder(net, "layer2", mean=1.5).attribute(x), plain + 1.5)


class TestScale:
    def test_of_the_input_about_the_mean(self) -> None:
        net, x = small(), sequences(2, 6, 64)
        plain = FeatureMapDecoder(net, "layer5").attribute(x) - net.mean
        scaled = FeatureMapDecoder(net, "layer5", scale="input").attribute(x) - net.mean
        for one, other, given in zip(scaled, plain, x - net.mean, strict=True):
            assert torch.allclose(one.norm(), given.norm())
            assert torch.allclose(one / one.norm(), other / other.norm())

    def test_masked_dimensions_do_not_count(self) -> None:
        net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5, 7), units=2, kernel=4))
        x = sequences(1, 6, 64)
        x[:, 0] = 1e6
        scaled = FeatureMapDecoder(net, "layer5.attention", scale="input").attribute(x)
        assert torch.allclose(scaled.norm(), x[:, [1, 4]].norm())

    def test_outside_the_model(self) -> None:
        net, x = small(), sequences(1, 6, 64)
        mean, std = torch.arange(6.0), torch.full((6,), 2.0)
        inside = FeatureMapDecoder(net, "layer5", scale="input").attribute(x)
        outside = FeatureMapDecoder(net, "layer5", scale="input", mean=mean, std=std).attribute(x)
        assert torch.allclose(outside, inside * 2 + mean.double()[:, None])

    def test_nothing_decoded_stays_nothing(self) -> None:
        net = small()
        with torch.no_grad():
            net.layer1.weight.zero_()
        decoded = FeatureMapDecoder(net, "layer1", scale="input").attribute(sequences(1, 6, 64))
        assert torch.equal(decoded, net.mean.expand(1, 6, 64))

    def test_unknown(self) -> None:
        with pytest.raises(ValueError, match="scale must be 'filters' or 'input', got 'frame'"):
            FeatureMapDecoder(small(), "layer1", scale="frame")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conv", "places"),
    [
        (nn.Conv1d(1, 1, 3), range(1, 19)),
        (nn.Conv1d(1, 1, 4), range(1, 18)),
        (nn.Conv1d(1, 1, 3, dilation=2, padding=2), range(20)),
        (nn.Conv1d(1, 1, 3, stride=3, padding=1), range(0, 20, 3)),
        (nn.Conv1d(1, 1, 5, stride=2), range(2, 18, 2)),
        (nn.Conv1d(1, 1, 5, padding="same"), range(20)),
        (nn.Conv1d(1, 1, 3, padding="valid"), range(1, 19)),
        (nn.Conv1d(1, 1, 3, padding=2, dilation=1), range(-1, 21)),
        (nn.Conv1d(1, 1, 3, padding=1, padding_mode="replicate"), range(20)),
    ],
)
def test_steps_stand_at_the_frame_of_the_middle_tap(conv: nn.Conv1d, places: range) -> None:
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, (conv.kernel_size[0] - 1) // 2] = 1
        assert conv.bias is not None
        conv.bias.zero_()
    ramp = torch.arange(20.0)[None, None]
    decoded = FeatureMapDecoder(OneLayer(conv).eval(), "conv").attribute(ramp)[0, 0]
    half = 1.0 if conv.kernel_size[0] % 2 else 0.5
    inside = [place for place in places if 0 <= place < 20]
    within = slice(inside[0], inside[-1] + 1)
    assert torch.allclose(decoded[within], half * ramp[0, 0, within])
    if places[0] >= 0:
        assert torch.allclose(decoded[: places[0]], decoded[places[0]])
        assert torch.allclose(decoded[places[-1] :], decoded[places[-1]])


class TestMultiStream:
    @pytest.fixture
    def net(self) -> MSResTCN:
        net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5, 7), units=2, kernel=4))
        net.set_mean(torch.arange(6, dtype=torch.float64))
        return net

    def test_without_pipes_the_main_stream_is_a_plain_net(self, net: MSResTCN) -> None:
        plain, x = small(), sequences(2, 6, 64)
        state = {k.replace(".main", ""): v for k, v in net.state_dict().items() if ".main" in k}
        state |= {k.replace("_main", ""): v for k, v in net.state_dict().items() if "_main" in k}
        state |= {k: v for k, v in plain.state_dict().items() if k not in state}
        plain.load_state_dict(state)
        for number in range(2, 8):
            part(net, f"layer{number}").pipe.norm.weight.data.zero_()
            part(net, f"layer{number}").pipe.norm.bias.data.zero_()
            decoded = FeatureMapDecoder(net, f"layer{number}.main").attribute(x)
            expected = FeatureMapDecoder(plain, f"layer{number}").attribute(x)
            if number == 2:  # later layers still have the pipes of the layers behind them
                assert torch.allclose(decoded, expected)
        for number in range(2, 8):
            decoded = FeatureMapDecoder(net, f"layer{number}.main").attribute(x)
            expected = FeatureMapDecoder(plain, f"layer{number}").attribute(x)
            assert torch.allclose(decoded, expected)

    def test_a_pipe_adds_its_primitives(self, net: MSResTCN) -> None:
        x = sequences(1, 6, 64)
        unit = part(net, "layer2")
        with_pipe = FeatureMapDecoder(net, "layer2.main").attribute(x)
        attention = net.layer1_attention((x - net.mean) * net.target)
        piped = unit.pipe(unit.attention(attention)).detach()
        unit.pipe.norm.weight.data.zero_()
        unit.pipe.norm.bias.data.zero_()
        without = FeatureMapDecoder(net, "layer2.main").attribute(x)
        kernel = net.layer1_main.weight.detach()[:, :, 1:3].mean(2)
        assert float(piped.abs().max()) > 0.1
        assert torch.allclose(with_pipe - without, torch.einsum("nit,ic->nct", piped, kernel))

    def test_nothing_is_decoded_where_the_stream_sees_nothing(self, net: MSResTCN) -> None:
        net.layer1_attention.weight.data.fill_(1.0)
        decoded = FeatureMapDecoder(net, "layer5.attention").attribute(sequences(1, 6, 64))
        moved = decoded - net.mean
        assert torch.equal(moved[:, [0, 2, 3, 5]], torch.zeros(1, 4, 64, dtype=torch.float64))
        assert float(moved[:, [1, 4]].std()) > 0.1


class TestReadouts:
    def test_motion_primitives_are_the_first_filters_about_the_mean(self) -> None:
        net = small()
        primitives = FeatureMapDecoder(net, "layer5").motion_primitives()
        assert torch.allclose(primitives, net.layer1.weight.detach() + net.mean)

    def test_compressed_primitives_are_the_middle_taps(self) -> None:
        net = small(kernel=4)
        compressed = FeatureMapDecoder(net, "layer5").motion_primitives(compress=True)
        assert torch.allclose(compressed, net.layer1.weight.detach()[:, :, 1:3].sum(2) / 2)

    def test_gates_are_the_residual_filters(self) -> None:
        net = small()
        gates = FeatureMapDecoder(net, "layer4").gates()
        assert torch.equal(gates, part(net, "layer4").conv.weight)
        with pytest.raises(ValueError, match="'layer1' is the first of the stack and has no gates"):
            FeatureMapDecoder(net, "layer1").gates()

    def test_readouts_are_copies(self) -> None:
        net = small()
        before = copy.deepcopy(net.state_dict())
        decoder = FeatureMapDecoder(net, "layer4")
        for tensor in (decoder.gates(), decoder.motion_primitives()):
            tensor.zero_()
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())

    def test_responses_are_magnitudes_at_the_layers_own_rate(self) -> None:
        net, x = small(), sequences(2, 6, 63)
        kept: list[Tensor] = []
        handle = part(net, "layer6").register_forward_hook(lambda *a: kept.append(a[2]))
        net(x)
        handle.remove()
        responses = FeatureMapDecoder(net, "layer6").responses(x)
        assert responses.shape == (2, 7, 16)
        assert torch.equal(responses, kept[0].abs())

    def test_a_net_without_conv_modules_takes_an_example(self) -> None:
        net = Functional(small()).eval()
        for unit in net.units:
            unit._modules.pop("conv", None)
        weight = sequences(4, 6, 3)

        class Bare(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mark = nn.Identity()

            def forward(self, x: Tensor) -> Tensor:
                return self.mark(torch.conv1d(x, weight)).mean(2)

        decoder = FeatureMapDecoder(Bare().eval(), "mark")
        with pytest.raises(ValueError, match=r"cannot be run on zeros .* give inputs"):
            decoder.motion_primitives()
        assert torch.equal(decoder.motion_primitives(sequences(1, 6, 9)), weight)
