"""Draws the pictures of the README and the documentation: ``python docs/make_images.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from skeleton_images import IMAGES, draw_all, save_small
from torch import Tensor

import models
from captum_video import (
    DiscriminativeRelevance,
    FrameAttention,
    FusionPosterior,
    TemporalParameters,
    VideoGradCam,
    normalized_range,
)
from captum_video.attr import explain_channel
from captum_video.visualization import channel_figure, fusion_probabilities, relevance_strip
from models import demo
from models.data.events import Events
from models.data.moving_digits import MovingDigits
from models.data.video_mnist import VideoMNIST

NUMBER = 1  # of the clip: a digit that moves to the left
TURNING = 17  # of a clip whose digit turns clockwise
EVENT = 2  # of the clip in which a digit shows for a few frames


def moving_digit(folder: Path) -> None:
    """The split of a clip whose truth is known."""
    model: Any = models.load("c3d_small")
    info = model.info
    sample = MovingDigits(NUMBER + 1, seed=20_000, split="validation")[NUMBER]
    x: Tensor = info.normalize(sample.clip)[None]
    ranges = normalized_range(info.mean, info.std)
    method = DiscriminativeRelevance(model, input_range=ranges)
    parts = method.decompose(x, target=sample.motion, internal_batch_size=8)
    frames = (sample.clip.permute(1, 2, 3, 0) * 255).round().to(torch.uint8)
    rows = {name: getattr(parts, name) for name in parts._fields}
    title = f"evidence for {info.classes[sample.motion]!r}"
    figure, _ = relevance_strip(frames, rows, indices=range(1, 16, 2), title=title)
    figure.savefig(folder / "digit.png", dpi=110)
    save_small(folder / "digit.png", IMAGES / "moving-digit.png")


def event(folder: Path) -> None:
    """Attention and Grad-CAM on a clip whose deciding frames are known."""
    model: Any = models.load("cnn_lstm_attention_small")
    info = model.info
    sample = Events(EVENT + 1, seed=20_000, split="validation")[EVENT]
    x: Tensor = info.normalize(sample.clip)[None]
    maps = VideoGradCam(model, info.layer, temporal_pooling="frame").attribute(x, "predicted")
    weights = FrameAttention(model, info.attention).attribute(x)[0]
    frames = (sample.clip.permute(1, 2, 3, 0) * 255).round().to(torch.uint8)
    known = [t for t in range(len(weights)) if sample.frames[t]]
    predicted = info.classes[int(model(x).argmax())]
    figure, _ = relevance_strip(
        frames,
        {"Grad-CAM": maps[0]},
        indices=range(max(0, known[0] - 3), min(len(weights), known[0] + 6)),
        weights=("attention", weights),
        quantity="Grad-CAM",
        title=f"predicted {predicted!r}; the digit shows in frames {known[0]} to {known[-1]}",
    )
    figure.savefig(folder / "event.png", dpi=110)
    save_small(folder / "event.png", IMAGES / "grad-cam.png")


def channel(folder: Path) -> None:
    """Two channels of a 3TConv: saliency, activation maximisation, temporal parameters."""
    model: Any = models.load("lenet5_3t")
    sample = VideoMNIST(TURNING + 1, seed=20_000, split="validation", decoupled=True)[TURNING]
    x: Tensor = model.info.normalize(sample.clip)[None]
    found = TemporalParameters(model, "conv2").motion(x, target="predicted", top=2)
    shown = [explain_channel(model, "conv2", x, int(c)) for c in found.channels[0]]
    figure, _ = channel_figure(shown, columns=1)
    figure.savefig(folder / "channel.png", dpi=110)
    save_small(folder / "channel.png", IMAGES / "channel.png", width=900)


def fusion(folder: Path) -> None:
    """What each layer of a network with fusion units keeps, and its most probable strategy."""
    model: Any = models.load("fusion_net_small")
    posterior = FusionPosterior(model)
    figure, _ = fusion_probabilities(
        posterior.read(),
        strategy=posterior.most_probable(),
        title="fusion_net_small: posterior and its most probable strategy",
    )
    figure.savefig(folder / "fusion.png", dpi=150)
    save_small(folder / "fusion.png", IMAGES / "fusion-posterior.png", width=900)


def real_clip(folder: Path) -> None:
    """The strip that the demo writes."""
    status = demo.main(["--output", str(folder / "demo")])
    if status:
        raise SystemExit(status)
    (strip,) = (folder / "demo").glob("*/strip.png")
    save_small(strip, IMAGES / "strip.png")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        moving_digit(Path(scratch))
        event(Path(scratch))
        channel(Path(scratch))
        fusion(Path(scratch))
        real_clip(Path(scratch))
    draw_all()
