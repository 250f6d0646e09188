"""The attribution methods that the command knows, behind one face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    RelevanceComponents,
    SelectiveRelevance,
    normalized_range,
)
from captum_video.cli._model import Facts, scores
from captum_video.cli._target import Target
from captum_video.metrics import temporal_share

FrozenFrame = Literal["same", "mean", "first"]


@dataclass(frozen=True)
class Request:
    """What a method is asked.

    Attributes:
        model: the model, in evaluation mode.
        facts: what is known of it.
        inputs: (1, C, T, H, W).
        target: the class to explain.
        seed: ``"one"``, ``"score"``, or ``None`` for the method's own choice.
        frozen_frame: ``"same"``, ``"mean"`` or ``"first"``.
        batch: clips at once.
        progress: whether to show a bar.
    """

    model: nn.Module
    facts: Facts
    inputs: Tensor
    target: Target
    seed: str | None
    frozen_frame: FrozenFrame
    batch: int
    progress: bool

    @property
    def deep_taylor_options(self) -> dict[str, Any]:
        """What deep Taylor is given: the inputs' range, and the seed if one was asked for."""
        low, high = normalized_range(self.facts.mean, self.facts.std)
        device = self.inputs.device
        options: dict[str, Any] = {"input_range": (low.to(device), high.to(device))}
        return options if self.seed is None else {**options, "seed": self.seed}


@dataclass(frozen=True)
class Explanation:
    """What a method answers.

    Attributes:
        maps: relevance by name, each (C, T, H, W), on the CPU.
        ranked: the map whose strongest frames are reported.
        seed: what relevance started with.
        temporal_share: how much of the decision is owed to motion, if the method tells.
        frozen_scores: the target's score for each frozen frame, (T), if the method tells.
        frozen_predictions: the class predicted for each frozen frame among those of the target's
            question, (T), if the method tells.
    """

    maps: dict[str, Tensor]
    ranked: str
    seed: str
    temporal_share: float | None = None
    frozen_scores: Tensor | None = None
    frozen_predictions: Tensor | None = None


def _discriminative(request: Request) -> Explanation:
    method = DiscriminativeRelevance(request.model, **request.deep_taylor_options)
    parts, frozen = method.decompose(
        request.inputs,
        target=request.target.index,
        internal_batch_size=request.batch,
        show_progress=request.progress,
        frozen_frame=request.frozen_frame,
        return_frozen=True,
    )
    seed = request.seed or "one"
    scored = parts if seed == "score" else _with_scores(parts, frozen.score, frozen.scores)
    maps = {name: getattr(parts, name)[0].detach().cpu() for name in parts._fields}
    return Explanation(
        maps,
        "temporal",
        seed,
        float(temporal_share(scored)),
        frozen.scores[0].float().cpu(),
        _frozen_predictions(request, frozen.predictions[0]),
    )


def _with_scores(parts: Any, score: Tensor, frozen_scores: Tensor) -> RelevanceComponents:
    """The components under ``seed="score"``, from those under ``seed="one"``.

    Relevance is proportional to what it starts with, so the clip's map takes the clip's score as a
    factor, and the part that frozen frame t gave takes that frame's. This spares a second run.
    """
    total = parts.total * score.view(-1, 1, 1, 1, 1)
    spatial = parts.spatial * frozen_scores.view(*frozen_scores.shape, 1, 1).unsqueeze(1)
    return RelevanceComponents(total, spatial, total - spatial)


def _frozen_predictions(request: Request, overall: Tensor) -> Tensor:
    """The class predicted for each frozen frame, among those that answer the target's question."""
    if len(request.facts.groups) < 2:
        return overall.cpu()
    clip, indices = request.inputs[0], request.target.indices
    frames = clip.transpose(0, 1).split(request.batch)  # (batch, C, H, W) each
    found = []
    for some in frames:
        frozen = some.unsqueeze(2).expand(-1, -1, clip.shape[1], -1, -1).contiguous()
        answer = scores(request.model, frozen)[:, list(indices)]
        found.append(answer.argmax(1) + indices[0])
    return torch.cat(found)


def _deep_taylor(request: Request) -> Explanation:
    method = DeepTaylor(request.model, **request.deep_taylor_options)
    relevance = method.attribute(request.inputs, target=request.target.index)
    return Explanation({"relevance": relevance[0].cpu()}, "relevance", request.seed or "score")


def _selective(request: Request) -> Explanation:
    options = {"seed": "score", **request.deep_taylor_options}
    total = DeepTaylor(request.model, **options)
    selective = SelectiveRelevance(total)
    maps = {
        name: method.attribute(request.inputs, target=request.target.index)[0].cpu()
        for name, method in (("total", total), ("selective", selective))
    }
    return Explanation(maps, "selective", options["seed"])


#: name -> what computes it; the first is the default
METHODS: dict[str, Callable[[Request], Explanation]] = {
    "discriminative-relevance": _discriminative,
    "deep-taylor": _deep_taylor,
    "selective-relevance": _selective,
}
