"""Layers and options that VideoGradCam refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video import VideoGradCam
from tests.nets import C3DLike, Residual, clip, seeded

SHAPE = (2, 3, 8, 12, 10)


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
