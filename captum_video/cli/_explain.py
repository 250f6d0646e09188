"""One clip, from its file to its explanation."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_video.cli._answers import first_scores, outputs_of
from captum_video.cli._errors import UsageError
from captum_video.cli._kind import Kind, Result
from captum_video.cli._model import Facts
from captum_video.cli._regression import check_output, numbers_of, output_target
from captum_video.cli._request import Explain, Request
from captum_video.cli._target import Target, check_target, predictions, resolve_target


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
        kind: what kind of clips they are.
    """

    model: nn.Module
    facts: Facts
    device: torch.device
    options: argparse.Namespace
    explain: Explain
    regression: bool
    kind: Kind[Any]


def explain_clip(path: Path, number: int, task: Task, *, progress: bool) -> Result[Any]:
    """Reads a clip, asks the model and explains its answer.

    Args:
        path: the file or folder.
        number: its place among the clips of the command line.
        task: what is asked of it.
        progress: whether to show a bar.

    Returns:
        What came of it.

    Raises:
        ClipError: if a video cannot be read.
        SkeletonError: if a skeleton file cannot be read.
        ModelError: if the model cannot take it.
        UsageError: if the model has no output as asked for.
    """
    options, facts = task.options, task.facts
    source, inputs = task.kind.read(path, facts, options)
    inputs = inputs.to(task.device)
    model: nn.Module = task.model
    outputs: Any
    answer, found = None, []
    if task.regression:
        outputs = outputs_of(model, inputs)
        answer = numbers_of(facts, outputs)
        target = output_target(options.target, facts, answer)
    else:
        model, outputs = first_scores(model, inputs)
        found = predictions(facts, outputs[0])
        target = resolve_target(options.target or "predicted", facts, outputs[0])
    request = Request(
        model=model,
        facts=facts,
        inputs=inputs,
        number=number,
        outputs=outputs,
        target=target,
        batch=options.internal_batch_size,
        progress=progress,
    )
    result = Result(
        source=source,
        facts=facts,
        predictions=found,
        answer=answer,
        target=target,
        method=options.method,
        explanation=task.explain(request),
        cmap="colour-blind" if options.colour_blind else None,
    )
    others = []
    for further in _further(task, result, outputs):
        explanation = task.explain(replace(request, target=further))
        others.append(replace(result, target=further, explanation=explanation))
    return replace(result, others=tuple(others))


def check_targets(options: argparse.Namespace, facts: Facts, *, regression: bool) -> None:
    """Refuses outputs that no clip can have, as far as names tell, before any clip is read.

    Args:
        options: the parsed command line.
        facts: what is known of the model.
        regression: whether the model answers numbers instead of classes.

    Raises:
        UsageError: if ``--target`` or ``--also`` cannot be an output.
    """

    def check(text: str | None) -> None:
        if regression:
            check_output(text, facts)
        else:
            check_target(text or "predicted", facts)

    check(options.target)
    with _saying_also():
        for text in options.also or ():
            check(text)


def _further(task: Task, result: Result[Any], outputs: Any) -> list[Target]:
    """The outputs of ``--also``, each once, without the one that is explained anyway."""
    found = [result.target]
    with _saying_also():
        for text in task.options.also or ():
            if task.regression:
                target = output_target(text, task.facts, result.answer)
            else:
                target = resolve_target(text, task.facts, outputs[0])
            if all(target.index != known.index for known in found):
                found.append(target)
    return found[1:]


@contextmanager
def _saying_also() -> Iterator[None]:
    """Errors about a target name the option that it came by."""
    try:
        yield
    except UsageError as error:
        raise UsageError(str(error).replace("--target", "--also", 1)) from error
