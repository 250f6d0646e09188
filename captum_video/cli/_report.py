"""What is said of every explanation, whatever kind of a clip it is of."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captum_video.cli._kind import Result
from captum_video.cli._target import Prediction

#: what to call maps in words, where that is not their name
LABELS = {"grad_cam": "Grad-CAM"}


def prediction_lines(result: Result[Any]) -> list[str]:
    """What the model answers, for the terminal.

    Args:
        result: what came of a clip.

    Returns:
        A line for each of the model's questions, with the three most likely answers.
    """
    return [_prediction_line(result, prediction) for prediction in result.predictions]


def _prediction_line(result: Result[Any], prediction: Prediction) -> str:
    named = []
    for place, index in enumerate(prediction.ranking[:3]):
        if prediction.probabilities is None:
            value = f"{prediction.scores[place]:.4g}"
        else:
            value = f"{100 * prediction.probabilities[place]:.1f} %"
        named.append(f"{result.facts.class_name(index)} {value}")
    asked = f" ({prediction.group})" if prediction.group else ""
    return f"predicted{asked}: {', '.join(named)}"


def predictions_json(result: Result[Any]) -> list[dict[str, Any]]:
    """What the model answers, for programs.

    Args:
        result: what came of a clip.

    Returns:
        For each of the model's questions its ten most likely answers.
    """
    return [_prediction_json(result, prediction) for prediction in result.predictions]


def _prediction_json(result: Result[Any], prediction: Prediction) -> dict[str, Any]:
    chances: Sequence[float | None]
    chances = prediction.probabilities or [None] * len(prediction.ranking)
    return {
        "group": prediction.group,
        "ranking": [
            {
                "index": index,
                "name": result.facts.class_name(index),
                "score": score,
                "probability": chance,
            }
            for index, score, chance in zip(
                prediction.ranking[:10], prediction.scores, chances, strict=False
            )
        ],
    }


def target_json(result: Result[Any]) -> dict[str, Any] | None:
    """The output that was explained, for programs.

    Args:
        result: what came of a clip.

    Returns:
        Index, name, group and score; ``None`` if what was found depends on no output.
    """
    target = result.target
    if not result.explanation.maps:
        return None
    return {
        "index": list(target.index) if isinstance(target.index, tuple) else target.index,
        "name": target.name,
        "group": target.group,
        "score": None if math.isnan(target.score) else target.score,
    }


def metadata(result: Result[Any], path: Path) -> dict[str, Any]:
    """What the arrays' file says of any explanation.

    Args:
        result: what came of a clip.
        path: the clip's.

    Returns:
        Texts by name; ``None`` for what there is not.
    """
    facts, explanation, target = result.facts, result.explanation, result.target
    told: dict[str, Any] = {
        "clip": str(path),
        "model": facts.name,
        "method": result.method,
        "seed": explanation.seed,
        "mean": json.dumps(facts.mean),
        "std": json.dumps(facts.std),
    }
    if explanation.maps:
        index = target.index
        told["target"] = ",".join(map(str, index)) if isinstance(index, tuple) else index
        told |= {"target_name": target.name, "target_group": target.group}
        told["target_score"] = None if math.isnan(target.score) else repr(target.score)
    return told


def chance(result: Result[Any]) -> float | None:
    """How likely the model holds the output that was explained.

    Args:
        result: what came of a clip.

    Returns:
        Its probability, if there is one.
    """
    for prediction in result.predictions:
        index = result.target.index
        if prediction.probabilities is not None and index in prediction.ranking:
            return prediction.probabilities[prediction.ranking.index(index)]
    return None


def full_name(result: Result[Any]) -> str:
    """What to call the output that was explained.

    Args:
        result: what came of a clip.

    Returns:
        Its name, and the question that it answers if there are several.
    """
    name, group = result.target.name, result.target.group
    return f"{name} ({group})" if group else name


def map_name(result: Result[Any]) -> str:
    """What to call the map whose strongest places are told.

    Args:
        result: what came of a clip.

    Returns:
        Such as ``temporal relevance``.
    """
    ranked = result.explanation.ranked
    return LABELS.get(ranked, ranked if ranked == "relevance" else f"{ranked} relevance")
