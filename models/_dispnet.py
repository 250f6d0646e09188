"""The depth net of SfMLearner (Zhou et al. 2017): DispNet with disparities at four scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 512, 512, 512)
UP_WIDTHS = (16, 32, 64, 128, 256, 512, 512)
_KERNELS = (7, 5, 3, 3, 3, 3, 3)
_SCALES = 4
_LARGEST, _SMALLEST = 10.0, 0.01


class DispNet(nn.Module):
    """Seven halvings of the picture and back, with skips; disparity is inverse depth.

    Level ``i`` goes down by ``down{i}`` (two convolutions, the first of stride 2) and up by
    ``up{i}`` (a transposed convolution) and ``join{i}`` (a convolution over it, the skip from
    ``down{i-1}`` and, below level 4, the next coarser disparity). ``disparity4`` to ``disparity1``
    read the disparities ``10 sigmoid(x) + 0.01``.

    Args:
        widths: channels of the seven levels on the way down.
        up_widths: channels of the seven levels on the way up, the finest first.

    Shape:
        ``(N, 3, H, W)`` to four of ``(N, 1, h, w)``, the finest first: the picture's size, then
        halved, rounding up, again and again.
    """

    def __init__(
        self, widths: Sequence[int] = WIDTHS, up_widths: Sequence[int] = UP_WIDTHS
    ) -> None:
        super().__init__()
        channels = [3, *widths]
        self._levels = len(_KERNELS)
        for level, kernel in enumerate(_KERNELS, start=1):
            width = widths[level - 1]
            self.add_module(
                f"down{level}",
                nn.Sequential(
                    nn.Conv2d(channels[level - 1], width, kernel, 2, kernel // 2),
                    nn.ReLU(),
                    nn.Conv2d(width, width, kernel, 1, kernel // 2),
                    nn.ReLU(),
                ),
            )
        below = widths[-1]
        for level in range(self._levels, 0, -1):
            width = up_widths[level - 1]
            up = nn.ConvTranspose2d(below, width, 3, 2, padding=1, output_padding=1)
            self.add_module(f"up{level}", nn.Sequential(up, nn.ReLU()))
            joined = width + (channels[level - 1] if level > 1 else 0) + (level < _SCALES)
            join = nn.Sequential(nn.Conv2d(joined, width, 3, padding=1), nn.ReLU())
            self.add_module(f"join{level}", join)
            if level <= _SCALES:
                self.add_module(f"disparity{level}", nn.Conv2d(width, 1, 3, padding=1))
            below = width

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Disparities at four scales.

        Args:
            picture: ``(N, 3, H, W)``.

        Returns:
            Disparities, the finest first.
        """
        skips = [picture]
        for level in range(1, self._levels + 1):
            skips.append(self.get_submodule(f"down{level}")(skips[-1]))
        hidden = skips[-1]
        found: list[Tensor] = []
        for level in range(self._levels, 0, -1):
            skip = skips[level - 1]
            height, width = skip.shape[-2:]
            parts = [self.get_submodule(f"up{level}")(hidden)[..., :height, :width]]
            if level > 1:
                parts.append(skip)
            if level < _SCALES:
                parts.append(_twice(found[-1])[..., :height, :width])
            hidden = self.get_submodule(f"join{level}")(torch.cat(parts, dim=1))
            if level <= _SCALES:
                raw = self.get_submodule(f"disparity{level}")(hidden)
                found.append(_LARGEST * raw.sigmoid() + _SMALLEST)
        return tuple(reversed(found))


def _twice(disparity: Tensor) -> Tensor:
    """The disparity at twice its size."""
    return F.interpolate(disparity, scale_factor=2, mode="bilinear", align_corners=False)
