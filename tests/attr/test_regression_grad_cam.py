"""RegressionGradCam: closed forms, sign and scale, losses of every shape."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from captum_video import RegressionGradCam, VideoGradCam
from tests.attr.cam_nets import Frames
from tests.nets import C3DLike, Residual, clip, seeded

SHAPE = (3, 3, 4, 8, 8)


class Linear(nn.Module):
    """A 1x1x1 convolution, the mean over time and space, a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1, 1)
        self.out = nn.Parameter(torch.tensor([[3.0, 1.0], [0.0, 5.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3, 4)) @ self.out.T


def regressor(outputs: int = 3) -> nn.Module:
    return seeded(C3DLike(classes=outputs))


def squares(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs - truth).square().sum(1)


TRUTH = torch.randn(3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class TestClosedForm:
    def test_by_hand(self) -> None:
        # a clip of eight voxels whose mean m is 4.5: features (m, -2 m) = (4.5, -9),
        # outputs (3 * 4.5 - 9, 5 * -9) = (4.5, -45); truth (4, -44): errors (0.5, -1)
        # d(-sum of squares)/d features = -2 * (0.5 * 3, 0.5 * 1 - 1 * 5) = (-3, 9), per voxel / 8
        # map = x * (1 * -3 + -2 * 9) / 8 = -21 / 8 * x
        net = Linear().eval()
        x = torch.arange(1.0, 9.0).view(1, 1, 2, 2, 2)
        cam = RegressionGradCam(net, "conv", loss=squares)
        given = cam.attribute(x, truth=torch.tensor([[4.0, -44.0]]))
        assert torch.allclose(given, -21 / 8 * x)

    def test_one_degree_of_freedom_by_hand(self) -> None:
        # only output 0: -2 * 0.5 * (3, 1) = (-3, -1): map = x * (-3 + 2) / 8
        # only output 1: -2 * -1 * (0, 5) = (0, 10): map = x * -20 / 8
        net, x = Linear().eval(), torch.arange(1.0, 9.0).view(1, 1, 2, 2, 2)
        cam = RegressionGradCam(net, "conv", loss=squares)
        truth = torch.tensor([[4.0, -44.0]])
        assert torch.allclose(cam.attribute(x, 0, truth=truth), -1 / 8 * x)
        assert torch.allclose(cam.attribute(x, 1, truth=truth), -20 / 8 * x)

    def test_outputs_by_hand(self) -> None:
        # output 0: (3, 1) / 8: map = x * (3 - 2) / 8; output 1: (0, 5): -10 / 8; both: -9 / 8
        net, x = Linear().eval(), torch.arange(1.0, 9.0).view(1, 1, 2, 2, 2)
        cam = RegressionGradCam(net, "conv", objective="output")
        for target, factor in [(0, 1 / 8), (1, -10 / 8), (None, -9 / 8)]:
            assert torch.allclose(cam.attribute(x, target), factor * x)
        negative = RegressionGradCam(net, "conv", objective="negative_output")
        assert torch.allclose(negative.attribute(x, 1), 10 / 8 * x)
        assert torch.allclose(negative.attribute(x), 9 / 8 * x)


class TestSignAndScale:
    def test_follow_the_loss(self) -> None:
        model, x = regressor(), clip(*SHAPE)

        def of(factor: float) -> Tensor:
            cam = RegressionGradCam(
                model, "features.3", loss=lambda out, truth: factor * squares(out, truth)
            )
            result: Tensor = cam.attribute(x, truth=TRUTH)
            return result

        plain = of(1.0)
        assert plain.abs().max() > 0
        assert torch.equal(of(-1.0), -plain)
        assert torch.allclose(of(3.0), 3 * plain)

    def test_is_the_negated_loss(self) -> None:
        # walking up the map's gradient lowers the loss: the class whose score is minus the loss
        model, x = regressor(), clip(*SHAPE)

        def minus_loss(clips: Tensor) -> Tensor:
            return -squares(model(clips), TRUTH)

        layer = model.get_submodule("features.3")
        for pooling in ("clip", "frame"):
            expected = VideoGradCam(minus_loss, layer, temporal_pooling=pooling).attribute(x)
            cam = RegressionGradCam(model, layer, loss=squares, temporal_pooling=pooling)
            assert torch.equal(cam.attribute(x, truth=TRUTH), expected)

    def test_output_is_video_grad_cam(self) -> None:
        model, x = regressor(), clip(*SHAPE)
        expected = VideoGradCam(model, "features.3").attribute(x, 2)
        cam = RegressionGradCam(model, "features.3", objective="output")
        assert torch.equal(cam.attribute(x, 2), expected)
        low = VideoGradCam(model, "features.3").attribute(x, 2, upsample=False)
        assert torch.equal(cam.attribute(x, 2, upsample=False), low)
        assert torch.equal(cam.attribute(x, 2, upsample=False, relu_attributions=True), low.relu())

    @pytest.mark.parametrize(
        "options",
        [
            {"interpolate_mode": "nearest"},
            {"temporal_alignment": "uniform"},
            {"attribute_to_layer_input": True},
        ],
    )
    def test_options_are_those_of_video_grad_cam(self, options: Any) -> None:
        model, x = seeded(Residual(classes=3)), clip(3, 3, 9, 8, 8)
        for name in ("conv", "project"):
            convolution = model.get_submodule(name)
            assert isinstance(convolution, nn.Conv3d)
            convolution.stride = (2, 2, 2)
        expected = VideoGradCam(model, "norm").attribute(x, 1, **options)
        assert not torch.allclose(expected, VideoGradCam(model, "norm").attribute(x, 1))
        cam = RegressionGradCam(model, "norm", objective="output")
        assert torch.equal(cam.attribute(x, 1, **options), expected)

    def test_degrees_of_freedom_add_up(self) -> None:
        model, x = regressor(), clip(*SHAPE)
        cam = RegressionGradCam(model, "features.3", loss=squares)
        parts = sum(cam.attribute(x, n, truth=TRUTH) for n in range(3))
        assert torch.allclose(parts, cam.attribute(x, truth=TRUTH))
        # where the loss couples outputs, each counts with the others at their values
        joint = RegressionGradCam(
            model, "features.3", loss=lambda out, truth: (out.prod(1) - truth[:, 0]).square()
        )
        parts = sum(joint.attribute(x, n, truth=TRUTH) for n in range(3))
        assert torch.allclose(parts, joint.attribute(x, truth=TRUTH))
        # for a sum over outputs, one degree of freedom is the loss of that output alone
        alone = RegressionGradCam(
            model, "features.3", loss=lambda out, truth: (out - truth)[:, 1].square()
        )
        assert torch.allclose(cam.attribute(x, 1, truth=TRUTH), alone.attribute(x, truth=TRUTH))


class Views(NamedTuple):
    picture: Tensor
    gain: Tensor


class TestLosses:
    @pytest.mark.parametrize("reduction", ["sum", "mean"])
    def test_one_value_for_all_is_split_in_examples(self, reduction: str) -> None:
        model, x = regressor(), clip(*SHAPE)
        loss = nn.MSELoss(reduction=reduction)
        factor = 1 if reduction == "sum" else 3
        given = RegressionGradCam(model, "features.3", loss=loss).attribute(x, truth=TRUTH)
        expected = RegressionGradCam(model, "features.3", loss=squares).attribute(x, truth=TRUTH)
        assert torch.allclose(given, expected / factor)

    def test_a_loss_of_the_inputs(self) -> None:
        model, x = regressor(), clip(*SHAPE)

        def against_brightness(outputs: Tensor, inputs: Tensor) -> Tensor:
            return (outputs - inputs.mean((2, 3, 4))).square().sum(1)

        cam = RegressionGradCam(model, "features.3", loss=against_brightness, self_supervised=True)
        supervised = RegressionGradCam(model, "features.3", loss=squares)
        expected = supervised.attribute(x, truth=x.mean((2, 3, 4)))
        assert torch.allclose(cam.attribute(x), expected)

    def test_outputs_of_any_structure(self) -> None:
        model, x = regressor(), clip(*SHAPE)

        def views(clips: Tensor) -> Views:
            scores = model(clips)
            return Views(scores[:, :2], {"gain": scores[:, 2:]})  # type: ignore[arg-type]

        def loss(views: Any, truth: Tensor) -> Tensor:
            return squares(torch.cat([views.picture, views.gain["gain"]], 1), truth)

        layer = model.get_submodule("features.3")
        expected = RegressionGradCam(model, layer, loss=squares).attribute(x, truth=TRUTH)
        assert torch.allclose(
            RegressionGradCam(views, layer, loss=loss).attribute(x, truth=TRUTH), expected
        )
        reduced = RegressionGradCam(views, layer, loss=lambda v, t: loss(v, t).sum())
        assert torch.allclose(reduced.attribute(x, truth=TRUTH), expected)
        with pytest.raises(
            TypeError, match="target needs a model that returns one tensor, got Views"
        ):
            RegressionGradCam(views, layer, loss=loss).attribute(x, 0, truth=TRUTH)

    def test_one_output_per_example(self) -> None:
        model, x = regressor(1), clip(*SHAPE)

        def flat(clips: Tensor) -> Tensor:
            result: Tensor = model(clips).squeeze(1)
            return result

        layer, truth = model.get_submodule("features.3"), TRUTH[:, 0]
        each = RegressionGradCam(flat, layer, loss=nn.MSELoss(reduction="none"))
        given = each.attribute(x, truth=truth)
        expected = RegressionGradCam(model, layer, loss=squares).attribute(x, truth=TRUTH[:, :1])
        assert torch.allclose(given, expected)
        kept = RegressionGradCam(model, layer, loss=nn.MSELoss(reduction="none"))  # (N, 1)
        assert torch.allclose(kept.attribute(x, truth=TRUTH[:, :1]), expected)
        cam = RegressionGradCam(flat, layer, objective="output")
        assert torch.equal(cam.attribute(x), VideoGradCam(flat, layer).attribute(x))

    def test_frames_as_batch(self) -> None:
        model = seeded(Frames(classes=3))
        x = clip(3, 3, 8, 12, 10)
        cam = RegressionGradCam(model, "cnn.3", loss=nn.MSELoss())
        expected = cam.attribute(x, truth=TRUTH)
        assert expected.shape == (3, 1, 8, 12, 10)
        frames = x.transpose(1, 2).flatten(0, 1)

        def of_frames(given: Tensor) -> Tensor:
            result: Tensor = model(given.unflatten(0, (-1, 8)).transpose(1, 2))
            return result

        layer = model.get_submodule("cnn.3")
        folded = RegressionGradCam(of_frames, layer, loss=nn.MSELoss(), frames_per_clip=8)
        assert torch.allclose(folded.attribute(frames, truth=TRUTH), expected)

        def against_brightness(outputs: Tensor, given: Tensor) -> Tensor:
            clips = given.unflatten(0, (-1, 8)).transpose(1, 2)
            return (outputs - clips.mean((2, 3, 4))).square().mean()

        own = RegressionGradCam(
            of_frames, layer, loss=against_brightness, self_supervised=True, frames_per_clip=8
        )
        alone = torch.cat([own.attribute(frames[n * 8 : n * 8 + 8]) for n in range(3)])
        assert torch.allclose(own.attribute(frames), alone)


class TestNothingToShow:
    def test_a_perfect_answer(self) -> None:
        model, x = regressor(), clip(*SHAPE)
        truth = TRUTH.clone()
        with torch.no_grad():
            truth[1] = model(x)[1]
        cam = RegressionGradCam(model, "features.3", loss=squares)
        with pytest.warns(UserWarning, match=r"zero for example\(s\) \[1\]: their maps are zero"):
            maps = cam.attribute(x, truth=truth)
        assert not maps[1].any()
        assert maps[0].any()

    def test_the_root_of_a_zero_error(self) -> None:
        model, x = regressor(), clip(*SHAPE)
        cam = RegressionGradCam(
            model, "features.3", loss=lambda out, truth: squares(out, truth).sqrt()
        )
        with torch.no_grad():
            truth = model(x)
        with pytest.raises(ValueError, match="the root of a zero error has none"):
            cam.attribute(x, truth=truth)

    @pytest.mark.parametrize(
        ("loss", "text"),
        [
            (lambda out, truth: squares(out, truth) * float("nan"), "loss must be finite, got"),
            (lambda out, truth: (out - truth).square(), r"got shape \(3, 3\)"),
            (lambda out, truth: 1.0, "loss must return a tensor, got float"),
            (lambda out, truth: truth.sum(1), "does not depend on layer 'features.3'"),
            (lambda out, truth: out.detach().sum(1), "does not depend on layer 'features.3'"),
        ],
    )
    def test_losses_that_are_none(self, loss: Any, text: str) -> None:
        model, x = regressor(), clip(*SHAPE)
        with pytest.raises(ValueError, match=text):
            RegressionGradCam(model, "features.3", loss=loss).attribute(x, truth=TRUTH)

    def test_truth(self) -> None:
        model, x = regressor(), clip(*SHAPE)
        with pytest.raises(ValueError, match="truth is needed: the loss compares the outputs with"):
            RegressionGradCam(model, "features.3", loss=squares).attribute(x)
        own = RegressionGradCam(model, "features.3", loss=squares, self_supervised=True)
        with pytest.raises(ValueError, match="truth is not used by a self-supervised loss"):
            own.attribute(x, truth=TRUTH)
        output = RegressionGradCam(model, "features.3", objective="output")
        with pytest.raises(ValueError, match="truth is not used by objective='output'"):
            output.attribute(x, truth=TRUTH)

    def test_options(self) -> None:
        model = regressor()
        with pytest.raises(TypeError, match=r"loss must be a callable .* got NoneType"):
            RegressionGradCam(model, "features.3")
        with pytest.raises(ValueError, match=r"objective must be 'negative_loss' or .* got 'loss'"):
            RegressionGradCam(model, "features.3", loss=squares, objective="loss")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"target 7 does not fit an output of shape \(3, 3\)"):
            RegressionGradCam(model, "features.3", loss=squares).attribute(
                clip(*SHAPE), 7, truth=TRUTH
            )
