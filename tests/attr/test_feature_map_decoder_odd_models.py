"""Models that are written in odd ways: the feature map decoder decodes them rightly, or refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captum_video import FeatureMapDecoder
from models._res_tcn import MSResTCN
from models._residual_units import SameConv1d
from tests.attr.sequence_nets import Functional, OneLayer, part, sequences, settled, small


class Stack(nn.Module):
    """A first layer and one residual unit, with ways to be odd before, in and behind the sum."""

    mean: Tensor

    def __init__(
        self,
        prepare: Callable[[Tensor], Tensor] = lambda x: x,
        first: Callable[[Tensor], Tensor] = lambda x: x,
        last: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        self.stem, self.conv = SameConv1d(6, 4, 3), SameConv1d(4, 4, 3)
        self.prepare, self.first, self.last, self.mark = prepare, first, last, nn.Identity()
        self.register_buffer("mean", torch.arange(6.0)[:, None])

    def gate(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(x))

    def summed(self, x: Tensor) -> Tensor:
        return x + self.gate(x)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(self.stem(self.prepare(x - self.mean)))
        return self.mark(self.last(self.summed(first))).mean(2)


def decode(net: nn.Module, x: Tensor) -> Tensor:
    result = FeatureMapDecoder(net, "mark").attribute(x)
    assert isinstance(result, Tensor)
    return result


def plain(x: Tensor) -> Tensor:
    """What the mark of a stack stands for, by equation 7."""
    net = settled(Stack())
    with torch.no_grad():
        first = net.stem(x - net.mean)
        value = first + net.conv(F.relu(first))
        return torch.einsum("nit,ic->nct", value, net.stem.weight[:, :, 1]) + net.mean


def written(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """Changes a tensor and drops what the change returns."""

    def odd(x: Tensor) -> Tensor:
        change(x)
        return x

    return odd


def masked(x: Tensor) -> None:
    x[:, 2:] = 0


def doubled_slice(x: Tensor) -> None:
    x[:, 2:] *= 2


WRITES = {
    "masked in place": masked,
    "a slice in place": doubled_slice,
    "through a view": lambda x: x.view(-1).mul_(2),
    "through a detached alias": lambda x: x.detach().mul_(2),
    "through data": lambda x: x.data.mul_(2),
    "as an out argument": lambda x: torch.mul(torch.ones_like(x), 2, out=x),
}


class TestWrites:
    """A tensor that was changed is no longer what the call that made it gave."""

    @pytest.mark.parametrize("place", ["prepare", "first", "last"])
    @pytest.mark.parametrize("change", WRITES.values(), ids=WRITES)
    def test_refused(self, change: Callable[[Tensor], object], place: str) -> None:
        net = settled(Stack(**{place: written(change)}))
        with pytest.raises(ValueError, match=r"is made by '(a write into it|mul)'"):
            decode(net, sequences(2, 6, 30))

    @pytest.mark.parametrize("change", [WRITES["through a view"], masked])
    def test_refused_in_inference_mode(self, change: Callable[[Tensor], object]) -> None:
        net = settled(Stack(last=written(change)))
        net.forward = torch.inference_mode()(net.forward)
        with pytest.raises(ValueError, match="is made by 'a write into it'"):
            decode(net, sequences(2, 6, 30))

    def test_an_older_alias_of_a_stream(self) -> None:
        class Alias(Stack):
            def summed(self, x: Tensor) -> Tensor:
                older = x.detach()
                x += self.gate(x)
                return older + self.gate(older)

        with pytest.raises(ValueError, match="is made by 'a write into it'"):
            decode(settled(Alias()), sequences(2, 6, 30))

    def test_a_constant_that_takes_the_input_in(self) -> None:
        def added(x: Tensor) -> Tensor:
            total = torch.full(x.shape, 2.0, dtype=x.dtype)
            total += x
            return total

        with pytest.raises(ValueError, match="is made by 'a write into a constant'"):
            decode(settled(Stack(prepare=added)), sequences(2, 6, 30))

    def test_a_write_that_is_hidden_from_torch_functions(self) -> None:
        def hidden(x: Tensor) -> None:
            with torch._C.DisableTorchFunction():
                x.mul_(2)

        with pytest.raises(ValueError, match="is made by 'a write into it'"):
            decode(settled(Stack(last=written(hidden))), sequences(2, 6, 30))

    def test_a_layer_is_what_its_module_gave_at_the_time(self) -> None:
        x, net = sequences(2, 6, 30), settled(Stack(first=written(masked)))
        expected = FeatureMapDecoder(settled(Stack()), "stem").attribute(x)
        assert torch.equal(FeatureMapDecoder(net, "stem").attribute(x), expected)


ODD_BUT_RIGHT = {
    "casts": {"prepare": lambda x: x.float().double(), "last": lambda x: x.to(torch.float64)},
    "dropout that is off": {"first": lambda x: F.dropout(x, 0.5, False)},
    "marks that change nothing": {"first": lambda x: x.contiguous().requires_grad_(False)},
    "constants like the input": {
        "prepare": lambda x: x - torch.zeros(1).to(x).expand_as(x) + torch.zeros_like(x)
    },
    "values that are looked at": {"first": written(lambda x: float(x.view(-1)[0]))},
}


@pytest.mark.parametrize("options", ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT)
def test_decoded_all_the_same(options: dict[str, Callable[[Tensor], Tensor]]) -> None:
    x = sequences(2, 6, 30)
    assert torch.allclose(decode(settled(Stack(**options)), x), plain(x), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("kind", ["checkpoint", "old checkpoint", "functional call", "inference"])
def test_other_ways_to_call(kind: str) -> None:
    class Other(Stack):
        def gate(self, x: Tensor) -> Tensor:
            if kind == "functional call":
                state: dict[str, Tensor] = dict(self.conv.named_parameters())
                called = torch.func.functional_call(self.conv, state, F.relu(x))
                assert isinstance(called, Tensor)
                return called
            if kind == "inference":
                with torch.inference_mode():
                    return super().gate(x)
            return checkpoint(super().gate, x, use_reentrant=kind == "old checkpoint")

    x = sequences(2, 6, 30)
    with torch.no_grad():
        assert torch.allclose(decode(settled(Other()), x), plain(x))


def test_results_have_the_inputs_dtype() -> None:
    net, x = Stack(), sequences(2, 6, 30)
    half = settled(net, dtype=torch.float32)
    half.forward = torch.autocast("cpu", torch.bfloat16)(half.forward)
    decoded = decode(half, x.float())
    assert decoded.dtype == torch.float32
    expected = plain(x)
    assert float((decoded - expected).abs().max() / expected.abs().max()) < 0.05


@pytest.mark.parametrize("place", ["first", "last"])
def test_dropout_that_drops(place: str) -> None:
    net = settled(Stack(**{place: lambda x: F.dropout(x, 0.5, True)}))
    with pytest.raises(ValueError, match="is made by 'dropout'"):
        decode(net, sequences(2, 6, 30))


class TestBroadcasts:
    @pytest.mark.parametrize("widths", [(1, 4), (4, 1)])
    def test_sums(self, widths: tuple[int, int]) -> None:
        net = Stack()
        net.stem, net.conv = SameConv1d(6, widths[0], 3), SameConv1d(*widths, 3)
        with pytest.raises(ValueError, match=r"sum of shapes \(2, \d, 30\) and .*, which differ"):
            decode(settled(net), sequences(2, 6, 30))

    def test_constants(self) -> None:
        net = OneLayer(nn.Conv1d(6, 4, 3), lambda x: x * torch.ones(6, 1)).eval()
        with pytest.raises(ValueError, match=r"of shape \(2, 1, 20\) and becomes \(2, 6, 20\)"):
            FeatureMapDecoder(net, "conv").attribute(torch.rand(2, 1, 20))


@pytest.mark.parametrize("shape", [(6, 30), (2, 6, 1)])
def test_primitives_about_a_mean_that_varies(shape: tuple[int, ...]) -> None:
    conv, mean = settled(nn.Conv1d(6, 2, 3)), sequences(*shape)
    decoder = FeatureMapDecoder(OneLayer(conv, lambda x: x - mean).eval(), "conv")
    with pytest.raises(ValueError, match="from frame to frame or from sequence to sequence"):
        decoder.motion_primitives(sequences(2, 6, 30))
    compressed = decoder.motion_primitives(sequences(2, 6, 30), compress=True)
    assert torch.equal(compressed, conv.weight.detach()[:, :, 1])


class TestProbes:
    """Without inputs, zeros are tried; what is wrong otherwise is said as for ``attribute``."""

    def test_training_mode(self) -> None:
        with pytest.raises(RuntimeError, match=r"training mode.*call model.eval\(\) first"):
            FeatureMapDecoder(small().train(), "layer2").motion_primitives()

    def test_a_layer_outside_the_stack(self) -> None:
        with pytest.raises(
            ValueError, match=r"layer 'norm' cannot be decoded.*Layers of the stack"
        ):
            FeatureMapDecoder(small(), "norm").gates()


def test_a_pipe_of_long_filters_widens_the_field() -> None:
    net = settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5), units=2, kernel=4, pipe_kernel=3))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "conv" in name or "layer1" in name:
                parameter.abs_().add_(0.05)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):  # so that every unit is active
                module.weight.abs_().add_(0.1)
                module.bias.fill_(1e3)
    x = sequences(1, 6, 80).requires_grad_()
    kept: dict[str, Tensor] = {}
    found = FeatureMapDecoder.layers(net, x)
    for layer in found:
        part(net, layer.name).register_forward_hook(
            lambda module, args, output, name=layer.name: kept.update({name: output})
        )
    net(x)
    for layer in found:
        middle = kept[layer.name][0, :, kept[layer.name].shape[2] // 2].sum()
        (slope,) = torch.autograd.grad(middle, x, retain_graph=True)
        frames = slope[0].abs().sum(0).nonzero().flatten()
        assert int(frames[-1] - frames[0]) + 1 == layer.field, layer.name


def test_a_tensor_without_memory_of_its_own_does_no_harm() -> None:
    net, x = small(), sequences(1, 6, 64)
    inner = Functional(copy.deepcopy(net)).eval()

    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, sequence: Tensor) -> Tensor:
            self.sparse = sequence.to_sparse()
            return self.inner(sequence)

    decoded = FeatureMapDecoder(Aside().eval(), "inner.marks.4").attribute(x)
    assert torch.allclose(decoded, FeatureMapDecoder(net, "layer5").attribute(x))
