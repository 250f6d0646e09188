"""Classification with gates: their posterior is learnt together with the weights (paper 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from captum_video.nn import fusion_regularizer
from captum_video.nn.gates import gated_modules
from captum_video.nn.strategies import most_probable_strategy, set_strategy
from models.info import BundledModel, ModelInfo
from models.training.classification import Classification
from models.training.task import Evaluation


class FusionClassification(Classification):
    """One class for each of the model's groups, by a network whose gates have a posterior.

    The loss is cross-entropy plus the divergence of the gates' posterior from its prior, for each of
    the run's clips (:func:`captum_video.nn.fusion_regularizer`). A model is scored under its most
    probable strategy, which is set on it and so goes into its weights. A model without gates is
    trained and scored as by :class:`Classification`.

    Args:
        class_weights: as for :class:`Classification`.
        length_scale: the prior's inverse standard deviation of a weight, :math:`k`.
    """

    merit_note = (
        "the lowest of the questions' validation accuracies, under the most probable strategy"
    )

    def __init__(
        self,
        class_weights: Mapping[str, Sequence[float]] | Literal["balanced"] | None = None,
        *,
        length_scale: float = 1.0,
    ) -> None:
        super().__init__(class_weights)
        self.length_scale = length_scale
        self._clips = 0
        self.loss_note += (
            f", and the divergence of the gates' posterior from a prior with k = {length_scale:g}, "
            "divided by the number of clips, where there are gates"
        )

    def settings(self) -> dict[str, Any]:
        """The length scale, and the class weights if there are any.

        Returns:
            Plain values by name.
        """
        return {**super().settings(), "length_scale": self.length_scale}

    def prepared(self, info: ModelInfo, data: Callable[[], Any]) -> FusionClassification:
        """The task with the number of training clips.

        Args:
            info: the model's facts.
            data: makes the training split.

        Returns:
            A new task.

        Raises:
            ValueError: class weights that do not fit, as for :class:`Classification`.
        """
        ready = copy.copy(super().prepared(info, data))
        assert isinstance(ready, FusionClassification)
        ready._clips = len(data())
        return ready

    def loss(self, model: BundledModel, clip: Tensor, batch: Any) -> Tensor:
        """Cross-entropy, summed over the questions, and the divergence.

        ``prepared`` must have counted the clips first.

        Args:
            model: the model.
            clip: the clips.
            batch: has the classes.

        Returns:
            A scalar.
        """
        loss = super().loss(model, clip, batch)
        if not gated_modules(model):
            return loss
        if not self._clips:
            raise RuntimeError("The training clips are not counted: call prepared() first.")
        return loss + fusion_regularizer(model, self._clips, length_scale=self.length_scale)

    def evaluate(self, model: BundledModel, batches: Iterable[tuple[Tensor, Any]]) -> Evaluation:
        """The share of right answers to each question, under the most probable strategy.

        Args:
            model: the model; if it has gates, they are set to that strategy.
            batches: clips and classes.

        Returns:
            For each of the model's groups, a number from 0 to 1, and the cross-entropy.
        """
        if gated_modules(model):
            set_strategy(model, most_probable_strategy(model))
        return super().evaluate(model, batches)
