"""Pictures of relevance and Grad-CAM on clips whose truth is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import models
from captum_video import (
    DeepTaylor,
    DiscriminativeRelevance,
    FrameAttention,
    RegressionGradCam,
    SelectiveRelevance,
    VideoGradCam,
    normalized_range,
)
from captum_video.relevance.rules import Epsilon
from captum_video.visualization import relevance_strip
from models.data.drives import INTRINSICS, Drives
from models.data.events import Events
from models.data.moving_digits import MovingDigits
from models.view_synthesis import ViewSynthesis
from pictures import picture

SEED = 20_000  # of clips that no training has seen
LEFT = 1  # the number of a clip in which a digit moves to the left
EVENT = 2  # of one in which a digit shows for a few frames
DRIVE = 3  # of one in which a vehicle moves


class Digit(NamedTuple):
    """A clip of a moving digit, as the net sees it and as it is shown."""

    model: Any
    x: Tensor
    frames: Tensor
    motion: int
    ranges: Any

    @property
    def title(self) -> str:
        """What is explained."""
        return f"evidence for {self.model.info.classes[self.motion]!r}"


def shown(clip: Tensor) -> Tensor:
    """A clip (C, T, H, W) in [0, 1] as frames (T, H, W, C) in uint8."""
    return (clip.permute(1, 2, 3, 0) * 255).round().to(torch.uint8)


def alike(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Maps (1, C, T, H, W) by name, summed over colours and divided by their largest magnitudes."""
    summed = {name: values[0].sum(0) for name, values in rows.items()}
    return {name: values / values.abs().max() for name, values in summed.items()}


def digit() -> Digit:
    """A digit that moves to the left, and the net that tells how digits move."""
    model: Any = models.load("c3d_small")
    info = model.info
    sample = MovingDigits(LEFT + 1, seed=SEED, split="validation")[LEFT]
    ranges = normalized_range(info.mean, info.std)
    x = info.normalize(sample.clip)[None]
    return Digit(model, x, shown(sample.clip), sample.motion, ranges)


def compared(it: Digit, rows: dict[str, Tensor]) -> Figure:
    """A strip of maps, each of which takes the colours' whole range."""
    return relevance_strip(
        it.frames,
        alike(rows),
        indices=range(1, 16, 2),
        title=f"{it.title}, each map divided by its largest magnitude",
        curve=False,
    )[0]


@picture("moving-digit", "c3d_small")
def moving_digit() -> Figure:
    """The split into appearance and motion."""
    it = digit()
    method = DiscriminativeRelevance(it.model, input_range=it.ranges)
    parts = method.decompose(it.x, target=it.motion, internal_batch_size=8)
    rows = {name: getattr(parts, name) for name in parts._fields}
    return relevance_strip(it.frames, rows, indices=range(1, 16, 2), title=it.title)[0]


@picture("deep-taylor", "c3d_small")
def deep_taylor() -> Figure:
    """The same decision under different rules."""
    it = digit()
    methods = {
        "z-beta first": DeepTaylor(it.model, input_range=it.ranges),
        "w² first": DeepTaylor(it.model),
        "alpha 2, beta 1": DeepTaylor(it.model, alpha=2, beta=1, input_range=it.ranges),
        "epsilon": DeepTaylor(
            it.model, rules={"first": Epsilon(1e-6), torch.nn.Module: Epsilon(1e-6)}
        ),
    }
    rows = {name: method.attribute(it.x, it.motion) for name, method in methods.items()}
    return compared(it, rows)


@picture("selective-relevance", "c3d_small")
def selective_relevance() -> Figure:
    """Relevance that changes in time, beside what is owed to motion."""
    it = digit()
    base = DeepTaylor(it.model, input_range=it.ranges, seed="one")
    method = DiscriminativeRelevance(it.model, input_range=it.ranges)
    temporal = method.attribute(it.x, target=it.motion, internal_batch_size=8)
    rows = {
        "all": base.attribute(it.x, target=it.motion),
        "selective": SelectiveRelevance(base).attribute(it.x, target=it.motion),
        "temporal": temporal,
    }
    return compared(it, rows)


class Event(NamedTuple):
    """A clip in which a digit shows for a few frames, as the net sees it and as it is shown."""

    model: Any
    x: Tensor
    frames: Tensor
    known: list[int]

    @property
    def title(self) -> str:
        """What the net says, and where the truth is."""
        predicted = self.model.info.classes[int(self.model(self.x).argmax())]
        first, last = self.known[0], self.known[-1]
        return f"predicted {predicted!r}; the digit shows in frames {first} to {last}"


def event() -> Event:
    """A digit among distractors, and the net with attention that names it."""
    model: Any = models.load("cnn_lstm_attention_small")
    sample = Events(EVENT + 1, seed=SEED, split="validation")[EVENT]
    known = [t for t, shows in enumerate(sample.frames) if shows]
    return Event(model, model.info.normalize(sample.clip)[None], shown(sample.clip), known)


@picture("grad-cam", "cnn_lstm_attention_small")
def grad_cam() -> Figure:
    """Grad-CAM of a clip whose deciding frames are known."""
    it = event()
    maps = VideoGradCam(it.model, it.model.info.layer, temporal_pooling="frame")
    return relevance_strip(
        it.frames,
        {"Grad-CAM": maps.attribute(it.x, "predicted")[0]},
        indices=range(max(0, it.known[0] - 3), min(len(it.frames), it.known[0] + 6)),
        quantity="Grad-CAM",
        title=it.title,
    )[0]


@picture("frame-attention", "cnn_lstm_attention_small")
def frame_attention() -> Figure:
    """The frames with the largest weights, and Grad-CAM on them."""
    it = event()
    method = FrameAttention(it.model, it.model.info.attention)
    weights = method.attribute(it.x)[0]
    best = method.best_frames(it.x, it.model.info.layer, k=4)
    maps = torch.zeros(len(it.frames), *it.frames.shape[1:3], dtype=best.maps.dtype)
    maps[best.frames[0]] = best.maps[0, :, 0]
    return relevance_strip(
        it.frames,
        {"Grad-CAM": maps},
        indices=best.frames[0].tolist(),
        notes=[f"{weight:.3f}" for weight in weights.tolist()],
        weights=("attention", weights),
        quantity="Grad-CAM",
        title=f"{it.title}; most attended first",
    )[0]


@picture("regression-grad-cam", "odometry_small")
def regression_grad_cam() -> Figure:
    """Where the error of visual odometry is lowered, and what raises two of its outputs."""
    model: Any = models.load("odometry_small")
    sample = Drives(DRIVE + 1, seed=SEED, split="validation")[DRIVE]
    x = model.info.normalize(sample.clip)[None]
    layer = model.pose.relu5
    loss = RegressionGradCam(
        model.views, layer, loss=ViewSynthesis(INTRINSICS), self_supervised=True
    )
    output = RegressionGradCam(model, layer, objective="output")
    rows = {
        "-error": loss.attribute(x),
        "+ahead": output.attribute(x, target=(3, 2)),
        "+turn": output.attribute(x, target=(3, 4)),
    }
    return relevance_strip(
        shown(sample.clip),
        alike(rows),
        indices=(0, 2, 4),
        quantity="Grad-CAM",
        title="odometry_small: what lowers the error, what raises two of the outputs",
        curve=False,
    )[0]
