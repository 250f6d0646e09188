"""What the command says to its user, line by line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from captum_video.cli._errors import ModelError
from captum_video.cli._model import Facts
from captum_video.io import ClipError, SkeletonError


def say(text: str) -> None:
    """Writes a line to standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Writes a line to standard error, at once."""
    sys.stderr.write(f"captum-video: {text}\n")
    sys.stderr.flush()


def assumptions(facts: Facts) -> str:
    """What the model was fed for want of anything better.

    Args:
        facts: what is known of the model.

    Returns:
        The values, and the options that change them.
    """
    height, width = facts.size
    values = {
        "frames": f"{facts.frames} frames",
        "size": f"{width}x{height} pixels",
        "mean": "mean 0",
        "std": "standard deviation 1 of values in 0..1",
    }
    named = ", ".join(values[name] for name in facts.assumed)
    return f"{named} (give {', '.join('--' + name for name in facts.assumed)} if it wants others)"


def reason(path: Path | None, error: Exception, options: argparse.Namespace) -> str:
    """Why a clip could not be done.

    Args:
        path: the clip, if there is one.
        error: what was raised.
        options: the parsed command line.

    Returns:
        One line, which begins with the clip.
    """
    if isinstance(error, ClipError):
        text = str(error).replace("allow_truncated=True", "--allow-truncated")
        return text.replace("backend='pyav'", "--backend pyav")
    if isinstance(error, SkeletonError):
        return str(error)
    start = "" if path is None else f"{path}: "
    if isinstance(error, torch.cuda.OutOfMemoryError):
        batch = getattr(options, "internal_batch_size", None)
        lower = f"lower --internal-batch-size {batch}, or " if batch else ""
        return f"{start}out of memory on the accelerator: {lower}use --device cpu"
    if isinstance(error, FileExistsError | ModelError):
        return f"{start}{error}"
    if isinstance(error, FileNotFoundError) and error.filename == str(path):
        return f"{start}there is no such file"
    text = str(error).strip() or "no reason given"
    if isinstance(error, OSError):
        return f"{start}{text}"
    hint = "" if options.traceback else " (--traceback shows where)"
    return f"{start}{type(error).__name__}: {text}{hint}"
