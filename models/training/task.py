"""What a model is trained for: the loss, the scores of a validation, and how the card tells them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.info import BundledModel, ModelInfo
from models.training.class_weights import balanced_weights, check_weights
from models.training.distributed import all_sum, share


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


class Classification(Task):
    """One class for each of the model's groups; a batch has an index by each group's name.

    Args:
        class_weights: for skewed data (paper 1, appendix C.2, which weights the loss but does not say
            how). By group a weight for each class, groups left out being unweighted; or
            ``"balanced"`` for ``N / (K * n_k)``, where ``n_k`` of the training split's ``N`` clips
            show class ``k`` of ``K``. A batch's loss is divided by the sum of its clips' weights, as
            in ``torch.nn.functional.cross_entropy``.

    Raises:
        ValueError: another word than ``"balanced"``.
    """

    merit_note = "the lowest of the questions' validation accuracies"

    def __init__(
        self, class_weights: Mapping[str, Sequence[float]] | Literal["balanced"] | None = None
    ) -> None:
        if isinstance(class_weights, str) and class_weights != "balanced":
            raise ValueError(
                f"class_weights must be 'balanced' or weights by group, got {class_weights!r}."
            )
        self.class_weights = class_weights
        self._weights: dict[str, Tensor] = {}
        self.loss_note = "cross-entropy summed over the questions"

    def weighted(
        self, class_weights: Mapping[str, Sequence[float]] | Literal["balanced"] | None
    ) -> Classification:
        """The task with other class weights.

        Args:
            class_weights: as for the class.

        Returns:
            A new task of the same kind.
        """
        other = copy.copy(self)
        other.class_weights = Classification(class_weights).class_weights
        return other

    def settings(self) -> dict[str, Any]:
        """The class weights, if there are any.

        Returns:
            ``"balanced"`` or lists by group, under ``class_weights``.
        """
        if self.class_weights is None:
            return {}
        if isinstance(self.class_weights, str):
            return {"class_weights": self.class_weights}
        return {"class_weights": {name: list(row) for name, row in self.class_weights.items()}}

    def prepared(self, info: ModelInfo, data: Callable[[], Any]) -> Classification:
        """The task with checked weights for a model's classes.

        Args:
            info: the model's facts.
            data: makes the training split, which is read for ``"balanced"`` alone.

        Returns:
            This task if it is unweighted, else a new one.

        Raises:
            ValueError: weights that do not fit the model's groups, are not positive and finite, or
                cannot be balanced: a class never occurs, or the data set has no ``labels(index)``.
        """
        given = self.class_weights
        if given is None:
            return self
        if isinstance(given, str):
            by_group = balanced_weights(info, data())
            how = "N / (K n_k) of the training clips, "
        else:
            by_group, how = {name: list(row) for name, row in given.items()}, ""
            check_weights(info, by_group)
        ready = copy.copy(self)
        ready._weights = {name: torch.tensor(row).float() for name, row in by_group.items()}
        listed = "; ".join(
            f"{name} {', '.join(f'{value:.4g}' for value in row)}" for name, row in by_group.items()
        )
        ready.loss_note += f", classes weighted ({how}{listed})"
        return ready

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """Cross-entropy, summed over the questions.

        ``prepared`` must have seen class weights first.

        Args:
            model: the model.
            clip: the clips.
            batch: has the classes.

        Returns:
            A scalar.
        """
        scores = model(clip)
        losses = []
        for group, outputs in model.info.groups.items():
            total, weight = self._total(group, scores[:, outputs.start : outputs.stop], batch)
            losses.append(total / weight * share(weight))
        return torch.stack(losses).sum()

    def _total(self, group: str, scores: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
        """A question's cross-entropy summed over clips, each with its class's weight, and their sum."""
        truth = getattr(batch, group).to(scores.device)
        weight = self._weight(group, scores.device)
        total = F.cross_entropy(scores.float(), truth, weight=weight, reduction="sum")
        weights = torch.ones(len(truth), device=scores.device) if weight is None else weight[truth]
        return total, weights.sum()

    def _weight(self, group: str, device: torch.device) -> Tensor | None:
        """A weight for each class of a group, or None."""
        if self.class_weights is not None and not self._weights:
            raise RuntimeError("The class weights are not computed: call prepared() first.")
        weight = self._weights.get(group)
        return None if weight is None else weight.to(device)

    def evaluate(self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """The share of right answers to each question, and the cross-entropy.

        Args:
            model: the model.
            batches: clips and classes.

        Returns:
            For each of the model's groups, a number from 0 to 1; the loss is summed over them.
        """
        groups = model.info.groups
        sums = torch.zeros(len(groups), 4, dtype=torch.float64)  # right, clips, loss, weight
        for clip, batch in batches:
            scores = model(clip)
            for row, (group, outputs) in zip(sums, groups.items(), strict=True):
                own = scores[:, outputs.start : outputs.stop]
                right = int((own.argmax(1).cpu() == getattr(batch, group)).sum())
                total, weight = self._total(group, own, batch)
                row += torch.tensor(
                    [right, len(own), float(total), float(weight)], dtype=torch.float64
                )
        rights, clips, losses, weights = all_sum(sums).unbind(1)
        found = dict(zip(groups, (rights / clips).tolist(), strict=True))
        return Evaluation(found, float((losses / weights).sum()))

    def table(self, info: ModelInfo, scores: Mapping[str, float], seen: str) -> str:
        """A row for each question.

        Args:
            info: the model's facts.
            scores: right answers by question.
            seen: the clips, in words.

        Returns:
            A sentence and a table, in Markdown.
        """
        rows = "\n".join(
            f"| {group} | {len(info.groups[group])} | {value:.1%} |"
            for group, value in scores.items()
        )
        return f"""Share of right answers on {seen}:

| question | classes | right |
|---|---|---|
{rows}"""

    def summary(self, scores: Mapping[str, float]) -> str:
        """Right answers by question.

        Args:
            scores: right answers by question.

        Returns:
            A line for the terminal.
        """
        return ", ".join(f"{group} {value:.1%}" for group, value in scores.items())

    def tolerance_note(self, tolerance: float) -> str:
        """The tolerance as a share of the clips.

        Args:
            tolerance: the recipe's.

        Returns:
            A percentage.
        """
        return f"{tolerance:.0%}"
