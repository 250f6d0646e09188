"""What an explanation says, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from captum_video.cli._explain import Result
from captum_video.cli._target import Prediction


def describe(result: Result) -> str:
    """The explanation in a few lines for the terminal.

    Args:
        result: what came of a clip.

    Returns:
        Lines, indented, without a final line break.
    """
    clip, facts = result.clip, result.facts
    height, width = facts.size
    lines = [
        f"clip: {result.total} frames at {clip.fps:.4g} fps; the model saw {len(result.clip)} of "
        f"{width}x{height} pixels, {_span(result)}",
        *(_prediction_line(result, prediction) for prediction in result.predictions),
        f"explained: {_full_name(result)}, score {result.target.score:.4g}, by {result.method}",
    ]
    explanation = result.explanation
    if explanation.temporal_share is not None:
        lines.append(
            f"temporal share: {explanation.temporal_share:.3f} "
            "(0: all owed to appearance, 1: all to motion)"
        )
    if explanation.frozen_predictions is not None:
        lines.append(_frozen_line(result))
    strongest = result.strongest()
    if strongest:
        named = ", ".join(
            f"{result.numbers[i]} ({result.clip.times[i]:.2f} s, {100 * share:.0f} %)"
            for i, share in strongest
        )
        lines.append(f"frames with most positive {_kind(result)}: {named}")
    else:
        lines.append(f"no frame has positive {_kind(result)}")
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
        "target": {
            "index": result.target.index,
            "name": result.target.name,
            "group": result.target.group,
            "score": result.target.score,
        },
        "temporal_share": explanation.temporal_share,
        "frozen_frames": frozen,
        "strongest_frames": [
            {"frame": result.numbers[i], "time": round(result.clip.times[i], 6), "share": share}
            for i, share in result.strongest()
        ],
        "strongest_frames_of": explanation.ranked,
        "overlay_fps": playback,
    }


def headline(result: Result) -> str:
    """One line for the top of the picture.

    Args:
        result: what came of a clip.

    Returns:
        The clip, the class and, where the method tells, the temporal share.
    """
    text = f"{result.clip.path.name}: {_full_name(result)}"
    chance = _chance(result)
    if chance is not None:
        text += f" ({100 * chance:.0f} %)"
    share = result.explanation.temporal_share
    return text if share is None else f"{text}, temporal share {share:.2f}"


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
    return 0 if predicted is None else int((predicted == result.target.index).sum())


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
        if prediction.probabilities is not None and result.target.index in prediction.ranking:
            return prediction.probabilities[prediction.ranking.index(result.target.index)]
    return None


def _full_name(result: Result) -> str:
    name, group = result.target.name, result.target.group
    return f"{name} ({group})" if group else name


def _kind(result: Result) -> str:
    ranked = result.explanation.ranked
    return ranked if ranked == "relevance" else f"{ranked} relevance"
