"""The command from its arguments to its exit status."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_video._core.errors import close_matches
from captum_video.cli._errors import ModelError, UsageError
from captum_video.cli._explain import explain_clip
from captum_video.cli._methods import METHODS
from captum_video.cli._model import Facts, load_model
from captum_video.cli._output import check_free, folder_names, write_explanation
from captum_video.cli._parser import build_parser
from captum_video.cli._report import describe
from captum_video.cli._target import check_target
from captum_video.io import ClipError

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the ``captum-video`` command.

    Args:
        arguments: what follows the command's name; ``None`` for the process's own.

    Returns:
        The exit status: 0 all clips done, 1 some could not be, 2 wrong usage, 130 interrupted.
    """
    options = build_parser(METHODS).parse_args(arguments)
    with _terminate_as_interrupt():
        try:
            return _explain(options)
        except UsageError as error:
            if options.traceback:
                traceback.print_exc()
            _complain(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            _complain("interrupted: the clip at hand has left nothing behind")
            return _INTERRUPTED


def _explain(options: argparse.Namespace) -> int:
    _check(options)
    model, facts, device = load_model(options)
    check_target(options.target, facts)
    if facts.assumed:
        _say(f"{facts.name}: assuming {_assumptions(facts)}")
    failed = 0
    names = folder_names(options.clips)
    for path, name in zip(options.clips, names, strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = _one(path, options.output / name, model, facts, device, options)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            _complain(f"warning: {path}: {text}")
        failed += not done
    if failed and len(names) > 1:
        _complain(f"{failed} of {len(names)} clips could not be explained")
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> None:
    """Refuses what no clip can be explained with."""
    if options.method not in METHODS:
        raise UsageError(
            f"--method {options.method}: there is no such method. "
            f"{close_matches(options.method, METHODS)}"
        )
    if options.frozen_frame and options.method != "discriminative-relevance":
        raise UsageError(
            f"--frozen-frame is for discriminative-relevance; {options.method} freezes no frames"
        )
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise UsageError(f"--fps must be a positive number, got {options.fps}")
    for name in ("start", "end"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name} must be a time in seconds >= 0, got {value}")
    if options.end is not None and options.end <= (options.start or 0):
        raise UsageError(f"--end {options.end} must be later than --start {options.start or 0}")
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: is a file, not a folder")


def _assumptions(facts: Facts) -> str:
    height, width = facts.size
    values = {
        "frames": f"{facts.frames} frames",
        "size": f"{width}x{height} pixels",
        "mean": "mean 0",
        "std": "standard deviation 1 of values in 0..1",
    }
    named = ", ".join(values[name] for name in facts.assumed)
    return f"{named} (give {', '.join('--' + name for name in facts.assumed)} if it wants others)"


def _one(
    path: Path,
    folder: Path,
    model: nn.Module,
    facts: Facts,
    device: torch.device,
    options: argparse.Namespace,
) -> bool:
    """Explains one clip and says so; reports what goes wrong, unless it concerns all clips."""
    try:
        check_free(folder, options.overwrite)
        progress = sys.stderr.isatty()
        result = explain_clip(path, model, facts, device, options, progress=progress)
        files = write_explanation(folder, result, fps=options.fps, overwrite=options.overwrite)
    except UsageError:
        raise
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        _complain(f"error: {_reason(path, error, options)}")
        return False
    _say(f"{path}\n{describe(result)}\n  wrote {folder}: {', '.join(f.name for f in files)}")
    return True


def _reason(path: Path, error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, ClipError):
        return str(error).replace("allow_truncated=True", "--allow-truncated")
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            f"{path}: out of memory on the accelerator: lower --internal-batch-size "
            f"{options.internal_batch_size}, or use --device cpu"
        )
    if isinstance(error, FileExistsError | ModelError):
        return f"{path}: {error}"
    text = str(error).strip() or "no reason given"
    if isinstance(error, OSError):
        return f"{path}: {text}"
    hint = "" if options.traceback else " (--traceback shows where)"
    return f"{path}: {type(error).__name__}: {text}{hint}"


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Makes a polite kill clean up as an interrupt from the keyboard does."""

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"captum-video: {text}\n")
    sys.stderr.flush()
