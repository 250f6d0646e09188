"""Videos: the frames that the model saw, and which of them count."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from captum_video.cli._kind import Result
from captum_video.cli._model import Facts
from captum_video.io import Clip, display, frame_indices, prepare, read_clip
from captum_video.visualization import clip_map


@dataclass(frozen=True)
class Video:
    """A video as the model saw it.

    Attributes:
        clip: the frames that the model saw, as they are in the file.
        total: how many frames the clip has, or the part of it that was asked for.
        numbers: the frames' numbers in the file.
        pictures: what the model saw, uint8 (T, H, W, 3).
    """

    clip: Clip
    total: int
    numbers: list[int]
    pictures: np.ndarray


def read_video(path: Path, facts: Facts, options: argparse.Namespace) -> tuple[Video, Tensor]:
    """Reads a clip as the model is to see it.

    Args:
        path: the video file or folder of images.
        facts: what is known of the model.
        options: the parsed command line.

    Returns:
        The clip, and (1, C, T, H, W) on the CPU.

    Raises:
        ClipError: if the clip cannot be read.
    """
    clip, total, numbers = read_frames(path, facts, options)
    inputs = model_inputs(clip, facts, options.fit)
    return Video(clip, total, numbers, display(inputs, facts.mean, facts.std)), inputs


def model_inputs(clip: Clip, facts: Facts, fit: Any) -> Tensor:
    """A clip as the model is fed it.

    Args:
        clip: the frames that were picked.
        facts: what is known of the model.
        fit: ``"crop"``, ``"squeeze"``, or ``None`` for the former.

    Returns:
        (1, C, T, H, W), on the CPU.
    """
    height, width = facts.size
    return prepare(
        clip,
        frames=range(len(clip)),
        size=(height, width),
        mean=facts.mean,
        std=facts.std,
        fit=fit or "crop",
        grey=facts.grey,
    )


def read_frames(
    path: Path, facts: Facts, options: argparse.Namespace
) -> tuple[Clip, int, list[int]]:
    """Reads the frames that the model is to see.

    Args:
        path: the video file or folder of images.
        facts: what is known of the model.
        options: the parsed command line.

    Returns:
        These frames, the number of those they were picked from, and their numbers.

    Raises:
        ClipError: if the clip cannot be read.
    """
    picked: list[int] = []
    total = 0

    def keep(number: int) -> list[int]:
        nonlocal total
        total = number
        picked.extend(frame_indices(number, count=facts.frames, stride=options.stride))
        return picked

    clip = read_clip(
        path,
        start=options.start,
        end=options.end,
        keep=keep,
        allow_truncated=options.allow_truncated,
        backend=options.backend or "pyav",
    )
    first = round(clip.times[0] * clip.fps) - picked[0]
    return clip, total, [first + index for index in picked]


def timeless(result: Result[Video]) -> bool:
    """Whether the layer that was explained has one time slice for several frames.

    Args:
        result: what came of a clip.

    Returns:
        Whether all frames have one map.
    """
    layer = result.explanation.layer
    return layer is not None and layer.coverage.slices == 1 and len(result.source.clip) > 1


def strongest(result: Result[Video], count: int = 3) -> list[tuple[int, float]]:
    """The frames that carry most of the ranked map's positive relevance.

    Args:
        result: what came of a clip.
        count: how many at most.

    Returns:
        Position among the frames that the model saw, and share of all positive relevance; from
        the largest share down. Empty if nothing is positive, or all frames have one map.
    """
    explanation = result.explanation
    if not explanation.maps or timeless(result):
        return []
    sums = clip_map(explanation.maps[explanation.ranked]).clip(min=0).sum((1, 2))
    if not sums.sum() > 0:
        return []
    order = np.argsort(-sums, kind="stable")[:count]
    return [(int(i), float(sums[i] / sums.sum())) for i in order if sums[i] > 0]
