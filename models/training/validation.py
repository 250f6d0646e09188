"""Validations: what a model scores, whether it is the best so far, and whether training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from models.training.distributed import broadcast_buffers, rank
from models.training.loading import evaluation_batches
from models.training.optimiser import Plateau, declined, learning_rate
from models.training.run import Run
from models.training.task import Evaluation


def evaluate(run: Run, seed: int, clips: int, split: str = "validation") -> Evaluation:
    """Scores the model on a split.

    Args:
        run: the run, for its model, data and device.
        seed: the clips' seed, where they are drawn.
        clips: how many, where they are drawn.
        split: the split.

    Returns:
        What the recipe's task measures, over the clips of all processes.
    """
    data = run.recipe.data(clips, seed, split)
    training = run.model.training
    broadcast_buffers(run.model)
    run.model.eval()
    try:
        with torch.no_grad():
            return run.recipe.task.evaluate(run.model, evaluation_batches(run, data))
    finally:
        run.model.train(training)


def note(run: Run, found: Evaluation, timing: Mapping[str, float]) -> None:
    """Takes account of a validation: the best weights, the learning rate, the end, the log.

    Args:
        run: the run.
        found: what the validation found.
        timing: what the log says of the steps before it.
    """
    recipe, progress = run.recipe, run.progress
    merit = recipe.task.merit(found.scores)
    if merit > progress.best:
        progress.best, progress.best_step, progress.stale = merit, progress.step, 0
        run.best_state = {key: value.clone() for key, value in run.model.state_dict().items()}
    else:
        progress.stale += 1
    if recipe.stopping == "patience":
        progress.stopped = progress.stale >= recipe.patience
    else:
        progress.stopped = declined((progress.merit, progress.loss), (merit, found.loss))
    progress.merit, progress.loss = merit, found.loss
    rate = learning_rate(recipe, progress.step - 1, progress.scale)
    _slow_down(run, found.loss)
    line: dict[str, Any] = {"step": progress.step}
    if recipe.epoch:
        line["epoch"] = round(progress.step * recipe.batch_size / recipe.epoch, 4)
    line |= {
        "loss": progress.loss_sum / progress.loss_count,
        "validation_loss": found.loss,
        **found.scores,
        "lr": rate,
        **timing,
        "seconds": round(progress.seconds, 1),
    }
    progress.loss_sum, progress.loss_count = 0.0, 0
    if rank() == 0:
        run.log.write(line)


def _slow_down(run: Run, loss: float) -> None:
    """Lowers the rate of the "plateau" schedule when the loss has not fallen for long enough."""
    recipe, progress = run.recipe, run.progress
    plateau = Plateau(progress.lowest, progress.flat)
    if plateau.reached(loss, recipe.plateau) and recipe.schedule == "plateau":
        progress.scale *= recipe.decay
    progress.lowest, progress.flat = plateau.best, plateau.stale
