"""Visual odometry as a task of the trainer: learnt by view synthesis, scored against true motion."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.data import Epochs, drives
from models.info import BundledModel, ModelInfo
from models.odometry import Odometry, Views
from models.training.distributed import all_sum, batch_mean
from models.training.task import Evaluation, Task
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

    A batch has the true ``poses``, and ``before``, the step before the snippet; where cameras
    differ it has their ``intrinsics``, a row ``(fx, fy, cx, cy)`` for each clip. The training split
    tells a snippet's ``poses(index)`` too.

    Args:
        loss: the loss of views and clips, by clip; its intrinsics are for batches without any.
    """

    merit_note = "the trajectory error on validation drives"
    score_unit = "m"

    def __init__(self, loss: ViewSynthesis | None = None) -> None:
        self.view_synthesis = loss = loss or ViewSynthesis(drives.INTRINSICS)
        self.loss_note = (
            f"view synthesis (photometric + {loss.mask_weight:g} mask + {loss.smooth_weight:g} "
            "smoothness at four scales), without any true motion or depth"
        )
        self._data: Callable[[], Any] | None = None
        self._mean: Tensor | None = None

    def settings(self) -> dict[str, Any]:
        """The weights of the loss.

        Returns:
            ``mask_weight`` and ``smooth_weight``.
        """
        loss = self.view_synthesis
        return {"mask_weight": loss.mask_weight, "smooth_weight": loss.smooth_weight}

    def prepared(self, info: ModelInfo, data: Callable[[], Any]) -> ViewSynthesisTask:
        """The task whose guess "mean odometry" is that of the data.

        Args:
            info: not looked at.
            data: makes the training split, which is asked for poses at the first validation.

        Returns:
            A new task.
        """
        ready = copy.copy(self)
        ready._data, ready._mean = data, None
        return ready

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """The mean loss of the clips.

        Args:
            model: an odometry model.
            clip: the clips.
            batch: its ``intrinsics`` are taken, if it has any.

        Returns:
            A scalar.
        """
        assert isinstance(model, Odometry)
        return batch_mean(self._losses(model.views(clip), clip, batch))

    def _losses(self, views: Views, clip: Tensor, batch: Any) -> Tensor:
        """The loss of each clip."""
        intrinsics = getattr(batch, "intrinsics", None)
        if intrinsics is None:
            return self.view_synthesis(views, clip)
        return self.view_synthesis.with_intrinsics(intrinsics.to(clip.device))(views, clip)

    def evaluate(self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """Mean trajectory errors of the model and of two guesses that see no frame.

        Args:
            model: an odometry model.
            batches: clips and their true motion.

        Returns:
            The errors in metres, and the mean loss of the clips.
        """
        assert isinstance(model, Odometry)
        if self._mean is None:
            self._mean = mean_poses(None if self._data is None else self._data())
        sums = torch.zeros(len(_NOTES) + 2, dtype=torch.float64)  # errors, loss, clips
        for clip, batch in batches:
            views = model.views(clip)
            errors = trajectory_errors(views.poses.cpu(), batch, self._mean)
            loss = self._losses(views, clip, batch).double().sum().cpu()
            own = [*(errors[name].sum() for name in _NOTES), loss, sums.new_tensor(len(clip))]
            sums += torch.stack(own)
        total = all_sum(sums)
        *means, loss = (total[:-1] / total[-1]).tolist()
        return Evaluation(dict(zip(_NOTES, means, strict=True)), loss)

    def merit(self, scores: Mapping[str, float]) -> float:
        """The smaller the model's error, the better.

        Args:
            scores: the errors.

        Returns:
            The model's error, negated.
        """
        return -scores[MODEL]

    def table(self, info: ModelInfo, scores: Mapping[str, float], seen: str) -> str:
        """A row for the model and one for each guess.

        Args:
            info: the model's facts.
            scores: the errors.
            seen: the snippets, in words.

        Returns:
            A sentence and a table, in Markdown.
        """
        rows = "\n".join(
            f"| {name} | {error:.4f} | {_NOTES[name]} |" for name, error in scores.items()
        )
        return f"""Mean absolute trajectory error on {seen}, each of
{info.frames} frames, as `models.trajectory.trajectory_error` (SfMLearner's evaluation) has it:

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


def trajectory_errors(poses: Tensor, batch: Any, mean: Tensor | None = None) -> dict[str, Tensor]:
    """Trajectory errors of estimated poses, of the mean motion, and of constant velocity.

    Args:
        poses: ``(N, R, 6)``, the estimate, from the frame in the middle to the others.
        batch: has the true ``poses`` and the step ``before``.
        mean: ``(R, 6)``, the mean poses of the training split; ``None`` for those of the drawn
            drives.

    Returns:
        For each of the three ``(N,)``, in metres.
    """
    true = batch.poses.double()
    references = true.shape[1]
    target = references // 2
    truth = camera_path(true, target)
    estimates = {
        MODEL: poses.double(),
        MEAN: (mean_poses() if mean is None else mean).expand_as(true),
        CONSTANT: repeated_motion(batch.before.double(), references, target),
    }
    return {
        name: trajectory_error(camera_path(estimate, target), truth)
        for name, estimate in estimates.items()
    }


def mean_poses(data: Any = None) -> Tensor:
    """The mean poses of a training split.

    Args:
        data: the split, in the random order of training, of which the first 3000 snippets are taken:
            it has ``poses(index)``, or is a stream of such data; ``None`` for the drawn drives.

    Returns:
        ``(R, 6)`` float64.

    Raises:
        ValueError: the data has no ``poses(index)``.
    """
    if data is None:
        return _mean_of_drives()
    stream = data if isinstance(data, Epochs) else None
    source = data if stream is None else stream.data
    if not hasattr(source, "poses"):
        raise ValueError(
            "Odometry is scored against the mean motion: the training split must tell the true "
            f"poses(index) of a snippet, and {type(source).__name__} does not."
        )
    snippets = range(min(len(data), _MEAN_OVER))
    items = snippets if stream is None else map(stream.item, snippets)
    return torch.stack([source.poses(item) for item in items]).double().mean(0)


@cache
def _mean_of_drives() -> Tensor:
    """The mean poses of the drives with seed 0."""
    return mean_poses(drives.Drives(_MEAN_OVER))
