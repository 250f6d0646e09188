"""Grad-CAM on transformers: followed through the forward pass, by shipped transforms, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)

from captum_video import VideoGradCam
from captum_video.layers import TokenGrid, channels_last, mvit_tokens
from tests.attr.cam_nets import Tokens
from tests.nets import clip, seeded


def on_tokens(
    model: Callable[..., Tensor], layer: nn.Module, x: Tensor, target: int, grid: Any
) -> Tensor:
    """Grad-CAM by autograd alone; ``grid`` brings the layer's tensor to ``(N, C, T, h, w)``."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: Any) -> None:
        kept.append(out if isinstance(out, Tensor) else out[0])

    handle = layer.register_forward_hook(keep)
    score = model(x)[:, target].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = grid(gradient).mean((2, 3, 4), keepdim=True)
    result: Tensor = (weights * grid(kept[0])).sum(1, keepdim=True).detach()
    return result


class TestOurOwn:
    def test_followed_and_by_transform(self) -> None:
        model, x = seeded(Tokens()), clip(2, 3, 8, 12, 10)
        expected = on_tokens(
            model,
            model.get_submodule("mix"),
            x,
            1,
            lambda t: t[:, 1:].transpose(1, 2).reshape(2, 8, 4, 3, 2),
        )
        cam = VideoGradCam(model, "mix")
        assert torch.allclose(cam.attribute(x, 1, upsample=False), expected)
        coverage = cam.coverage(x)
        assert coverage.traced
        assert coverage.mixed
        assert coverage.centres == (0.5, 2.5, 4.5, 6.5)
        told = VideoGradCam(model, "mix", reshape_transform=TokenGrid((4, 3, 2), class_tokens=1))
        assert torch.allclose(told.attribute(x, 1, upsample=False), expected)
        assert torch.allclose(told.attribute(x, 1), cam.attribute(x, 1))

    def test_a_transform_does_not_lose_where_slices_are(self) -> None:
        model, x = seeded(Tokens(overlapping=True)), clip(2, 3, 8, 12, 10)
        followed = VideoGradCam(model, "mix")
        told = VideoGradCam(model, "mix", reshape_transform=TokenGrid((4, 3, 2), class_tokens=1))
        for cam in (followed, told):
            assert cam.coverage(x).centres == (0, 2, 4, 6)
        assert torch.allclose(told.attribute(x, 1), followed.attribute(x, 1))

    def test_refused_where_it_cannot_be_followed(self) -> None:
        model, x = seeded(Tokens(opaque=True)), clip(2, 3, 8, 12, 10)
        text = (
            r"layer 'mix' gives a tensor of shape \(2, 25, 8\) for an input of shape "
            r"\(2, 3, 8, 12, 10\), and it cannot be known .* give a reshape_transform"
        )
        for upsample in (True, False):
            with pytest.raises(ValueError, match=text):
                VideoGradCam(model, "mix").attribute(x, 1, upsample=upsample)
        told = VideoGradCam(model, "mix", reshape_transform=TokenGrid((4, 3, 2), class_tokens=1))
        with pytest.warns(UserWarning, match="cannot be followed .* so they are spread evenly"):
            assert told.attribute(x, 1).shape == (2, 1, 8, 12, 10)
        even = told.attribute(
            x, 1, temporal_alignment="uniform"
        )  # asked for, so nothing to warn of
        assert even.shape == (2, 1, 8, 12, 10)
        assert told.coverage(x).centres == (0.5, 2.5, 4.5, 6.5)  # even spacing
        assert not told.coverage(x).traced

    @pytest.mark.parametrize(
        ("transform", "text"),
        [
            (
                TokenGrid((4, 3, 3), class_tokens=1),
                r"needs tokens \(N, 37, C\), got .*\(2, 25, 8\)",
            ),
            (TokenGrid((4, 3, 2)), r"with 0 class tokens needs tokens \(N, 24, C\)"),
            (
                lambda out: out,
                r"must return \(N, C, T, H, W\) with N = 2 .* got shape \(2, 25, 8\)",
            ),
            (lambda out: [out], r"must return a tensor \(N, C, T, H, W\), got list"),
            (channels_last, r"needs \(N, T, H, W, C\), got shape \(2, 25, 8\)"),
            (mvit_tokens, r"needs the output of an MViT block, .* got Tensor"),
        ],
    )
    def test_transforms_that_do_not_fit(self, transform: Any, text: str) -> None:
        model, x = seeded(Tokens()), clip(2, 3, 8, 12, 10)
        with pytest.raises(ValueError, match=text):
            VideoGradCam(model, "mix", reshape_transform=transform).attribute(x, 1)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"grid": (4, 3)}, r"grid must be the positive numbers \(T, H, W\), got \(4, 3\)"),
            ({"grid": (4, 0, 3)}, "grid must be the positive numbers"),
            ({"grid": (4, 3, 2), "class_tokens": -1}, "class_tokens must not be negative, got -1"),
            ({"grid": (4, 3, 2), "order": "whd"}, "order must be 'thw' or 'hwt', got 'whd'"),
        ],
    )
    def test_grids_that_are_none(self, options: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            TokenGrid(**options)


class TestTorchvision:
    def test_swin(self) -> None:
        torch.manual_seed(0)
        net = SwinTransformer3d([2, 4, 4], 12, [2, 2], [2, 2], [2, 3, 3], num_classes=5)
        net = net.double().eval()
        x = clip(2, 3, 7, 24, 32)
        for name, t, h, w in [("features.0", 4, 6, 8), ("features.2", 4, 3, 4), ("norm", 4, 3, 4)]:
            layer = net.get_submodule(name)
            expected = on_tokens(net, layer, x, 2, lambda y: y.permute(0, 4, 1, 2, 3))
            assert expected.shape[2:] == (t, h, w)
            low = VideoGradCam(net, name).attribute(x, 2, upsample=False)
            assert torch.allclose(low, expected)
            told = VideoGradCam(net, name, reshape_transform=channels_last)
            assert torch.allclose(told.attribute(x, 2, upsample=False), expected)
            high = VideoGradCam(net, name).attribute(x, 2)
            assert torch.allclose(told.attribute(x, 2), high)
            # the clip is padded to eight frames: the last tubelet reaches beyond its end
            assert VideoGradCam(net, name).coverage(x).centres == (0.5, 2.5, 4.5, 6.5)
            assert list(VideoGradCam(net, name).coverage(x).frames(3)) == [6]

    def test_mvit(self) -> None:
        torch.manual_seed(0)
        blocks = [
            MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
            MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
        ]
        net = MViT((32, 32), 8, blocks, True, True, True, True, num_classes=5).double().eval()
        x = clip(2, 3, 8, 32, 32)
        for number, size in [(0, 8), (1, 4)]:
            name, layer = f"blocks.{number}", net.get_submodule(f"blocks.{number}")

            def grid(tokens: Tensor, size: int = size) -> Tensor:
                return tokens[:, 1:].transpose(1, 2).reshape(2, -1, 4, size, size)

            expected = on_tokens(net, layer, x, 2, grid)
            if not bool(expected.any()):  # only the class token of the last block is read
                continue
            low = VideoGradCam(net, name).attribute(x, 2, upsample=False)
            assert torch.allclose(low, expected)
            told = VideoGradCam(net, name, reshape_transform=mvit_tokens)
            assert torch.allclose(told.attribute(x, 2, upsample=False), expected)
            assert torch.allclose(told.attribute(x, 2), VideoGradCam(net, name).attribute(x, 2))


SIZES: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": 4,
}


class TestTransformers:
    def test_videomae(self) -> None:
        torch.manual_seed(0)
        config = VideoMAEConfig(num_frames=8, tubelet_size=2, **SIZES)
        net = VideoMAEForVideoClassification(config).eval()
        layer, x = net.videomae.encoder.layer[0], torch.rand(2, 8, 3, 32, 32)

        def logits(frames: Tensor) -> Tensor:
            result: Tensor = net(frames).logits
            return result

        def grid(tokens: Tensor) -> Tensor:
            return tokens.transpose(1, 2).reshape(2, 24, 4, 4, 4)

        expected = on_tokens(logits, layer, x, 1, grid)
        cam = VideoGradCam(logits, layer, time_dim=1)
        assert torch.allclose(cam.attribute(x, 1, upsample=False), expected)
        assert cam.attribute(x, 1).shape == (2, 1, 8, 32, 32)
        assert cam.coverage(x).centres == (0.5, 2.5, 4.5, 6.5)
        told = VideoGradCam(logits, layer, time_dim=1, reshape_transform=TokenGrid((4, 4, 4)))
        assert torch.allclose(told.attribute(x, 1), cam.attribute(x, 1))
        with pytest.raises(TypeError, match="must return one tensor, got ImageClassifierOutput"):
            VideoGradCam(net, layer, time_dim=1).attribute(x, 1)

    def test_timesformer(self) -> None:
        torch.manual_seed(0)
        config = TimesformerConfig(num_frames=4, **SIZES)
        net = TimesformerForVideoClassification(config).eval()
        layer, x = net.timesformer.encoder.layer[0], torch.rand(2, 4, 3, 32, 32)

        def logits(frames: Tensor) -> Tensor:
            result: Tensor = net(frames).logits
            return result

        def grid(tokens: Tensor) -> Tensor:
            # frames are the fastest axis: (h, w, t)
            return tokens[:, 1:].reshape(2, 4, 4, 4, 24).permute(0, 4, 3, 1, 2)

        expected = on_tokens(logits, layer, x, 1, grid)
        transform = TokenGrid((4, 4, 4), class_tokens=1, order="hwt")
        cam = VideoGradCam(logits, layer, time_dim=1, reshape_transform=transform)
        assert torch.allclose(cam.attribute(x, 1, upsample=False), expected)
        assert cam.attribute(x, 1).shape == (2, 1, 4, 32, 32)
        followed = VideoGradCam(logits, layer, time_dim=1)
        assert torch.allclose(followed.attribute(x, 1), cam.attribute(x, 1))
        last = VideoGradCam(logits, net.timesformer.encoder.layer[1], time_dim=1)
        with pytest.warns(UserWarning, match="is zero for example"):  # only the class token is read
            last.attribute(x, 1)
