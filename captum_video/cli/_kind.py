"""What there is to tell of a clip, and what differs between kinds of clips."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from captum_video.cli._model import Facts
from captum_video.cli._regression import Numbers
from captum_video.cli._request import Explanation
from captum_video.cli._target import Prediction, Target
from captum_video.visualization import Report

S = TypeVar("S")


@dataclass(frozen=True)
class Result(Generic[S]):
    """All that there is to tell of one clip.

    Attributes:
        source: what was read, in the form of the clip's kind.
        facts: what is known of the model.
        predictions: what the model answers, one for each of its questions; none of a regression.
        answer: what a regression answers, if that is one tensor.
        target: the output that was explained.
        method: the method's name.
        explanation: its answer.
        others: the same for further outputs that the page is to show.
        cmap: the colours of signed values, if not red and blue.
    """

    source: S
    facts: Facts
    predictions: list[Prediction]
    answer: Numbers | None
    target: Target
    method: str
    explanation: Explanation
    others: tuple[Result[S], ...] = ()
    cmap: str | None = None


@dataclass(frozen=True)
class Arrays:
    """The arrays of an explanation.

    Attributes:
        name: the file's.
        tensors: on the CPU, contiguous.
        metadata: what the file says of them; ``None`` is left out.
    """

    name: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Kind(Generic[S]):
    """A kind of clips: how they are read, told and drawn.

    Attributes:
        name: what messages call them, in the plural.
        form: how to recognise them, in words.
        holds: whether a path is of this kind, as far as its name tells.
        options: the options for it alone, as ``argparse`` names them.
        read: what is in a file, and what the model is fed of it: ``(1, ...)`` on the CPU.
        describe: the explanation in lines for the terminal.
        summary: the explanation for programs, given the video's rate.
        rate: frames per second of the video, where none is asked for.
        draw: writes the pictures into a folder, given the video's rate.
        page: the page that plays them, given its rate.
        arrays: the numbers.
        files: all names that the files of an explanation can have, in order, but for the summary.
    """

    name: str
    form: str
    holds: Callable[[Path], bool]
    options: frozenset[str]
    read: Callable[[Path, Facts, argparse.Namespace], tuple[S, Tensor]]
    describe: Callable[[Result[S]], list[str]]
    summary: Callable[[Result[S], float], dict[str, Any]]
    rate: Callable[[Result[S]], float]
    draw: Callable[[Path, Result[S], float], None]
    page: Callable[[Result[S], float], Report]
    arrays: Callable[[Result[S]], Arrays]
    files: tuple[str, ...]
