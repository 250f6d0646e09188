"""Visual odometry as a task of the trainer: learnt by view synthesis, scored against true motion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.data import drives
from models.info import BundledModel, ModelInfo
from models.odometry import Odometry
from models.training.task import Task
from models.trajectory import camera_path, repeated_motion, trajectory_error
from models.view_synthesis import ViewSynthesis

MODEL, MEAN, CONSTANT = "model", "mean odometry", "constant velocity"
_NOTES = {
    MODEL: "the net, from the frames alone",
    MEAN: "the mean of the training split's motions, whatever the frames show",
    CONSTANT: "the true motion of the step before the snippet, repeated",
}
_MEAN_OVER = 3000  # snippets of the training split


class ViewSynthesisTask(Task):
    """No labels: the loss predicts frames from each other; true motion serves the scores alone.

    A batch has the true ``poses``, and ``before``, the step before the snippet.

    Args:
        loss: the loss of views and clips, by clip.
    """

    loss_note = (
        "view synthesis (photometric + 0.2 mask + 0.1 smoothness at four scales), without any "
        "true motion or depth"
    )
    merit_note = "the trajectory error on validation drives"

    def __init__(self, loss: ViewSynthesis | None = None) -> None:
        self.view_synthesis = loss or ViewSynthesis(drives.INTRINSICS)

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """The mean loss of the clips.

        Args:
            model: an odometry model.
            clip: the clips.
            batch: not looked at.

        Returns:
            A scalar.
        """
        assert isinstance(model, Odometry)
        return self.view_synthesis(model.views(clip), clip).mean()

    def evaluate(
        self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]
    ) -> dict[str, float]:
        """Mean trajectory errors of the model and of two guesses that see no frame.

        Args:
            model: an odometry model.
            batches: clips and their true motion.

        Returns:
            The errors in metres.
        """
        errors: dict[str, list[Tensor]] = {MODEL: [], MEAN: [], CONSTANT: []}
        for clip, batch in batches:
            for name, found in trajectory_errors(model(clip).cpu(), batch).items():
                errors[name].append(found)
        return {name: float(torch.cat(found).mean()) for name, found in errors.items()}

    def merit(self, scores: Mapping[str, float]) -> float:
        """The smaller the model's error, the better.

        Args:
            scores: the errors.

        Returns:
            The model's error, negated.
        """
        return -scores[MODEL]

    def table(self, info: ModelInfo, scores: Mapping[str, float], count: int) -> str:
        """A row for the model and one for each guess.

        Args:
            info: the model's facts.
            scores: the errors.
            count: the number of snippets.

        Returns:
            A sentence and a table, in Markdown.
        """
        rows = "\n".join(
            f"| {name} | {error:.4f} | {_NOTES[name]} |" for name, error in scores.items()
        )
        return f"""Mean absolute trajectory error over {count} snippets of {info.frames} frames from
validation drives, as `models.trajectory.trajectory_error` (SfMLearner's evaluation) has it:

| motion by | error in metres | |
|---|---|---|
{rows}"""

    def summary(self, scores: Mapping[str, float]) -> str:
        """The errors.

        Args:
            scores: the errors.

        Returns:
            A line for the terminal.
        """
        return ", ".join(f"{name} {error:.4f} m" for name, error in scores.items())

    def tolerance_note(self, tolerance: float) -> str:
        """The tolerance as a length.

        Args:
            tolerance: the recipe's.

        Returns:
            A length in metres.
        """
        return f"{tolerance:g} m"


def trajectory_errors(poses: Tensor, batch: Any) -> dict[str, Tensor]:
    """Trajectory errors of estimated poses, of the mean motion, and of constant velocity.

    Args:
        poses: ``(N, 4, 6)``, the estimate.
        batch: has the true ``poses`` and the step ``before``.

    Returns:
        For each of the three ``(N,)``, in metres.
    """
    truth = camera_path(batch.poses.double())
    estimates = {
        MODEL: poses.double(),
        MEAN: mean_poses().expand_as(truth.new_empty(len(truth), *batch.poses.shape[1:])),
        CONSTANT: repeated_motion(batch.before.double()),
    }
    return {
        name: trajectory_error(camera_path(estimate), truth) for name, estimate in estimates.items()
    }


@cache
def mean_poses() -> Tensor:
    """The mean poses of the training split.

    Returns:
        ``(4, 6)`` float64.
    """
    data = drives.Drives(_MEAN_OVER)
    return torch.stack([data.poses(index) for index in range(_MEAN_OVER)]).double().mean(0)
