"""What a model is trained for: the loss, the scores of a validation, and how the card tells them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from models.info import BundledModel, ModelInfo


class Evaluation(NamedTuple):
    """What a validation found.

    Attributes:
        scores: numbers by name, which go onto the card.
        loss: the loss of the same clips, by which schedules and stopping rules go.
    """

    scores: dict[str, float]
    loss: float


class Task(ABC):
    """A training objective with its scores.

    Attributes:
        loss_note: what the loss is, for the card.
        merit_note: what the best weights are chosen by, for the card.
        score_unit: the scores' unit; ``None`` for shares from 0 to 1.
    """

    loss_note: str
    merit_note: str
    score_unit: str | None = None

    def settings(self) -> dict[str, Any]:
        """What must agree, beside the recipe's own numbers, for a checkpoint to be continued.

        Returns:
            Plain values by name; empty for a task without settings.
        """
        return {}

    def prepared(self, info: ModelInfo, data: Callable[[], Any]) -> Task:
        """The task for one model and its data.

        Args:
            info: the model's facts.
            data: makes the training split.

        Returns:
            This task, or one that has computed from the data what it needs.
        """
        return self

    def begin(self, model: BundledModel, data: Callable[[], Any]) -> None:  # noqa: B027
        """Gives an untrained model what it takes from its data before the first step.

        Args:
            model: the model, which may be written into.
            data: makes the training split.
        """

    @abstractmethod
    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """The loss of a batch.

        Args:
            model: the model, in training mode.
            clip: ``(N, C, T, H, W)``, normalised, on the model's device.
            batch: the collated sample, with whatever else the data set brings.

        Returns:
            A scalar whose mean over processes, each with its part of the batch, is the batch's
            loss; see :func:`models.training.distributed.batch_mean`.
        """

    @abstractmethod
    def evaluate(self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """Scores a model; called without gradients, in evaluation mode, by every process.

        Args:
            model: the model.
            batches: pairs of what ``loss`` takes as ``clip`` and ``batch``, this process's part of
                the clips (possibly none).

        Returns:
            The scores of all processes' clips, the same names for each call, and their loss.
        """

    def merit(self, scores: Mapping[str, float]) -> float:
        """What the best weights are chosen by.

        Args:
            scores: what ``evaluate`` returned.

        Returns:
            A number; the higher, the better.
        """
        return min(scores.values())

    @abstractmethod
    def table(self, info: ModelInfo, scores: Mapping[str, float], seen: str) -> str:
        """The scores as the card shows them.

        Args:
            info: the model's facts.
            scores: what ``evaluate`` returned.
            seen: the clips behind them, in words, such as "2000 fresh clips of the validation
                split".

        Returns:
            A sentence and a table, in Markdown.
        """

    @abstractmethod
    def summary(self, scores: Mapping[str, float]) -> str:
        """The scores in one line.

        Args:
            scores: what ``evaluate`` returned.

        Returns:
            A line for the terminal.
        """

    @abstractmethod
    def tolerance_note(self, tolerance: float) -> str:
        """How far a repetition elsewhere may end from the scores.

        Args:
            tolerance: the recipe's.

        Returns:
            The end of a sentence that begins "each score may differ by up to".
        """
