"""Whether relevance lies where it should."""

from __future__ import annotations

import torch
from torch import Tensor


def density(relevance: Tensor, mask: Tensor) -> Tensor:
    r"""How much denser positive relevance is on a mask than over the whole clip.

    .. math:: \frac{\sum_{v \in m} R_v^+ / |m|}{\sum_v R_v^+ / V}

    with relevance summed over channels first. 1 means no preference, :math:`V / |m|` that all of it
    lies on the mask.

    Args:
        relevance: ``(N, C, T, H, W)``.
        mask: ``(N, T, H, W)``, bool.

    Returns:
        ``(N,)``; NaN where the mask is empty or nothing is positive.

    Raises:
        ValueError: if the shapes do not belong together.
        TypeError: if the mask is not boolean.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be boolean, got {mask.dtype}")
    if relevance.dim() != mask.dim() + 1 or relevance[:, 0].shape != mask.shape:
        raise ValueError(
            "mask must have the shape of relevance without its channels, got "
            f"{tuple(mask.shape)} for {tuple(relevance.shape)}"
        )
    positive = relevance.sum(1).clamp(min=0).flatten(1)
    inside = mask.flatten(1)
    on_mask = (positive * inside).sum(1) / inside.sum(1)
    return on_mask / positive.mean(1)
