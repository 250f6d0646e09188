"""One clip, from its file to its explanation."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from captum_video.cli._methods import METHODS, Explanation, Request
from captum_video.cli._model import Facts, scores
from captum_video.cli._target import Prediction, Target, predictions, resolve_target
from captum_video.io import Clip, display, frame_indices, prepare, read_clip
from captum_video.visualization import clip_map


@dataclass(frozen=True)
class Result:
    """All that there is to tell of one clip.

    Attributes:
        clip: the frames that the model saw, as they are in the file.
        total: how many frames the clip has, or the part of it that was asked for.
        numbers: the frames' numbers in the file.
        pictures: what the model saw, uint8 (T, H, W, 3).
        facts: what is known of the model.
        predictions: what the model answers, one for each of its questions.
        target: the class that was explained.
        method: the method's name.
        explanation: its answer.
    """

    clip: Clip
    total: int
    numbers: list[int]
    pictures: np.ndarray
    facts: Facts
    predictions: list[Prediction]
    target: Target
    method: str
    explanation: Explanation

    def strongest(self, count: int = 3) -> list[tuple[int, float]]:
        """The frames that carry most of the ranked map's positive relevance.

        Args:
            count: how many at most.

        Returns:
            Position among the frames that the model saw, and share of all positive relevance; from
            the largest share down. Empty if nothing is positive.
        """
        sums = clip_map(self.explanation.maps[self.explanation.ranked]).clip(min=0).sum((1, 2))
        if not sums.sum() > 0:
            return []
        order = np.argsort(-sums, kind="stable")[:count]
        return [(int(i), float(sums[i] / sums.sum())) for i in order if sums[i] > 0]


def explain_clip(
    path: Path,
    model: nn.Module,
    facts: Facts,
    device: torch.device,
    options: argparse.Namespace,
    *,
    progress: bool,
) -> Result:
    """Reads a clip, asks the model and explains its answer.

    Args:
        path: the video file or folder of images.
        model: the model, in evaluation mode.
        facts: what is known of it.
        device: where it is.
        options: the parsed command line.
        progress: whether to show a bar.

    Returns:
        What came of it.

    Raises:
        ClipError: if the clip cannot be read.
        ModelError: if the model cannot take it.
        UsageError: if the model has no class as asked for.
    """
    clip, total, numbers = _read(path, facts, options)
    inputs = prepare(
        clip,
        frames=range(len(clip)),
        size=facts.size,
        mean=facts.mean,
        std=facts.std,
        fit=options.fit,
        grey=facts.grey,
    )
    pictures = display(inputs, facts.mean, facts.std)
    inputs = inputs.to(device)
    answer: Tensor = scores(model, inputs)[0]
    target = resolve_target(options.target, facts, answer)
    request = Request(
        model=model,
        facts=facts,
        inputs=inputs,
        target=target,
        seed=options.seed_with,
        frozen_frame=options.frozen_frame or "same",
        batch=options.internal_batch_size,
        progress=progress,
    )
    return Result(
        clip=clip,
        total=total,
        numbers=numbers,
        pictures=pictures,
        facts=facts,
        predictions=predictions(facts, answer),
        target=target,
        method=options.method,
        explanation=METHODS[options.method](request),
    )


def _read(path: Path, facts: Facts, options: argparse.Namespace) -> tuple[Clip, int, list[int]]:
    """The frames to show, the number of those they were picked from, and their numbers."""
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
    )
    first = round(clip.times[0] * clip.fps) - picked[0]
    return clip, total, [first + index for index in picked]
