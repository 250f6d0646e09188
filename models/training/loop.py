"""A training loop whose every step is a function of the seed, so that resuming changes nothing."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from models.training.recipes import Recipe
from models.training.run import Run

#: added to the user's seed, so that training, validation and score never share a clip's seed
VALIDATION_SEED = 1_000_003
SCORE_SEED = 2_000_003


class Interrupted(Exception):
    """Training was stopped by the user; the checkpoint is on disk."""


def fit(run: Run, *, show_progress: bool = True) -> None:
    """Trains to the last step, or until the validation score stops rising, and keeps the best.

    Args:
        run: the run; afterwards its model has the weights of the best validation.
        show_progress: whether to draw a progress bar.

    Raises:
        Interrupted: SIGINT came; the step was finished and the checkpoint written.
        ValueError: the loss is not finite.
    """
    recipe, progress = run.recipe, run.progress
    started, earlier = time.monotonic(), progress.seconds
    with (
        torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []),
        _interruptible() as interrupted,
        tqdm(
            total=recipe.steps,
            initial=progress.step,
            desc=run.info.name,
            unit="step",
            disable=not show_progress,
        ) as bar,
    ):
        batches = _batches(run, progress.step)
        while progress.step < recipe.steps and not progress.stopped:
            loss = _train_step(run, next(batches))
            progress.step += 1
            progress.seconds = earlier + time.monotonic() - started
            if not math.isfinite(loss):
                raise ValueError(
                    f"The loss is {loss} at step {progress.step}; a lower --lr may help."
                )
            bar.update()
            if progress.step % recipe.eval_every == 0 or progress.step == recipe.steps:
                _validate(run, loss, bar)
                run.save()
            if interrupted.is_set():
                run.save()
                raise Interrupted(
                    f"Stopped after step {progress.step}; continue with --resume "
                    f"(checkpoint: {run.checkpoint})."
                )
    run.model.load_state_dict(run.best_state)


def evaluate(run: Run, seed: int, clips: int) -> dict[str, float]:
    """Scores the model on fresh clips of the validation split.

    Args:
        run: the run, for its model, data and device.
        seed: the clips' seed.
        clips: how many.

    Returns:
        What the recipe's task measures, by name.
    """
    data = run.recipe.data(clips, seed, "validation")
    training = run.model.training
    run.model.eval()
    loader = _loader(run, data, range(0, clips))
    try:
        with torch.no_grad():
            batches = ((_input(run, batch.clip), batch) for batch in loader)
            return run.recipe.task.evaluate(run.model, batches)
    finally:
        run.model.train(training)


def _train_step(run: Run, batch: Any) -> float:
    """One optimiser step; returns the loss. Dropout depends on nothing but seed and step."""
    torch.manual_seed(((run.seed << 32) + run.progress.step) % 2**63)
    for settings in run.optimiser.param_groups:
        settings["lr"] = settings["lr_factor"] * _learning_rate(run.recipe, run.progress.step)
    run.model.train()
    run.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(run.device.type, enabled=run.amp):
        loss = run.recipe.task.loss(run.model, _input(run, batch.clip), batch)
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimiser)
    nn.utils.clip_grad_norm_(run.model.parameters(), run.recipe.clip_norm)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    return float(loss.detach())


def _learning_rate(recipe: Recipe, step: int) -> float:
    """Linear rise, then a cosine to zero."""
    rise = max(1, round(recipe.steps * recipe.warmup))
    if step < rise:
        return recipe.lr * (step + 1) / rise
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, recipe.steps - rise)))


def _validate(run: Run, loss: float, bar: tqdm) -> None:
    """Scores the model, keeps it if it is the best so far, and logs one line."""
    progress = run.progress
    scores = evaluate(run, run.seed + VALIDATION_SEED, run.recipe.eval_clips)
    merit = run.recipe.task.merit(scores)
    if merit > progress.best:
        progress.best, progress.best_step, progress.stale = merit, progress.step, 0
        run.best_state = {key: value.clone() for key, value in run.model.state_dict().items()}
    else:
        progress.stale += 1
        progress.stopped = progress.stale >= run.recipe.patience
    bar.set_postfix(loss=f"{loss:.3f}", **{key: f"{value:.3f}" for key, value in scores.items()})
    line: Mapping[str, Any] = {
        "step": progress.step,
        "loss": round(loss, 4),
        **scores,
        "seconds": round(progress.seconds, 1),
    }
    with run.log.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _input(run: Run, clip: Tensor) -> Tensor:
    """A batch on the device, normalised, in the layout that convolutions are fastest in."""
    clip = run.info.normalize(clip.to(run.device, non_blocking=True))
    return clip.contiguous(memory_format=torch.channels_last_3d) if clip.ndim == 5 else clip


def _batches(run: Run, first: int) -> Iterator[Any]:
    """The batches from a step on: step ``s`` takes clips ``s * batch_size`` and following."""
    total = run.recipe.steps * run.recipe.batch_size
    data = run.recipe.data(total, run.seed, "train")
    return iter(_loader(run, data, range(first * run.recipe.batch_size, total)))


def _loader(run: Run, data: Any, indices: range) -> DataLoader[Any]:
    """Reads clips in order, without touching the global random state."""
    return DataLoader(
        data,
        batch_size=run.recipe.batch_size,
        sampler=indices,
        num_workers=run.workers,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),
        pin_memory=run.device.type == "cuda",
    )


def _ignore_interrupts(_worker: int) -> None:
    """Leaves Ctrl-C to the main process, which ends its step first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns a first SIGINT into an event; a second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
