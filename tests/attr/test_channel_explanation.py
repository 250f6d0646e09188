"""Saliency of a channel, when it was most active, and all three parts of its explanation."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
from captum.attr import NeuronGradient
from torch import Tensor, nn

from captum_video.attr import (
    ActivationMaximization,
    TemporalParameters,
    channel_saliency,
    explain_channel,
)
from captum_video.nn import Conv3T
from tests.contract.kinds import assert_same, state
from tests.nets import C3DLike, Residual, ScoresPerFrame, TwoStream, clip, seeded

SHAPE = (2, 3, 8, 12, 10)
FEW: dict[str, Any] = {"steps": 2}


def moving() -> nn.Sequential:
    """Two 3T layers with motion in them."""
    net = nn.Sequential(Conv3T(3, 4, 3, padding=1), nn.ReLU(), Conv3T(4, 5, 3, padding=1))
    return seeded(net)  # type: ignore[return-value]


class TestSaliency:
    def test_of_a_convolution_it_is_the_kernel_at_the_winner(self) -> None:
        model = seeded(nn.Conv3d(2, 3, (3, 2, 2), stride=(2, 1, 1), bias=False))
        x = clip(2, 2, 9, 5, 6)
        found = channel_saliency(model, model, x, 1)
        with torch.no_grad():
            activation = model(x)[:, 1]
        kernel = model.get_parameter("weight").detach()[1]
        for n in range(2):
            t, y, z = (int(k) for k in torch.unravel_index(activation[n].argmax(), (4, 4, 5)))
            expected = torch.zeros_like(x[n])
            expected[:, 2 * t : 2 * t + 3, y : y + 2, z : z + 2] = kernel
            assert torch.equal(found.saliency[n], expected)
            assert found.activation[n] == activation[n].max()
            assert found.peak_slice[n] == t
            assert found.peak_frame[n] == 2 * t + 1  # the middle of the three frames that it sees
        assert len(set(found.peak_slice.tolist())) == 2  # the clips differ, or this shows little

    def test_of_the_mean_it_is_captums_neuron_gradient(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        found = channel_saliency(model, "features.3", x, 5, reduce="mean")
        twin = NeuronGradient(model, model.get_submodule("features.3"))
        leaf = x.clone().requires_grad_()
        expected = twin.attribute(leaf, lambda layer: layer[:, 5].mean((1, 2, 3)))
        assert torch.allclose(found.saliency, expected, rtol=0, atol=1e-14)
        assert found.saliency.abs().max() > 0

    @pytest.mark.parametrize("layer", ["stem_norm", "conv", "norm", "project"])
    def test_what_is_done_in_place_afterwards_does_not_count(self, layer: str) -> None:
        """The twin cuts the model off after the layer."""
        model, x = seeded(Residual()), clip(*SHAPE)
        assert isinstance(model, Residual)
        leaf = x.clone().requires_grad_()
        stem = model.stem_norm(model.stem(leaf))
        conv = model.conv(stem.relu())
        parts = {"stem_norm": stem, "conv": conv, "norm": model.norm(conv)}
        parts["project"] = model.project(stem.relu())
        peaks = parts[layer][:, 2].flatten(1).max(1).values
        (expected,) = torch.autograd.grad(peaks.sum(), leaf)
        found = channel_saliency(model, layer, x, 2)
        assert torch.allclose(found.saliency, expected, rtol=0, atol=1e-13)
        assert torch.allclose(found.activation, peaks.detach())

    def test_a_model_may_write_into_its_input(self) -> None:
        class Doubling(C3DLike):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x.mul_(2))

        model, x = seeded(Doubling()), clip(*SHAPE)
        copy = x.clone()
        found = channel_saliency(model, "features.3", x, 2)
        twice = channel_saliency(seeded(C3DLike()), "features.3", 2 * x, 2)
        assert torch.equal(found.saliency, 2 * twice.saliency)
        assert torch.equal(x, copy)
        best = ActivationMaximization(model, "features.3").maximize(2, SHAPE[1:], steps=20)
        assert best.objective[-1] > best.objective[0]

    def test_places_that_tie_share(self) -> None:
        model = nn.Conv3d(1, 1, 1, bias=False, dtype=torch.float64).eval()
        with torch.no_grad():
            model.weight.fill_(3.0)
        x = torch.zeros(1, 1, 4, 1, 2, dtype=torch.float64)
        x[0, 0, 2] = 1.0
        found = channel_saliency(model, model, x, 0)
        expected = torch.zeros_like(x)
        expected[0, 0, 2] = 1.5
        assert torch.equal(found.saliency, expected)
        assert found.peak_frame.tolist() == [2]

    def test_the_middle_of_two_frames_is_the_later_one(self) -> None:
        model = nn.Conv3d(1, 1, (2, 1, 1), stride=(2, 1, 1), bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([2.0, 1.0]).view(1, 1, 2, 1, 1))
        x = torch.zeros(3, 1, 6, 1, 1, dtype=torch.float64)
        x[range(3), 0, [0, 2, 5]] = 1.0
        found = channel_saliency(model.eval(), model, x, 0)
        assert found.peak_slice.tolist() == [0, 1, 2]
        assert found.peak_frame.tolist() == [1, 3, 5]  # of frames 0 and 1, 2 and 3, 4 and 5

    def test_a_slice_in_the_padding_belongs_to_the_nearest_frame(self) -> None:
        model = nn.Conv3d(1, 1, (1, 1, 1), padding=(2, 0, 0), dtype=torch.float64)
        with torch.no_grad():
            model.weight.fill_(-1.0)
        x = torch.ones(1, 1, 4, 1, 1, dtype=torch.float64)
        with pytest.warns(UserWarning, match=r"gradient of channel 0 .* is zero"):
            found = channel_saliency(model.eval(), model, x, 0)
        assert (found.peak_slice.tolist(), found.peak_frame.tolist()) == ([0], [0])

    def test_frames_in_the_batch(self) -> None:
        """A layer that sees frames alone looks at one frame."""
        model, x = seeded(ScoresPerFrame()), clip(*SHAPE)
        assert isinstance(model, ScoresPerFrame)
        found = channel_saliency(model, "conv", x, 4)
        with torch.no_grad():
            maps = model.conv(x.transpose(1, 2).flatten(0, 1))[:, 4].view(2, 8, -1).amax(2)
        assert torch.equal(found.peak_frame, maps.argmax(1))
        for n in range(2):
            seen = found.saliency[n].abs().sum((0, 2, 3)).nonzero().flatten()
            assert seen.tolist() == [int(found.peak_frame[n])]

    def test_without_time_it_is_the_frame_with_the_largest_gradient(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        found = channel_saliency(model, "head.0", x, 3)
        assert found.peak_slice.tolist() == [0, 0]
        sizes = found.saliency.abs().sum((1, 3, 4))
        assert torch.equal(found.peak_frame, sizes.argmax(1))

    def test_further_inputs(self) -> None:
        model = seeded(TwoStream())
        x, other = clip(*SHAPE), clip(2, 2, *SHAPE[2:], seed=1)
        one = channel_saliency(model, "rgb", x, 1, additional_forward_args=other)
        two = channel_saliency(lambda v: model(v, other), model.get_submodule("rgb"), x, 1)
        assert torch.equal(one.saliency, two.saliency)


class TestPromises:
    def test_no_trace(self) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        before, copy = state(model), x.clone()
        with torch.no_grad():
            found = channel_saliency(model, "norm", x, 2)
        assert not found.saliency.requires_grad
        assert_same(before, state(model))
        assert torch.equal(x, copy)
        assert not x.requires_grad

    def test_a_batch_is_its_clips(self) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        both = channel_saliency(model, "norm", x, 2)
        for n in range(2):
            alone = channel_saliency(model, "norm", x[n : n + 1], 2)
            for part, own in zip(both, alone, strict=True):
                assert torch.allclose(part[n : n + 1].double(), own.double(), atol=1e-12)

    def test_threads_do_not_meet(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        expected = [channel_saliency(model, "features.3", x, c).saliency for c in range(4)]
        found: dict[tuple[int, int], Tensor] = {}

        def work(channel: int) -> None:
            for turn in range(6):
                found[channel, turn] = channel_saliency(model, "features.3", x, channel).saliency

        threads = [threading.Thread(target=work, args=(c,)) for c in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 24
        assert all(torch.equal(expected[channel], map_) for (channel, _), map_ in found.items())


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"channel": 8}, "channel must be from 0 to 7, the 8 channels of layer 'features.3'"),
            ({"channel": "a"}, "channel must be an integer, got 'a'"),
            ({"layer": "features.9"}, "no such layer"),
            ({"layer": 4}, "layer must be a module or its dotted name, got int"),
            (
                {"inputs": torch.zeros(3, 8, 8, 8)},
                r"inputs must be clips .* got shape \((3|1), 8, 8, 8",
            ),
            ({"inputs": clip(*SHAPE).long()}, "inputs must be of a floating-point dtype"),
            ({"inputs": (clip(*SHAPE),)}, "inputs must be a tensor, got tuple"),
            ({"inputs": clip(*SHAPE) * torch.nan}, "inputs holds (5760|2880) values that are NaN"),
            ({"reduce": "sum"}, "reduce must be 'max' or 'mean', got 'sum'"),
        ],
    )
    def test_arguments(self, change: dict[str, Any], text: str) -> None:
        given: dict[str, Any] = {"layer": "features.3", "inputs": clip(*SHAPE), "channel": 0}
        with pytest.raises((ValueError, TypeError), match=text):
            channel_saliency(seeded(C3DLike()), **(given | change))
        given["inputs"] = clip(1, *SHAPE[1:])
        if "inputs" in change and isinstance(change["inputs"], Tensor):
            change = {"inputs": change["inputs"][:1]}
        with pytest.raises((ValueError, TypeError), match=text):
            explain_channel(seeded(C3DLike()), **(given | change), **FEW)

    def test_a_layer_that_is_not_called(self) -> None:
        model = seeded(C3DLike())
        model.spare = nn.Conv3d(3, 4, 3)
        with pytest.raises(ValueError, match="'spare' is not called in the model's forward pass"):
            channel_saliency(model, "spare", clip(*SHAPE), 0)

    def test_a_layer_without_gradients(self) -> None:
        model = seeded(C3DLike())
        with pytest.raises(ValueError, match="layer 'Conv3d' does not depend on the clips by grad"):
            channel_saliency(
                lambda x: model(x.detach()), model.get_submodule("features.3"), clip(*SHAPE), 0
            )

    def test_weights_that_are_not_finite(self) -> None:
        model = seeded(C3DLike())
        with torch.no_grad():
            model.get_parameter("features.3.bias")[2] = torch.nan
        with pytest.raises(
            ValueError, match=r"activation of channel 2 of layer 'features.3' is NaN"
        ):
            channel_saliency(model, "features.3", clip(*SHAPE), 2)
        channel_saliency(model, "features.3", clip(*SHAPE), 1)

    def test_a_silent_channel_is_warned_of(self) -> None:
        model = seeded(C3DLike())
        with torch.no_grad():
            model.get_parameter("features.0.bias")[1] = -100.0
        with pytest.warns(
            UserWarning, match=r"channel 1 of layer 'features.1' is zero .* \[0, 1\]"
        ):
            found = channel_saliency(model, "features.1", clip(*SHAPE), 1)
        assert not found.saliency.any()


class TestExplanation:
    def test_it_gathers_all_parts(self) -> None:
        model, x = moving(), clip(1, 3, 6, 9, 8)
        found = explain_channel(model, "2", x, 3, steps=5, seed=7, rms=0.5)
        saliency = channel_saliency(model, "2", x, 3)
        best = ActivationMaximization(model, "2").maximize(
            3, (3, 6, 9, 8), reduce="max", steps=5, seed=7, rms=0.5
        )
        with torch.no_grad():
            there = model(best.clips[None])[0, 3].flatten(1).amax(1).argmax()
        assert (found.layer, found.channel, found.note) == ("2", 3, "")
        assert torch.equal(found.clip, x[0])
        assert torch.equal(found.saliency, saliency.saliency[0])
        assert found.activation == saliency.activation.item()
        assert found.peak_frame == saliency.peak_frame.item()
        assert torch.equal(found.maximised, best.clips)
        assert torch.equal(found.objective, best.objective)
        assert found.maximised_frame == there
        expected = TemporalParameters(model, "2").read()["2"]
        assert found.motion is not None
        assert_same(vars(expected.cumulative), vars(found.motion.cumulative))
        assert found.motion.cumulative.rotation.abs().max() > 1  # degrees: there is some motion

    def test_motion_may_be_given(self) -> None:
        model, x = moving(), clip(1, 3, 6, 9, 8)
        readout = TemporalParameters(model).read(units="paper", frame_size=(9, 8))
        by_layer = explain_channel(model, "0", x, 1, motion=readout, **FEW)
        assert by_layer.motion is readout["0"]
        alone = explain_channel(model, "0", x, 1, motion=readout["0"], **FEW)
        assert alone.motion is readout["0"]
        with pytest.raises(ValueError, match="motion has no layer '1'; it holds '0', '2'"):
            explain_channel(model, "1", x, 1, motion=readout, **FEW)
        with pytest.raises(
            ValueError, match=r"motion's channel must be from 0 to 3, .* '2', got 4"
        ):
            explain_channel(model, "2", x, 4, motion=replace(readout["0"], layer="2"), **FEW)

    @pytest.mark.parametrize("layer", ["1", "2"])
    def test_motion_of_another_layer(self, layer: str) -> None:
        model, x = moving(), clip(1, 3, 6, 9, 8)
        readout = TemporalParameters(model).read()
        text = f"motion must be of the explained layer '{layer}', got that of layer '0'"
        for motion in (readout["0"], {layer: readout["0"]}):
            with pytest.raises(ValueError, match=text):
                explain_channel(model, layer, x, 1, motion=motion, **FEW)

    def test_motion_of_the_bare_layer(self) -> None:
        """Read or explained without the model around it, a layer is called by its class."""
        model, x = moving(), clip(1, 3, 6, 9, 8)
        bare = TemporalParameters(model[2]).read()["Conv3T"]
        assert explain_channel(model, "2", x, 1, motion=bare, **FEW).motion is bare
        whole = TemporalParameters(model).read()["2"]
        found = explain_channel(lambda clips: model(clips), model[2], x, 1, motion=whole, **FEW)
        assert (found.layer, found.motion) == ("Conv3T", whole)
        plain = seeded(nn.Sequential(nn.Conv3d(3, 4, 3, padding=1)))
        fitted = TemporalParameters.fit(plain.get_submodule("0"), starts=1, iterations=1).read()[
            "Conv3d"
        ]
        assert explain_channel(plain, "0", x, 1, motion=fitted, **FEW).motion is fitted
        other = TemporalParameters(seeded(Conv3T(4, 5, (2, 3, 3)))).read()["Conv3T"]
        for motion in (TemporalParameters(model[0]).read()["Conv3T"], other, fitted):
            text = f"motion must be of the explained layer '2', got that of layer '{motion.layer}'"
            with pytest.raises(ValueError, match=text):
                explain_channel(model, "2", x, 1, motion=motion, **FEW)

    def test_motion_that_is_no_readout(self) -> None:
        with pytest.raises(
            TypeError, match=r"motion must be a LayerReadout or a mapping .* got int"
        ):
            explain_channel(moving(), "2", clip(1, 3, 6, 9, 8), 1, motion=3, **FEW)  # type: ignore[arg-type]

    def test_an_ordinary_layer_has_no_motion(self) -> None:
        found = explain_channel(seeded(C3DLike()), "features.3", clip(1, *SHAPE[1:]), 1, **FEW)
        assert found.motion is None
        assert found.note == "a Conv3d has no temporal parameters of its own"

    def test_several_clips(self) -> None:
        with pytest.raises(ValueError, match=r"inputs must be one clip \(1, C, T, H, W\), got 2"):
            explain_channel(seeded(C3DLike()), "features.3", clip(*SHAPE), 1)

    def test_options_that_do_not_exist(self) -> None:
        with pytest.raises(TypeError, match="unexpected keyword argument 'stepz'"):
            explain_channel(seeded(C3DLike()), "features.3", clip(1, *SHAPE[1:]), 1, stepz=3)

    def test_no_trace(self) -> None:
        model, x = moving(), clip(1, 3, 6, 9, 8)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        explain_channel(model, "2", x, 3, **FEW)  # the 3T layers keep their kernels from now on
        before = state(model)
        explain_channel(model, "2", x, 3, **FEW)
        assert_same(before, state(model))
