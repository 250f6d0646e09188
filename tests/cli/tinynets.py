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


class Attended(nn.Module):
    """A 2D convolution per frame, an LSTM, attention over its states: three outputs."""

    info: Any

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.cnn = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
            self.lstm = nn.LSTM(6, 5, batch_first=True)
            self.attention = Attention(5)
            self.head = nn.Linear(5, 3)
        self.spare = nn.Linear(5, 3)  # never called

    def forward(self, x: Tensor) -> Tensor:
        maps = self.cnn(x.transpose(1, 2).flatten(0, 1))
        states, _ = self.lstm(maps.mean((2, 3)).unflatten(0, (x.shape[0], x.shape[2])))
        context, _ = self.attention(states)
        return self.head(context)


class Attention(nn.Module):
    """The weighted mean of states, and the weights, uneven enough to be told apart."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.energy = nn.Linear(features, 1)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = (20 * self.energy(states).squeeze(2)).softmax(1)
        return (weights.unsqueeze(2) * states).sum(1), weights


def attended() -> nn.Module:
    return Attended()


class Hidden(Attention):
    """The same; the weights are kept aside, and what is returned says them in other words."""

    last: Tensor

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        context, self.last = super().forward(states)
        return context, self.last.log()


def hiding() -> nn.Module:
    model = Attended()
    hidden = Hidden(5)
    hidden.load_state_dict(model.attention.state_dict())
    model.attention = hidden
    return model


def from_logarithms(output: tuple[Tensor, Tensor]) -> Tensor:
    """The weights from what :class:`Hidden` returns."""
    return output[1].exp()


def attended_informed() -> nn.Module:
    model = Attended()
    model.info = SimpleNamespace(
        name="attended",
        classes=("sit", "stand", "fall"),
        groups={},
        frames=6,
        size=(16, 16),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        layer="cnn",
        attention="attention",
    )
    return model


def misinformed() -> nn.Module:
    model: Any = attended_informed()
    model.info.layer = "cnm"
    return model


class Flattened(nn.Module):
    """All frames become channels after the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.early = nn.Conv3d(3, 2, 1)
            self.late = nn.Conv2d(8, 3, 3, padding=1)
            self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.late(self.early(x).flatten(1, 2))).flatten(1)


class Block(nn.Module):
    """Two convolutions, each with half the picture of what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 4, 3, (1, 2, 2), 1)
        self.conv2 = nn.Conv3d(4, 4, 3, (1, 2, 2), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)).relu()


class Blocks(nn.Module):
    """A net of one block."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).mean((2, 3, 4))


def blocks() -> nn.Module:
    return Blocks()


class Odd(nn.Module):
    """A layer that runs twice, and tokens of unknown order."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv3d(3, 3, 1)
        self.tokens = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.twice(self.twice(x))
        order = torch.arange(grid[0, 0].numel()).flip(0)
        tokens = self.tokens(grid.flatten(2)[:, :, order].transpose(1, 2))
        return self.head(tokens.mean(1))


def odd() -> nn.Module:
    return Odd()


def flattened() -> nn.Module:
    return Flattened()


def channels_first(output: Tensor) -> Tensor:
    """A reshape transform for frames folded into the batch."""
    return output.unflatten(0, (1, -1)).transpose(1, 2)


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
