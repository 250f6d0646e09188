"""One clip, from its file to its explanation."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_video.cli._answers import outputs_of, scores
from captum_video.cli._model import Facts
from captum_video.cli._regression import Numbers, numbers_of, output_target
from captum_video.cli._request import Explain, Explanation, Request
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
        predictions: what the model answers, one for each of its questions; none of a regression.
        answer: what a regression answers, if that is one tensor.
        target: the output that was explained.
        method: the method's name.
        explanation: its answer.
    """

    clip: Clip
    total: int
    numbers: list[int]
    pictures: np.ndarray
    facts: Facts
    predictions: list[Prediction]
    answer: Numbers | None
    target: Target
    method: str
    explanation: Explanation

    @property
    def timeless(self) -> bool:
        """Whether the layer that was explained has one time slice for several frames."""
        layer = self.explanation.layer
        return layer is not None and layer.coverage.slices == 1 and len(self.clip) > 1

    def strongest(self, count: int = 3) -> list[tuple[int, float]]:
        """The frames that carry most of the ranked map's positive relevance.

        Args:
            count: how many at most.

        Returns:
            Position among the frames that the model saw, and share of all positive relevance; from
            the largest share down. Empty if nothing is positive, or all frames have one map.
        """
        if not self.explanation.maps or self.timeless:
            return []
        sums = clip_map(self.explanation.maps[self.explanation.ranked]).clip(min=0).sum((1, 2))
        if not sums.sum() > 0:
            return []
        order = np.argsort(-sums, kind="stable")[:count]
        return [(int(i), float(sums[i] / sums.sum())) for i in order if sums[i] > 0]


@dataclass(frozen=True)
class Task:
    """What is asked of every clip.

    Attributes:
        model: the model, in evaluation mode.
        facts: what is known of it.
        device: where it is.
        options: the parsed command line.
        explain: the method, ready to explain.
        regression: whether the model answers numbers instead of classes.
    """

    model: nn.Module
    facts: Facts
    device: torch.device
    options: argparse.Namespace
    explain: Explain
    regression: bool


def explain_clip(path: Path, number: int, task: Task, *, progress: bool) -> Result:
    """Reads a clip, asks the model and explains its answer.

    Args:
        path: the video file or folder of images.
        number: its place among the clips of the command line.
        task: what is asked of it.
        progress: whether to show a bar.

    Returns:
        What came of it.

    Raises:
        ClipError: if the clip cannot be read.
        ModelError: if the model cannot take it.
        UsageError: if the model has no output as asked for.
    """
    options, facts = task.options, task.facts
    clip, total, numbers = read_frames(path, facts, options)
    inputs = model_inputs(clip, facts, options.fit)
    pictures = display(inputs, facts.mean, facts.std)
    inputs = inputs.to(task.device)
    outputs: Any
    answer, found = None, []
    if task.regression:
        outputs = outputs_of(task.model, inputs)
        answer = numbers_of(facts, outputs)
        target = output_target(options.target, facts, answer)
    else:
        outputs = scores(task.model, inputs)
        found = predictions(facts, outputs[0])
        target = resolve_target(options.target or "predicted", facts, outputs[0])
    request = Request(
        model=task.model,
        facts=facts,
        inputs=inputs,
        number=number,
        outputs=outputs,
        target=target,
        batch=options.internal_batch_size,
        progress=progress,
    )
    return Result(
        clip=clip,
        total=total,
        numbers=numbers,
        pictures=pictures,
        facts=facts,
        predictions=found,
        answer=answer,
        target=target,
        method=options.method,
        explanation=task.explain(request),
    )


def model_inputs(clip: Clip, facts: Facts, fit: Any) -> Tensor:
    """A clip as the model is fed it.

    Args:
        clip: the frames that were picked.
        facts: what is known of the model.
        fit: ``"crop"`` or ``"squeeze"``.

    Returns:
        (1, C, T, H, W), on the CPU.
    """
    return prepare(
        clip,
        frames=range(len(clip)),
        size=facts.size,
        mean=facts.mean,
        std=facts.std,
        fit=fit,
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
    )
    first = round(clip.times[0] * clip.fps) - picked[0]
    return clip, total, [first + index for index in picked]
