"""Small networks of the kinds that users bring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class C3DLike(nn.Module):
    """Convolution, ReLU, pooling, linear layers: the paper's kind of net."""

    def __init__(self, classes: int = 5, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(channels, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(2),
        )
        self.head = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).amax((2, 3, 4)))


class Residual(nn.Module):
    """Batch norm, in-place sums, a projected skip connection."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 6, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.stem_norm = nn.BatchNorm3d(6)
        self.conv = nn.Conv3d(6, 8, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.norm = nn.BatchNorm3d(8)
        self.project = nn.Conv3d(6, 8, 1, stride=(1, 2, 2))
        self.fc = nn.Linear(8, classes)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem_norm(self.stem(x)))
        out = self.norm(self.conv(x))
        out += self.project(x)
        return self.fc(F.adaptive_avg_pool3d(self.relu(out), 1).flatten(1))


class ScoresPerFrame(nn.Module):
    """No temporal model: the mean over time of what each frame scores alone."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        count, _, length = x.shape[:3]
        frames = x.transpose(1, 2).flatten(0, 1)
        features = F.relu(self.conv(frames)).mean((2, 3))
        return self.fc(features).view(count, length, -1).mean(1)


class FeaturesPerFrame(ScoresPerFrame):
    """The same, but features are averaged before the last linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        count, _, length = x.shape[:3]
        frames = x.transpose(1, 2).flatten(0, 1)
        features = F.relu(self.conv(frames)).mean((2, 3))
        return self.fc(F.relu(features.view(count, length, -1).mean(1)))


class TwoStream(nn.Module):
    """Pictures and flow."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.rgb = nn.Conv3d(3, 4, 3, padding=1)
        self.flow = nn.Conv3d(2, 4, 3, padding=1)
        self.fc = nn.Linear(8, classes)

    def forward(self, rgb: Tensor, flow: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        both = torch.cat([F.relu(self.rgb(rgb)), F.relu(self.flow(flow))], 1)
        scores: Tensor = self.fc(both.mean((2, 3, 4)))
        return scores * gain


class Recurrent(nn.Module):
    """A 2D net per frame, then an LSTM: for gradient methods as base."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.fc = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        frames = F.relu(self.conv(x.transpose(1, 2).flatten(0, 1))).mean((2, 3))
        hidden, _ = self.lstm(frames.view(x.shape[0], x.shape[2], -1))
        return self.fc(hidden[:, -1])


def seeded(net: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """``net`` in evaluation mode with weights, biases and norms drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm3d) and module.running_mean is not None:
                module.running_mean.copy_(
                    torch.randn(module.running_mean.shape, generator=generator)
                )
                assert module.running_var is not None
                variance = torch.rand(module.running_var.shape, generator=generator) + 0.5
                module.running_var.copy_(variance)
                module.weight.add_(1)
    return net.to(dtype).eval()


def clip(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values in [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )
