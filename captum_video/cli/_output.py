"""The files of one explanation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor

from captum_video._core.files import folder_written_whole
from captum_video.cli._coverage import as_json
from captum_video.cli._explain import Result
from captum_video.cli._report import LABELS, headline, summary
from captum_video.io import resize, write_video
from captum_video.visualization import (
    clip_map,
    overlay,
    relevance_strip,
    robust_maximum,
    side_by_side,
)

FILES = ("overlay.mp4", "strip.png", "relevance.safetensors", "summary.json")
_SHOWN = 8  # frames in a strip at most
_PANEL = 224  # pixels: small maps are enlarged to at least that


def folder_names(clips: Iterable[Path]) -> list[str]:
    """A folder name for each clip, no two alike, not even to a disk that ignores case.

    Args:
        clips: their paths.

    Returns:
        File names without suffix; ``walk-2``, ``walk-3`` for further clips named ``walk``.
    """
    taken: set[str] = set()
    names = []
    for clip in clips:
        whole = clip.resolve()
        base = name = (whole.name if whole.is_dir() else whole.stem) or "clip"
        number = 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that must not be replaced, before any work is done.

    Args:
        folder: where the explanation is to go.
        overwrite: whether an older explanation may be replaced.

    Raises:
        FileExistsError: if there is an explanation and it may not be replaced, or something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another --output")
    strangers = sorted(item.name for item in folder.iterdir() if item.name not in FILES)
    if strangers:
        raise FileExistsError(
            f"{folder} holds files that are no explanation ({', '.join(strangers[:3])}): choose "
            "another --output"
        )
    if not overwrite:
        raise FileExistsError(f"{folder} exists: give --overwrite, or another --output")


def write_explanation(
    folder: Path, result: Result, *, fps: float | None, overwrite: bool
) -> list[Path]:
    """Writes the overlay video, the strip, the arrays and the summary, all or none of them.

    Args:
        folder: where to.
        result: what came of a clip.
        fps: rate of the video; ``None`` for that of the frames, but 2 at least and 8 at most.
        overwrite: whether an older explanation may be replaced.

    Returns:
        The files.

    Raises:
        FileExistsError: if the folder holds something that may not be replaced.
        OSError: if the disk refuses; nothing is left then.
    """
    check_free(folder, overwrite)
    playback = _playback(result) if fps is None else fps
    video, strip, arrays, facts = FILES
    maps = _drawn(result)
    with folder_written_whole(folder, overwrite=overwrite) as part:
        write_video(part / video, _panels(result, maps), playback)
        _strip(result, maps).savefig(part / strip)
        # bytes of our own: safetensors would make a file that its owner alone can read
        (part / arrays).write_bytes(save(_arrays(result), metadata=_metadata(result)))
        text = json.dumps(summary(result, playback), indent=2, ensure_ascii=False)
        (part / facts).write_text(text + "\n", encoding="utf-8")
    return [folder / name for name in FILES]


def _playback(result: Result) -> float:
    steps = len(result.clip) - 1
    passed = result.clip.times[-1] - result.clip.times[0]
    return min(max(steps / passed, 2.0), 8.0) if passed > 0 else 2.0


def _drawn(result: Result) -> dict[str, np.ndarray]:
    """What the pictures show, by the name that they give it: maps, or else each frame's weight."""
    explanation = result.explanation
    if explanation.maps or explanation.attention is None:
        return {
            LABELS.get(name, name): clip_map(values, name)
            for name, values in explanation.maps.items()
        }
    weights = explanation.attention.weights.double().numpy()
    return {"attention": np.tile(weights[:, None, None], (1, *result.pictures.shape[1:3]))}


def _strip(result: Result, maps: dict[str, np.ndarray]) -> Figure:
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
        result.pictures,
        maps,
        labels=[str(number) for number in result.numbers],
        title=title,
        **options,
    )
    return figure


def _panels(result: Result, maps: dict[str, np.ndarray]) -> np.ndarray:
    """The frames and each map over them, side by side, with the time below."""
    height, width = result.pictures.shape[1:3]
    factor = max(1, -(-_PANEL // max(height, width)))
    size = (height * factor, width * factor)
    frames = resize(torch.from_numpy(result.pictures).permute(0, 3, 1, 2), size, fit="squeeze")
    scale = robust_maximum(*maps.values())
    panels = {"frames": frames.permute(0, 2, 3, 1).numpy()}
    alpha = 0.85 if result.explanation.maps else 0.5  # a frame must be seen through its weight
    for name, values in maps.items():
        enlarged = resize(torch.from_numpy(values).unsqueeze(1), size, fit="squeeze")[:, 0]
        panels[name] = overlay(frames, enlarged, scale=scale, alpha=alpha)
    captions = [
        f"{headline(result)}  |  frame {number}, {time:.2f} s"
        for number, time in zip(result.numbers, result.clip.times, strict=True)
    ]
    attention = result.explanation.attention
    if attention is not None:
        weights = attention.weights.tolist()
        captions = [
            f"{caption}, attention {100 * weight:.0f} %"
            for caption, weight in zip(captions, weights, strict=True)
        ]
    return side_by_side(panels, captions=captions)


def _arrays(result: Result) -> dict[str, Tensor]:
    explanation = result.explanation
    arrays = {name: values.contiguous() for name, values in explanation.maps.items()}
    arrays["frames"] = torch.from_numpy(result.pictures)
    arrays["frame_numbers"] = torch.tensor(result.numbers)
    if explanation.frozen_scores is not None:
        arrays["frozen_scores"] = explanation.frozen_scores.contiguous()
    if explanation.frozen_predictions is not None:
        arrays["frozen_predictions"] = explanation.frozen_predictions.contiguous()
    if explanation.attention is not None:
        arrays["attention"] = explanation.attention.weights.contiguous()
    if result.answer is not None:
        arrays["outputs"] = result.answer.values.contiguous()
    return arrays


def _metadata(result: Result) -> dict[str, str]:
    facts, explanation = result.facts, result.explanation
    bounds = [
        [(edge - m) / s for m, s in zip(*_paired(facts.mean, facts.std), strict=True)]
        for edge in (0.0, 1.0)
    ]
    share, target, layer = explanation.temporal_share, result.target, explanation.layer
    told: dict[str, Any] = {
        "clip": str(result.clip.path),
        "model": facts.name,
        "method": result.method,
        "seed": explanation.seed,
        "temporal_share": "" if share is None else repr(share),
        "input_low": json.dumps(bounds[0]),
        "input_high": json.dumps(bounds[1]),
        "mean": json.dumps(facts.mean),
        "std": json.dumps(facts.std),
        "fps": repr(result.clip.fps),
        "layout": "maps: (C, T, H, W); frames: uint8 (T, H, W, 3)",
    }
    if explanation.maps:
        index = target.index
        told["target"] = ",".join(map(str, index)) if isinstance(index, tuple) else index
        told |= {"target_name": target.name, "target_group": target.group}
        told["target_score"] = None if math.isnan(target.score) else repr(target.score)
    if layer is not None:
        told |= {
            "layer": layer.name,
            "temporal_pooling": layer.temporal_pooling,
            "temporal_alignment": layer.temporal_alignment,
            "coverage": json.dumps(as_json(layer.coverage, result.numbers)),
        }
    if explanation.attention is not None:
        told["attention_layer"] = explanation.attention.module
    if explanation.objective is not None:
        told["objective"] = explanation.objective.name
        told["loss"] = explanation.objective.loss
    return {name: str(value) for name, value in told.items() if value is not None}


def _paired(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    length = max(len(mean), len(std))
    return (mean * length)[:length], (std * length)[:length]
