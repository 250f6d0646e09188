"""The pictures and arrays of an explanation of a video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from captum_video.cli._coverage import as_json
from captum_video.cli._kind import Arrays, Kind, Result
from captum_video.cli._report import LABELS, metadata
from captum_video.cli._video import Video, read_video
from captum_video.cli._video_page import page
from captum_video.cli._video_report import describe, headline, summary
from captum_video.visualization import clip_map, relevance_strip, save_video

_FILES = ("overlay.mp4", "strip.png", "relevance.safetensors")
_SHOWN = 8  # frames in a strip at most
_PANEL = 224  # pixels: small maps are enlarged to at least that


def _draw(folder: Path, result: Result[Video], rate: float) -> None:
    maps = _drawn(result)
    _panels(folder / "overlay.mp4", result, maps, rate)
    _strip(result, maps).savefig(folder / "strip.png")


def _rate(result: Result[Video]) -> float:
    steps = len(result.source.clip) - 1
    passed = result.source.clip.times[-1] - result.source.clip.times[0]
    return min(max(steps / passed, 2.0), 8.0) if passed > 0 else 2.0


def _drawn(result: Result[Video]) -> dict[str, np.ndarray]:
    """What the pictures show, by the name that they give it: maps, or else each frame's weight."""
    explanation = result.explanation
    if explanation.maps or explanation.attention is None:
        return {
            LABELS.get(name, name): clip_map(values, name)
            for name, values in explanation.maps.items()
        }
    weights = explanation.attention.weights.double().numpy()
    return {"attention": np.tile(weights[:, None, None], (1, *result.source.pictures.shape[1:3]))}


def _strip(result: Result[Video], maps: dict[str, np.ndarray]) -> Figure:
    """The strip; where frames have weights, those with the largest come first."""
    attention, title = result.explanation.attention, headline(result)
    options: dict[str, Any] = {}
    if result.explanation.layer is not None:
        options["quantity"] = LABELS.get(result.explanation.ranked, "relevance")
    if attention is not None:
        title += ", most attended frames first"
        options["indices"] = [i for i, _ in attention.top(_SHOWN)]
        options["notes"] = [f"{100 * weight:.0f} %" for weight in attention.weights.tolist()]
        options["weights"] = ("attention", attention.weights)
        options.setdefault("quantity", "attention")
    figure, _ = relevance_strip(
        result.source.pictures,
        maps,
        labels=[str(number) for number in result.source.numbers],
        title=title,
        cmap=result.cmap,
        **options,
    )
    return figure


def _panels(path: Path, result: Result[Video], maps: dict[str, np.ndarray], rate: float) -> None:
    """The frames and each map over them, side by side, with the time below."""
    captions = [
        f"{headline(result)}  |  frame {number}, {time:.2f} s"
        for number, time in zip(result.source.numbers, result.source.clip.times, strict=True)
    ]
    attention = result.explanation.attention
    if attention is not None:
        weights = attention.weights.tolist()
        captions = [
            f"{caption}, attention {100 * weight:.0f} %"
            for caption, weight in zip(captions, weights, strict=True)
        ]
    save_video(
        path,
        result.source.pictures,
        maps,
        fps=rate,
        layout="side_by_side",
        captions=captions,
        enlarge=_PANEL,
        # a frame must be seen through its weight
        alpha=0.85 if result.explanation.maps else 0.5,
    )


def _arrays(result: Result[Video]) -> Arrays:
    explanation = result.explanation
    arrays = {name: values.contiguous() for name, values in explanation.maps.items()}
    arrays["frames"] = torch.from_numpy(result.source.pictures)
    arrays["frame_numbers"] = torch.tensor(result.source.numbers)
    if explanation.frozen_scores is not None:
        arrays["frozen_scores"] = explanation.frozen_scores.contiguous()
    if explanation.frozen_predictions is not None:
        arrays["frozen_predictions"] = explanation.frozen_predictions.contiguous()
    if explanation.attention is not None:
        arrays["attention"] = explanation.attention.weights.contiguous()
    if result.answer is not None:
        arrays["outputs"] = result.answer.values.contiguous()
    return Arrays("relevance.safetensors", arrays, _metadata(result))


def _metadata(result: Result[Video]) -> dict[str, Any]:
    facts, explanation = result.facts, result.explanation
    bounds = [
        [(edge - m) / s for m, s in zip(*_paired(facts.mean, facts.std), strict=True)]
        for edge in (0.0, 1.0)
    ]
    share, layer = explanation.temporal_share, explanation.layer
    told = {
        **metadata(result, result.source.clip.path),
        "temporal_share": "" if share is None else repr(share),
        "input_low": json.dumps(bounds[0]),
        "input_high": json.dumps(bounds[1]),
        "fps": repr(result.source.clip.fps),
        "layout": "maps: (C, T, H, W); frames: uint8 (T, H, W, 3)",
    }
    if layer is not None:
        told |= {
            "layer": layer.name,
            "temporal_pooling": layer.temporal_pooling,
            "temporal_alignment": layer.temporal_alignment,
            "coverage": json.dumps(as_json(layer.coverage, result.source.numbers)),
        }
    if explanation.attention is not None:
        told["attention_layer"] = explanation.attention.module
    if explanation.objective is not None:
        told["objective"] = explanation.objective.name
        told["loss"] = explanation.objective.loss
    return told


def _paired(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    length = max(len(mean), len(std))
    return (mean * length)[:length], (std * length)[:length]


VIDEOS = Kind(
    name="videos",
    form="video files or folders of images",
    holds=lambda path: path.suffix.lower() != ".skeleton",
    options=frozenset(
        {
            "start",
            "end",
            "stride",
            "size",
            "fit",
            "mean",
            "std",
            "grey",
            "allow_truncated",
            "backend",
        }
    ),
    read=read_video,
    describe=describe,
    summary=summary,
    rate=_rate,
    draw=_draw,
    page=page,
    arrays=_arrays,
    files=_FILES,
)
