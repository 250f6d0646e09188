"""The page that plays an explanation: where it goes, and what every page tells."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from captum_video import __version__
from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._kind import Kind, Result
from captum_video.cli._model import Facts
from captum_video.cli._regression import Numbers
from captum_video.cli._target import Prediction
from captum_video.visualization import Report

_SUFFIXES = (".html", ".htm")
_SHOWN = 10  # answers of each question


def page_paths(options: argparse.Namespace, names: Sequence[str]) -> list[Path | None]:
    """Where the page of each clip goes.

    Args:
        options: the parsed command line.
        names: the folders of the clips' explanations.

    Returns:
        ``--report`` for a single clip; with the clip's name before the suffix for several; ``None``
        where there is to be no page.

    Raises:
        UsageError: if the file is no page, cannot be written, or lies where an explanation goes.
    """
    given: Path | None = options.report
    if given is None:
        if options.also:
            raise UsageError(f"--also {options.also[0]}: is for the page: give --report FILE.html")
        return [None] * len(names)
    if given.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--report {given}: must end in .html")
    paths = [given]
    if len(names) > 1:
        paths = [given.with_name(f"{given.stem}-{name}{given.suffix}") for name in names]
    for path, name in product(paths, names):
        if path.resolve().is_relative_to((options.output / name).resolve()):
            raise UsageError(
                f"--report {given}: {name} is the folder of an explanation, which is replaced whole: "
                "put the page elsewhere"
            )
    home = given.resolve().parent
    above = next(folder for folder in (home, *home.parents) if folder.exists())
    if not above.is_dir():
        raise UsageError(f"--report {given}: {above} is a file, not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"--report {given}: {above} is not writable")
    for path in paths:
        if path.is_dir():
            raise UsageError(f"--report {path}: is a folder")
    return list(paths)


def check_page(path: Path | None, overwrite: bool) -> None:
    """Refuses a page that must not be replaced, before any work is done.

    Args:
        path: where it is to go, if anywhere.
        overwrite: whether an older one may be replaced.

    Raises:
        FileExistsError: if there is one and it may not.
    """
    if path is not None and path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: give --overwrite, or another --report")


def make_page(kind: Kind[Any], result: Result[Any], rate: float) -> str:
    """The page of one clip.

    Args:
        kind: what kind of a clip it is.
        result: what came of it.
        rate: frames per second.

    Returns:
        An HTML document.

    Raises:
        ModelError: if the clip is too long for one page.
    """
    report = kind.page(result, rate)
    for prediction in result.predictions:
        title = f"Prediction: {prediction.group}" if prediction.group else "Prediction"
        rows, targets = _answers(result, prediction)
        report.table(title, rows, targets=targets)
    if result.answer is not None:
        rows, targets = _numbers(result, result.answer)
        report.table("Outputs", rows, targets=targets)
    try:
        return report.html()
    except ValueError as error:
        raise ModelError(f"--report: {_in_the_command_s_words(str(error))}") from error


def _in_the_command_s_words(text: str) -> str:
    size, _, cure = text.partition(". ")
    fitting = re.search(r"count=(\d+)", cure)
    frames = f"--frames {fitting[1]}" if fitting else "a smaller --size"
    return f"{size.replace('max_bytes = ', 'the ')} that a page may take: give {frames}, or fewer --also"


def new_report(
    result: Result[Any],
    frames: Any,
    rate: float,
    numbers: Sequence[int],
    clip: Path,
    *,
    caption: str | None = None,
) -> Report:
    """A page without maps, which names the clip, the model and the method.

    Args:
        result: what came of the clip.
        frames: what it plays.
        rate: frames per second.
        numbers: the frames' numbers in the file.
        clip: the file.
        caption: what the method claims, if not what it claims of pixels.

    Returns:
        The page.
    """
    explanation, layer = result.explanation, result.explanation.layer
    told: dict[str, object] = {"model": result.facts.name, "clip": clip.name}
    told["frames"] = f"{len(numbers)}, from {numbers[0]} to {numbers[-1]} of the file"
    told["input"] = _input(result.facts)
    told |= explanation.parameters
    if explanation.seed is not None:
        told["relevance starts with"] = explanation.seed
    if layer is not None:
        told["layer"] = layer.name
        told["gradients averaged over"] = (
            "the clip" if layer.temporal_pooling == "clip" else "slices"
        )
        told["time slices placed by"] = layer.temporal_alignment.replace("-", " ")
    if explanation.attention is not None:
        told["attention layer"] = explanation.attention.module
    if explanation.objective is not None:
        told["objective"] = explanation.objective.name
        if explanation.objective.loss is not None:
            told["loss"] = f"{explanation.objective.loss_name} = {explanation.objective.loss:.4g}"
    told["made by"] = f"captum-video {__version__}"
    return Report(
        frames,
        fps=rate,
        title=f"What {result.facts.name} saw in {clip.name}",
        labels=[str(number) for number in numbers],
        method=result.method,
        parameters=told,
        caption=caption,
        cmap=result.cmap,
    )


def target_name(result: Result[Any]) -> str:
    """What the page calls an explained output: its name, with its question or number if need be.

    Args:
        result: what came of a clip.

    Returns:
        A name that no other output has.
    """
    facts, target = result.facts, result.target
    if facts.classes.count(target.name) < 2:
        return target.name
    namesakes = [i for i in target.indices if facts.classes[i] == target.name]
    told = target.group if target.group and len(namesakes) == 1 else target.index
    return f"{target.name} ({told})"


def _input(facts: Facts) -> str:
    size = f"{facts.size[1]}x{facts.size[0]} pixels, " if facts.size else ""
    if max(len(facts.mean), len(facts.std)) > 3:  # of every dimension of a skeleton
        return f"{size}normalised by the model's mean and standard deviation"
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values) for values in (facts.mean, facts.std)
    )
    return f"{size}less mean {mean}, divided by standard deviation {std}"


def note_of(result: Result[Any]) -> str:
    """A sentence about an explained output.

    Args:
        result: what came of a clip.

    Returns:
        Its score and temporal share, as far as there are such.
    """
    parts = []
    if result.explanation.maps and not math.isnan(result.target.score):
        parts.append(f"score {result.target.score:.4g}")
    if result.explanation.temporal_share is not None:
        parts.append(
            f"temporal share {result.explanation.temporal_share:.2f} (0: all owed to appearance, 1: "
            "all to motion)"
        )
    return f"{', '.join(parts).capitalize()}." if parts else ""


def _answers(
    result: Result[Any], prediction: Prediction
) -> tuple[list[dict[str, object]], list[str | None]]:
    """The most likely answers to a question and all that were explained, with what they are called."""
    explained = _explained(result)
    rows, targets = [], []
    for place, index in enumerate(prediction.ranking):
        if place >= _SHOWN and index not in explained:
            continue
        row: dict[str, object] = {"class": result.facts.class_name(index)}
        if prediction.probabilities is not None:
            row["probability, %"] = round(100 * prediction.probabilities[place], 2)
        rows.append({**row, "score": prediction.scores[place]})
        targets.append(explained.get(index))
    return rows, targets


def _explained(result: Result[Any]) -> dict[Any, str]:
    """What the page calls the outputs that were explained, by their index."""
    if not result.explanation.maps:
        return {}
    return {told.target.index: target_name(told) for told in (result, *result.others)}


def _numbers(
    result: Result[Any], answer: Numbers
) -> tuple[list[dict[str, object]], list[str | None]]:
    """The largest outputs and all that were explained, with what they are called."""
    explained, rows, targets = _explained(result), [], []
    for rank, place in enumerate(answer.largest(answer.values.numel())):
        index = answer.index(place)
        name = explained.get(index[0] if len(index) == 1 else index)
        if rank < _SHOWN or name is not None:
            rows.append({"output": answer.names[place], "value": answer.value(place)})
            targets.append(name)
    return rows, targets
