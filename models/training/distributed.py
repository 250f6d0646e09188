"""Training on several processes: who does what, and means over the whole batch.

Started by ``torchrun``, every process holds the whole model and takes its part of each batch;
``DistributedDataParallel`` averages the gradients. With one process everything here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def launched() -> bool:
    """Whether ``torchrun`` started this process.

    Returns:
        True if it set the variables that tell a process its place.
    """
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def world() -> int:
    """The number of processes.

    Returns:
        1 outside of :func:`processes`.
    """
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """The number of this process, from 0.

    Returns:
        0 outside of :func:`processes`.
    """
    return dist.get_rank() if _joined() else 0


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Joins the processes that ``torchrun`` started; does nothing otherwise.

    Args:
        device: where this process trains: gloo joins CPUs, nccl GPUs.
    """
    if not launched():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine.

    Args:
        device: what all processes were given.

    Returns:
        For ``cuda`` under ``torchrun`` the GPU with this process's number on its machine.

    Raises:
        ValueError: one GPU is named for all, or there are fewer GPUs than processes.
    """
    if device.type != "cuda" or not launched():
        return device
    if device.index is not None:
        raise ValueError(
            f"--device {device} is one GPU for all processes: leave out its number, and each takes "
            "its own."
        )
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= count:
        raise ValueError(
            f"Process {number} of this machine has no GPU of its own, there are {count}: lower "
            "--nproc-per-node, or train with --device cpu."
        )
    own = torch.device("cuda", number)
    torch.cuda.set_device(own)
    return own


def part(total: int) -> range:
    """The part of ``range(total)`` that is this process's.

    Args:
        total: what all processes have to do.

    Returns:
        A range; those of all processes follow each other without gap, none longer than another by
        more than one.
    """
    return range(rank() * total // world(), (rank() + 1) * total // world())


def all_sum(value: Tensor) -> Tensor:
    """The sum over all processes, without a gradient.

    Args:
        value: this process's summand, of the same shape everywhere.

    Returns:
        The same numbers in every process.
    """
    total = value.detach().clone()
    if world() > 1:
        dist.all_reduce(total)
    return total


def mean_over_processes(values: Sequence[float]) -> list[float]:
    """The mean of each number over all processes.

    Args:
        values: this process's, as many everywhere.

    Returns:
        The same numbers in every process.
    """
    return (all_sum(torch.tensor(values, dtype=torch.float64)) / world()).tolist()


def batch_mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""The mean over the whole batch, written so that the mean over processes gives it.

    .. math:: m_r = \frac{R \sum_{i \in r} w_i v_i}{\sum_{i} w_i}, \qquad
        \frac{1}{R} \sum_r m_r = \frac{\sum_i w_i v_i}{\sum_i w_i}

    for the part r of R processes: ``DistributedDataParallel`` averages gradients over processes,
    whatever the parts' sizes and weights are.

    Args:
        values: ``(N,)``, of this process's part.
        weights: ``(N,)``; all one if not given.

    Returns:
        A scalar; with one process the (weighted) mean.
    """
    if weights is None:
        return values.mean() * share(values.new_tensor(float(len(values))))
    return (values * weights).sum() / weights.sum() * share(weights.sum())


def share(weight: Tensor) -> Tensor:
    """What to multiply the mean over a part with, so that :func:`batch_mean` comes out.

    Args:
        weight: a scalar, the part's weight in the batch, such as its number of clips.

    Returns:
        The part's weight over the mean of all parts' weights: exactly 1 with one process.
    """
    if world() == 1:
        return torch.ones_like(weight)
    return weight.detach() * world() / all_sum(weight)


def broadcast_buffers(model: nn.Module) -> None:
    """Gives every process the first one's buffers, such as the statistics of batch norm.

    Args:
        model: the model.
    """
    if world() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def synchronized(model: Any) -> Any:
    """Batch norm over the whole batch where PyTorch has it, which is on GPUs.

    Args:
        model: a model on its device.

    Returns:
        The same model; with several processes on GPUs its batch norms are ``SyncBatchNorm``. On
        CPUs each process normalises its own part.
    """
    if world() > 1 and next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def wait() -> None:
    """Returns when every process has come here."""
    if world() > 1:
        dist.barrier()


def process() -> str:
    """What to put before a message to say which process it is from.

    Returns:
        Nothing for the first or only one.
    """
    number = os.environ.get("RANK", "0") if launched() else "0"
    return "" if number == "0" else f"process {number}: "


def others_ended(error: RuntimeError) -> bool:
    """Whether an error says that another process of the training is gone.

    Args:
        error: what a step raised.

    Returns:
        True for what gloo and nccl raise then.
    """
    if not launched():
        return False
    lost = ("Connection closed", "Connection reset", "Broken pipe", "NCCL")
    return any(word in str(error) for word in lost)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
