"""What explanations of Res-TCNs show of skeletons whose informative joints and frames are known.

``python -m tests.benchmarks skeletons`` takes the bundled ``res_tcn_small``, and
``python -m tests.benchmarks.skeletons --weights FILE ...`` nets of other seeds. Each net is measured on
fresh clips of its own; figures are means over nets with the 95 % interval, or over thirds of the clips
if there is one net alone.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_video import DeepTaylor, DiscriminativeRelevance, FeatureMapDecoder, VideoGradCam
from captum_video._core.skeletons import split_joints
from captum_video.layers.residual_stack import StackLayer
from captum_video.metrics import amplification, joint_motion, rank_correlation, view_distance
from captum_video.relevance.rules import AlphaBeta, Epsilon
from models._diagnosis_evidence import answers
from models._diagnosis_net import Net, layers_of, open_net, untrained
from models._tables import aligned, interval
from models.data.actions import Actions, ActionSample

SEED = 5_000_003
RANGE = 5.0  # metres: no coordinate is beyond
MOTION_CLIPS = 48  # of each net: every frame of a clip is a forward and a backward pass


def shuffled(net: Net, layer: str, generator: torch.Generator) -> FeatureMapDecoder:
    """A decoder of a net whose primitives belong to other channels; what the net does is the same.

    Args:
        net: the net.
        layer: dotted name.
        generator: draws the order of the primitives.

    Returns:
        The decoder, whose formula sees the shuffled primitives.
    """

    class Shuffled(FeatureMapDecoder):
        def _layer(self, sequence: Tensor, additional_forward_args: Any) -> StackLayer:
            found = super()._layer(sequence, additional_forward_args)
            first = replace(found.first, weight=found.first.weight[order])
            return replace(found, first=first)

    order = torch.randperm(
        net.get_parameter(f"{layers_of(net)[0]}.weight").shape[0], generator=generator
    )
    return Shuffled(net, layer, ends="held")


def decoding(net: Net, samples: Sequence[ActionSample], seed: int) -> dict[str, float]:
    """How well each layer amplifies the joints that are informative, and how near the views are.

    Args:
        net: in evaluation mode.
        samples: clips with their truth.
        seed: of the shuffles.

    Returns:
        For each layer, decoded as it is and with shuffled primitives, the mean rank correlation,
        over clips, of whether a present joint is informative with its motion in the decoded
        sequence, and with its amplification.
    """
    inputs = torch.stack([sample.clip for sample in samples])
    truth = torch.stack([sample.informative.flatten() for sample in samples]).double()
    generator = torch.Generator().manual_seed(seed)
    # joints of an absent actor, and clips in which everything is informative, tell nothing
    present = joint_motion(inputs) > 0
    truth = truth.masked_fill(~present, torch.nan)
    found = {"input: motion": _correlation(joint_motion(inputs), truth)}
    for layer in layers_of(net):
        for name, decoder in (
            ("decoded", FeatureMapDecoder(net, layer, ends="held")),
            ("shuffled", shuffled(net, layer, generator)),
        ):
            sequence = decoder.attribute(inputs)
            moved = joint_motion(sequence).masked_fill(~present, torch.nan)
            found[f"{layer} {name}: motion"] = _correlation(moved, truth)
            found[f"{layer} {name}: amplification"] = _correlation(
                amplification(sequence, inputs), truth
            )
    return found


def _correlation(values: Tensor, truth: Tensor) -> float:
    rows = [rank_correlation(v, t) for v, t in zip(values.double(), truth, strict=True)]
    return float(torch.stack([torch.as_tensor(row) for row in rows]).nanmean())


def views(net: Net, data: Actions, count: int) -> dict[str, float]:
    """The distance of a performance's views, as a share of that of different performances."""
    seen = torch.stack([data.views(index) for index in range(count)])
    flat = seen.flatten(0, 1)
    absent = (joint_motion(flat) == 0).repeat_interleave(3, 1).unsqueeze(2)
    found = {"input": float(view_distance(seen).ratio)}
    for layer in layers_of(net):
        decoded = FeatureMapDecoder(net, layer, ends="held").attribute(flat)
        decoded = decoded.masked_fill(absent, 0).view_as(seen)
        found[layer] = float(view_distance(decoded).ratio)
    return found


def relevance(net: Net, samples: Sequence[ActionSample]) -> dict[str, float]:
    """How dense relevance for the class is on the informative joints and in the active frames.

    Args:
        net: in evaluation mode.
        samples: clips with their truth.

    Returns:
        By method and truth, the share of positive relevance there over the share of joints (of the
        actors who are there) or frames: 1 if relevance were even. It may prefer hands, or the middle
        of a clip, whatever is shown: ``"another's"`` is the truth of a clip of another action with
        as many actors.
    """
    totals: dict[str, list[float]] = defaultdict(list)
    low, high = torch.full((150, 1), -RANGE), torch.full((150, 1), RANGE)
    alpha_beta = DeepTaylor(net, seed="one", rules={"first": AlphaBeta(1, 0)})
    methods: dict[str, Any] = {
        "deep Taylor, w2": DeepTaylor(net, seed="one"),
        "deep Taylor, z-beta": DeepTaylor(net, seed="one", input_range=(low, high)),
        "deep Taylor, alpha-beta": alpha_beta,
        "deep Taylor, epsilon": DeepTaylor(net, seed="one", rules={"first": Epsilon(1e-6)}),
        "motion alone, alpha-beta": DiscriminativeRelevance(alpha_beta, time_dim=2),
        "Grad-CAM": VideoGradCam(net, net.info.layer),
    }
    others = [_another(samples, number) for number in range(len(samples))]
    for numbers in _batches(len(samples)):
        inputs = torch.stack([samples[number].clip for number in numbers])
        target = torch.tensor([samples[number].action for number in numbers])
        for name, method in methods.items():
            options = {}
            if isinstance(method, DiscriminativeRelevance):
                if numbers.start >= MOTION_CLIPS:
                    continue
                options = {"internal_batch_size": 256}
            values = method.attribute(inputs, target=target, **options)
            for number, row in zip(numbers, values, strict=True):
                positive = row.clamp(min=0) if name == "Grad-CAM" else split_joints(row).sum(2)
                for whose, truth in (("", samples[number]), (", another's", others[number])):
                    _add(totals, f"{name}{whose}", positive.clamp(min=0), samples[number], truth)
    return {name: sum(values) / len(values) for name, values in totals.items()}


def _another(samples: Sequence[ActionSample], number: int) -> ActionSample:
    """The next clip of another action with as many actors."""
    mine = samples[number]
    for step in range(1, len(samples)):
        other = samples[(number + step) % len(samples)]
        if other.action != mine.action and bool(_there(other).equal(_there(mine))):
            return other
    return mine


def _there(sample: ActionSample) -> Tensor:
    """Which joints belong to somebody who is there, ``(2, 25)``."""
    return split_joints(sample.clip).flatten(2).abs().sum(2) > 0


def _add(
    totals: dict[str, list[float]],
    name: str,
    positive: Tensor,
    sample: ActionSample,
    truth: ActionSample,
) -> None:
    """Adds the densities of one map ``(actors, joints, T)`` or curve ``(1, T)``."""
    curve = positive.sum(tuple(range(positive.dim() - 1)))
    if not float(curve.sum()) > 0:
        return
    in_time = float(curve[truth.active].sum() / curve.sum())
    totals[f"{name}: frames"].append(in_time / float(truth.active.float().mean()))
    if positive.dim() == 2:
        return
    there = _there(sample)
    joints, known = positive.sum(2), truth.informative & there
    if bool(known.any()) and not bool(known[there].all()):
        share = float(joints[known].sum() / joints[there].sum())
        totals[f"{name}: joints"].append(share * int(there.sum()) / int(known.sum()))


def _batches(length: int, size: int = 16) -> Iterator[range]:
    for start in range(0, length, size):
        yield range(start, min(start + size, length))


def measure(net: Net, seed: int, count: int) -> dict[str, dict[str, float]]:
    """All figures of one net on fresh clips.

    Args:
        net: in evaluation mode.
        seed: of the clips.
        count: how many.

    Returns:
        Figures by table and name.
    """
    data = Actions(count, SEED + seed, "validation", frames=net.info.frames)
    samples = [data[index] for index in range(count)]
    blank = untrained(net, torch.stack([sample.clip for sample in samples[:64]]))
    right = answers(net, torch.stack([sample.clip for sample in samples])).tolist()
    told = [s for s, answer in zip(samples, right, strict=True) if s.action == answer]
    return {
        "Rank correlation of joints' motion and amplification with their being informative": decoding(
            net, samples, seed
        ),
        "the same correlations, of an untrained net": decoding(blank, samples, seed),
        "Distance of the three views over that of performances": views(net, data, count // 4),
        "the same views, in an untrained net": views(blank, data, count // 4),
        "Density of positive relevance where the truth is": relevance(net, told),
        "the same densities, of an untrained net": relevance(blank, told),
    }


def main(arguments: Sequence[str] = ()) -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", default="res_tcn_small", help="the model")
    parser.add_argument("--weights", nargs="+", type=Path, help="of nets of other seeds")
    parser.add_argument("--count", type=int, default=320, help="clips for each net")
    options = parser.parse_args(arguments)
    device = torch.device("cpu")
    if options.weights:
        nets = [open_net(options.name, path, device) for path in options.weights]
        runs = [measure(net, seed, options.count) for seed, net in enumerate(nets)]
    else:
        net = open_net(options.name, None, device)
        runs = [measure(net, seed, options.count // 3) for seed in range(3)]
    for title in runs[0]:
        lines = [["", "mean"]]
        for name in runs[0][title]:
            value = interval([run[title][name] for run in runs])
            lines.append([name, f"{value.mean:.3f} ± {value.half:.3f}"])
        print(f"{title}\n\n{aligned(lines)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
