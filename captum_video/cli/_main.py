"""The command from its arguments to its exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from captum_video.cli._errors import UsageError
from captum_video.cli._explain import Task, check_targets, explain_clip
from captum_video.cli._kinds import KINDS, check_model, check_options, kind_of
from captum_video.cli._layers import show_layers
from captum_video.cli._methods import METHODS, method_of
from captum_video.cli._model import load_model
from captum_video.cli._output import check_free, folder_names, write_explanation
from captum_video.cli._page import check_page, page_paths
from captum_video.cli._parser import build_parser
from captum_video.cli._terminal import assumptions, complain, reason, say

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the ``captum-video`` command.

    Args:
        arguments: what follows the command's name; ``None`` for the process's own.

    Returns:
        The exit status: 0 all clips done, 1 some could not be, 2 wrong usage, 130 interrupted.
    """
    options = build_parser(METHODS).parse_args(arguments)
    run = {"explain": _explain, "layers": show_layers}[options.command]
    with _terminate_as_interrupt():
        try:
            _check_window(options)
            return run(options)
        except UsageError as error:
            if options.traceback:
                traceback.print_exc()
            complain(f"error: {error}")
            return 2
        except BrokenPipeError:  # whoever read the output has seen enough
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except KeyboardInterrupt:
            complain("interrupted: nothing is half-written")
            return _INTERRUPTED


def _explain(options: argparse.Namespace) -> int:
    method = method_of(options)
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise UsageError(f"--fps must be a positive number, got {options.fps}")
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"--output {options.output}: is a file, not a folder")
    kind = kind_of(options, method)
    check_options(options, kind)
    model, facts, device = load_model(options, sequences=kind is KINDS["skeletons"])
    check_model(facts, kind, options.model, options.clips[0])
    names = folder_names(options.clips)
    pages = page_paths(options, names)
    check_targets(options, facts, regression=method.regression)
    explain = method.plan(options, model, facts)
    if facts.assumed:
        say(f"{facts.name}: assuming {assumptions(facts)}")
    task = Task(model, facts, device, options, explain, method.regression, kind)
    failed = 0
    for number, (path, name, page) in enumerate(zip(options.clips, names, pages, strict=True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = _one(path, number, options.output / name, page, task)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            complain(f"warning: {path}: {text}")
        failed += not done
    if failed and len(names) > 1:
        complain(f"{failed} of {len(names)} clips could not be explained")
    return 1 if failed else 0


def _check_window(options: argparse.Namespace) -> None:
    """Refuses a part of a clip that no clip can have."""
    for name in ("start", "end"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name} must be a time in seconds >= 0, got {value}")
    if options.end is not None and options.end <= (options.start or 0):
        raise UsageError(f"--end {options.end} must be later than --start {options.start or 0}")


def _one(path: Path, number: int, folder: Path, page: Path | None, task: Task) -> bool:
    """Explains one clip and says so; reports what goes wrong, unless it concerns all clips."""
    options = task.options
    try:
        check_free(folder, options.overwrite)
        check_page(page, options.overwrite)
        result = explain_clip(path, number, task, progress=sys.stderr.isatty())
        files = write_explanation(
            folder, task.kind, result, fps=options.fps, overwrite=options.overwrite, page=page
        )
    except UsageError:
        raise
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        complain(f"error: {reason(path, error, options)}")
        return False
    told = [*task.kind.describe(result), f"wrote {folder}: {', '.join(f.name for f in files)}"]
    if page is not None:
        told.append(f"wrote {page}: open it in a browser")
    say("\n  ".join([str(path), *told]))
    return True


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
