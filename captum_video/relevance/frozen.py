"""Frozen clips: one frame shown for a clip's whole length, so that nothing moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def freeze_frame(clip: Tensor, frame: int, time_dim: int = 2) -> Tensor:
    """The frozen clip of one frame: that frame repeated, never zero-padded.

    Args:
        clip: any clip with time along ``time_dim``, such as ``(N, C, T, H, W)``.
        frame: which frame.
        time_dim: the time axis.

    Returns:
        A view of the shape of ``clip``.
    """
    return clip.narrow(time_dim, frame, 1).expand(clip.shape)


def frozen_clips(clip: Tensor, pairs: Sequence[tuple[int, int]], time_dim: int = 2) -> Tensor:
    """A batch of frozen clips.

    Args:
        clip: ``(N, C, T, H, W)``, or with time along ``time_dim``.
        pairs: (example, frame) for each frozen clip.
        time_dim: the time axis.

    Returns:
        ``(len(pairs), C, T, H, W)``.
    """
    return torch.cat([freeze_frame(clip[n : n + 1], t, time_dim) for n, t in pairs])
