"""The pictures of skeletons: ``python docs/skeleton_images.py``, or with all others by make_images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

import models
from captum_video import DeepTaylor, FeatureMapDecoder
from captum_video.relevance.rules import AlphaBeta
from captum_video.visualization import (
    filter_figure,
    filter_responses,
    joint_relevance,
    motion_primitives_figure,
    skeleton_strip,
)
from models import diagnose
from models.data.actions import ACTIONS, Actions, ActionSample

IMAGES = Path(__file__).parent / "images"
SEED = 20_000
FACING = 1  # the camera in the middle


def write(figure: Figure, name: str, width: int = 1400) -> None:
    """Saves a figure among the images, at most ``width`` pixels wide."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "picture.png"
        figure.savefig(path, dpi=150)
        save_small(path, IMAGES / name, width)


def save_small(picture: Path, target: Path, width: int = 1400) -> None:
    """Saves a picture at most ``width`` pixels wide."""
    image = Image.open(picture).convert("RGB")
    if image.width > width:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(target, optimize=True)


def samples(action: str, count: int) -> list[ActionSample]:
    """Clips of an action from the middle camera."""
    data = Actions(2000, seed=SEED, split="validation")
    numbers = (n for n in range(len(data)) if ACTIONS[data.labels(n)[0]] == action)
    found = (sample for sample in map(data.__getitem__, numbers) if sample.camera == FACING)
    return [sample for sample, _ in zip(found, range(count), strict=False)]


def decoded(net: Any) -> None:
    """A jump, and what three layers decode it to."""
    (sample,) = samples("jump up", 1)
    sequence = sample.clip[None]
    rows = {"input": sequence[0]}
    for number in (1, 3, 5, 7):
        decoder = FeatureMapDecoder(net, f"layer{number}", scale="input")
        rows[f"layer {number}"] = decoder.attribute(sequence)[0]
    active = sample.active.nonzero().flatten()
    frames = torch.linspace(int(active[0]), int(active[-1]), 8).round().int().tolist()
    figure, _ = skeleton_strip(rows, frames=frames, title="'jump up', decoded from res_tcn_small")
    write(figure, "decoded.png")


def relevance(net: Any) -> None:
    """Which joints a decision rests on, and when."""
    for sample in samples("throw", 20):
        if int(net(sample.clip[None]).argmax()) == sample.action:
            break
    method = DeepTaylor(net, rules={"first": AlphaBeta(1, 0)})
    values = method.attribute(sample.clip[None], target=sample.action)
    figure, _ = joint_relevance(
        values[0],
        actors=1,
        informative=sample.informative,
        active=sample.active,
        title="'throw': relevance by deep Taylor, joint by joint",
    )
    write(figure, "joint-relevance.png", width=1000)


def filters(net: Any) -> None:
    """Figures 3 and 8 of paper 5."""
    decoder = FeatureMapDecoder(net, "layer3")
    primitives, mean = decoder.motion_primitives(), net.mean[:, 0]
    figure, _ = motion_primitives_figure(primitives, filters=4, mean=mean)
    write(figure, "motion-primitives.png")
    figure, _ = filter_figure(primitives, {"layer 3": decoder.gates()}, mean=mean)
    write(figure, "filters.png", width=1000)
    last = FeatureMapDecoder(net, "layer7")
    rows = {
        action: last.responses(torch.stack([sample.clip for sample in samples(action, 5)]))
        for action in ("jump up", "hand waving", "reading", "writing")
    }
    figure, _ = filter_responses(rows, title="layer 7 of res_tcn_small")
    write(figure, "filter-responses.png")


def diagnosis() -> None:
    """What the diagnosis of the bundled net shows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "diagnosis"
        if diagnose.main(["res_tcn_small", "--output", str(folder), "--quiet"]):
            raise SystemExit(1)
        for name in ("amplification", "confusion"):
            save_small(folder / f"{name}.png", IMAGES / f"diagnosis-{name}.png", 1000)


def draw_all() -> None:
    """Draws every picture of skeletons."""
    net: Any = models.load("res_tcn_small")
    decoded(net)
    relevance(net)
    filters(net)
    diagnosis()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_all()
