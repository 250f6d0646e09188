"""Regressions for ``--model tinyposes:NAME``, and losses; copied as ``tinynets`` is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Moved(nn.Module):
    """A regression: two poses of three numbers."""

    info: Any

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.body = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool3d(2))
            self.head = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3, 4))).unflatten(1, (2, 3))


class Both(Moved):
    """The same, but it answers what no single tensor holds."""

    def forward(self, x: Tensor) -> Any:
        poses = super().forward(x)
        return {"poses": poses, "size": poses.abs().sum((1, 2))}


def moved() -> nn.Module:
    return Moved()


def moved_informed() -> nn.Module:
    model = Moved()
    model.info = SimpleNamespace(
        name="moved",
        classes=tuple(f"frame {frame:+d}: {axis}" for frame in (-1, 1) for axis in "xyz"),
        groups={},
        frames=4,
        size=(16, 16),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        layer="body.2",
    )
    return model


def both() -> nn.Module:
    return Both()


def one_number() -> nn.Module:
    class OneNumber(Moved):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, 0, 0]

    return OneNumber()


def dense() -> nn.Module:
    """A regression of a map for each frame."""

    class Dense(Moved):
        def forward(self, x: Tensor) -> Tensor:
            return self.body[:2](x)

    return Dense()


def unbatched() -> nn.Module:
    class Unbatched(Moved):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[0]

    return Unbatched()


def lost() -> nn.Module:
    model = Moved()
    nn.init.constant_(model.head.bias, float("nan"))
    return model


def squared(outputs: Tensor, truth: Tensor) -> Tensor:
    """A loss: one value per example."""
    return (outputs - truth).square().reshape(len(outputs), -1).sum(1)


def brightness(outputs: Any, clip: Tensor) -> Tensor:
    """A loss without labels: the poses' size should be the clip's brightness."""
    size = outputs["size"] if isinstance(outputs, dict) else outputs.abs().sum((1, 2))
    return (size - clip.mean((1, 2, 3, 4))).square()


def failing(outputs: Tensor, truth: Tensor) -> Tensor:
    raise RuntimeError("no such loss today")


def per_output(outputs: Tensor, truth: Tensor) -> Tensor:
    return (outputs - truth).square()


class Demanding:
    """A loss that must be made with an argument."""

    def __init__(self, weight: float) -> None:
        self.weight = weight


class Squared:
    """A loss that is a class."""

    def __call__(self, outputs: Tensor, truth: Tensor) -> Tensor:
        return squared(outputs, truth)
