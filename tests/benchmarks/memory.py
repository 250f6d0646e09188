"""Memory: flat over repeated calls, and bounded by ``internal_batch_size``."""

from __future__ import annotations

import gc
import multiprocessing
from pathlib import Path

import psutil
import torch

import models
from captum_video import DeepTaylor, DiscriminativeRelevance


def _peak(size: int | None, pipe: multiprocessing.connection.Connection) -> None:
    """Peak resident memory of one ``decompose`` above what was there before, in MB."""
    net = models.build("c3d_small").eval()
    frames, (height, width) = net.info.frames, net.info.size
    x = torch.rand(1, 3, frames, height, width)
    DeepTaylor(net, input_range=(0, 1)).attribute(x, target=0)
    before = psutil.Process().memory_info().rss / 2**20
    DiscriminativeRelevance(net, input_range=(0, 1)).decompose(
        x, target=0, internal_batch_size=size
    )
    status = Path("/proc/self/status").read_text()
    peak = float(status.split("VmHWM:")[1].split()[0]) / 2**10  # of this process, not its parent
    pipe.send(peak - before)


def main() -> None:
    """Prints both tables."""
    context = multiprocessing.get_context("spawn")
    print("| internal_batch_size | peak above the loaded model, MB |")
    print("|---|---|")
    for size in (1, 2, 4, 8, 16):
        mine, theirs = context.Pipe()
        process = context.Process(target=_peak, args=(size, theirs))
        process.start()
        print(f"| {size} | {mine.recv():.0f} |")
        process.join()
    net = models.build("c3d_small").eval()
    x = torch.rand(1, 3, net.info.frames, *net.info.size)
    method = DeepTaylor(net, input_range=(0, 1))
    memory = []
    for _ in range(30):
        method.attribute(x, target=0)
        gc.collect()
        memory.append(psutil.Process().memory_info().rss / 2**20)
    hooks = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules())
    print(
        f"\nresident after calls 10, 20, 30: {memory[9]:.0f}, {memory[19]:.0f}, {memory[29]:.0f} MB;"
    )
    print(f"hooks on the model: {hooks}")


if __name__ == "__main__":
    main()
