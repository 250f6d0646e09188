"""What an explanation says, in words and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from captum_video.cli._coverage import as_json, phrase
from captum_video.cli._explain import Result
from captum_video.cli._regression import Numbers
from captum_video.cli._request import Objective, UsedLayer
from captum_video.cli._target import Prediction

#: what to call maps in words, where that is not their name
LABELS = {"grad_cam": "Grad-CAM"}
_MANY = 1000  # outputs: no more are listed in the summary


def describe(result: Result) -> str:
    """The explanation in a few lines for the terminal.

    Args:
        result: what came of a clip.

    Returns:
        Lines, indented, without a final line break.
    """
    clip, facts, explanation = result.clip, result.facts, result.explanation
    height, width = facts.size
    lines = [
        f"clip: {result.total} frames at {clip.fps:.4g} fps; the model saw {len(result.clip)} of "
        f"{width}x{height} pixels, {_span(result)}",
        *(_prediction_line(result, prediction) for prediction in result.predictions),
        *([_numbers_line(result.answer)] if result.answer is not None else []),
        f"explained: {_explained(result)}, by {result.method}",
    ]
    if explanation.temporal_share is not None:
        lines.append(
            f"temporal share: {explanation.temporal_share:.3f} "
            "(0: all owed to appearance, 1: all to motion)"
        )
    if explanation.frozen_predictions is not None:
        lines.append(_frozen_line(result))
    if explanation.layer is not None:
        lines.append(_layer_line(result, explanation.layer))
    if explanation.attention is not None:
        named = _frames(result, explanation.attention.top())
        lines.append(
            f"frames with most attention: {named}; an even share would be "
            f"{100 / len(result.clip):.2g} %"
        )
    if explanation.maps and not result.timeless:
        strongest = _frames(result, result.strongest())
        lines.append(
            f"frames with most positive {_kind(result)}: {strongest}"
            if strongest
            else f"no frame has positive {_kind(result)}"
        )
    return "\n".join(f"  {line}" for line in lines)


def summary(result: Result, playback: float) -> dict[str, Any]:
    """The explanation for programs.

    Args:
        result: what came of a clip.
        playback: frames per second of the overlay video.

    Returns:
        Numbers, strings, lists and dictionaries.
    """
    clip, facts, explanation = result.clip, result.facts, result.explanation
    frozen = None
    if explanation.frozen_predictions is not None and explanation.frozen_scores is not None:
        frozen = {
            "scores": explanation.frozen_scores.tolist(),
            "predictions": [facts.class_name(int(i)) for i in explanation.frozen_predictions],
            "share_predicting_target": _survives(result) / len(result.clip),
        }
    return {
        "clip": str(clip.path),
        "clip_frames": result.total,
        "clip_fps": clip.fps,
        "frames": result.numbers,
        "times": [round(time, 6) for time in clip.times],
        "model": facts.name,
        "size": list(facts.size),
        "mean": list(facts.mean),
        "std": list(facts.std),
        "assumed": list(facts.assumed),
        "method": result.method,
        "seed": explanation.seed,
        "predictions": [_as_json(result, prediction) for prediction in result.predictions],
        "target": _target_json(result),
        "temporal_share": explanation.temporal_share,
        "frozen_frames": frozen,
        **_layer_json(result),
        "strongest_frames": [
            {"frame": result.numbers[i], "time": round(result.clip.times[i], 6), "share": share}
            for i, share in result.strongest()
        ],
        "strongest_frames_of": explanation.ranked if explanation.maps else None,
        "overlay_fps": playback,
    }


def headline(result: Result) -> str:
    """One line for the top of the picture.

    Args:
        result: what came of a clip.

    Returns:
        The clip, the output and, where there is one, the layer or the temporal share.
    """
    explanation, clip = result.explanation, result.clip.path.name
    if not explanation.maps:
        return f"{clip}: attention over frames"
    if explanation.objective is not None:
        text = f"{clip}: {_objective(result, explanation.objective)}"
    else:
        text = f"{clip}: {_full_name(result)}"
        chance = _chance(result)
        text += f" ({100 * chance:.0f} %)" if chance is not None else ""
    if explanation.layer is not None:
        text += f", layer {explanation.layer.name}"
    share = explanation.temporal_share
    return text if share is None else f"{text}, temporal share {share:.2f}"


def _explained(result: Result) -> str:
    explanation = result.explanation
    if not explanation.maps:
        return "the attention over frames, which depends on no class"
    if explanation.objective is not None:
        return _objective(result, explanation.objective)
    return f"{_full_name(result)}, score {result.target.score:.4g}"


def _objective(result: Result, objective: Objective) -> str:
    """What was explained of a regression."""
    target = result.target
    if objective.loss is not None:
        through = "" if target.index is None else f" through {target.name}"
        return f"what lowers the loss {objective.loss:.4g} ({objective.loss_name}){through}"
    sign = "what lowers " if objective.name == "negative-output" else ""
    several = "the sum of " if target.index is None and len(target.indices) > 1 else ""
    return f"{sign}{several}{target.name} = {target.score:.4g}"


def _numbers_line(answer: Numbers) -> str:
    shown = answer.largest(3)
    named = ", ".join(f"{answer.names[i]} = {answer.value(i):.4g}" for i in shown)
    total = answer.values.numel()
    return f"outputs: {named}" + (f" (the largest of {total})" if total > len(shown) else "")


def _layer_line(result: Result, layer: UsedLayer) -> str:
    slices = layer.coverage.slices
    told = phrase(layer.coverage, result.numbers)
    line = f"layer: {layer.name}, {slices} time slice{'s' * (slices != 1)}: {told}"
    if result.timeless:
        line += ", so all have the same map"
    if layer.temporal_pooling == "frame":
        line += "; gradients averaged for each slice alone"
    return f"{line}; slices spread evenly" if layer.temporal_alignment == "uniform" else line


def _frames(result: Result, ranked: list[tuple[int, float]]) -> str:
    return ", ".join(
        f"{result.numbers[i]} ({result.clip.times[i]:.2f} s, {100 * share:.0f} %)"
        for i, share in ranked
    )


def _target_json(result: Result) -> dict[str, Any] | None:
    target = result.target
    if not result.explanation.maps:
        return None
    return {
        "index": list(target.index) if isinstance(target.index, tuple) else target.index,
        "name": target.name,
        "group": target.group,
        "score": None if math.isnan(target.score) else target.score,
    }


def _outputs_json(answer: Numbers) -> dict[str, Any]:
    """A regression's numbers; very many of them are in the arrays alone."""
    few = answer.values.numel() <= _MANY
    return {
        "shape": list(answer.values.shape),
        "names": list(answer.names) if few else None,
        "values": answer.values.tolist() if few else None,
    }


def _layer_json(result: Result) -> dict[str, Any]:
    """What only the methods that read a layer tell; ``None`` for the others."""
    explanation, answer = result.explanation, result.answer
    layer, attention, objective = explanation.layer, explanation.attention, explanation.objective
    return {
        "outputs": None if answer is None else _outputs_json(answer),
        "objective": None if objective is None else objective.name,
        "loss": None
        if objective is None or objective.loss is None
        else {"name": objective.loss_name, "value": objective.loss},
        "layer": None if layer is None else layer.name,
        "temporal_pooling": None if layer is None else layer.temporal_pooling,
        "temporal_alignment": None if layer is None else layer.temporal_alignment,
        "coverage": None if layer is None else as_json(layer.coverage, result.numbers),
        "attention_layer": None if attention is None else attention.module,
        "attention": None if attention is None else attention.weights.tolist(),
        "top_frames": None
        if attention is None
        else [
            {"frame": result.numbers[i], "time": round(result.clip.times[i], 6), "weight": weight}
            for i, weight in attention.top()
        ],
    }


def _span(result: Result) -> str:
    (first, last), times = (result.numbers[0], result.numbers[-1]), result.clip.times
    padded = len(result.numbers) - len(set(result.numbers))
    text = f"from frame {first} to {last} ({times[0]:.2f} s to {times[-1]:.2f} s)"
    return f"{text}, {padded} repeated as the clip is short" if padded else text


def _prediction_line(result: Result, prediction: Prediction) -> str:
    named = []
    for place, index in enumerate(prediction.ranking[:3]):
        if prediction.probabilities is None:
            value = f"{prediction.scores[place]:.4g}"
        else:
            value = f"{100 * prediction.probabilities[place]:.1f} %"
        named.append(f"{result.facts.class_name(index)} {value}")
    asked = f" ({prediction.group})" if prediction.group else ""
    return f"predicted{asked}: {', '.join(named)}"


def _frozen_line(result: Result) -> str:
    predicted = result.explanation.frozen_predictions
    assert predicted is not None
    survives, total = _survives(result), len(predicted)
    text = f"without motion: {survives} of {total} frozen frames are still {result.target.name}"
    others = Counter(int(i) for i in predicted if int(i) != result.target.index).most_common(1)
    if others:
        text += f"; most others are {result.facts.class_name(others[0][0])} ({others[0][1]})"
    return text


def _survives(result: Result) -> int:
    predicted = result.explanation.frozen_predictions
    return 0 if predicted is None else int(sum(int(i) == result.target.index for i in predicted))


def _as_json(result: Result, prediction: Prediction) -> dict[str, Any]:
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


def _chance(result: Result) -> float | None:
    for prediction in result.predictions:
        index = result.target.index
        if prediction.probabilities is not None and index in prediction.ranking:
            return prediction.probabilities[prediction.ranking.index(index)]
    return None


def _full_name(result: Result) -> str:
    name, group = result.target.name, result.target.group
    return f"{name} ({group})" if group else name


def _kind(result: Result) -> str:
    ranked = result.explanation.ranked
    return LABELS.get(ranked, ranked if ranked == "relevance" else f"{ranked} relevance")
