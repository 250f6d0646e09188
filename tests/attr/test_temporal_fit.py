"""The temporal parameters that come nearest to ordinary 3D kernels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from captum_video import TemporalParameters
from captum_video.nn import Conv3T, FreeConv3T
from tests.nets import C3DLike, Residual, clip, seeded

NAMES = ("scale", "rotation", "translation_x", "translation_y")


def planted(size: Any = 3, channels: int = 6, inputs: int = 16) -> Conv3T:
    torch.manual_seed(0)
    layer = Conv3T(inputs, channels, size, padding=1, dtype=torch.float64)
    with torch.no_grad():
        for name in NAMES:
            parameter = getattr(layer, name)
            parameter.add_(0.15 * (2 * torch.rand_like(parameter) - 1))
    return layer


class TestRecovery:
    @pytest.mark.parametrize("size", [3, (4, 5, 5), (3, 3, 5)])
    def test_an_exported_layer_reads_as_the_one_it_came_from(self, size: Any) -> None:
        layer = planted(size)
        expected = TemporalParameters(layer).read()["Conv3T"]
        fitted = TemporalParameters.fit(layer.to_conv3d()).read()["Conv3d"]
        assert expected.explained is None
        assert fitted.explained is not None
        assert (fitted.explained - 1).abs().max() < 1e-8
        for part in ("step", "cumulative"):
            for name, values in vars(getattr(expected, part)).items():
                error = (vars(getattr(fitted, part))[name] - values).abs().max()
                assert error < (0.6 if name == "rotation" else 1e-2), (part, name)

    def test_a_free_layer(self) -> None:
        free = FreeConv3T(16, 4, 3, dtype=torch.float64)
        with torch.no_grad():
            free.transform.copy_(planted(channels=4).sampling())
        readout = TemporalParameters.fit(nn.Sequential(free)).read()
        explained = readout["0"].explained
        assert explained is not None
        assert (explained - 1).abs().max() < 1e-8
        with torch.no_grad():
            free.transform.normal_()
        worse = TemporalParameters.fit(nn.Sequential(free)).read()["0"].explained
        assert worse is not None
        assert worse.max() < 0.95

    def test_a_given_3t_layer_is_fitted_as_well(self) -> None:
        layer = planted()
        with pytest.raises(ValueError, match="nothing to fit"):
            TemporalParameters.fit(nn.Sequential(layer))
        readout = TemporalParameters.fit(nn.Sequential(layer), "0").read()["0"]
        assert torch.allclose(readout.step.scale, 1 / layer.scale.detach(), atol=1e-2)


class TestReadout:
    def test_layers(self) -> None:
        net = nn.Sequential(
            nn.Conv3d(3, 4, 3), nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, (3, 1, 1)),
            nn.Conv3d(4, 4, (1, 3, 3)), nn.Conv3d(4, 2, (3, 3, 1), groups=2),
        )  # fmt: skip
        readout = TemporalParameters.fit(net, starts=2, iterations=5).read()
        assert list(readout) == ["0", "4"]
        assert readout.rows()[0]["explained"] == float(readout["0"].explained[0])  # type: ignore[index]
        with pytest.raises(ValueError, match="layer '1': kernels must be at least 2 deep in time"):
            TemporalParameters.fit(net, "1")

    def test_stays_as_it_was_fitted(self) -> None:
        layer = planted().to_conv3d()
        parameters = TemporalParameters.fit(layer)
        before = parameters.read()["Conv3d"].step.scale
        with torch.no_grad():
            layer.weight.normal_()
        assert torch.equal(parameters.read()["Conv3d"].step.scale, before)

    def test_repeats_itself_and_leaves_everything_alone(self) -> None:
        net = seeded(Residual())
        state, random = net.state_dict(), torch.get_rng_state()
        weights = {name: value.clone() for name, value in state.items()}
        first, second = (
            TemporalParameters.fit(net, "conv", seed=3, starts=4, iterations=10).read()["conv"]
            for _ in range(2)
        )
        assert torch.equal(first.step.rotation, second.step.rotation)
        assert torch.equal(torch.get_rng_state(), random)
        assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())

    def test_a_decision(self) -> None:
        net, x = seeded(C3DLike()), clip(2, 3, 6, 16, 16)
        parameters = TemporalParameters.fit(net, "features.3", starts=4, iterations=10)
        result = parameters.motion(x, target=1, units="input")
        assert isinstance(net, C3DLike)
        hidden = net.features[:4](x).detach().requires_grad_()
        scores = net.head(net.features[4:](hidden.clone()).amax((2, 3, 4)))
        (gradient,) = torch.autograd.grad(scores[:, 1].sum(), hidden)
        expected = gradient.mean((2, 3, 4)) * hidden.detach().sum((2, 3, 4))
        assert (result.relevance - expected).abs().max() <= 1e-12 * expected.abs().max()
        assert result.readout.explained is not None
        assert result.readout.frames_per_step == 1
        assert result.where.shape == (2, 1, 6, 16, 16)
        weights, readout = result.weights[0], result.readout
        assert readout.explained is not None
        assert readout.explained_still is not None
        shares = [float(weights @ s) for s in (readout.explained, readout.explained_still)]
        assert result.describe().endswith(
            f"This is a fit, which explains {shares[0]:.0%} of these kernels; equal slices, without any "
            f"motion, explain {shares[1]:.0%}."
        )

    def test_what_equal_slices_explain(self) -> None:
        layer = nn.Conv3d(1, 2, (2, 1, 2), bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, 2, 1, 2], [3, 0, -3, 0]]).view(2, 1, 2, 1, 2))
        readout = TemporalParameters.fit(layer, starts=2, iterations=5).read()["Conv3d"]
        assert readout.explained_still is not None
        assert readout.explained_still.tolist() == [1, 0]
        assert [row["explained_still"] for row in readout.rows()] == [1, 0]

    def test_a_kernel_of_zeros(self) -> None:
        layer = planted().to_conv3d()
        with torch.no_grad():
            layer.weight[2] = 0
        readout = TemporalParameters.fit(layer).read()["Conv3d"]
        assert readout.explained is not None
        assert readout.explained.isnan().tolist() == [False, False, True, False, False, False]
        assert (readout.step.scale[:, 2] == 1).all()


class TestBadInput:
    def test_weights_that_are_not_finite(self) -> None:
        conv = nn.Conv3d(3, 4, 3)
        with torch.no_grad():
            conv.weight[1, 0, 0, 0, 0] = math.nan
        with pytest.raises(ValueError, match=r"layer '0': .*1 of .*4"):
            TemporalParameters.fit(nn.Sequential(conv))

    def test_nothing_to_fit(self) -> None:
        with pytest.raises(ValueError, match="the model has no Conv3d with more than one slice"):
            TemporalParameters.fit(nn.Sequential(nn.Conv2d(3, 4, 3)))
        with pytest.raises(ValueError, match=r"layer '0' \(Conv2d\) is no Conv3d"):
            TemporalParameters.fit(nn.Sequential(nn.Conv2d(3, 4, 3)), "0")
