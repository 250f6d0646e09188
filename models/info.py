"""What a bundled model says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ModelInfo:
    """Facts that a caller needs to feed a model and to read its answer.

    Attributes:
        name: the name that ``models.build`` and ``models.load`` take.
        classes: the name of each output.
        groups: for each question that the model answers, the indices of its outputs.
        frames: the clip's length.
        size: the clip's height and width; empty for a sequence ``(D, T)``.
        mean: what each channel has subtracted, on clips in [0, 1]; not part of the model.
        std: what each channel is divided by, after that.
        layer: the dotted name of a sensible layer for Grad-CAM.
        attention: the dotted name of the module that attends over frames; ``None`` if there is none.
        score: what the card says of fresh clips, such as the share of right answers to each
            question; ``None`` if untrained.
    """

    name: str
    classes: tuple[str, ...]
    groups: Mapping[str, range]
    frames: int
    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layer: str
    attention: str | None = field(default=None, kw_only=True)
    score: Mapping[str, float] | None = field(default=None)

    def normalize(self, clip: Tensor) -> Tensor:
        """Brings a clip in [0, 1] to the range that the model was trained on.

        Args:
            clip: ``(C, T, H, W)`` or ``(N, C, T, H, W)``, or a sequence ``(D, T)`` or ``(N, D, T)``,
                floating point.

        Returns:
            ``(clip - mean) / std`` for each channel.
        """
        shape = (-1, 1, *(1 for _ in self.size))
        mean = torch.tensor(self.mean, dtype=clip.dtype, device=clip.device).view(shape)
        std = torch.tensor(self.std, dtype=clip.dtype, device=clip.device).view(shape)
        return (clip - mean) / std


class BundledModel(nn.Module):
    """The base of the bundled models.

    Attributes:
        info: the model's facts, set by ``models.build`` and ``models.load``.
    """

    info: ModelInfo
