"""Models that take or answer something else than one tensor."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from captum_video import wrap_model
from captum_video.cli._errors import UsageError
from captum_video.cli._find import find
from captum_video.nn.wrapping import WrappingError, fed_model

_OPTIONS = {"output": "--answer", "inputs": "--feed"}


def wrapped(model: nn.Module, options: argparse.Namespace) -> nn.Module:
    """The model as ``--answer`` and ``--feed`` want it.

    Args:
        model: the model.
        options: the parsed command line.

    Returns:
        The model itself without these options.

    Raises:
        UsageError: if they cannot mean anything to it.
    """
    try:
        feed = None if options.feed is None else _feed(options.feed)
        if options.answer is not None:
            return wrap_model(model, _answer(options.answer), feed)
        return model if feed in (None, "tensor") else fed_model(model, feed)
    except WrappingError as error:
        raise UsageError(in_options(error)) from error


def in_options(error: WrappingError) -> str:
    """What is wrong with a wrapped model, in the command's words.

    Args:
        error: what was raised.

    Returns:
        The text.
    """
    option, given = _OPTIONS[error.argument], error.given
    if given is None:
        return f"{error.said} ({option})"
    return f"{option} {getattr(given, '__name__', given)}: {error.said}"


def _answer(text: str) -> str | int | Callable[[Any], Any]:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return _function("--answer", text, "KEY, INDEX") if ":" in text else text


def _feed(text: str) -> str | Callable[[Any], Any]:
    _, colon, rest = text.partition(":")
    if not colon or re.fullmatch("[0-9:NCTHW]*", rest):
        return text
    return _function("--feed", text, "FORM, FORM:AXES")


def _function(option: str, spec: str, forms: str) -> Callable[[Any], Any]:
    found = find(option, spec, f"{forms} or MODULE:FUNCTION", "pathways:slow_and_fast")
    if not callable(found):
        raise UsageError(f"{option} {spec}: is a {type(found).__name__}, no function")
    function: Callable[[Any], Any] = found
    return function
