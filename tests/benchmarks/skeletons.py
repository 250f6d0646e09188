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

import torch
from torch import Tensor

from captum_video import DeepTaylor, VideoGradCam
from captum_video._core.skeletons import split_joints
from captum_video.attr import _decoding
from captum_video.attr._stack_run import StackRun
from captum_video.metrics import amplification, joint_motion, rank_correlation, view_distance
from models._diagnosis_evidence import answers
from models._diagnosis_net import HeldDecoder, Net, decoders, layers_of, open_net, untrained
from models._tables import aligned, interval
from models.data.actions import Actions, ActionSample

SEED = 5_000_003
RANGE = 5.0  # metres: no coordinate is beyond


def shuffled(decoder: HeldDecoder, net: Net, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """A layer decoded with primitives that belong to other channels.

    Args:
        decoder: of the layer.
        net: the net.
        inputs: ``(N, D, T)``.
        generator: draws the order of the primitives.

    Returns:
        ``(N, D, T)``.
    """
    longer = decoder._longer(inputs)
    run = StackRun(net, longer, None)
    layer = dict(run.layers())[_name(decoder, net)]
    order = torch.randperm(layer.first.weight.shape[0], generator=generator)
    first = replace(layer.first, weight=layer.first.weight[order])
    result = _decoding.decoded(replace(layer, first=first))
    return result[..., decoder.held : decoder.held + inputs.shape[-1]]


def _name(decoder: HeldDecoder, net: Net) -> str:
    return next(name for name, m in net.named_modules() if m is decoder.decoder.layer)


def decoding(net: Net, samples: Sequence[ActionSample], seed: int) -> dict[str, float]:
    """How well each layer amplifies the joints that are informative, and how near the views are.

    Args:
        net: in evaluation mode.
        samples: clips with their truth.
        seed: of the shuffles.

    Returns:
        By ``"layerN decoded"`` and ``"layerN shuffled"`` the mean rank correlation, over clips, of
        the amplification of a present joint and whether it is informative.
    """
    inputs = torch.stack([sample.clip for sample in samples])
    truth = torch.stack([sample.informative.flatten() for sample in samples]).double()
    generator = torch.Generator().manual_seed(seed)
    # joints of an absent actor, and clips in which everything is informative, tell nothing
    present = joint_motion(inputs) > 0
    truth = truth.masked_fill(~present, torch.nan)
    found = {"input": _correlation(joint_motion(inputs).log2(), truth)}
    layers = layers_of(net)
    for layer, decoder in zip(layers, decoders(net, layers, inputs[:1]), strict=True):
        for name, sequence in (
            ("decoded", decoder.decoded(inputs)),
            ("shuffled", shuffled(decoder, net, inputs, generator)),
        ):
            found[f"{layer} {name}"] = _correlation(amplification(sequence, inputs), truth)
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
    layers = layers_of(net)
    for layer, decoder in zip(layers, decoders(net, layers, flat[:1]), strict=True):
        decoded = decoder.decoded(flat).masked_fill(absent, 0).view_as(seen)
        found[layer] = float(view_distance(decoded).ratio)
    return found


def relevance(net: Net, samples: Sequence[ActionSample]) -> dict[str, float]:
    """How dense relevance is on the informative joints and in the active frames; 1 is chance.

    Args:
        net: in evaluation mode.
        samples: clips with their truth, of which the rightly told ones count.

    Returns:
        By method and truth, the share of positive relevance there over the share of joints (of the
        actors who are there) or frames.
    """
    told = answers(net, torch.stack([sample.clip for sample in samples])).tolist()
    kept = [s for s, answer in zip(samples, told, strict=True) if s.action == answer]
    totals: dict[str, list[float]] = defaultdict(list)
    low, high = torch.full((150, 1), -RANGE), torch.full((150, 1), RANGE)
    methods = {
        "deep Taylor, w2": DeepTaylor(net, seed="one"),
        "deep Taylor, z-beta": DeepTaylor(net, seed="one", input_range=(low, high)),
    }
    cam = VideoGradCam(net, net.info.layer)
    for part in _batches(kept):
        inputs = torch.stack([sample.clip for sample in part])
        target = torch.tensor([sample.action for sample in part])
        for name, method in methods.items():
            values = method.attribute(inputs, target=target)
            for sample, row in zip(part, values, strict=True):
                joints = split_joints(row).sum(2).clamp(min=0)
                there = split_joints(sample.clip).flatten(2).abs().sum(2) > 0
                known = sample.informative & there
                if bool(known.any()) and not bool(known[there].all()):
                    share = joints[known].sum() / joints[there].sum()
                    totals[f"{name}: joints"].append(float(share / known.sum() * there.sum()))
                _in_time(totals, name, joints.sum((0, 1)), sample.active)
        for sample, row in zip(part, cam.attribute(inputs, target=target), strict=True):
            _in_time(totals, "Grad-CAM", row[0], sample.active)
    return {name: sum(values) / len(values) for name, values in totals.items()}


def _in_time(totals: dict[str, list[float]], name: str, curve: Tensor, active: Tensor) -> None:
    if float(curve.sum()) > 0:
        share = float(curve[active].sum() / curve.sum())
        totals[f"{name}: frames"].append(share / float(active.float().mean()))


def _batches(samples: Sequence[ActionSample], size: int = 32) -> Iterator[Sequence[ActionSample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


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
    for sample_net in (net, blank):
        sample_net.requires_grad_(False)
    return {
        "Rank correlation of amplification and informative joints": decoding(net, samples, seed),
        "the same, of an untrained net": decoding(blank, samples, seed),
        "Distance of the three views over that of performances": views(net, data, count // 4),
        "the same views, in an untrained net": views(blank, data, count // 4),
        "Density of positive relevance where the truth is": relevance(net, samples),
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
