"""What the commands of experiments share: to begin, to be stopped, to report what is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from models.training.loop import Interrupted

Prepared = TypeVar("Prepared")


def conduct(
    prepare: Callable[[], Prepared],
    work: Callable[[Prepared], None],
    report: Callable[[Prepared], None],
    stopped: Callable[[Prepared], str],
) -> int:
    """Prepares, works until done or interrupted, and reports what is done either way.

    Args:
        prepare: reads options and earlier results.
        work: does what is left, keeping each piece as it is finished.
        report: tells of all that is done.
        stopped: what to say after an interrupt.

    Returns:
        The exit code: 0, 2 for bad arguments, 130 when interrupted.
    """
    interrupted = False
    try:
        prepared = prepare()
        try:
            work(prepared)
        except (KeyboardInterrupt, Interrupted):
            interrupted = True
        report(prepared)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if interrupted:
        print(stopped(prepared), file=sys.stderr)
        return 130
    return 0


def left(done: Collection[Any], cells: Collection[Any]) -> str:
    """What to say of a command that was stopped.

    Args:
        done: cells that are finished.
        cells: those that were asked for.

    Returns:
        A sentence.
    """
    finished = sum(cell in done for cell in cells)
    return f"Stopped with {finished} of {len(cells)} cells done; the same command continues."
