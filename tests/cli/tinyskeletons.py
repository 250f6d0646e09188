"""Models for ``--model tinyskeletons:NAME``: the tests copy this file to where the command runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

STD = 2.0


class Unit(nn.Module):
    """A residual unit; its shortcut is a convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.conv = nn.Conv1d(inputs, outputs, 3, stride, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Conv1d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv(self.norm(x).relu())


class Net(nn.Module):
    """Four layers, which see 3, 5, 7 and 11 frames, and three outputs."""

    info: Any

    def __init__(self, dimensions: int = 150) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.layer1 = nn.Conv1d(dimensions, 4, 3, padding=1)
            self.layer2 = Unit(4, 4, 1)
            self.layer3 = Unit(4, 6, 2)
            self.layer4 = Unit(6, 6, 1)
            self.head = nn.Linear(6, 3)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d):
                    nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.head(x.relu().mean(2))


def net() -> nn.Module:
    return Net()


def mean() -> tuple[float, ...]:
    """What the informed net has subtracted, one number for each dimension."""
    return tuple(0.01 * number for number in range(150))


def informed() -> nn.Module:
    model = Net()
    model.info = SimpleNamespace(
        name="dancers",
        classes=("wave", "kick", "bow"),
        groups={"action": range(3)},
        frames=12,
        size=(),
        mean=mean(),
        std=(STD,),
        layer="layer4",
    )
    return model


def plain() -> nn.Module:
    """Convolutions without any residual sum."""
    return nn.Sequential(
        nn.Conv1d(150, 4, 3), nn.ReLU(), nn.Conv1d(4, 3, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )


def numbers() -> nn.Module:
    """A net that answers a sequence."""
    return nn.Conv1d(150, 4, 3)
