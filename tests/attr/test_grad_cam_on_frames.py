"""VideoGradCam on nets that see frames as a batch, against the report's copies of the CNN."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor

from captum_video import VideoGradCam
from tests.attr.cam_nets import Frames
from tests.nets import C3DLike, clip, seeded

SHAPE = (2, 3, 8, 12, 10)


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

    def test_a_backbone_under_no_grad(self) -> None:
        model, x = seeded(Frames()), clip(*SHAPE)
        assert isinstance(model, Frames)

        def frozen(clips: Tensor) -> Tensor:
            with torch.no_grad():
                maps = model.cnn(clips.transpose(1, 2).flatten(0, 1))
            return model.head(maps.mean((2, 3)).unflatten(0, (2, 8)))

        given = VideoGradCam(frozen, model.cnn).attribute(x, 1)
        assert torch.equal(given, VideoGradCam(model, "cnn").attribute(x, 1))
        with pytest.raises(ValueError, match="cuts gradients after it"):
            VideoGradCam(frozen, model.cnn[0]).attribute(x, 1)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_recurrent_backward_in_evaluation_mode_on_cuda(self) -> None:
        model, x = seeded(Frames(attention=True)), clip(*SHAPE)
        expected = VideoGradCam(model, "cnn.3").attribute(x, 1)
        given = VideoGradCam(model.cuda(), "cnn.3").attribute(x.cuda(), 1)
        assert torch.allclose(given.cpu(), expected)
        assert torch.backends.cudnn.enabled
