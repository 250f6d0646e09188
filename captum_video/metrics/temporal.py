"""How much motion counts."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Components(Protocol):
    """Anything with a spatial and a temporal part, such as ``RelevanceComponents``."""

    @property
    def spatial(self) -> Any:
        """A tensor ``(N, ...)`` or a tuple of them."""

    @property
    def temporal(self) -> Any:
        """Likewise."""


def temporal_share(components: Components) -> Tensor:
    r"""The share of motion in a decision.

    .. math:: \frac{\sum |M|}{\sum |S| + \sum |M|}

    over all voxels and inputs, with :math:`S` the spatial and :math:`M` the temporal relevance. It
    is meant for components computed with ``seed="score"``: with ``seed="one"`` every frozen frame
    hands out as much relevance as the clip, however little it supports the target.

    Args:
        components: what ``DiscriminativeRelevance(..., seed="score").decompose`` returns.

    Returns:
        ``(N,)`` between 0 (appearance alone) and 1 (motion alone); NaN for an example without any
        relevance.
    """
    spatial, temporal = (_magnitude(part) for part in (components.spatial, components.temporal))
    return temporal / (spatial + temporal)


def _magnitude(part: Tensor | tuple[Tensor, ...]) -> Tensor:
    tensors = part if isinstance(part, tuple) else (part,)
    return torch.stack([t.abs().flatten(1).sum(1) for t in tensors]).sum(0)
