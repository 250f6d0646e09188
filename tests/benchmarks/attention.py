"""Does attention help a CNN-LSTM, and do attention and Grad-CAM find what decided?

Paper 4 (section 3) reports that attention raises accuracy and sharpens Grad-CAM, that its weights are
high on the frames that matter, and proposes to rank frames by attention and then to look at Grad-CAM
on the best. Here the deciding frames and the place are known: ``models.data.Events``, clips of a seed
that no training used, the same for all nets. With several trained seeds (``--runs DIR``, which holds
``*/cnn_lstm_small.safetensors`` and ``*/cnn_lstm_attention_small.safetensors``) differences come with
a 95 % confidence interval over the seeds.

Grad-CAM explains the predicted class. The maps' largest value *hits* if it lies on the digit: in the
whole clip (a), in each of the event's frames (b), in the frame that attention ranks first (c); for b and
c ``MARGIN`` pixels around the digit count as it. Chance is the share of the area that counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import default_collate

import models
from captum_video import FrameAttention, VideoGradCam
from models.data import Events

SEED = 40_000
PLAIN, ATTENTIVE = "cnn_lstm_small", "cnn_lstm_attention_small"
POOLINGS: tuple[Literal["frame", "clip"], ...] = ("frame", "clip")
#: half a cell of the layer's map
MARGIN = 2
BATCH = 25
#: the 97.5 % points of Student's t with 1, 2, ... degrees of freedom
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

Figures = dict[str, float]


def batches(count: int) -> Iterator[Any]:
    """Fresh clips with what is known about them, stacked."""
    data = Events(count, seed=SEED, split="validation")
    for start in range(0, count, BATCH):
        samples = [data[index] for index in range(start, min(start + BATCH, count))]
        yield default_collate(samples)


def widened(mask: Tensor, margin: int = MARGIN) -> Tensor:
    """Masks ``(N, T, H, W)`` with so many pixels around them in every frame."""
    window = 2 * margin + 1
    return F.max_pool2d(mask.float(), window, 1, margin) > 0


def peak(maps: Tensor, mask: Tensor) -> Tensor:
    """Whether the largest value of each map lies on its mask, both ``(..., A)``."""
    return mask.gather(-1, maps.argmax(-1, keepdim=True)).squeeze(-1)


def measured(net: Any, batch: Any) -> dict[str, list[float]]:
    """Every figure of a net, clip by clip."""
    clips = net.info.normalize(batch.clip)
    with torch.no_grad():
        right = net(clips).argmax(1) == batch.event
    near = widened(batch.mask)
    rows: dict[str, Tensor] = {"accuracy": right.double()}
    first = None
    if net.info.attention is not None:
        weights = FrameAttention(net, net.info.attention).attribute(clips)
        first = weights.argmax(1)
        rows["attention on the event"] = (weights * batch.frames).sum(1)
        rows["first frame is the event's"] = batch.frames.gather(1, first[:, None])[:, 0]
    for pooling in POOLINGS:
        cam = VideoGradCam(net, net.info.layer, temporal_pooling=pooling)
        maps = cam.attribute(clips, target="predicted")[:, 0]
        rows[f"{pooling} a"] = peak(maps.flatten(1), batch.mask.flatten(1))
        rows[f"{pooling} a, margin"] = peak(maps.flatten(1), near.flatten(1))
        found = peak(maps.flatten(2), near.flatten(2))
        rows[f"{pooling} b"] = (found & batch.frames).sum(1) / batch.frames.sum(1)
        if first is not None:
            rows[f"{pooling} c"] = found.gather(1, first[:, None])[:, 0]
    return {name: values.double().tolist() for name, values in rows.items()}


def chances(batch: Any) -> dict[str, list[float]]:
    """What a map or a weight that knows nothing would get, clip by clip."""
    near = widened(batch.mask).double().mean((2, 3))
    frames = batch.frames.double()
    share = frames.mean(1)
    rows = {
        "attention on the event": share,
        "first frame is the event's": share,
        "a": batch.mask.double().mean((1, 2, 3)),
        "a, margin": near.mean(1),
        "b": near.sum(1) / frames.sum(1),
        "c": near.mean(1),
    }
    return {name: values.tolist() for name, values in rows.items()}


def means(rows: Sequence[dict[str, list[float]]]) -> Figures:
    """The mean over all clips of each figure."""
    joined = {name: [v for row in rows for v in row[name]] for name in rows[0]}
    return {name: sum(values) / len(values) for name, values in joined.items()}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % confidence interval (not a number for one value)."""
    sample = torch.tensor(values, dtype=torch.float64)
    if len(values) == 1:
        return float(sample), float("nan")
    if len(values) > len(STUDENT) + 1:
        raise ValueError(f"at most {len(STUDENT) + 1} seeds, got {len(values)}")
    error = sample.std() / len(values) ** 0.5
    return float(sample.mean()), float(error) * STUDENT[len(values) - 2]


def trained(runs: Path | None) -> list[dict[str, Any]]:
    """Both nets of every seed: those under a folder, or the bundled ones."""
    if runs is None:
        return [{name: models.load(name) for name in (PLAIN, ATTENTIVE)}]
    folders = [
        folder
        for folder in sorted(runs.iterdir())
        if all((folder / f"{name}.safetensors").is_file() for name in (PLAIN, ATTENTIVE))
    ]
    if not folders:
        raise ValueError(f"no folder under {runs} has weights of both nets")
    found = []
    for folder in folders:
        pair = {}
        for name in (PLAIN, ATTENTIVE):
            net = models.build(name).eval()
            net.load_state_dict(load_file(folder / f"{name}.safetensors"))
            pair[name] = net
        found.append(pair)
    return found


def cell(values: Sequence[float]) -> str:
    """A percentage, with the interval over the seeds if there are several."""
    mean, half = interval(values)
    return f"{mean:.1%}" if half != half else f"{mean:.1%} ± {half:.1%}"


def report(figures: Sequence[dict[str, Figures]], chance: Figures) -> str:
    """The tables.

    Args:
        figures: for each seed, each net's figures.
        chance: what knows nothing would get.

    Returns:
        Markdown.
    """
    lines = ["| figure | chance | without attention | with attention | difference |"]
    lines.append("|---|---|---|---|---|")
    for name in figures[0][ATTENTIVE]:
        attentive = [seed[ATTENTIVE][name] for seed in figures]
        cells = ["-", cell(attentive), "-"]
        if name in figures[0][PLAIN]:
            plain = [seed[PLAIN][name] for seed in figures]
            pairs = zip(attentive, plain, strict=True)
            cells = [cell(plain), cell(attentive), cell([a - b for a, b in pairs])]
        known = chance.get(name, chance.get(name.partition(" ")[2]))
        lines.append(
            f"| {name} | {'-' if known is None else f'{known:.1%}'} | {' | '.join(cells)} |"
        )
    lines.append("\n| seed | accuracy without | with |")
    lines.append("|---|---|---|")
    for number, seed in enumerate(figures):
        row = " | ".join(f"{seed[name]['accuracy']:.1%}" for name in (PLAIN, ATTENTIVE))
        lines.append(f"| {number} | {row} |")
    return "\n".join(lines)


def main(count: int = 500, runs: Path | None = None) -> None:
    """Prints the tables."""
    nets = trained(runs)
    rows: list[dict[str, list[Any]]] = [{PLAIN: [], ATTENTIVE: []} for _ in nets]
    known = []
    for batch in batches(count):
        known.append(chances(batch))
        for pair, row in zip(nets, rows, strict=True):
            for name, net in pair.items():
                row[name].append(measured(net, batch))
    figures = [{name: means(parts) for name, parts in row.items()} for row in rows]
    chance = {"accuracy": 0.1, **means(known)}
    print(f"{count} clips of seed {SEED}, {len(nets)} trained seed(s) of each net\n")
    print(report(figures, chance))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--runs", type=Path)
    options = parser.parse_args()
    main(options.count, options.runs)
