"""Deep Taylor on the full C3D against a plain forward and backward pass, and against zennit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zennit.composites import LayerMapComposite
from zennit.rules import AlphaBeta, Pass, ZBox

import models
from captum_video import DeepTaylor, DiscriminativeRelevance

ROUNDS = 7


def zennit_pass(net: nn.Module, x: Tensor, alpha: float, beta: float) -> Tensor:
    """zennit's alpha-beta with z-beta on the first layer; class 0 seeded with 1."""
    first = next(m for m in net.modules() if isinstance(m, nn.Conv3d))

    def rule(module: nn.Module) -> Any:
        if module is first:
            return ZBox(low=0.0, high=1.0)
        return AlphaBeta(alpha=alpha, beta=beta)

    class Composite(LayerMapComposite):
        def mapping(self, ctx: Any, name: str, module: nn.Module) -> Any:
            return (
                rule(module)
                if isinstance(module, (nn.Conv3d, nn.Linear))
                else super().mapping(ctx, name, module)
            )

    with Composite(layer_map=[(nn.ReLU, Pass()), (nn.Dropout, Pass())]).context(net) as watched:
        leaf = x.clone().requires_grad_()
        output = watched(leaf)
        (relevance,) = torch.autograd.grad(output[:, 0].sum(), leaf)
    return relevance


def main() -> None:
    """Prints the table: the best of interleaved rounds, so that all see the same machine."""
    torch.manual_seed(0)
    net = models.build("c3d").eval()
    x = torch.rand(1, 3, 16, 112, 112)

    def plain() -> None:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)

    def ours(alpha: float, beta: float) -> Callable[[], object]:
        method = DeepTaylor(net, alpha=alpha, beta=beta, input_range=(0, 1), seed="one")
        return lambda: method.attribute(x, target=0)

    split = DiscriminativeRelevance(net, input_range=(0, 1))
    runs: dict[str, Callable[[], object]] = {
        "plain forward + backward": plain,
        "alpha1-beta0": ours(1, 0),
        "alpha2-beta1": ours(2, 1),
        "zennit alpha2-beta1": lambda: zennit_pass(net, x, 2, 1),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    start = time.perf_counter()
    split.decompose(x, target=0, internal_batch_size=4)
    decompose = time.perf_counter() - start
    base = best["plain forward + backward"]
    print(f"C3D, one clip 3x16x112x112, {torch.get_num_threads()} threads, best of {ROUNDS}\n")
    print("| run | seconds | of plain |")
    print("|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {seconds / base:.2f} |")
    print(f"| decompose, 1 + 16 clips | {decompose:.2f} | {decompose / base:.1f} |")
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
