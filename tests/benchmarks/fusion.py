"""What gates cost in training: paper 3's template against its S+ST twin.

One step (forward, cross-entropy, for the template the regulariser, backward, Adam) of the same network
with two gates in each unit, with three, and with none; three gates have S+ST's own pair of paths, so
two more convolutions in each unit than the others. The steps are taken in turn, in an order that
rotates, and the ratio is the median over the rounds of the quotient within a round, by the clock and by
the processor's time, which other processes disturb less. The parts are what is in the step with two
gates and not in the twin's.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn

import models
from captum_video.nn.gates import FusionGates, fusion_regularizer, gated_modules

Seconds = tuple[float, float]
KINDS: dict[str, dict[str, Any]] = {
    "S+ST": {"conv": "s+st"},
    "two gates": {"conv": "fusion", "gates": "two"},
    "three gates": {"conv": "fusion", "gates": "three"},
}
#: by network, what a batch of clips is like: the small one's as in training
CASES = {"fusion_net_small": (32, 1, 9, 24), "fusion_net": (4, 3, 8, 56)}


def seconds(run: Callable[[], object]) -> Seconds:
    """By the clock, and of the processor."""
    start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def rounds(runs: dict[str, Callable[[], object]], count: int) -> dict[str, list[Seconds]]:
    """The times of each run in each round, after one round that does not count."""
    names = list(runs)
    times: dict[str, list[Seconds]] = {name: [] for name in names}
    for number in range(count + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken = seconds(runs[name])
            if number:
                times[name].append(taken)
    return times


def quotients(times: list[Seconds], base: list[Seconds], which: int) -> str:
    """Median, least and most of the quotients within a round, as cells of a table."""
    ratios = [one[which] / other[which] for one, other in zip(times, base, strict=True)]
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def table(times: dict[str, list[Seconds]], base: str) -> None:
    """Prints the medians, and the quotients with the base."""
    print("| run | seconds, median | of S+ST, by the clock | of S+ST, processor |")
    print("|---|---|---|---|")
    for name, own in times.items():
        cells = [quotients(own, times[base], which) for which in (0, 1)]
        print(f"| {name} | {median(one for one, _ in own):.4f} | {' | '.join(cells)} |")


def training(net: nn.Module, clip: torch.Tensor, truth: torch.Tensor) -> Callable[[], object]:
    """A step of training."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    gated = bool(gated_modules(net))

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(clip), truth)
        if gated:
            loss = loss + fusion_regularizer(net, 1000)
        loss.backward()
        optimizer.step()

    return step


def parts(net: nn.Module, batch: int) -> dict[str, Callable[[], object]]:
    """What gates add to a step, on their own."""
    gates = [module for module in net.modules() if isinstance(module, FusionGates)]
    return {
        "drawing the gates, forward and backward": lambda: (
            torch.stack([one.relaxed(batch).sum() for one in gates]).sum().backward()
        ),
        "regulariser, forward and backward": lambda: fusion_regularizer(net, 1000).backward(),
    }


def cost(name: str, count: int) -> None:
    """Prints the cost of a step of training."""
    batch, channels, frames, size = CASES[name]
    torch.manual_seed(0)
    nets = {kind: models.build(name, **options) for kind, options in KINDS.items()}
    clip = torch.rand(batch, channels, frames, size, size)
    truth = torch.arange(batch) % nets["S+ST"](clip[:1]).shape[1]
    runs = {kind: training(net, clip, truth) for kind, net in nets.items()}
    extra = parts(nets["two gates"], batch)
    shape = f"{batch}x{channels}x{frames}x{size}x{size}"
    print(f"\n{name}, {shape}, {torch.get_num_threads()} threads, {count} rounds\n")
    table(rounds({**runs, **extra}, count), "S+ST")


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args(arguments or [])
    for name in options.models:
        # the full template takes many times as long
        cost(name, options.rounds if name.endswith("small") else max(1, options.rounds // 6))
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
