"""3T layers for tests."""

from __future__ import annotations

from typing import Any

import torch

from captum_video.nn import Conv3T, FactorizedConv3d, FreeConv3T

KINDS = (Conv3T, FreeConv3T)


def moved(layer: FactorizedConv3d, spread: float = 0.2, seed: int = 0) -> Any:
    """The layer with its transformations off the identity."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer._transforms():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.add_(spread * noise.to(parameter))
    return layer
