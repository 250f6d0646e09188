"""What a model is trained for: the loss, the scores of a validation, and how the card tells them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.info import BundledModel, ModelInfo


class Task(ABC):
    """A training objective with its scores.

    Attributes:
        loss_note: what the loss is, for the card.
        merit_note: what the best weights are chosen by, for the card.
    """

    loss_note: str
    merit_note: str

    @abstractmethod
    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """The loss of a batch.

        Args:
            model: the model, in training mode.
            clip: ``(N, C, T, H, W)``, normalised, on the model's device.
            batch: the collated sample, with whatever else the data set brings.

        Returns:
            A scalar.
        """

    @abstractmethod
    def evaluate(
        self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]
    ) -> dict[str, float]:
        """Scores a model on fresh clips; called without gradients, in evaluation mode.

        Args:
            model: the model.
            batches: pairs of what ``loss`` takes as ``clip`` and ``batch``.

        Returns:
            Numbers by name, the same names for each call.
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
    def table(self, info: ModelInfo, scores: Mapping[str, float], count: int) -> str:
        """The scores as the card shows them.

        Args:
            info: the model's facts.
            scores: what ``evaluate`` returned.
            count: the number of clips behind them.

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
    """One class for each of the model's groups; a batch has an index by each group's name."""

    loss_note = "cross-entropy summed over the questions"
    merit_note = "the lowest of the questions' validation accuracies"

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """Cross-entropy, summed over the questions.

        Args:
            model: the model.
            clip: the clips.
            batch: has the classes.

        Returns:
            A scalar.
        """
        scores = model(clip)
        return torch.stack(
            [
                F.cross_entropy(
                    scores[:, outputs.start : outputs.stop].float(),
                    getattr(batch, group).to(scores.device),
                )
                for group, outputs in model.info.groups.items()
            ]
        ).sum()

    def evaluate(
        self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]
    ) -> dict[str, float]:
        """The share of right answers to each question.

        Args:
            model: the model.
            batches: clips and classes.

        Returns:
            For each of the model's groups, a number from 0 to 1.
        """
        groups = model.info.groups
        right, count = dict.fromkeys(groups, 0), 0
        for clip, batch in batches:
            scores = model(clip)
            count += len(scores)
            for group, outputs in groups.items():
                answer = scores[:, outputs.start : outputs.stop].argmax(1).cpu()
                right[group] += int((answer == getattr(batch, group)).sum())
        return {group: number / count for group, number in right.items()}

    def table(self, info: ModelInfo, scores: Mapping[str, float], count: int) -> str:
        """A row for each question.

        Args:
            info: the model's facts.
            scores: right answers by question.
            count: the number of clips.

        Returns:
            A sentence and a table, in Markdown.
        """
        rows = "\n".join(
            f"| {group} | {len(info.groups[group])} | {value:.1%} |"
            for group, value in scores.items()
        )
        return f"""Share of right answers on {count} fresh clips of the validation split:

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
