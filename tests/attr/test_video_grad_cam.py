"""VideoGradCam against Captum, autograd, hand-computed numbers and the report's own recipe."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from captum.testing.helpers.basic_models import BasicModel_ConvNet_One_Conv, BasicModel_MultiLayer
from torch import Tensor, nn

from captum_video import VideoGradCam
from tests.attr.cam_nets import Frames, Tokens
from tests.nets import C3DLike, Residual, TwoStream, clip, seeded

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
    @pytest.mark.parametrize(("net", "layer"), [(C3DLike, "features.3"), (Residual, "conv")])
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


def copies_of_the_cnn(model: Frames, x: Tensor, target: int) -> Tensor:
    """The report's recipe: a copy of the CNN for each frame, Grad-CAM on each, ``(N, 1, T, h, w)``."""
    nets = [copy.deepcopy(model.cnn) for _ in range(x.shape[2])]
    maps = [net(x[:, :, t]) for t, net in enumerate(nets)]
    score = model.head(torch.stack([m.mean((2, 3)) for m in maps], 1))[:, target].sum()
    gradients = torch.autograd.grad(score, maps)
    cams = [
        (g.mean((2, 3), keepdim=True) * m).sum(1, keepdim=True)
        for g, m in zip(gradients, maps, strict=True)
    ]
    return torch.stack(cams, 2).detach()


class TestFramesAsBatch:
    @pytest.mark.parametrize("attention", [False, True])
    @pytest.mark.parametrize("order", ["nt", "tn"])
    def test_equals_the_loop_over_frames(self, order: str, attention: bool) -> None:
        model, x = seeded(Frames(order=order, attention=attention)), clip(*SHAPE)
        assert isinstance(model, Frames)
        expected = copies_of_the_cnn(model, x, 1)
        cam = VideoGradCam(model, "cnn.2", temporal_pooling="frame")
        # the convolution's output, as the loop's copies end with ReLU: so explain that
        cam = VideoGradCam(model, "cnn.3", temporal_pooling="frame")
        low = cam.attribute(x, 1, upsample=False)
        assert low.shape == (2, 1, 8, 6, 5)
        assert (low - expected).abs().max() < 1e-12 * expected.abs().max()
        high = cam.attribute(x, 1)
        for t in range(8):  # every frame has its own map
            frame = F.interpolate(expected[:, :, t], (12, 10), mode="bilinear", align_corners=False)
            assert torch.allclose(high[:, :, t], frame)

    def test_equals_captum_frame_by_frame(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)
        peer = LayerGradCam(model, model.get_submodule("cnn.2")).attribute(x, target=0)
        ours = VideoGradCam(model, "cnn.2", temporal_pooling="frame").attribute(
            x, 0, upsample=False
        )
        assert torch.allclose(ours, peer.view(2, 8, 1, 6, 5).transpose(1, 2), atol=1e-18)

    def test_clip_pooling_averages_over_frames(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)
        each = VideoGradCam(model, "cnn.2", temporal_pooling="frame").attribute(
            x, 0, upsample=False, attr_dim_summation=False
        )
        whole = VideoGradCam(model, "cnn.2").attribute(
            x, 0, upsample=False, attr_dim_summation=False
        )
        frames = x.transpose(1, 2).flatten(0, 1)
        activation = model.get_submodule("cnn.2")(
            model.get_submodule("cnn.1")(model.get_submodule("cnn.0")(frames))
        )
        activation = activation.view(2, 8, 8, 6, 5).transpose(1, 2)
        weights = (each / activation).mean((3, 4))  # (N, C, T)
        expected = weights.mean(2)[:, :, None, None, None] * activation
        assert torch.allclose(whole, expected)

    def test_frames_given_as_a_batch(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)
        expected = VideoGradCam(model, "cnn.2").attribute(x, 1)

        def of_frames(frames: Tensor) -> Tensor:
            result: Tensor = model(frames.unflatten(0, (-1, 8)).transpose(1, 2))
            return result

        frames = x.transpose(1, 2).flatten(0, 1)
        cam = VideoGradCam(of_frames, model.get_submodule("cnn.2"), frames_per_clip=8)
        assert torch.allclose(cam.attribute(frames, 1), expected)

    def test_where_the_order_cannot_be_followed(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)

        def scripted(clips: Tensor) -> Tensor:
            return model(torch.from_numpy(clips.detach().numpy().copy()))

        layer = model.get_submodule("cnn.2")
        with pytest.raises(ValueError, match=r"gives 16 maps for 2 clips .* give frames_per_clip"):
            VideoGradCam(scripted, layer).attribute(x, 1)
        expected = VideoGradCam(model, layer).attribute(x, 1)
        given = VideoGradCam(scripted, layer, frames_per_clip=8).attribute(x, 1)
        assert torch.allclose(given, expected)
        alone = VideoGradCam(scripted, layer).attribute(x[:1], 1)
        assert torch.allclose(alone, expected[:1])
        with pytest.raises(ValueError, match=r"16 maps .* 2 clips times frames_per_clip=7"):
            VideoGradCam(scripted, layer, frames_per_clip=7).attribute(x, 1)

    def test_a_frame_count_that_the_time_axis_contradicts(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)
        with pytest.raises(ValueError, match=r"frames_per_clip=4 contradicts the 8 time slices"):
            VideoGradCam(model, "cnn.2", frames_per_clip=4).attribute(x, 1)
        with pytest.raises(ValueError, match=r"frames_per_clip=3 contradicts the 8 time slices"):
            VideoGradCam(seeded(C3DLike()), "features.0", frames_per_clip=3).attribute(x, 1)
        frames = x.transpose(1, 2).flatten(0, 1)
        on_frames = VideoGradCam(model.get_submodule("cnn"), "2", frames_per_clip=5)
        with pytest.raises(ValueError, match=r"frames_per_clip=5 does not divide the 16 frames"):
            on_frames.attribute(frames, (0, 0, 0))
        with pytest.raises(ValueError, match="frames_per_clip must be a positive integer or None"):
            VideoGradCam(model, "cnn.2", frames_per_clip=0)


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


class TestSeveralInputs:
    def test_one_map_for_each(self) -> None:
        model = seeded(TwoStream())
        pair = clip(2, 3, 8, 12, 10), clip(2, 2, 8, 6, 6, seed=1)

        def both(rgb: Tensor, flow: Tensor) -> Tensor:
            result: Tensor = model(rgb, F.interpolate(flow, rgb.shape[2:]))
            return result

        maps = VideoGradCam(both, model.get_submodule("rgb")).attribute(pair, 1)
        assert [m.shape for m in maps] == [(2, 1, 8, 12, 10), (2, 1, 8, 6, 6)]
        assert maps[0].abs().max() > 0
        assert not maps[1].any()  # the flow does not lead to the layer
        flow, own = VideoGradCam(both, model.get_submodule("flow")).attribute(pair, 1)
        assert not flow.any()
        assert own.abs().max() > 0


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


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.spare = nn.Conv3d(3, 4, 3)
        self.pair = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.conv(x[:, :, t]).mean((2, 3)) for t in range(x.shape[2])]
        return self.pair(torch.stack(maps).mean(0))


class TestBadLayers:
    @pytest.mark.parametrize(
        ("layer", "text"),
        [
            ("conv", r"'conv' is called 8 times in one forward pass"),
            ("spare", r"'spare' is not called in the model's forward pass"),
            ("pair", r"maps of shape \(2, 1\), which have not the 2 spatial axes .*upsample=False"),
            ("cnov", r"no such layer. Did you mean 'conv'"),
            (3, "layer must be a module or its dotted name, got int"),
        ],
    )
    def test_layer(self, layer: Any, text: str) -> None:
        model, x = seeded(Loop()), clip(*SHAPE)
        before = [dict(m._forward_hooks) for m in model.modules()]
        with pytest.raises((ValueError, TypeError), match=text):
            VideoGradCam(model, layer).attribute(x, 1)
        assert [dict(m._forward_hooks) for m in model.modules()] == before

    def test_a_layer_beside_the_score(self) -> None:
        model, x = seeded(Residual()), clip(*SHAPE)

        def other(clips: Tensor) -> Tensor:
            model(clips)
            return clips.mean((2, 3, 4)) * model.get_parameter("fc.bias").sum()

        with pytest.raises(ValueError, match="does not depend on layer 'Conv3d'"):
            VideoGradCam(other, model.get_submodule("conv")).attribute(x, 1)

    def test_a_layer_that_gives_no_tensor(self) -> None:
        class Names(nn.Module):
            def forward(self, x: Tensor) -> list[str]:
                return ["a"]

        model = seeded(C3DLike())
        names = Names()

        def forward(x: Tensor) -> Tensor:
            names(x)
            result: Tensor = model(x)
            return result

        with pytest.raises(ValueError, match="'Names' gives no floating-point tensor"):
            VideoGradCam(forward, names).attribute(clip(*SHAPE), 1)

    def test_name_for_a_function(self) -> None:
        with pytest.raises(TypeError, match=r"layer 'conv' is a name, but the model is a function"):
            VideoGradCam(lambda x: x, "conv")

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (
                {"temporal_pooling": "mean"},
                "temporal_pooling must be 'clip' or 'frame', got 'mean'",
            ),
            ({"time_dim": 5}, "time_dim must be an axis from 1 to 4"),
        ],
    )
    def test_options(self, options: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            VideoGradCam(seeded(C3DLike()), "features.3", **options).attribute(clip(*SHAPE), 1)
        with pytest.raises(ValueError, match="temporal_alignment must be"):
            VideoGradCam(seeded(C3DLike()), "features.3").attribute(
                clip(*SHAPE),
                1,
                temporal_alignment="even",
            )


class TestTokens:
    def test_followed(self) -> None:
        model, x = seeded(Tokens()), clip(*SHAPE)
        cam = VideoGradCam(model, "block")
        low = cam.attribute(x, 1, upsample=False)
        assert low.shape == (2, 1, 4, 3, 2)
        expected = self.by_hand(model, x, 1)
        assert torch.allclose(low, expected)
        assert cam.attribute(x, 1).shape == (2, 1, 8, 12, 10)

    @staticmethod
    def by_hand(model: nn.Module, x: Tensor, target: int) -> Tensor:
        """Tokens of a (4, 3, 2) grid after one class token, by autograd."""
        kept: list[Tensor] = []
        handle = model.get_submodule("mix").register_forward_hook(
            lambda _m, _i, out: kept.append(out)
        )
        score = model(x)[:, target].sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
        weights = gradient[:, 1:].mean(1)  # (N, C)
        cam = (weights[:, None] * kept[0][:, 1:]).sum(2)
        return cam.view(2, 1, 4, 3, 2).detach()
