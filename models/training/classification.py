"""Classification: cross-entropy over a model's questions, and the share of right answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.info import BundledModel, ModelInfo
from models.training.class_weights import balanced_weights, check_weights
from models.training.distributed import all_sum, share
from models.training.task import Evaluation, Task

#: the share of each auxiliary head in the loss (Szegedy et al. 2015, section 5)
AUXILIARY = 0.3


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

        ``prepared`` must have seen class weights first. Of a model that in training returns the
        scores of auxiliary heads after its own, as GoogLeNet does, 0.3 of each head's is added.

        Args:
            model: the model.
            clip: the clips.
            batch: has the classes.

        Returns:
            A scalar.
        """
        answer = model(clip)
        scores, *auxiliary = answer if isinstance(answer, tuple) else (answer,)
        loss = self._mean(model.info, scores, batch)
        for head in auxiliary:
            loss = loss + AUXILIARY * self._mean(model.info, head, batch)
        return loss

    def _mean(self, info: ModelInfo, scores: Tensor, batch: Any) -> Tensor:
        """The cross-entropy of a head's scores, summed over the questions."""
        losses = []
        for group, outputs in info.groups.items():
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
