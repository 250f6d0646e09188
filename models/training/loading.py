"""Batches for the trainer: which clips each process draws, and how a batch goes to the device."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from models.training.distributed import part
from models.training.run import Run

_GRACE = 60  # seconds that a worker goes on after SIGTERM


def training_batches(run: Run) -> Iterator[Any]:
    """The batches from where a run stands: step ``s`` takes clips ``s * batch_size`` and following.

    Args:
        run: the run.

    Returns:
        This process's part of each batch.
    """
    recipe = run.recipe
    data = recipe.data(recipe.steps * recipe.batch_size, run.seed, "train")
    own = part(recipe.batch_size)
    steps = range(run.progress.step, recipe.steps)
    clips = (
        index
        for step in steps
        for index in range(
            step * recipe.batch_size + own.start, step * recipe.batch_size + own.stop
        )
    )
    return _batches(run, data, clips, len(own))


def evaluation_batches(run: Run, data: Any) -> Iterator[tuple[Tensor, Any]]:
    """This process's part of a data set, in order.

    Args:
        run: the run.
        data: the data set.

    Yields:
        What the model takes, and the batch with all that the data set brings.
    """
    for batch in _batches(run, data, part(len(data)), run.recipe.batch_size):
        yield model_input(run, batch.clip), batch


def model_input(run: Run, clip: Tensor) -> Tensor:
    """A batch on the device, normalised, in the layout that convolutions are fastest in.

    Args:
        run: the run.
        clip: clips in [0, 1], or sequences.

    Returns:
        What the model takes.
    """
    clip = run.info.normalize(clip.to(run.device, non_blocking=True))
    return clip.contiguous(memory_format=torch.channels_last_3d) if clip.ndim == 5 else clip


def _batches(run: Run, data: Any, indices: Iterable[int], batch_size: int) -> Iterator[Any]:
    """Reads clips in order, without touching the global random state."""
    loader: DataLoader[Any] = DataLoader(
        _Told(data),
        batch_size=batch_size,
        sampler=indices,
        num_workers=run.workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),
        pin_memory=run.device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, _Failure):
            raise batch.error
        yield batch


class _Failure(NamedTuple):
    """What a clip that cannot be read is instead of a sample."""

    error: Exception


class _Told(Dataset[Any]):
    """A data set that hands over its errors as samples.

    An error that is raised in a worker reaches the training process as another one, with the
    worker's traceback for a message.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except (ValueError, OSError) as error:
            return _Failure(error)


def _collate(samples: list[Any]) -> Any:
    """A batch, or the first failure in it."""
    failures = [sample for sample in samples if isinstance(sample, _Failure)]
    return failures[0] if failures else default_collate(samples)


def _ignore_interrupts(_worker: int) -> None:
    """Leaves Ctrl-C and SIGTERM, which may go to all, to the main process; it ends its step first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(_number: int, _frame: FrameType | None) -> None:
    """Gives the main process time; should it ask again at its own end, this worker does end."""
    signal.alarm(_GRACE)
