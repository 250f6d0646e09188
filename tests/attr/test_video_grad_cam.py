"""VideoGradCam against Captum, autograd, hand-computed numbers and the report's own recipe."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from captum.testing.helpers.basic_models import BasicModel_ConvNet_One_Conv, BasicModel_MultiLayer
from torch import Tensor, nn

from captum_video import VideoGradCam
from tests.nets import C3DLike, Residual, clip, seeded

SHAPE = (2, 3, 8, 12, 10)


class OnFrames(nn.Module):
    """An image model on the only frame of a clip."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *clips: Tensor) -> Tensor:
        result: Tensor = self.net(*(x.transpose(1, 2).flatten(0, 1) for x in clips))
        return result


def ramp() -> Tensor:
    return torch.arange(16.0).view(1, 1, 4, 4)


#: layer, inputs, options, hand-computed map. The convolution's outputs are the sums of 3x3 windows
#: of 0..15, [[45, 54], [81, 90]], less 50 and less 75; fc1 adds the first five and subtracts the
#: other three of the eight values.
EXPECTED: list[tuple[str, tuple[Tensor, ...], dict[str, Any], Any]] = [
    ("conv1", (ramp(),), {}, [[11.25, 13.5], [20.25, 22.5]]),
    (
        "conv1",
        (ramp(),),
        {"attr_dim_summation": False},
        [[[-3.75, 3.0], [23.25, 30.0]], [[15.0, 10.5], [-3.0, -7.5]]],
    ),
    ("relu1", (ramp(),), {}, [[0.0, 4.0], [28.0, 32.5]]),
    ("relu1", (ramp(),), {"relu_attributions": True}, [[0.0, 4.0], [28.0, 32.5]]),
    ("conv1", (ramp(), torch.ones(1, 1, 4, 4)), {}, None),
    ("relu1", (ramp(),), {"attribute_to_layer_input": True}, None),
]


class TestCaptumsExpectations:
    @pytest.mark.parametrize("clips", [False, True], ids=["images", "one-frame clips"])
    @pytest.mark.parametrize("case", EXPECTED, ids=range(len(EXPECTED)))
    def test_convolution(self, case: Any, clips: bool) -> None:
        layer, inputs, options, expected = case
        net = BasicModel_ConvNet_One_Conv().eval()
        peer = LayerGradCam(net, getattr(net, layer)).attribute(inputs, target=0, **options)
        model, given = (
            (OnFrames(net).eval(), tuple(x.unsqueeze(2) for x in inputs))
            if clips
            else (net, inputs)
        )
        ours = VideoGradCam(model, getattr(net, layer)).attribute(
            given if len(given) > 1 else given[0], target=0, upsample=False, **options
        )
        assert torch.equal(ours, peer)
        if expected is not None:
            assert torch.allclose(peer.squeeze(), torch.tensor(expected))

    def test_linear_layer(self) -> None:
        net, x = BasicModel_MultiLayer().eval(), torch.tensor([[0.0, 100.0, 0.0]])
        ours = VideoGradCam(net, "linear0").attribute(x, target=0, upsample=False)
        assert ours.tolist() == [[400.0]]

    def test_layer_with_several_tensors(self) -> None:
        net = BasicModel_MultiLayer(multi_input_module=True).eval()
        x = torch.tensor([[0.0, 6.0, 0.0]])
        ours = VideoGradCam(net, "multi_relu").attribute(x, target=0, upsample=False)
        assert [o.tolist() for o in ours] == [[[21.0]], [[21.0]]]

    def test_additional_arguments(self) -> None:
        net, x = BasicModel_MultiLayer().eval(), torch.tensor([[0.0, 20.0, 0.0]])
        extra = (torch.tensor([[0.0, 10.0, 0.0]]), True)
        for target in [(0, 1, 1), [(1, 0, 1)]]:
            ours = VideoGradCam(net, net.linear1).attribute(x, target, extra, upsample=False)
            peer = LayerGradCam(net, net.linear1).attribute(x, target, extra)
            assert torch.equal(ours, peer)

    def test_frozen_parameters(self) -> None:
        net = BasicModel_ConvNet_One_Conv().eval().requires_grad_(False).eval()
        ours = VideoGradCam(net, net.conv1).attribute(ramp(), 0, upsample=False)
        assert ours.squeeze().tolist() == [[11.25, 13.5], [20.25, 22.5]]

    @pytest.mark.parametrize("inplace", [False, True])
    def test_in_place_relu_after_the_layer(self, inplace: bool) -> None:
        net = BasicModel_ConvNet_One_Conv(inplace=inplace).eval()
        ours = VideoGradCam(net, net.conv1).attribute(ramp(), 0, upsample=False)
        assert ours.squeeze().tolist() == [[11.25, 13.5], [20.25, 22.5]]

    @pytest.mark.parametrize("target", [1, [0, 3], torch.tensor([2, 4])])
    @pytest.mark.parametrize(
        ("net", "layer"), [(C3DLike, "features.3"), (C3DLike, "head.0"), (Residual, "conv")]
    )
    def test_clips(self, net: type[nn.Module], layer: str, target: Any) -> None:
        model, x = seeded(net()), clip(*SHAPE)
        peer = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=target)
        assert torch.equal(VideoGradCam(model, layer).attribute(x, target, upsample=False), peer)


def twin(model: nn.Module, layer: str, x: Tensor, target: int, per_frame: bool) -> Tensor:
    """Grad-CAM by autograd alone, in loops over channels and slices."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: Tensor) -> Tensor:
        kept.append(out)
        return out.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    score = model(x)[:, target].sum()
    handle.remove()
    activation = kept[-1]
    (gradient,) = torch.autograd.grad(score, activation)
    result = torch.zeros(len(x), 1, *activation.shape[2:], dtype=x.dtype)
    for n in range(len(x)):
        for c in range(activation.shape[1]):
            for t in range(activation.shape[2]):
                part = gradient[n, c, t] if per_frame else gradient[n, c]
                weight = part.sum() / part.numel()
                result[n, 0, t] += weight * activation[n, c, t].detach()
    return result


class TestPooling:
    @pytest.mark.parametrize("pooling", ["clip", "frame"])
    def test_equals_autograd(self, pooling: Any) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        ours = VideoGradCam(model, "features.3", temporal_pooling=pooling)
        expected = twin(model, "features.3", x.clone(), 2, pooling == "frame")
        given = ours.attribute(x, 2, upsample=False)
        assert (given - expected).abs().max() < 1e-12 * expected.abs().max()
        other = twin(model, "features.3", x.clone(), 2, pooling != "frame")
        assert (given - other).abs().max() > 1e-3 * expected.abs().max()


class TestUpsampling:
    def test_in_time_by_receptive_fields(self) -> None:
        # two frames each, at 0.5, 2.5, 4.5, 6.5: frame 1 lies a quarter of the way to slice 1
        model, x = seeded(C3DLike()), clip(*SHAPE)
        cam = VideoGradCam(model, "features.5")
        low, high = cam.attribute(x, 1, upsample=False), cam.attribute(x, 1)
        assert low.shape == (2, 1, 4, 3, 2)
        small = cam.attribute(x, 1, interpolate_mode="nearest")[:, :, :, ::4, ::5]
        nearest = [0, 0, 1, 1, 2, 2, 3, 3]
        assert torch.allclose(small, low[:, :, nearest])
        expected = F.interpolate(low, (8, 12, 10), mode="trilinear", align_corners=False)
        assert torch.allclose(high, expected)  # pooling by two is uniform spacing

    def test_strided_convolutions_look_earlier_than_uniform_spacing(self) -> None:
        model, x = seeded(Residual()), clip(2, 3, 9, 12, 10)
        model.get_submodule("conv").stride = (2, 2, 2)  # type: ignore[assignment]
        model.get_submodule("project").stride = (2, 2, 2)  # type: ignore[assignment]
        cam = VideoGradCam(model, "norm")
        assert cam.coverage(x).centres == (0, 2, 4, 6, 8)
        low = cam.attribute(x, 1, upsample=False)
        high = cam.attribute(x, 1)
        middle = F.interpolate(low[:, :, 1], (12, 10), mode="bilinear", align_corners=False)
        assert torch.allclose(high[:, :, 2], middle)
        between = (high[:, :, 2] + high[:, :, 4]) / 2
        assert torch.allclose(high[:, :, 3], between)
        uniform = cam.attribute(x, 1, temporal_alignment="uniform")
        expected = F.interpolate(low, (9, 12, 10), mode="trilinear", align_corners=False)
        assert torch.allclose(uniform, expected)
        assert not torch.allclose(uniform, high)

    @pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "nearest", "bicubic"])
    def test_modes_in_space(self, mode: str) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        cam = VideoGradCam(model, "conv")
        low = cam.attribute(x, 1, upsample=False)
        high = cam.attribute(x, 1, interpolate_mode=mode)
        own = {"linear": "bilinear", "trilinear": "bilinear"}.get(mode, mode)
        for t in range(8):
            exact = {} if own == "nearest" else {"align_corners": False}
            frame = F.interpolate(low[:, :, t], (12, 10), mode=own, **exact)
            assert torch.allclose(high[:, :, t], frame)
        with pytest.raises(ValueError, match=r"interpolate_mode must be .* got 'area'"):
            cam.attribute(x, 1, interpolate_mode="area")

    def test_relu_comes_before(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        cam = VideoGradCam(model, "features.3")
        low = cam.attribute(x, 1, upsample=False)
        assert low.min() < 0 < low.max()
        assert torch.equal(cam.attribute(x, 1, upsample=False, relu_attributions=True), low.relu())
        expected = F.interpolate(low.relu(), (8, 12, 10), mode="trilinear", align_corners=False)
        assert torch.allclose(cam.attribute(x, 1, relu_attributions=True), expected)

    def test_images_and_sequences(self) -> None:
        net = nn.Sequential(
            nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
        )
        model, x = seeded(net), clip(2, 3, 9)
        cam = VideoGradCam(model, "1")
        low, high = cam.attribute(x, 0, upsample=False), cam.attribute(x, 0)
        assert high.shape == (2, 1, 9)
        assert torch.allclose(high[:, :, ::2], low)  # centres 0, 2, 4, 6, 8
        picture = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten()))
        high = VideoGradCam(picture, "1").attribute(clip(2, 3, 9, 7), 0)
        assert high.shape == (2, 1, 9, 7)

    def test_time_first(self) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)
        expected = VideoGradCam(model, "norm").attribute(x, 1)

        def time_first(clips: Tensor) -> Tensor:
            result: Tensor = model(clips.transpose(1, 2))
            return result

        cam = VideoGradCam(time_first, model.get_submodule("norm"), time_dim=1)
        assert torch.equal(cam.attribute(x.transpose(1, 2), 1), expected)


class TestTimeless:
    def test_warns_and_names_a_better_layer(self) -> None:
        model = seeded(C3DLike())
        x = clip(2, 3, 2, 12, 10)
        text = (
            r"layer 'features.5' has one time step for 2 frames.*deepest layer before it that still "
            r"has several is 'features.4', with 2"
        )
        with pytest.warns(UserWarning, match=text):
            high = VideoGradCam(model, "features.5").attribute(x, 1)
        assert torch.equal(high[:, :, 0], high[:, :, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            VideoGradCam(model, "features.4").attribute(x, 1)
            VideoGradCam(model, "features.5").attribute(x[:, :, :1].repeat(1, 1, 4, 1, 1), 1)
            VideoGradCam(model, "features.5").attribute(x, 1, upsample=False)

    def test_frames_stacked_as_channels_have_one_map(self) -> None:
        net = seeded(nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten()))

        def stacked(x: Tensor) -> Tensor:
            result: Tensor = net(x.flatten(1, 2))
            return result

        x = clip(2, 3, 2, 12, 10)
        cam = VideoGradCam(stacked, net.get_submodule("1"))
        high = cam.attribute(x, 1)  # no layer has more, so there is nothing to warn of
        assert high.shape == (2, 1, 2, 12, 10)
        assert torch.equal(high[:, :, 0], high[:, :, 1])
        assert list(cam.coverage(x).frames(0)) == [0, 1]
        by_frame = VideoGradCam(stacked, net.get_submodule("1"), temporal_pooling="frame")
        assert torch.equal(by_frame.attribute(x, 1), high)


class TestZeroAndInfinite:
    def test_zero_gradient(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)
        x[0] = 0
        nn.init.constant_(model.get_parameter("features.0.bias"), -1)
        nn.init.constant_(model.get_parameter("features.3.bias"), -0.1)
        with pytest.warns(UserWarning, match=r"'features.3' is zero for example\(s\) \[0"):
            maps = VideoGradCam(model, "features.3").attribute(x, 1)
        assert not maps[0].any()

    def test_infinite_gradient(self) -> None:
        model, x = seeded(C3DLike()), clip(*SHAPE)

        def root(clips: Tensor) -> Tensor:
            scores: Tensor = model(clips)
            return (scores - scores.detach()).abs().sqrt()

        with pytest.raises(ValueError, match=r"'Conv3d' is NaN or infinite in .* places"):
            VideoGradCam(root, model.get_submodule("features.3")).attribute(x, 1)
