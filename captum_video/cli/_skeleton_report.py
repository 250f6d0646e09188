"""What an explanation of skeletons says, in words and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from captum_video.cli._kind import Result
from captum_video.cli._report import (
    chance,
    full_name,
    map_name,
    prediction_lines,
    predictions_json,
    target_json,
)
from captum_video.cli._request import Decoded
from captum_video.cli._skeleton import Joint, Skeletons, joints, strongest
from captum_video.io import KINECT_JOINTS

_TOLD = 3  # joints


def describe(result: Result[Skeletons]) -> list[str]:
    """The explanation in a few lines for the terminal.

    Args:
        result: what came of a clip.

    Returns:
        Lines.
    """
    source, explanation = result.source, result.explanation
    if explanation.maps:
        told = _relevance_lines(result)
    else:
        names = _list([layer.layer for layer in explanation.decoded])
        told = [
            f"explained: {names}, decoded for no class in particular, by {result.method}",
            *(_layer_line(source, layer) for layer in explanation.decoded),
        ]
    return [_clip_line(source), *prediction_lines(result), *told]


def _relevance_lines(result: Result[Skeletons]) -> list[str]:
    source, name = result.source, map_name(result)
    lines = [f"explained: {full_name(result)}, score {result.target.score:.4g}, by {result.method}"]
    best, frames = strongest(result.explanation.maps[result.explanation.ranked])
    if not best:
        return [*lines, f"no joint has positive {name}"]
    named = [f"{source.joint(place)} ({100 * share:.0f} %)" for place, share in best]
    numbered = [f"{source.numbers[place]} ({100 * share:.0f} %)" for place, share in frames]
    return [
        *lines,
        f"joints with most positive {name}: {', '.join(named)}",
        f"frames with most positive {name}: {', '.join(numbered)}",
    ]


def _clip_line(source: Skeletons) -> str:
    bodies, actors = len(source.clip.body_ids), len(source.actors)
    text = (
        f"clip: {len(source.clip)} frames with {_count(bodies, 'body', 'bodies')}; the model saw "
        f"{len(source.numbers)} of {_count(actors, 'actor', 'actors')}, from frame "
        f"{source.numbers[0]} to {source.numbers[-1]}"
    )
    return f"{text}, {source.held} repeated as the clip is short" if source.held else text


def _layer_line(source: Skeletons, layer: Decoded) -> str:
    sees = "" if layer.field is None else f" (sees {_count(layer.field, 'frame', 'frames')})"
    found = joints(source, layer.picture)
    if not found:
        return f"{layer.layer}{sees}: nothing to compare, as nothing moves"
    more = [joint for joint in found[:_TOLD] if joint.amplification > 0]
    less = [joint for joint in found[: -_TOLD - 1 : -1] if joint.amplification < 0]
    parts = [
        f"{verb} {', '.join(_change(source, joint) for joint in some)}"
        for verb, some in (("amplifies", more), ("loses", less))
        if some
    ]
    if not parts:
        return f"{layer.layer}{sees}: all joints move as in the input"
    return f"{layer.layer}{sees} {'; '.join(parts)} of all motion"


def _change(source: Skeletons, joint: Joint) -> str:
    return (
        f"{source.joint(joint.place)} x{2**joint.amplification:.2g} "
        f"({100 * joint.before:.1f} % to {100 * joint.share:.1f} %)"
    )


def summary(result: Result[Skeletons], rate: float) -> dict[str, Any]:
    """The explanation for programs.

    Args:
        result: what came of a clip.
        rate: frames per second of the video.

    Returns:
        Numbers, strings, lists and dictionaries.
    """
    source, facts, explanation = result.source, result.facts, result.explanation
    best, frames = strongest(explanation.maps[explanation.ranked]) if explanation.maps else ([], [])
    return {
        "clip": str(source.clip.path),
        "clip_frames": len(source.clip),
        "bodies": _bodies(source),
        "actors": len(source.actors),
        "frames": source.numbers,
        "model": facts.name,
        "dimensions": len(source.sequence),
        "mean": list(facts.mean),
        "std": list(facts.std),
        "assumed": list(facts.assumed),
        "method": result.method,
        "seed": explanation.seed,
        "predictions": predictions_json(result),
        "target": target_json(result),
        "layers": [_layer_json(source, layer) for layer in explanation.decoded],
        "strongest_joints": [{**_joint_json(place), "share": share} for place, share in best],
        "strongest_frames": [
            {"frame": source.numbers[place], "share": share} for place, share in frames
        ],
        "skeletons_fps": rate,
    }


def _bodies(source: Skeletons) -> list[dict[str, Any]]:
    """The bodies of the file; the ids are texts, as they are too long for many readers' numbers."""
    frames, motion = source.clip.tracked.sum(0).tolist(), source.clip.motion.tolist()
    return [
        {
            "id": str(identity),
            "frames": frames[body],
            "motion": motion[body],
            "actor": source.actors.index(body) + 1 if body in source.actors else None,
        }
        for body, identity in enumerate(source.clip.body_ids)
    ]


def _layer_json(source: Skeletons, layer: Decoded) -> dict[str, Any]:
    """A layer; the log2 of a joint that stands still when decoded is ``None``."""
    listed = []
    for joint in joints(source, layer.picture):
        gain = joint.amplification
        listed.append(
            {
                **_joint_json(joint.place),
                "share": joint.share,
                "input_share": joint.before,
                "log2": gain if math.isfinite(gain) else None,
            }
        )
    return {
        "layer": layer.layer,
        "receptive_field": layer.field,
        "filters": layer.responses.shape[0],
        "steps": layer.responses.shape[1],
        "joints": listed,
    }


def _joint_json(place: int) -> dict[str, Any]:
    actor, number = divmod(place, len(KINECT_JOINTS))
    return {"actor": actor + 1, "joint": KINECT_JOINTS[number]}


def headline(result: Result[Skeletons]) -> str:
    """One line for the top of the picture.

    Args:
        result: what came of a clip.

    Returns:
        The clip and what was explained, or else what the model predicts.
    """
    if result.explanation.maps:
        likely = chance(result)
        text = f"{result.source.clip.path.name}: {full_name(result)}"
        return text if likely is None else f"{text} ({100 * likely:.0f} %)"
    named = []
    for prediction in result.predictions:
        text = result.facts.class_name(prediction.ranking[0])
        if prediction.probabilities is not None:
            text += f" ({100 * prediction.probabilities[0]:.0f} %)"
        named.append(text)
    return f"{result.source.clip.path.name}: {', '.join(named)}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
