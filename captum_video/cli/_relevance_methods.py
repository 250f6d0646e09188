"""The methods that let relevance flow back to the pixels."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    RelevanceComponents,
    SelectiveRelevance,
    normalized_range,
)
from captum_video.cli._answers import scores
from captum_video.cli._model import Facts
from captum_video.cli._request import Explain, Explanation, Method, Request
from captum_video.metrics import temporal_share
from captum_video.relevance.rules import AlphaBeta

_READ_AT = {
    "same": "the frame's own place in its frozen clip",
    "mean": "the mean of all copies in its frozen clip",
    "first": "the first copy in its frozen clip",
}


def _plan_discriminative(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    return partial(
        _discriminative, seed=options.seed_with, frozen_frame=options.frozen_frame or "same"
    )


def _discriminative(request: Request, seed: str | None, frozen_frame: Any) -> Explanation:
    method = DiscriminativeRelevance(request.model, **_deep_taylor_options(request, seed))
    parts, frozen = method.decompose(
        request.inputs,
        target=request.target.index,
        internal_batch_size=request.batch,
        show_progress=request.progress,
        frozen_frame=frozen_frame,
        return_frozen=True,
    )
    scored = parts if seed == "score" else _with_scores(parts, frozen.score, frozen.scores)
    maps = {name: getattr(parts, name)[0].detach().cpu() for name in parts._fields}
    return Explanation(
        maps,
        "temporal",
        seed or "one",
        float(temporal_share(scored)),
        frozen.scores[0].float().cpu(),
        _frozen_predictions(request, frozen.predictions[0]),
        parameters={**_rules(request), "spatial relevance read at": _READ_AT[frozen_frame]},
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


def _plan_deep_taylor(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    return partial(_deep_taylor, seed=options.seed_with)


def _deep_taylor(request: Request, seed: str | None) -> Explanation:
    method = DeepTaylor(request.model, **_deep_taylor_options(request, seed))
    relevance = method.attribute(request.inputs, target=request.target.index)
    maps = {"relevance": relevance[0].cpu()}
    return Explanation(maps, "relevance", seed or "score", parameters=_rules(request))


def _plan_selective(options: argparse.Namespace, model: nn.Module, facts: Facts) -> Explain:
    return partial(_selective, seed=options.seed_with or "score")


def _selective(request: Request, seed: str) -> Explanation:
    total = DeepTaylor(request.model, **_deep_taylor_options(request, seed))
    selective = SelectiveRelevance(total)
    maps = {
        name: method.attribute(request.inputs, target=request.target.index)[0].cpu()
        for name, method in (("total", total), ("selective", selective))
    }
    kept = f"changes of more than {selective.threshold:g} times the standard deviation"
    return Explanation(maps, "selective", seed, parameters={**_rules(request), "kept": kept})


def _rules(request: Request) -> dict[str, str]:
    """The rules of :func:`_deep_taylor_options`, in words."""
    first = "; z-beta over the range of pixels in the first layer" if request.facts.size else ""
    return {"rules": f"alpha 1, beta 0{first}"}


def _deep_taylor_options(request: Request, seed: str | None) -> dict[str, Any]:
    """What deep Taylor is given: the rule of the first layer, and the seed if asked for.

    Pixels have a range. Coordinates have none, and the rule without one divides relevance by the
    weights alone, whatever moves: theirs is the rule of the other layers.
    """
    options: dict[str, Any] = {}
    if request.facts.size:
        low, high = normalized_range(request.facts.mean, request.facts.std)
        device = request.inputs.device
        options["input_range"] = (low.to(device), high.to(device))
    else:
        options["rules"] = {"first": AlphaBeta(1, 0)}
    return options if seed is None else {**options, "seed": seed}


RELEVANCE_METHODS = {
    "discriminative-relevance": Method(
        _plan_discriminative, frozenset({"seed_with", "frozen_frame"})
    ),
    "deep-taylor": Method(
        _plan_deep_taylor, frozenset({"seed_with"}), reads=("videos", "skeletons")
    ),
    "selective-relevance": Method(_plan_selective, frozenset({"seed_with"})),
}
