"""A training loop whose every step is a function of the seed, so that resuming changes nothing."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from models.info import BundledModel
from models.training.distributed import mean_over_processes, rank, world
from models.training.loading import model_input, training_batches
from models.training.optimiser import learning_rate, training_mode
from models.training.run import Run
from models.training.task import Task
from models.training.validation import evaluate, note

#: added to the user's seed, so that training, validation and score never share a clip's seed
VALIDATION_SEED = 1_000_003
SCORE_SEED = 2_000_003
_NOISE = 24  # bits of the step in the seed of a process's noise
# PyTorch's generator on CPUs takes 32 bits of a seed; multiples of this (2**32 over the golden ratio)
# lie far apart in them
_SPREAD = 2_654_435_769


class Interrupted(Exception):
    """Training was stopped by the user; the checkpoint is on disk."""


class Diverged(ValueError):
    """A loss is not finite; every process finds it so."""


def fit(run: Run, *, show_progress: bool = True) -> None:
    """Trains to the last step, or until the recipe's stopping rule says so, and keeps the best.

    Args:
        run: the run; afterwards its model has the weights of the best validation.
        show_progress: whether to draw a progress bar.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the step was finished and the checkpoint written.
        Diverged: the loss of a step or of a validation is not finite.
    """
    recipe, progress = run.recipe, run.progress
    started, earlier = time.monotonic(), progress.seconds
    saved = started
    objective = _objective(run)
    if rank() == 0:
        run.log.begin(progress.step)
        if not progress.step:
            run.checkpoint.unlink(missing_ok=True)  # of an older run, whose log is gone now
    with (
        torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []),
        _interruptible() as interrupted,
        tqdm(
            total=recipe.steps,
            initial=progress.step,
            desc=run.info.name,
            unit="step",
            disable=not show_progress or rank() > 0,
        ) as bar,
    ):
        clock = _Clock()
        batches = training_batches(run)
        while progress.step < recipe.steps and not progress.stopped:
            with clock.waiting():
                batch = next(batches)
            loss, stop = mean_over_processes(
                [_train_step(run, objective, batch), float(interrupted.is_set())]
            )
            clock.step()
            progress.step += 1
            progress.seconds = earlier + time.monotonic() - started
            _check_finite("loss", loss, progress.step)
            progress.loss_sum += loss
            progress.loss_count += 1
            bar.update()
            if progress.step % recipe.eval_every == 0 or progress.step == recipe.steps:
                _validate(run, clock, bar)
                run.save()
                saved = time.monotonic()
            elif stop or time.monotonic() - saved >= run.save_every:
                run.save()
                saved = time.monotonic()
            if stop:
                raise Interrupted(
                    f"Stopped after step {progress.step}; continue with --resume "
                    f"(checkpoint: {run.checkpoint})."
                )
    run.log.close()
    run.model.load_state_dict(run.best_state)


def _validate(run: Run, clock: _Clock, bar: tqdm) -> None:
    """Scores the model and takes account of it."""
    found = evaluate(run, run.seed + VALIDATION_SEED, run.recipe.eval_clips)
    _check_finite("validation loss", found.loss, run.progress.step)
    mean = run.progress.loss_sum / run.progress.loss_count
    note(run, found, clock.read())
    bar.set_postfix(loss=f"{mean:.3f}", **{key: f"{v:.3f}" for key, v in found.scores.items()})


def _check_finite(what: str, loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"The {what} is {loss} at step {step}; a lower --lr may help.")


class _Objective(nn.Module):
    """The loss as a module, so that whatever a task calls of the model, gradients are shared."""

    def __init__(self, model: BundledModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, clip: Tensor, batch: Any) -> Tensor:
        return self.task.loss(self.model, clip, batch)


def _objective(run: Run) -> nn.Module:
    """What gives a batch's loss: in several processes with gradients averaged over them."""
    objective = _Objective(run.model, run.recipe.task)
    if world() == 1:
        return objective
    # a static graph may leave parameters without a gradient, such as unused auxiliary heads
    return DistributedDataParallel(objective, static_graph=True)


def _train_step(run: Run, objective: nn.Module, batch: Any) -> float:
    """One optimiser step; returns the loss. Noise depends on seed, step and process alone."""
    step = run.progress.step
    torch.manual_seed((run.seed * _SPREAD + (rank() << _NOISE) + step) % 2**32)
    for settings in run.optimiser.param_groups:
        settings["lr"] = settings["lr_factor"] * learning_rate(run.recipe, step, run.progress.scale)
    training_mode(run.model, run.recipe)
    run.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(run.device.type, enabled=run.amp):
        loss = objective(model_input(run, batch.clip), batch)
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimiser)
    nn.utils.clip_grad_norm_(run.model.parameters(), run.recipe.clip_norm)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    return float(loss.detach())


class _Clock:
    """How long steps take, and how much of that is waiting for data.

    The first step after a start is left out: it waits for the workers to start.
    """

    def __init__(self) -> None:
        self._begun = False
        self._reset()

    def _reset(self) -> None:
        self._steps, self._waited, self._total = 0, 0.0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Times the block, which is the wait for a step's batch."""
        self._start = time.perf_counter()
        yield
        self._last = time.perf_counter() - self._start

    def step(self) -> None:
        """Ends the step that began with its wait."""
        if self._begun:
            self._steps += 1
            self._waited += self._last
            self._total += time.perf_counter() - self._start
        self._begun = True

    def read(self) -> dict[str, float]:
        """Waiting as a share of the time since the last reading, and the mean step in seconds."""
        found = {}
        if self._steps:
            found = {
                "waiting": round(self._waited / self._total, 4),
                "step_seconds": round(self._total / self._steps, 4),
            }
        self._reset()
        return found


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns SIGTERM and a first SIGINT into an event; a second SIGINT interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    pressed = False

    def note_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if number == signal.SIGINT and pressed:
            raise KeyboardInterrupt
        pressed = pressed or number == signal.SIGINT
        event.set()

    previous = {
        number: signal.signal(number, note_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
