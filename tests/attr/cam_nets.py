"""Networks for Grad-CAM: frames as a batch, tokens, twins of what the paper did."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Frames(nn.Module):
    """A CNN on each frame, folded into the batch; an LSTM; the last state or attention."""

    def __init__(self, classes: int = 5, order: str = "nt", attention: bool = False) -> None:
        super().__init__()
        self.order = order
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.lstm = nn.LSTM(8, 7, batch_first=True)
        self.attention = Attention(7) if attention else None
        self.fc = nn.Linear(7, classes)

    def head(self, features: Tensor) -> Tensor:
        """From ``(N, T, C)`` to scores."""
        states, _ = self.lstm(features)
        if self.attention is None:
            return self.fc(states[:, -1])
        context, _ = self.attention(states[:, -1], states)
        return self.fc(context)

    def forward(self, x: Tensor) -> Tensor:
        count, _, length = x.shape[:3]
        frames = x.transpose(1, 2) if self.order == "nt" else x.permute(2, 0, 1, 3, 4)
        features = self.cnn(frames.flatten(0, 1)).mean((2, 3))
        if self.order == "nt":
            return self.head(features.view(count, length, -1))
        return self.head(features.view(length, count, -1).transpose(0, 1))


class Attention(nn.Module):
    """Dot products with a query, a softmax over time; returns context and weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width)

    def forward(self, query: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.key(states) @ query.unsqueeze(2)).squeeze(2).softmax(1)
        return (weights.unsqueeze(2) * states).sum(1), weights


class Strided(nn.Module):
    """Strided, dilated and asymmetrically padded in time, without biases."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, stride=(2, 1, 1), padding=1, bias=False)
        self.second = nn.Conv3d(4, 4, 3, dilation=(2, 1, 1), padding=(2, 1, 1), bias=False)
        self.third = nn.Conv3d(4, 6, (2, 1, 1), stride=(2, 1, 1), bias=False)
        self.fc = nn.Linear(6, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.second(F.relu(self.first(x))))
        y = F.relu(self.third(F.pad(y, (0, 0, 0, 0, 1, 0))))
        return self.fc(y.mean((2, 3, 4)))


class Tokens(nn.Module):
    """Tubelets, a class token, one transformer layer, the class token's scores."""

    def __init__(self, classes: int = 4, opaque: bool = False, overlapping: bool = False) -> None:
        super().__init__()
        frames, padding = (3, 1) if overlapping else (2, 0)
        self.embed = nn.Conv3d(3, 8, (frames, 4, 4), stride=(2, 4, 4), padding=(padding, 0, 0))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.mix = nn.Identity()
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, classes)
        self.opaque = opaque

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
        if self.opaque:
            # sorts the tokens: nobody can follow where each goes
            tokens = tokens.gather(1, tokens.sum(2, keepdim=True).argsort(1).expand_as(tokens))
        tokens = self.mix(self.block(tokens))
        return self.fc(self.norm(tokens).mean(1))
