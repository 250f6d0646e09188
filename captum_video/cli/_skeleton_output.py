"""The pictures and arrays of an explanation of skeletons."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from captum_video.cli._kind import Arrays, Kind, Result
from captum_video.cli._report import metadata
from captum_video.cli._skeleton import Skeletons, joint_weights, read_skeletons
from captum_video.cli._skeleton_page import page
from captum_video.cli._skeleton_report import describe, headline, summary
from captum_video.io import KINECT_JOINTS, write_video
from captum_video.visualization import (
    filter_responses,
    joint_relevance,
    skeleton_frames,
    skeleton_strip,
)

_FILES = (
    "skeletons.mp4",
    "strip.png",
    "responses.png",
    "joints.png",
    "decoded.safetensors",
    "relevance.safetensors",
)
_RATE = 30.0  # frames per second, the Kinect's


def _rate(result: Result[Skeletons]) -> float:
    return _RATE


def _draw(folder: Path, result: Result[Skeletons], rate: float) -> None:
    source, title, explanation = result.source, headline(result), result.explanation
    sequences = {"input": source.sequence}
    sequences |= {layer.layer: layer.picture for layer in explanation.decoded}
    relevance = explanation.maps.get(explanation.ranked)
    weights = None if relevance is None else joint_weights(relevance)
    captions = [f"{title}  |  frame {number}" for number in source.numbers]
    frames = skeleton_frames(sequences, captions=captions, weights=weights, cmap=result.cmap)
    write_video(folder / "skeletons.mp4", frames, rate)
    labels = [str(number) for number in source.numbers]
    figure, _ = skeleton_strip(
        sequences, labels=labels, title=title, weights=weights, cmap=result.cmap
    )
    figure.savefig(folder / "strip.png")
    if weights is not None:
        figure, _ = joint_relevance(weights, title=title, cmap=result.cmap)
        figure.savefig(folder / "joints.png")
    else:
        matplotlib.image.imsave(folder / "responses.png", _responses(result))


def _responses(result: Result[Skeletons]) -> np.ndarray:
    """How strongly the filters of each layer respond over time: a picture of each, side by side."""
    pictures = []
    for layer in result.explanation.decoded:
        figure, _ = filter_responses({layer.layer: layer.responses.unsqueeze(0)})
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(np.asarray(canvas.buffer_rgba())[..., :3])
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate(
        [
            np.pad(picture, ((0, height - picture.shape[0]), (0, 0), (0, 0)), constant_values=255)
            for picture in pictures
        ],
        axis=1,
    )


def _arrays(result: Result[Skeletons]) -> Arrays:
    source, explanation = result.source, result.explanation
    decoded = explanation.decoded
    tensors = {name: values.contiguous() for name, values in explanation.maps.items()}
    tensors |= {
        "input": source.sequence.contiguous(),
        "frame_numbers": torch.tensor(source.numbers),
    }
    for layer in decoded:
        tensors[f"decoded.{layer.layer}"] = layer.sequence.contiguous()
        tensors[f"responses.{layer.layer}"] = layer.responses.contiguous()
    told = {
        **metadata(result, source.clip.path),
        "actors": str(len(source.actors)),
        "joints": json.dumps(KINECT_JOINTS),
        "layout": "sequences: (D, T), D actor by actor, joint by joint, x, y, z; responses: (filters, "
        "steps)",
    }
    if not decoded:
        return Arrays("relevance.safetensors", tensors, told)
    told["layers"] = json.dumps([layer.layer for layer in decoded])
    told["receptive_fields"] = json.dumps([layer.field for layer in decoded])
    return Arrays("decoded.safetensors", tensors, told)


SKELETONS = Kind(
    name="skeletons",
    form=".skeleton files of NTU RGB+D",
    holds=lambda path: path.suffix.lower() == ".skeleton",
    options=frozenset({"actors"}),
    read=read_skeletons,
    describe=describe,
    summary=summary,
    rate=_rate,
    draw=_draw,
    page=page,
    arrays=_arrays,
    files=_FILES,
)
