"""Models for ``--model tinynets:NAME``: the tests copy this file to where the command runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Two spatio-temporal convolutions and a linear layer: five outputs."""

    info: Any

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv3d(channels, 4, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool3d(2),
                nn.Conv3d(4, 6, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool3d((2, 2, 2)),
            )
            self.head = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


def net() -> nn.Module:
    return Net()


def informed() -> nn.Module:
    model = Net()
    model.info = SimpleNamespace(
        name="informed",
        classes=("left", "right", "still", "digit 0", "left"),
        groups={"motion": range(3), "look": range(3, 5)},
        frames=4,
        size=(16, 16),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
    )
    return model


def grey() -> nn.Module:
    model = Net(1)
    model.info = SimpleNamespace(frames=4, size=16, mean=(0.4,), std=(0.2,))
    return model


def dropping() -> nn.Module:
    return nn.Sequential(Net(), nn.Dropout(0.9))  # in training mode


def softmaxed() -> nn.Module:
    return nn.Sequential(Net(), nn.Softmax(1))


def nan() -> nn.Module:
    model = Net()
    nn.init.constant_(model.head.bias, float("nan"))
    return model


def listing() -> nn.Module:
    class Listing(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x]

    return Listing()


def broken() -> nn.Module:
    raise RuntimeError("no weights in the cupboard")


def number() -> int:
    return 3


instance = Net()
constant = 3
