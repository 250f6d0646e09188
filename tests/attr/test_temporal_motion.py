"""Which channels a decision rests on, and with which motion."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video import DeepTaylor, TemporalParameters, VideoGradCam
from captum_video.nn import Conv3T


def clip(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(shape or (2, 1, 6, 8, 8), generator=rng, dtype=torch.float64)


class Net(nn.Module):
    """One 3T layer, a batch norm, and a small head."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, 3, 3, padding=1)
        self.conv = Conv3T(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm3d(5) if norm else nn.Identity()
        self.head = nn.Sequential(
            nn.MaxPool3d((1, 2, 2)), nn.Conv3d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
        )

    def after(self, hidden: Tensor) -> Tensor:
        return self.head(self.norm(hidden).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(self.stem(x).relu()))


def build(norm: bool = True) -> Net:
    torch.manual_seed(0)
    net = Net(norm).double()
    net(clip())
    with torch.no_grad():
        for parameter in net.conv._transforms():
            parameter.add_(0.2 * torch.randn_like(parameter))
        if norm:
            net.norm.running_mean.normal_()  # type: ignore[union-attr, operator]
            net.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return net.eval()


class TestAttribute:
    def test_grad_cam_by_autograd(self) -> None:
        net, x = build(), clip()
        hidden = net.conv(net.stem(x).relu()).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(net.after(hidden)[:, 1].sum(), hidden)
        expected = gradient.mean((2, 3, 4)) * hidden.detach().sum((2, 3, 4))
        given = TemporalParameters(net).attribute(x, target=1)
        assert given.shape == (2, 5)
        assert (given - expected).abs().max() <= 1e-12 * expected.abs().max()
        low = VideoGradCam(net, "conv").attribute(x, target=1, upsample=False)
        assert torch.allclose(given.sum(1), low.sum((1, 2, 3, 4)))

    @pytest.mark.parametrize("norm", [True, False])
    @pytest.mark.parametrize("alpha", [1.0, 2.0])
    def test_deep_taylor_by_the_rest_of_the_net(self, norm: bool, alpha: float) -> None:
        net, x = build(norm), clip()
        hidden = net.conv(net.stem(x).relu()).detach()
        options: dict[str, Any] = {"alpha": alpha, "beta": alpha - 1, "seed": "one"}
        rest = DeepTaylor(net.after, **options)  # behind a ReLU, so with hidden layers' rules
        expected = rest.attribute(hidden, target=2).sum((2, 3, 4))
        given = TemporalParameters(net, "conv").attribute(
            x, target=2, method="deep_taylor", **options
        )
        assert expected.abs().max() > 1e-3
        assert (given - expected).abs().max() <= 1e-10 * expected.abs().max()

    def test_deep_taylor_conserves(self) -> None:
        net, x = build(norm=False), clip()
        given = TemporalParameters(net).attribute(
            x, target=0, method="deep_taylor", bias="ignore", seed="one"
        )
        assert torch.allclose(given.sum(1), torch.ones(2, dtype=torch.float64))

    def test_signs_do_not_turn_with_the_score(self) -> None:
        net, x = build(), clip()
        target = int(net(x).sum(0).argmin())
        assert (net(x)[:, target] < 0).all()
        parameters = TemporalParameters(net)
        given = parameters.attribute(x, target=target, method="deep_taylor")
        one = parameters.attribute(x, target=target, method="deep_taylor", seed="one")
        score = parameters.attribute(x, target=target, method="deep_taylor", seed="score")
        assert torch.equal(given, one)
        assert torch.allclose(score, one * net(x)[:, target, None])

    def test_predicted_and_several_inputs(self) -> None:
        net, x = build(), clip()
        parameters = TemporalParameters(net)
        best = net(x).argmax(1)
        assert torch.equal(
            parameters.attribute(x, target="predicted"), parameters.attribute(x, target=best)
        )
        assert torch.equal(parameters.attribute((x,), target=1), parameters.attribute(x, target=1))


def detector() -> nn.Module:
    """Each class is one channel: right by a pixel a frame, down, clockwise, growing."""

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = Conv3T(1, 4, 3, padding=1, bias=False)
            self.pool = nn.AdaptiveMaxPool3d(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(self.conv(x).relu()).flatten(1)

    net = Detector().double().eval()
    with torch.no_grad():
        net.conv.first_slice.zero_()
        net.conv.first_slice[:, :, 1, 1] = 1
        net.conv.translation_x[:, 0] = -1
        net.conv.translation_y[:, 1] = -1
        net.conv.rotation[:, 2] = math.radians(-20)
        net.conv.scale[:, 3] = 0.8
    return net


def positive(layer: Conv3T) -> Conv3T:
    """The layer with a positive first slice and bias, so that every channel speaks for itself."""
    with torch.no_grad():
        layer.first_slice.abs_()
        if layer.bias is not None:
            layer.bias.abs_()
    return layer.double()


def dot(x: int, y: int) -> Tensor:
    """A dot that moves by so much a frame from the middle."""
    video = torch.zeros(1, 1, 6, 16, 16, dtype=torch.float64)
    for frame in range(3):
        video[0, 0, 1 + frame, 6 + y * frame, 6 + x * frame] = 1
    return video


class TestMotion:
    def test_each_class_rests_on_its_own_motion(self) -> None:
        net = detector()
        parameters = TemporalParameters(net)
        result = parameters.motion(dot(1, 0).repeat(4, 1, 1, 1, 1), target=[0, 1, 2, 3], top=1)
        assert result.channels.flatten().tolist() == [0, 1, 2, 3]
        assert torch.equal(result.weights, torch.eye(4, dtype=torch.float64))
        last = result.motion.apply(lambda values: values[-1])
        assert last.translation_x.tolist() == [2, 0, 0, 0]
        assert last.translation_y.tolist() == [0, 2, 0, 0]
        assert last.rotation.tolist() == pytest.approx([0, 0, 40, 0])
        assert last.scale.tolist() == pytest.approx([1, 1, 1, 1 / 0.64])
        text = result.describe(0)
        assert text.startswith("What layer 'conv' looks for moves 2 feature px right and 0 feature")
        assert text.endswith("over 2 frames (channels 0 (100%)).")

    def test_where(self) -> None:
        result = TemporalParameters(detector()).motion(dot(1, 0), target=0, top=1)
        assert result.where.shape == (1, 1, 6, 16, 16)
        seen = result.where[0, 0].amax((1, 2))
        assert seen.argmax() == 2  # the kernel's middle frame, when the dot passes
        assert divmod(int(result.where[0, 0, 2].argmax()), 16) == (6, 6)

    def test_channels_without_weight_show_nothing(self) -> None:
        net, x = build(), clip()
        parameters = TemporalParameters(net)
        results = [parameters.motion(x, target=1, top=top) for top in range(1, 6)]
        counts = (results[0].weights > 0).sum(1)
        assert (counts < 5).any()
        for example in range(2):
            own = results[int(counts[example]) - 1].where[example]
            assert torch.allclose(results[4].where[example], own)
            assert results[4].describe(example).count("%)") == counts[example]

    def test_a_motion_that_cannot_be_read(self) -> None:
        net = detector()
        with torch.no_grad():
            net.conv.scale[1, 0] = 1e-5  # type: ignore[union-attr, operator]
        video = dot(1, 0)
        with pytest.warns(UserWarning, match="nearer to 0"):
            result = TemporalParameters(net).motion(video, target=0)
        assert result.known.tolist() == [0]
        assert "no motion that can be read" in result.describe()
        text = "Channels with 100% of the weight have no motion that can be read."
        assert result.describe().endswith(text)

    def test_fewer_channels_than_are_shown(self) -> None:
        layer = positive(Conv3T(1, 2, 3, padding=1))
        net = nn.Sequential(layer, nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
        result = TemporalParameters(net).motion(clip(), target=0)
        assert result.channels.shape == (2, 2)

    def test_the_whole_depth_in_words(self) -> None:
        layer = positive(Conv3T(1, 1, (4, 3, 3), padding=(2, 1, 1)))
        with torch.no_grad():
            layer.translation_x.fill_(-1)
        net = nn.Sequential(layer, nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
        text = TemporalParameters(net).motion(clip(), target=0).describe()
        assert "moves 3 feature px right" in text
        assert " over 3 frames (channels 0 (100%))." in text

    def test_frames_in_words(self) -> None:
        layer = positive(Conv3T(1, 3, 3, padding=2, dilation=2))
        net = nn.Sequential(nn.MaxPool3d(2), layer, nn.AdaptiveAvgPool3d(1), nn.Flatten())
        parameters = TemporalParameters(net.eval())
        x = clip(1, 1, 12, 16, 16)
        assert " over 4 frames" in parameters.motion(x, target=0).describe()
        assert " px right" in parameters.motion(x, target=0, units="input").describe()
        assert " over 8 frames" in parameters.motion(x, target=0, units="input").describe()

    def test_shares(self) -> None:
        net, x = build(), clip()
        parameters = TemporalParameters(net)
        relevance = parameters.attribute(x, target=1)
        for sign, counted in (
            ("positive", relevance.clamp(min=0)),
            ("negative", (-relevance).clamp(min=0)),
            ("absolute", relevance.abs()),
        ):
            result = parameters.motion(x, target=1, sign=sign, top=2)  # type: ignore[arg-type]
            expected = counted / counted.sum(1, keepdim=True)
            assert torch.equal(result.relevance, relevance)
            assert torch.allclose(result.weights, expected)
            assert torch.equal(
                result.channels, expected.argsort(dim=1, descending=True, stable=True)[:, :2]
            )
            total = result.readout.cumulative
            assert torch.allclose(result.motion.translation_y, total.translation_y @ expected.T)
            assert torch.allclose(result.motion.scale, (total.scale.log() @ expected.T).exp())
            assert (result.where >= 0).all()
            assert torch.allclose(result.known, torch.ones(2, dtype=torch.float64))

    def test_units(self) -> None:
        net, x = build(), clip()
        parameters = TemporalParameters(net)
        motions = [
            parameters.motion(x, target=1, units=units, frame_size=size)  # type: ignore[arg-type]
            for units, size in (("feature", None), ("input", None), ("paper", (8, 8)))
        ]
        assert [m.readout.units for m in motions] == ["feature", "input", "paper"]
        assert torch.equal(motions[0].motion.translation_x, motions[1].motion.translation_x)
        assert not torch.equal(motions[0].motion.translation_x, motions[2].motion.translation_x)

    def test_deep_taylor(self) -> None:
        net, x = build(), clip()
        parameters = TemporalParameters(net)
        options: dict[str, Any] = {"method": "deep_taylor", "seed": "one"}
        result = parameters.motion(x, target=1, **options)
        assert torch.equal(result.relevance, parameters.attribute(x, target=1, **options))
        assert result.where.shape == x.shape

    def test_no_relevance(self) -> None:
        net = detector()
        with pytest.warns(UserWarning, match=r"gradient at|no channel has") as caught:
            result = TemporalParameters(net).motion(torch.zeros(1, 1, 6, 16, 16).double(), target=0)
        assert any(
            "no channel has positive relevance for example(s) [0]" in str(w.message) for w in caught
        )
        assert (result.weights == 0).all()
        assert all(bool(v.isnan().all()) for v in vars(result.motion).values())
        assert "no motion that can be read" in result.describe()


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"top": 0}, "top must be from 1 to 5 channels, got 0"),
            ({"top": 6}, "top must be from 1 to 5 channels, got 6"),
            ({"sign": "both"}, "sign must be 'positive' or 'negative' or 'absolute', got 'both'"),
            ({"method": "lrp"}, "method must be 'grad_cam' or 'deep_taylor', got 'lrp'"),
            ({"seed": "one"}, r"options of DeepTaylor \(seed\) need method='deep_taylor'"),
            ({"target": 9}, "target 9 does not fit"),
            ({"target": None}, "target is needed"),
        ],
    )
    def test_options(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises((ValueError, TypeError), match=text):
            TemporalParameters(build()).motion(clip(), **{"target": 1, **options})

    def test_several_layers(self) -> None:
        net = nn.Sequential(Conv3T(1, 2, 3), Conv3T(2, 2, 3))
        with pytest.raises(ValueError, match=r"layer is needed to explain a decision.*'0', '1'"):
            TemporalParameters(net).attribute(clip(), target=1)

    @pytest.mark.parametrize("method", ["grad_cam", "deep_taylor"])
    def test_layers_that_lead_nowhere(self, method: Any) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.used, self.idle, self.dead = (Conv3T(1, 2, 3) for _ in range(3))

            def forward(self, x: Tensor) -> Tensor:
                self.dead(x)
                return self.used(x).mean((2, 3, 4))

        net = Two().double().eval()
        with pytest.raises(ValueError, match="layer 'idle' is not called"):
            TemporalParameters(net, "idle").attribute(clip(), target=1, method=method)
        with pytest.raises(ValueError, match="does not depend on layer 'dead'"):
            TemporalParameters(net, "dead").attribute(clip(), target=1, method=method)

    def test_example(self) -> None:
        result = TemporalParameters(build()).motion(clip(), target=1)
        with pytest.raises(IndexError, match="example must be from 0 to 1, got 2"):
            result.describe(2)

    def test_weights_that_are_not_numbers(self) -> None:
        net = build()
        with torch.no_grad():
            net.conv.first_slice[0, 0, 0, 0] = math.nan
        assert TemporalParameters(net).read()["conv"].step.scale.isfinite().all()
        with pytest.raises(ValueError, match="activation at layer 'conv' is NaN"):
            TemporalParameters(net).attribute(clip(), target=1)
