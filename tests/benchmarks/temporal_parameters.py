"""Do the temporal parameters behind a decision name the motion in the clip?

Paper 1 reads motion off the channels that a decision rests on. Here the motion is known: fresh clips of
``models.data.VideoMNIST`` (decoupled) whose class is a pure translation, rotation or scaling, the
digit's pose in every frame, and the bundled ``lenet5_3t``. For each clip the channel with the largest
relevance for its class is read. Its *kind* is the parameter that is largest, each divided by its root
mean square over the layer's channels; its *sign* is that of the parameter that the class is about, and
is right if it is that of the digit's motion, averaged over the frames where the channel saw it. Chance
is the same with the channels' parameters exchanged at random.

The second table asks the paper's question about output layers (end of its section 4.2): nets whose
last layer is a 3TConv with a channel for each class, trained with several seeds, and whether a class's
own parameters name its motion. The third has the size of the parameters by depth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

import models
from captum_video import TemporalParameters
from captum_video.attr import LayerReadout
from models._tables import interval
from models.data.video_mnist import MOTIONS, VideoMNIST

SEED = 50_000
#: the classes of pure motion, and the parameter that each is about
KINDS = ("translation_x", "translation_y", "scale", "rotation")
PURE = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3}
#: classes that always turn the same way: the sign of their rotation
TURNS = {3: 1.0, 4: -1.0}
EXCHANGES = 1000
METHODS: tuple[Literal["grad_cam", "deep_taylor"], ...] = ("grad_cam", "deep_taylor")


class Clips(NamedTuple):
    """Fresh clips of the pure classes.

    Attributes:
        clip: ``(N, 1, T, H, W)`` in [0, 1].
        motion: ``(N,)``.
        change: ``(N, T, 4)``, the digit's change from frame to frame: right, down, the logarithm of
            its size, clockwise.
    """

    clip: Tensor
    motion: Tensor
    change: Tensor


def fresh(each: int) -> Clips:
    """So many clips of each pure class, which no training has seen."""
    data = VideoMNIST(200 * each, seed=SEED, split="validation", decoupled=True, digits="sklearn")
    found: dict[int, list[int]] = {motion: [] for motion in PURE}
    for index in range(len(data)):
        numbers = found.get(data.labels(index)[0])
        if numbers is not None and len(numbers) < each:
            numbers.append(index)
        if all(len(numbers) == each for numbers in found.values()):
            break
    samples = [data[index] for numbers in found.values() for index in numbers]
    pose = torch.stack([sample.pose for sample in samples])
    places = torch.stack([pose[..., 0], pose[..., 1], pose[..., 2].log(), pose[..., 3]], 2)
    change = places.diff(dim=1)
    return Clips(
        torch.stack([sample.clip for sample in samples]),
        torch.tensor([sample.motion for sample in samples]),
        torch.cat([change[:, :1], change], 1).double(),
    )


def readings(readout: LayerReadout) -> Tensor:
    """Each channel's motion over the kernel's depth, ``(channels, 4)``, in root mean squares."""
    last = readout.cumulative.apply(lambda values: values[-1])
    columns = torch.stack(
        [last.translation_x, last.translation_y, last.scale.log(), last.rotation], 1
    )
    return columns / columns.square().mean(0).sqrt()


class Agreement(NamedTuple):
    """How many of a hundred clips agree, as shares, and the range of 95 % of the exchanges.

    Attributes:
        kind: the largest parameter is the class's.
        sign: the class's parameter has the digit's sign.
        both: at once.
    """

    kind: float
    sign: float
    both: float


def agreement(values: Tensor, kinds: Tensor, truth: Tensor) -> Agreement:
    """Read against known motion.

    Args:
        values: ``(N, 4)``, readings.
        kinds: ``(N,)``, which of them the class is about.
        truth: ``(N,)``, the digit's motion of that kind.
    """
    kind = values.abs().argmax(1) == kinds
    own = values.gather(1, kinds[:, None])[:, 0]
    sign = own.sign() == truth.sign()
    return Agreement(*(float(x.double().mean()) for x in (kind, sign, kind & sign)))


def exchanged(
    values: Tensor, channels: Tensor, kinds: Tensor, truth: Tensor
) -> list[tuple[float, float, float]]:
    """Each agreement under random exchanges of channels: mean and range."""
    rng = torch.Generator().manual_seed(0)
    drawn = torch.tensor(
        [
            agreement(values[torch.randperm(len(values), generator=rng)][channels], kinds, truth)
            for _ in range(EXCHANGES)
        ],
        dtype=torch.float64,
    )
    return spread(drawn)


def spread(drawn: Tensor) -> list[tuple[float, float, float]]:
    """The mean of each column, and its 2.5 and 97.5 % points."""
    bounds = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    return [
        (float(m), float(a), float(b))
        for m, a, b in zip(drawn.mean(0), bounds[0], bounds[1], strict=True)
    ]


def decisions(model: Any, clips: Clips, layer: str, method: Any) -> tuple[Agreement, Any]:
    """Agreement of the most relevant channel of each clip, and its chance."""
    parameters = TemporalParameters(model, layer)
    x = model.info.normalize(clips.clip)
    options: dict[str, Any] = {"seed": "one"} if method == "deep_taylor" else {}
    result = parameters.motion(x, target=clips.motion, method=method, top=1, **options)
    values, channels = readings(result.readout), result.channels[:, 0]
    seen = result.where.double().sum((1, 3, 4))
    moved = (clips.change * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
    kinds = torch.tensor([PURE[int(m)] for m in clips.motion])
    truth = moved.gather(1, kinds[:, None])[:, 0]
    return (
        agreement(values[channels], kinds, truth),
        exchanged(values, channels, kinds, truth),
    )


def trained_output_net(seed: int, folder: Path) -> Any:
    """A LeNet whose output layer is a 3TConv; trained if the folder has no weights of that seed."""
    from models.training.loop import fit
    from models.training.recipes import RECIPES
    from models.training.run import Run

    torch.manual_seed(seed)
    model: Any = models.build("lenet5_3t", head="conv3t")
    path = folder / str(seed) / "model.pt"
    if not path.is_file():
        run = Run(
            model, RECIPES["lenet5_3t"], seed, torch.device("cpu"), folder / str(seed) / "run.pt"
        )
        fit(run, show_progress=False)
        torch.save(run.model.state_dict(), path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def output_layers(nets: Sequence[Any]) -> tuple[Agreement, Any]:
    """Whether the classes' own parameters name their motion, over nets and pure classes.

    Only rotations have a sign that belongs to the class: the others go to and fro.
    """
    found = []
    for net in nets:
        values = readings(TemporalParameters(net, "output").read()["output"])
        found.append(values)
    classes = torch.tensor(list(PURE))
    kinds = torch.tensor(list(PURE.values()))

    def score(order: Sequence[Tensor]) -> list[float]:
        kind, sign = [], []
        for values, numbers in zip(found, order, strict=True):
            own = values[numbers][classes]
            kind.append((own.abs().argmax(1) == kinds).double().mean())
            turned = torch.stack([own[list(PURE).index(c), 3] * s for c, s in TURNS.items()])
            sign.append((turned > 0).double().mean())
        return [float(torch.stack(kind).mean()), float(torch.stack(sign).mean())]

    rng = torch.Generator().manual_seed(0)
    own = score([torch.arange(len(v)) for v in found])
    drawn = torch.tensor(
        [score([torch.randperm(len(v), generator=rng) for v in found]) for _ in range(EXCHANGES)],
        dtype=torch.float64,
    )
    return Agreement(own[0], own[1], float("nan")), spread(drawn)


def turns(nets: Sequence[Any]) -> Tensor:
    """How far the channels of the two rotations turn, clockwise and counter-clockwise, in degrees."""
    found = []
    for net in nets:
        readout = TemporalParameters(net, "output").read()["output"]
        found.append(readout.cumulative.rotation[-1, list(TURNS)])
    return torch.stack(found)


def accuracy(net: Any, count: int) -> float:
    """The share of right answers on fresh clips of all ten motions."""
    data = VideoMNIST(count, seed=SEED + 1, split="validation", decoupled=True, digits="sklearn")
    samples = [data[index] for index in range(count)]
    right = 0
    for start in range(0, count, 50):
        part = samples[start : start + 50]
        clips = net.info.normalize(torch.stack([sample.clip for sample in part]))
        with torch.no_grad():
            answer = net(clips).argmax(1)
        right += int((answer == torch.tensor([sample.motion for sample in part])).sum())
    return right / count


def sizes(net: Any) -> dict[str, list[float]]:
    """By layer the mean size of each parameter: deviations from the identity, raw units."""
    found = {}
    for name, readout in TemporalParameters(net).read(describes="kernel").items():
        step = replace(readout.step, scale=readout.step.scale - 1)
        found[name] = [
            float(values.abs().mean())
            for values in (step.scale, step.rotation, step.fraction_x, step.fraction_y)
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.temporal_parameters")
    parser.add_argument("--each", type=int, default=20, help="clips of each of the five classes")
    parser.add_argument("--seeds", type=int, default=0, help="output-layer nets to train")
    parser.add_argument("--runs", type=Path, default=Path("runs/output_layer"))
    options = parser.parse_args(arguments or [])
    clips = fresh(options.each)
    model: Any = models.load("lenet5_3t")
    print(
        f"The most relevant channel of {len(clips.clip)} clips of pure motion "
        f"({', '.join(MOTIONS[m] for m in PURE)}), in percent, with chance (95 % range):\n"
    )
    print("| layer | relevance | kind | chance | sign | chance | both | chance |")
    print("|---|---|---|---|---|---|---|---|")
    for layer in ("conv1", "conv2"):
        for method in METHODS:
            found, chance = decisions(model, clips, layer, method)
            cells = " | ".join(
                f"{100 * value:.0f} | {100 * m:.0f} ({100 * a:.0f}-{100 * b:.0f})"
                for value, (m, a, b) in zip(found, chance, strict=True)
            )
            print(f"| {layer} | {method} | {cells} |")
    nets = [trained_output_net(seed, options.runs) for seed in range(options.seeds)]
    if nets:
        found, chance = output_layers(nets)
        shown = ", ".join(f"{accuracy(net, 500):.0%}" for net in nets)
        print(
            f"\nOutput layer of {len(nets)} nets (right answers {shown}): kind of the pure classes "
            f"{found.kind:.0%}, chance {chance[0][0]:.0%} ({chance[0][1]:.0%}-{chance[0][2]:.0%}); "
            f"sign of the two rotations {found.sign:.0%}, chance {chance[1][0]:.0%} "
            f"({chance[1][1]:.0%}-{chance[1][2]:.0%})"
        )
    if len(nets) > 1:
        turned = turns(nets)
        apart = interval((turned[:, 0] - turned[:, 1]).tolist())
        rows = "; ".join(f"{a:.1f} and {b:.1f}" for a, b in turned.tolist())
        print(
            f"\nTheir channels of clockwise and counter-clockwise turn by {rows} degrees: apart by "
            f"{apart.mean:.1f} +- {apart.half:.1f} (95 %)"
        )
    print("\n| net | layer | abs(scale - 1) | abs(rotation), degrees | abs(x) | abs(y) |")
    print("|---|---|---|---|---|---|")
    for name, net in (
        ("lenet5_3t", model),
        *((f"output layer, seed {i}", n) for i, n in enumerate(nets)),
    ):
        for layer, row in sizes(net).items():
            print(f"| {name} | {layer} | " + " | ".join(f"{value:.3f}" for value in row) + " |")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
