"""What a method is asked and what it answers, whatever the method."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from captum_video.cli._model import Facts
from captum_video.cli._target import Target
from captum_video.layers import Coverage


@dataclass(frozen=True)
class Request:
    """What a method is asked of one clip.

    Attributes:
        model: the model, in evaluation mode.
        facts: what is known of it.
        inputs: (1, C, T, H, W), or (1, D, T) of skeletons.
        number: the clip's place among those of the command line.
        outputs: what the model answers: for a regression as it is, for a classifier its scores.
        target: the output to explain.
        batch: clips at once.
        progress: whether to show a bar.
    """

    model: nn.Module
    facts: Facts
    inputs: Tensor
    number: int
    outputs: Any
    target: Target
    batch: int
    progress: bool


@dataclass(frozen=True)
class UsedLayer:
    """The layer behind a Grad-CAM map.

    Attributes:
        name: its dotted name.
        temporal_pooling: over what gradients were averaged, ``"clip"`` or ``"frame"``.
        temporal_alignment: how its slices were put in time, ``"receptive-field"`` or ``"uniform"``.
        coverage: the frames behind each of its time slices.
    """

    name: str
    temporal_pooling: str
    temporal_alignment: str
    coverage: Coverage


@dataclass(frozen=True)
class Attention:
    """The attention over the frames.

    Attributes:
        module: the dotted name of the module that gave it.
        weights: (T), summing to 1, on the CPU.
    """

    module: str
    weights: Tensor

    def top(self, count: int = 3) -> list[tuple[int, float]]:
        """The frames with the largest weights.

        Args:
            count: how many at most.

        Returns:
            Position among the frames that the model saw, and weight; from the largest weight down,
            the earlier frame first where they are equal.
        """
        order = self.weights.argsort(descending=True, stable=True)[:count]
        return [(int(i), float(self.weights[i])) for i in order]


@dataclass(frozen=True)
class Objective:
    """What was explained of a regression.

    Attributes:
        name: ``"output"``, ``"negative-output"`` or ``"negative-loss"``.
        loss: the loss's value, if there is a loss.
        loss_name: what the command line calls it.
    """

    name: str
    loss: float | None = None
    loss_name: str | None = None


@dataclass(frozen=True)
class Decoded:
    """A layer, drawn in the input's own domain.

    Attributes:
        layer: its dotted name.
        sequence: what it was decoded to, (D, T) like the input, on the CPU.
        picture: the same with held ends, about the mean and in the input's size: what is drawn, and
            what motion is measured in.
        responses: magnitudes of its filters' responses, (filters, steps), on the CPU.
        field: how many frames an activation sees; ``None`` if that is not known.
    """

    layer: str
    sequence: Tensor
    picture: Tensor
    responses: Tensor
    field: int | None


@dataclass(frozen=True)
class Explanation:
    """What a method answers.

    Attributes:
        maps: relevance by name, each (C, T, H, W) or (D, T), on the CPU; none where only the frames'
            weights are known, or decoded layers.
        ranked: the map whose strongest frames are reported.
        seed: what relevance started with, if the method has a seed.
        temporal_share: how much of the decision is owed to motion, if the method tells.
        frozen_scores: the target's score for each frozen frame, (T), if the method tells.
        frozen_predictions: the class predicted for each frozen frame among those of the target's
            question, (T), if the method tells.
        layer: the layer that the maps were read at, if it was one.
        attention: the frames' weights, if the method tells.
        objective: what was explained, if not a class.
        decoded: layers in the input's domain, if the method draws them.
        parameters: names and values of what else the method was told, in words.
    """

    maps: dict[str, Tensor]
    ranked: str
    seed: str | None = None
    temporal_share: float | None = None
    frozen_scores: Tensor | None = None
    frozen_predictions: Tensor | None = None
    layer: UsedLayer | None = None
    attention: Attention | None = None
    objective: Objective | None = None
    decoded: tuple[Decoded, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)


Explain = Callable[[Request], Explanation]
Plan = Callable[[argparse.Namespace, nn.Module, Facts], Explain]


@dataclass(frozen=True)
class Method:
    """An attribution method of the command.

    Attributes:
        plan: makes of the options what explains a clip; raises :class:`UsageError` for what cannot
            work, before any clip is read.
        takes: the options for it among those that not every method takes, as ``argparse`` names
            them.
        regression: whether it explains numbers instead of classes.
        reads: the kinds of clips that it can explain, by name.
        targeted: whether what it answers depends on a class.
    """

    plan: Plan
    takes: frozenset[str]
    regression: bool = False
    reads: tuple[str, ...] = ("videos",)
    targeted: bool = True
