"""From frames to the tensor that a model takes, and back to frames that people look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from captum_video.io._clip import Clip, frames_first
from captum_video.io._sample import frame_indices

Fit = Literal["crop", "squeeze"]
Statistic = float | Sequence[float] | Tensor
_LUMA = (0.299, 0.587, 0.114)


def resize(
    frames: Tensor, size: int | tuple[int, int], *, fit: Literal["cover", "squeeze"] = "cover"
) -> Tensor:
    """Resizes frames, bilinear, averaging over what is left out when they get smaller.

    Args:
        frames: (T, C, H, W), uint8 or floating point.
        size: height and width, or one number for both.
        fit: ``"cover"`` keeps the proportions and makes the frames just large enough to cover
            ``size`` (for a square: the short side gets that length); ``"squeeze"`` gives exactly
            ``size``.

    Returns:
        Frames of the same dtype; uint8 is rounded.

    Raises:
        ValueError: for another rank, an unknown ``fit`` or a size that is not positive.
    """
    height, width = _pair(size)
    _check_frames(frames)
    if fit not in ("cover", "squeeze"):
        raise ValueError(f"fit must be 'cover' or 'squeeze', got {fit!r}")
    old_height, old_width = frames.shape[-2:]
    if fit == "cover":
        scale = max(height / old_height, width / old_width)
        height = max(height, round(old_height * scale))
        width = max(width, round(old_width * scale))
    if (height, width) == (old_height, old_width):
        return frames
    values = frames if frames.is_floating_point() else frames.float()
    scaled = interpolate(
        values, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return scaled if frames.is_floating_point() else scaled.round().clamp(0, 255).to(frames.dtype)


def center_crop(frames: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cuts the middle out of frames.

    Args:
        frames: (..., H, W).
        size: height and width, or one number for both.

    Returns:
        A view (..., height, width); an odd rest is left at the bottom and on the right.

    Raises:
        ValueError: if the frames are smaller than ``size``.
    """
    height, width = _pair(size)
    old_height, old_width = frames.shape[-2:]
    if height > old_height or width > old_width:
        raise ValueError(
            f"cannot crop {height}x{width} from frames of {old_height}x{old_width}: resize first"
        )
    top, left = (old_height - height) // 2, (old_width - width) // 2
    return frames[..., top : top + height, left : left + width]


def normalize(frames: Tensor, mean: Statistic = 0.0, std: Statistic = 1.0) -> Tensor:
    """Subtracts the mean and divides by the standard deviation, per channel.

    Args:
        frames: floating point, (T, C, H, W).
        mean: one number, or one per channel, on the scale of ``frames``.
        std: one number, or one per channel; not zero.

    Returns:
        ``(frames - mean) / std``.

    Raises:
        ValueError: for integer frames, a wrong number of channels or a standard deviation of zero.
    """
    _check_frames(frames)
    if not frames.is_floating_point():
        raise ValueError(
            f"normalize needs floating-point frames, got {frames.dtype}: divide by 255 first"
        )
    channels = frames.shape[1]
    return (frames - _column("mean", mean, channels).to(frames)) / _column("std", std, channels).to(
        frames
    )


def prepare(
    clip: Clip | Tensor,
    *,
    frames: int | Sequence[int] = 16,
    size: int | tuple[int, int] = 112,
    mean: Statistic = 0.0,
    std: Statistic = 1.0,
    fit: Fit = "crop",
    grey: bool = False,
) -> Tensor:
    """The whole way from a clip to a model's input.

    Picks frames, scales them to 0..1, resizes, crops and normalises.

    Args:
        clip: the clip, or its frames as uint8 (T, C, H, W).
        frames: how many frames, evenly spaced (:func:`frame_indices`), or which ones.
        size: height and width, or one number for both.
        mean: one number or one per channel, for values in 0..1.
        std: one number or one per channel, for values in 0..1.
        fit: ``"crop"`` resizes so that ``size`` is covered and cuts out the middle;
            ``"squeeze"`` shows the whole frame and changes its proportions.
        grey: whether to turn colour into one channel of brightness.

    Returns:
        float32, (1, C, T, H, W).

    Raises:
        ValueError: for frames out of range and whatever the single steps refuse.
    """
    pixels = frames_first(clip.frames if isinstance(clip, Clip) else clip)
    total = pixels.shape[0]
    chosen = frame_indices(total, count=frames) if isinstance(frames, int) else list(frames)
    if not chosen or min(chosen) < 0 or max(chosen) >= total:
        raise ValueError(f"frames must be numbers from 0 to {total - 1}, got {chosen}")
    if fit not in ("crop", "squeeze"):
        raise ValueError(f"fit must be 'crop' or 'squeeze', got {fit!r}")
    values = pixels[chosen].float() / 255
    if grey and values.shape[1] == 3:
        values = (values * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if fit == "crop":
        values = center_crop(resize(values, size), size)
    else:
        values = resize(values, size, fit="squeeze")
    values = normalize(values.clamp(0, 1), mean, std)
    return values.permute(1, 0, 2, 3).unsqueeze(0).contiguous()


def display(inputs: Tensor, mean: Statistic = 0.0, std: Statistic = 1.0) -> np.ndarray:
    """A model's input as frames to look at: the inverse of :func:`prepare`'s last steps.

    Args:
        inputs: one clip, (1, C, T, H, W) or (C, T, H, W), C = 1 or 3.
        mean: what :func:`prepare` was given.
        std: what :func:`prepare` was given.

    Returns:
        uint8, (T, H, W, 3); values outside 0..1 are clipped.

    Raises:
        ValueError: for more than one clip or another number of channels.
    """
    clip = inputs.detach().float().cpu()
    if clip.dim() == 5 and clip.shape[0] == 1:
        clip = clip[0]
    if clip.dim() != 4 or clip.shape[0] not in (1, 3):
        raise ValueError(
            "inputs must be one clip of shape (1, C, T, H, W) or (C, T, H, W) with one or three "
            f"channels, got {tuple(inputs.shape)}"
        )
    values = clip.permute(1, 0, 2, 3)
    channels = values.shape[1]
    values = values * _column("std", std, channels) + _column("mean", mean, channels)
    pixels = (values * 255).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be positive, got {size}")
    return height, width


def _check_frames(frames: Tensor) -> None:
    if frames.dim() != 4:
        raise ValueError(f"frames must have shape (T, C, H, W), got {tuple(frames.shape)}")


def _column(name: str, value: Statistic, channels: int) -> Tensor:
    numbers = torch.as_tensor(value, dtype=torch.float32).detach().cpu().reshape(-1)
    if numbers.numel() not in (1, channels):
        raise ValueError(
            f"{name} must be one number or one per channel ({channels}), got {numbers.tolist()}"
        )
    if not all(math.isfinite(v) for v in numbers.tolist()) or (
        name == "std" and not bool((numbers != 0).all())
    ):
        raise ValueError(f"{name} must be finite (and not zero if std), got {numbers.tolist()}")
    return numbers.view(1, -1, 1, 1)
