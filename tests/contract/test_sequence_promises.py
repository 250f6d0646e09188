"""The feature map decoder against the promises that all attribution classes make."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from captum.attr import NoiseTunnel
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from captum_video import DeepTaylor, FeatureMapDecoder, VideoGradCam
from models._res_tcn import MSResTCN
from tests.attr.sequence_nets import sequences, settled, small
from tests.contract.kinds import assert_same, state, with_gradients


class Wilful(nn.Module):
    """Draws random numbers, counts its calls, and may stop half-way."""

    calls: Tensor

    def __init__(self, stop: bool = False) -> None:
        super().__init__()
        self.inner, self.stop = small(), stop
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        result = self.inner(x) + torch.rand(())
        if self.stop:
            raise LookupError("half-way")
        return result


@pytest.mark.parametrize("stop", [False, True])
def test_leaves_no_trace(stop: bool) -> None:
    net, x = with_gradients(Wilful(stop).eval()), sequences(2, 6, 64)
    given, before = x.clone(), state(net)
    decoder = FeatureMapDecoder(net, "inner.layer5")
    if stop:
        with pytest.raises(LookupError, match="half-way"):
            decoder.attribute(x)
    else:
        for call in (decoder.attribute, decoder.responses):
            assert not call(x).requires_grad
        decoder.motion_primitives()
        decoder.gates()
    assert_same(before, state(net))
    assert torch.equal(x, given)


def test_a_model_that_writes_into_its_input() -> None:
    net, x = small(), sequences(1, 6, 64)

    def doubled(sequence: Tensor) -> Tensor:
        return net(sequence.mul_(2))

    given = x.clone()
    layer = net.get_submodule("layer3")
    decoded = FeatureMapDecoder(doubled, layer).attribute(x)
    assert torch.equal(x, given)
    plain = FeatureMapDecoder(net, layer).attribute(x * 2)
    assert torch.allclose(decoded, plain / 2)  # the doubling is undone


def test_a_batch_gives_what_its_sequences_give() -> None:
    decoder, x = FeatureMapDecoder(small(), "layer7"), sequences(4, 6, 64)
    whole = decoder.attribute(x)
    parts = torch.cat([decoder.attribute(x[i : i + 1]) for i in range(4)])
    assert torch.allclose(whole, parts, rtol=0, atol=1e-10 * float(whole.abs().max()))
    assert torch.equal(whole, decoder.attribute(x))


def test_tuples_layouts_and_dtypes() -> None:
    net, x = small(), sequences(2, 6, 64)
    exact = FeatureMapDecoder(net, "layer7").attribute(x)
    (alone,) = FeatureMapDecoder(net, "layer7").attribute((x,))
    assert torch.equal(alone, exact)
    strided = sequences(2, 64, 6).transpose(1, 2)
    expected = FeatureMapDecoder(net, "layer7").attribute(strided.contiguous())
    assert torch.equal(FeatureMapDecoder(net, "layer7").attribute(strided), expected)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        decoded = FeatureMapDecoder(small().to(dtype), "layer7").attribute(x.to(dtype))
        assert decoded.dtype == dtype
        assert float((decoded - exact).abs().max()) < tolerance * float(exact.abs().max())


def test_grad_modes_do_not_matter() -> None:
    decoder, x = FeatureMapDecoder(small(), "layer7"), sequences(1, 6, 64)
    expected = decoder.attribute(x)
    with torch.no_grad():
        assert torch.equal(decoder.attribute(x), expected)
    with torch.inference_mode():
        assert torch.equal(decoder.attribute(x), expected)
    assert torch.equal(decoder.attribute(x.clone().requires_grad_()), expected)


def test_two_threads_share_a_model() -> None:
    net = small()
    given = [sequences(1, 6, 64, seed=seed) for seed in range(4)]
    expected = [FeatureMapDecoder(net, "layer6").attribute(x) for x in given]
    found: dict[int, Tensor] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = FeatureMapDecoder(net, "layer6").attribute(given[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], expected[number]) for number in range(4))


def test_nothing_is_kept() -> None:
    net, x = small(), sequences(1, 6, 64)
    decoder = FeatureMapDecoder(net, "layer7")
    decoder.attribute(x)
    gc.collect()
    before = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
    for _ in range(3):
        decoder.attribute(x)
    gc.collect()
    assert sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()) == before


def test_captums_tools() -> None:
    net, x = small(), sequences(2, 6, 64)
    decoder = FeatureMapDecoder(net, "layer5")
    smooth = NoiseTunnel(decoder).attribute(x, nt_samples=2, stdevs=0.0)
    assert torch.allclose(smooth, decoder.attribute(x))
    moved = sensitivity_max(decoder.attribute, x, n_perturb_samples=2)
    assert moved.shape == (2,)
    assert float(moved.min()) > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    x = sequences(2, 6, 64)
    expected = FeatureMapDecoder(small(), "layer7").attribute(x)
    net = small().cuda()
    decoded = FeatureMapDecoder(net, "layer7", mean=torch.zeros(6)).attribute(x.cuda())
    assert decoded.is_cuda
    assert torch.allclose(decoded.cpu(), expected)


class TestOtherMethodsOnSequences:
    """Relevance and Grad-CAM take ``(N, C, T)`` like clips."""

    @pytest.fixture(params=["one stream", "two streams"])
    def net(self, request: pytest.FixtureRequest) -> nn.Module:
        if request.param == "one stream":
            return small()
        return settled(MSResTCN(6, 3, target=[1, 4], widths=(4, 5, 7), units=2, kernel=4))

    def test_deep_taylor_conserves(self, net: nn.Module) -> None:
        x = sequences(2, 6, 64)
        relevance = DeepTaylor(net, bias="ignore", seed="one").attribute(x, target=1)
        assert relevance.shape == x.shape
        # a few units are active by their bias alone and have nothing to give to
        assert float((relevance.sum((1, 2)) - 1).abs().max()) < 0.02

    def test_grad_cam_is_a_curve_over_time(self, net: nn.Module) -> None:
        layer = "layer7" if hasattr(net, "layer1") else "layer7.main"
        cam = VideoGradCam(net, layer).attribute(sequences(2, 6, 64), target=1)
        assert cam.shape == (2, 1, 64)
