"""What an explanation of a video says, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from captum_video.cli._coverage import as_json, phrase
from captum_video.cli._kind import Result
from captum_video.cli._regression import Numbers
from captum_video.cli._report import (
    chance,
    full_name,
    map_name,
    prediction_lines,
    predictions_json,
    target_json,
)
from captum_video.cli._request import Objective, UsedLayer
from captum_video.cli._video import Video, strongest, timeless

_MANY = 1000  # outputs: no more are listed in the summary


def describe(result: Result[Video]) -> list[str]:
    """The explanation in a few lines for the terminal.

    Args:
        result: what came of a clip.

    Returns:
        Lines.
    """
    clip, explanation = result.source.clip, result.explanation
    height, width = result.facts.size
    lines = [
        f"clip: {result.source.total} frames at {clip.fps:.4g} fps; the model saw {len(clip)} of "
        f"{width}x{height} pixels, {_span(result)}",
        *prediction_lines(result),
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
            f"frames with most attention: {named}; an even share would be {100 / len(clip):.2g} %"
        )
    if explanation.maps and not timeless(result):
        named = _frames(result, strongest(result))
        lines.append(
            f"frames with most positive {map_name(result)}: {named}"
            if named
            else f"no frame has positive {map_name(result)}"
        )
    return lines


def summary(result: Result[Video], playback: float) -> dict[str, Any]:
    """The explanation for programs.

    Args:
        result: what came of a clip.
        playback: frames per second of the overlay video.

    Returns:
        Numbers, strings, lists and dictionaries.
    """
    clip, facts, explanation = result.source.clip, result.facts, result.explanation
    frozen = None
    if explanation.frozen_predictions is not None and explanation.frozen_scores is not None:
        frozen = {
            "scores": explanation.frozen_scores.tolist(),
            "predictions": [facts.class_name(int(i)) for i in explanation.frozen_predictions],
            "share_predicting_target": _survives(result) / len(result.source.clip),
        }
    return {
        "clip": str(clip.path),
        "clip_frames": result.source.total,
        "clip_fps": clip.fps,
        "frames": result.source.numbers,
        "times": [round(time, 6) for time in clip.times],
        "model": facts.name,
        "size": list(facts.size),
        "mean": list(facts.mean),
        "std": list(facts.std),
        "assumed": list(facts.assumed),
        "method": result.method,
        "seed": explanation.seed,
        "predictions": predictions_json(result),
        "target": target_json(result),
        "temporal_share": explanation.temporal_share,
        "frozen_frames": frozen,
        **_layer_json(result),
        "strongest_frames": [
            {
                "frame": result.source.numbers[i],
                "time": round(result.source.clip.times[i], 6),
                "share": share,
            }
            for i, share in strongest(result)
        ],
        "strongest_frames_of": explanation.ranked if explanation.maps else None,
        "overlay_fps": playback,
    }


def headline(result: Result[Video]) -> str:
    """One line for the top of the picture.

    Args:
        result: what came of a clip.

    Returns:
        The clip, the output and, where there is one, the layer or the temporal share.
    """
    explanation, clip = result.explanation, result.source.clip.path.name
    if not explanation.maps:
        return f"{clip}: attention over frames"
    if explanation.objective is not None:
        text = f"{clip}: {_objective(result, explanation.objective)}"
    else:
        text = f"{clip}: {full_name(result)}"
        likely = chance(result)
        text += f" ({100 * likely:.0f} %)" if likely is not None else ""
    if explanation.layer is not None:
        text += f", layer {explanation.layer.name}"
    share = explanation.temporal_share
    return text if share is None else f"{text}, temporal share {share:.2f}"


def _explained(result: Result[Video]) -> str:
    explanation = result.explanation
    if not explanation.maps:
        return "the attention over frames, which depends on no class"
    if explanation.objective is not None:
        return _objective(result, explanation.objective)
    return f"{full_name(result)}, score {result.target.score:.4g}"


def _objective(result: Result[Video], objective: Objective) -> str:
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


def _layer_line(result: Result[Video], layer: UsedLayer) -> str:
    slices = layer.coverage.slices
    told = phrase(layer.coverage, result.source.numbers)
    line = f"layer: {layer.name}, {slices} time slice{'s' * (slices != 1)}: {told}"
    if timeless(result):
        line += ", so all have the same map"
    if layer.temporal_pooling == "frame":
        line += "; gradients averaged for each slice alone"
    return f"{line}; slices spread evenly" if layer.temporal_alignment == "uniform" else line


def _frames(result: Result[Video], ranked: list[tuple[int, float]]) -> str:
    return ", ".join(
        f"{result.source.numbers[i]} ({result.source.clip.times[i]:.2f} s, {100 * share:.0f} %)"
        for i, share in ranked
    )


def _outputs_json(answer: Numbers) -> dict[str, Any]:
    """A regression's numbers; very many of them are in the arrays alone."""
    few = answer.values.numel() <= _MANY
    return {
        "shape": list(answer.values.shape),
        "names": list(answer.names) if few else None,
        "values": answer.values.tolist() if few else None,
    }


def _layer_json(result: Result[Video]) -> dict[str, Any]:
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
        "coverage": None if layer is None else as_json(layer.coverage, result.source.numbers),
        "attention_layer": None if attention is None else attention.module,
        "attention": None if attention is None else attention.weights.tolist(),
        "top_frames": None
        if attention is None
        else [
            {
                "frame": result.source.numbers[i],
                "time": round(result.source.clip.times[i], 6),
                "weight": weight,
            }
            for i, weight in attention.top()
        ],
    }


def _span(result: Result[Video]) -> str:
    numbers, times = result.source.numbers, result.source.clip.times
    padded = len(numbers) - len(set(numbers))
    text = f"from frame {numbers[0]} to {numbers[-1]} ({times[0]:.2f} s to {times[-1]:.2f} s)"
    return f"{text}, {padded} repeated as the clip is short" if padded else text


def _frozen_line(result: Result[Video]) -> str:
    predicted = result.explanation.frozen_predictions
    assert predicted is not None
    survives, total = _survives(result), len(predicted)
    text = f"without motion: {survives} of {total} frozen frames are still {result.target.name}"
    others = Counter(int(i) for i in predicted if int(i) != result.target.index).most_common(1)
    if others:
        text += f"; most others are {result.facts.class_name(others[0][0])} ({others[0][1]})"
    return text


def _survives(result: Result[Video]) -> int:
    predicted = result.explanation.frozen_predictions
    return 0 if predicted is None else int(sum(int(i) == result.target.index for i in predicted))
