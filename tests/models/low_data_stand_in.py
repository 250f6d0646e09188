"""Tiny clips and nets in place of Video-MNIST and the LeNets, for the tests of the comparison."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_video.nn import Conv3T
from models.info import BundledModel, ModelInfo

#: the motions of the clips, over and over
MOTIONS = (3, 3, 0, 1, 9, 2, 2, 4, 5, 6, 7, 8, 8, 0)


class Clip(NamedTuple):
    clip: Tensor
    motion: int
    digit: int


class Clips:
    """Clips whose brightness is their motion; it remembers which were drawn."""

    drawn: list[tuple[int, str, bool, int]]

    def __init__(
        self, length: int, seed: int = 0, split: str = "train", *, decoupled: bool = False
    ) -> None:
        self.key = seed, split, decoupled
        self.length = length
        self.digits = "sklearn"

    def labels(self, index: int) -> tuple[int, int]:
        assert index < self.length
        motion = MOTIONS[index % len(MOTIONS)]
        return motion, (motion + index) % 10 if self.key[2] else motion

    def __getitem__(self, index: int) -> Clip:
        Clips.drawn.append((*self.key, index))
        motion, digit = self.labels(index)
        generator = torch.Generator().manual_seed(1000 * self.key[0] + index)
        noise = torch.rand(1, 2, 3, 3, generator=generator)
        return Clip((noise + motion) / 10.5, motion, digit)


class Net(BundledModel):
    """A net with one 3D or 3T convolution and dropout, which needs a seed."""

    def __init__(self, layer: type[nn.Module]) -> None:
        super().__init__()
        conv: Any = layer
        self.body = nn.Sequential(
            conv(1, 4, (2, 3, 3)), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4, 10)
        )

    def forward(self, clip: Tensor) -> Tensor:
        return self.body(clip)


def small_net(name: str, kind: type[Net] = Net) -> Net:
    net = kind(Conv3T if name == "lenet5_3t" else nn.Conv3d)
    net.info = ModelInfo(name, (), {}, 2, (3, 3), (0.5,), (0.25,), "body.0")
    return net
