"""Models for ``--answer`` and ``--feed``: the tests copy this file to where the command runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import tinynets  # type: ignore[import-not-found]
import torch
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification


class Plain(tinynets.Net):
    """Five scores."""


class Heads(tinynets.Net):
    """A dict of two heads."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        scores = super().forward(x)
        return {"noun": -scores[:, :3], "verb": scores}


class Scored(tinynets.Net):
    """A dict with logits beside other tensors."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        scores = super().forward(x)
        return {"states": scores[:, :2], "logits": scores}


class Listed(tinynets.Net):
    """A list of heads."""

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = super().forward(x)
        return [-scores[:, :3], scores]


class Pathways(nn.Module):
    """Takes a list of a slow and a fast clip."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = tinynets.Net()
        self.fast = tinynets.Net()

    def forward(self, clips: list[Tensor]) -> Tensor:
        assert isinstance(clips, list)
        slow, fast = clips
        return self.slow(slow) + 2 * self.fast(fast)


class PlainPathways(Pathways):
    """The same, of one clip."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward([x[:, :, ::2], x])


class Single(tinynets.Net):
    """Takes a list of one clip."""

    def forward(self, clips: list[Tensor]) -> Tensor:
        (x,) = clips
        return super().forward(x)


def pathways(x: Tensor) -> list[Tensor]:
    return [x[:, :, ::2], x]


def verbs(answer: dict[str, Tensor]) -> Tensor:
    return answer["verb"]


def names(answer: Any) -> list[str]:
    return list(answer)


def word(x: Tensor) -> str:
    return "clip"


def videomae() -> nn.Module:
    sizes: dict[str, Any] = {
        "image_size": 16,
        "patch_size": 8,
        "num_frames": 4,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "num_labels": 3,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = VideoMAEForVideoClassification(VideoMAEConfig(**sizes))
        nn.init.normal_(model.classifier.weight)
    model.info = SimpleNamespace(frames=4, size=16, classes=("walk", "run", "sit"))
    return model


class PlainVideoMAE(nn.Module):
    """The same, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.net = videomae()
        self.info = self.net.info

    def forward(self, x: Tensor) -> Tensor:
        return self.net(pixel_values=x.transpose(1, 2)).logits


constant = 3
