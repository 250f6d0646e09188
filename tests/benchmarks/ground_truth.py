"""Does the split find what moves? The bundled net on clips whose moving object is known.

For clips of a fresh seed: how much denser than average relevance is on the object
(:func:`captum_video.metrics.density`, 1 means no preference), and whether the temporal share tells
the motion question from the look question.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from captum_video import DiscriminativeRelevance, normalized_range
from captum_video.metrics import density, temporal_share
from models.data.moving_digits import MovingDigits

SEED = 20_000


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive scores above a negative one, ties counting half."""
    a, b = torch.tensor(positive)[:, None], torch.tensor(negative)[None]
    return float(((a > b) + 0.5 * (a == b)).double().mean())


def normalized(clip: Tensor, info: Any) -> Tensor:
    """A clip in [0, 1] as the net sees it, with the batch axis."""
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (info.mean, info.std))
    return (clip[None] - mean) / std


def samples(count: int, seed: int = SEED) -> Iterator[Any]:
    """Moving clips of a fresh seed: a still object has no motion to find."""
    data = MovingDigits(4 * count, seed=seed, split="validation")
    still = data.classes.index("still")
    found = 0
    for number in range(len(data)):
        sample = data[number]
        if sample.motion != still and found < count:
            found += 1
            yield sample


def widened(mask: Tensor, margin: int) -> Tensor:
    """A mask ``(T, H, W)`` with so many pixels around it in every frame, with a batch axis."""
    window = (1, 2 * margin + 1, 2 * margin + 1)
    wide = F.max_pool3d(mask[None].float(), window, 1, (0, margin, margin))
    return wide > 0


def densities(net: nn.Module, count: int, margin: int = 0, **choices: Any) -> dict[str, Tensor]:
    """Density of each component on the object and on what moves beside it, clip by clip.

    Args:
        net: the net.
        count: how many clips.
        margin: pixels around the object that count as it.
        **choices: ``seed``, and options of ``decompose``.

    Returns:
        ``(count,)`` for each component, and for each ``"<component> on distractor"``.
    """
    info: Any = net.info
    seed = choices.pop("seed", "one")
    method = DiscriminativeRelevance(
        net, input_range=normalized_range(info.mean, info.std), seed=seed
    )
    rows: dict[str, list[Tensor]] = {}
    for sample in samples(count):
        x = normalized(sample.clip, info)
        parts = method.decompose(x, target=sample.motion, internal_batch_size=16, **choices)
        for name, part in parts._asdict().items():
            rows.setdefault(name, []).append(density(part, widened(sample.mask, margin)))
            distractor = density(part, sample.distractor_mask[None])
            rows.setdefault(f"{name} on distractor", []).append(distractor)
    return {name: torch.cat(values) for name, values in rows.items()}


def shares(net: nn.Module, count: int) -> tuple[list[float], list[float]]:
    """The temporal share of the motion target and of the look target, clip by clip."""
    info: Any = net.info
    looks = info.groups["look"].start
    ranges = normalized_range(info.mean, info.std)
    method = DiscriminativeRelevance(net, input_range=ranges, seed="score")
    motion, look = [], []
    for sample in samples(count):
        x = normalized(sample.clip, info).repeat(2, 1, 1, 1, 1)
        target = [sample.motion, looks + sample.look]
        share = temporal_share(method.decompose(x, target=target, internal_batch_size=16))
        motion.append(share[0].item())
        look.append(share[1].item())
    return motion, look


def fresh(seed: int) -> nn.Module:
    """The same net before training."""
    torch.manual_seed(seed)
    return models.build("c3d_small").eval()


def main(count: int = 48) -> None:
    """Prints the tables."""
    net = models.load("c3d_small").eval()
    print(
        f"{count} clips of seed {SEED}, motion target; median density on the object (distractor)\n"
    )
    print("| seed | frozen_frame | total | spatial | temporal | temporal above total |")
    print("|---|---|---|---|---|---|")
    for seed in ("one", "score"):
        for frozen_frame in ("same", "mean", "first"):
            found = densities(net, count, seed=seed, frozen_frame=frozen_frame)
            cells = [
                f"{found[n].nanmedian():.2f} ({found[f'{n} on distractor'].nanmedian():.2f})"
                for n in ("total", "spatial", "temporal")
            ]
            above = (found["temporal"] > found["total"]).double().mean()
            print(f"| {seed} | {frozen_frame} | {' | '.join(cells)} | {above:.0%} |")
    print("\n| net | margin | total | temporal | temporal above total | trained / this |")
    print("|---|---|---|---|---|---|")
    nets = {"trained": net, **{f"not trained, seed {seed}": fresh(seed) for seed in range(3)}}
    for margin in (0, 3):
        trained = None
        for name, one in nets.items():
            found = densities(one, count, margin)
            total, temporal = found["total"].nanmedian(), found["temporal"].nanmedian()
            trained = temporal if trained is None else trained
            above = (found["temporal"] > found["total"]).double().mean()
            row = f"{total:.2f} | {temporal:.2f} | {above:.0%} | {trained / temporal:.2f}"
            print(f"| {name} | {margin} px | {row} |")
    motion, look = shares(net, count)
    print(
        f"\ntemporal share (seed = score): motion target {torch.tensor(motion).median():.3f}, "
        f"look target {torch.tensor(look).median():.3f}, AUROC {auroc(motion, look):.3f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=48)
    main(parser.parse_args().count)
