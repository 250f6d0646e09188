"""How well the bundled odometry net knows the camera's motion, and where Grad-CAM says it looks.

On drives of a fresh seed: the absolute trajectory error of the net, of the training split's mean
motion, and of constant velocity. Then the share of Grad-CAM's positive relevance on moving
vehicles, on parked ones and on the ground, against the share of the area; the report that paper 4
is hoped for less on the first and the last. Intervals are from resampling whole drives, since the
snippets of a drive are alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import default_collate

import models
from captum_video import RegressionGradCam
from models.data.drives import INTRINSICS, Drives
from models.odometry import Odometry
from models.training.odometry import MODEL, trajectory_errors
from models.view_synthesis import ViewSynthesis

SEED = 30_000
PLACES = ("moving", "parked", "road")
PARTS = {"ahead (z)": [2], "sideways (x)": [0], "up and down (y)": [1], "turns": [3, 4, 5]}
#: name, objective, target: reference and number
OBJECTIVES: tuple[tuple[str, str, tuple[int, int] | None], ...] = (
    ("negative loss", "negative_loss", None),
    ("all outputs", "output", None),
    ("all outputs, negated", "negative_output", None),
    ("frame +1: z", "output", (2, 2)),
    ("frame +1: z, negated", "negative_output", (2, 2)),
    ("frame +1: turn about y", "output", (2, 4)),
    ("frame +1: turn about y, negated", "negative_output", (2, 4)),
)
_CHUNK = 20


class Snippets(NamedTuple):
    """Snippets of a fresh seed.

    Attributes:
        clips: normalised.
        truth: the collated samples.
        drives: ``(N,)``, where each comes from.
    """

    clips: Tensor
    truth: Any
    drives: Tensor


class Share(NamedTuple):
    """Relevance on a place against its area.

    Attributes:
        relevance: the mean share of positive relevance.
        area: the mean share of the area.
        low: of relevance over area, the lower end of a 95 % interval.
        high: the upper end.
        elsewhere: relevance over area with the places of another drive's snippets: what a mere
            preference for some part of the picture gives.
    """

    relevance: float
    area: float
    low: float
    high: float
    elsewhere: float


def snippets(model: models.BundledModel, count: int, seed: int = SEED) -> Snippets:
    """Draws held-out snippets."""
    data = Drives(count, seed, "validation")
    truth = default_collate([data[index] for index in range(count)])
    drives = torch.tensor([data.source(index)[0] for index in range(count)])
    return Snippets(model.info.normalize(truth.clip), truth, drives)


def errors(model: models.BundledModel, given: Snippets) -> dict[str, Tensor]:
    """Trajectory errors by estimate, snippet by snippet."""
    with torch.no_grad():
        poses = torch.cat([model(part) for part in given.clips.split(100)])
    return trajectory_errors(poses, given.truth)


def parts(model: models.BundledModel, given: Snippets) -> dict[str, Tensor]:
    """What each part of the net's motion costs: errors of the truth with that part of the net's."""
    with torch.no_grad():
        poses = torch.cat([model(part) for part in given.clips.split(100)])
    truth = given.truth.poses
    ahead, true_ahead = poses[..., 2], truth[..., 2]
    unit = (ahead * true_ahead).sum(1) / ahead.square().sum(1)
    poses = torch.cat([poses[..., :3] * unit[:, None, None], poses[..., 3:]], dim=-1)
    found = {}
    for name, numbers in PARTS.items():
        mixed = truth.clone()
        mixed[..., numbers] = poses[..., numbers]
        found[name] = trajectory_errors(mixed, given.truth)[MODEL]
    return found


def maps(
    model: Odometry, clips: Tensor, layer: str, objective: Any, target: tuple[int, int] | None
) -> Tensor:
    """Positive relevance ``(N, T, H, W)``."""
    method = RegressionGradCam(
        model.views if objective == "negative_loss" else model,
        model.get_submodule(layer),
        loss=ViewSynthesis(INTRINSICS),
        objective=objective,
        self_supervised=objective == "negative_loss",
    )
    found = [
        method.attribute(part, target=target, relu_attributions=True)
        for part in clips.split(_CHUNK)
    ]
    return torch.cat(found)[:, 0]


def place(truth: Any, name: str) -> Tensor:
    """Where moving vehicles, parked vehicles or the ground are, ``(N, T, H, W)``."""
    if name == "parked":
        return truth.vehicles & ~truth.moving
    found: Tensor = getattr(truth, name)
    return found


def share(positive: Tensor, mask: Tensor, drives: Tensor, rounds: int = 2000) -> Share:
    """How much of the relevance lies on a mask; clips without any relevance are left out."""
    kept = positive.flatten(1).sum(1) > 0
    positive, mask, drives = positive[kept].flatten(1), mask[kept].flatten(1), drives[kept]
    positive = positive / positive.sum(1, keepdim=True)
    on, area = (positive * mask).sum(1).double(), mask.double().mean(1)
    names = drives.unique()
    groups = torch.stack([drives == name for name in names]).double()
    sums = torch.stack([groups @ on, groups @ area], dim=1)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(names), (rounds, len(names)), generator=generator)
    drawn = sums[picks].sum(1)
    ratios = drawn[:, 0] / drawn[:, 1]
    low, high = ratios.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    # half way round the drives in their order
    order = drives.argsort(stable=True)
    other = torch.empty_like(order)
    other[order] = order.roll(len(order) // 2)
    elsewhere = float((positive * mask[other]).sum(1).mean() / area.mean())
    return Share(float(on.mean()), float(area.mean()), low, high, elsewhere)


def main(arguments: Sequence[str] = ()) -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="snippets for the errors")
    parser.add_argument("--maps", type=int, default=288, help="snippets that are explained")
    parser.add_argument("--layer", default=None, help="default: the model's own")
    options = parser.parse_args(arguments)
    model = models.load("odometry_small")
    assert isinstance(model, Odometry)
    given = snippets(model, options.count)
    print(f"{options.count} snippets of {len(given.drives.unique())} drives, seed {SEED}\n")
    print("| motion by | mean error (m) | standard deviation |\n|---|---|---|")
    for name, found in errors(model, given).items():
        print(f"| {name} | {found.mean():.4f} | {found.std():.4f} |")
    for name, found in parts(model, given).items():
        print(f"| the truth, but {name} by the model | {found.mean():.4f} | {found.std():.4f} |")
    few = Snippets(
        given.clips[: options.maps],
        type(given.truth)(*(part[: options.maps] for part in given.truth)),
        given.drives[: options.maps],
    )
    layer = options.layer or model.info.layer
    count = len(few.drives.unique())
    print(f"\n{layer}, {len(few.clips)} snippets of {count} drives: relevance over area\n")
    print("| net, objective | on | area | relevance | ratio (95 %) | other drive's places |")
    print("|---|---|---|---|---|---|")
    for title, objective, target in OBJECTIVES:
        _print_shares(title, maps(model, few.clips, layer, objective, target), few)
    for seed in range(3):
        found = maps(untrained(seed), few.clips, layer, "negative_loss", None)
        _print_shares(f"not trained (seed {seed}), negative loss", found, few)


def untrained(seed: int) -> Odometry:
    """The same net with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.build("odometry_small").eval()
    assert isinstance(model, Odometry)
    return model


def _print_shares(title: str, positive: Tensor, given: Snippets) -> None:
    for name in PLACES:
        s = share(positive, place(given.truth, name), given.drives)
        print(
            f"| {title} | {name} | {s.area:.1%} | {s.relevance:.1%} | {s.relevance / s.area:.2f} "
            f"({s.low:.2f} to {s.high:.2f}) | {s.elsewhere:.2f} |"
        )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
