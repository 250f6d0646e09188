"""Values that are forced on gates, by thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_LOCAL = threading.local()


class _Forced:
    """What is forced inside a block, by the gates' identity, and which of it was asked for."""

    def __init__(self, values: Mapping[int, Tensor]) -> None:
        self.values = dict(values)
        self.asked: set[int] = set()


@contextmanager
def forced_gates(values: Mapping[Any, Tensor]) -> Iterator[None]:
    """Gives gates other values inside the block, in this thread alone, whatever the modules' mode.

    Args:
        values: for each :class:`captum_video.nn.FusionGates` ``(N, units)`` or ``(1, units)``.

    Raises:
        RuntimeError: at the end of a block in which this thread ran none of the gates.
    """
    before: _Forced | None = getattr(_LOCAL, "forced", None)
    given = {id(gates): value for gates, value in values.items()}
    forced = _Forced({**(before.values if before else {}), **given})
    _LOCAL.forced = forced
    try:
        yield
    finally:
        _LOCAL.forced = before
    if before:
        before.asked |= forced.asked
    if given and forced.asked.isdisjoint(given):
        raise RuntimeError(
            "the model ran none of its gates in this thread: a network that runs its layers in other "
            "threads, such as DataParallel over several devices, must be unwrapped: give model.module"
        )


def forced_value(gates: nn.Module, rows: int) -> Tensor | None:
    """What is forced on gates in this thread.

    Args:
        gates: the module.
        rows: the number of clips that it is asked for.

    Returns:
        ``(N, units)`` or ``(1, units)``, or None where nothing is.

    Raises:
        ValueError: values for another number of clips.
    """
    forced: _Forced | None = getattr(_LOCAL, "forced", None)
    if forced is None or id(gates) not in forced.values:
        return None
    forced.asked.add(id(gates))
    value = forced.values[id(gates)]
    if len(value) not in (1, rows):
        raise ValueError(
            f"gates were set for {len(value)} clips, and the layer sees {rows}: where a model folds "
            "views or frames into the batch, give internal_batch_size=1"
        )
    return value
