"""What it costs to lay relevance over a clip, against what it costs to encode the clip plain."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from captum_video.io import center_crop, read_clip, resize, sample_clips, write_video
from captum_video.visualization import overlay, save_video, show_video

ROUNDS = 15
FRAMES, SIZE = 32, 224


def real_clip() -> Tensor:
    """The first frames of a clip that a camera took, (T, 3, H, W)."""
    frames = read_clip(sample_clips()["bikes"]).frames[:FRAMES]
    return center_crop(resize(frames, SIZE), SIZE).contiguous()


def maps(frames: Tensor) -> dict[str, Tensor]:
    """Relevance as soft as Grad-CAM's, as that of edges that move, and as noisy as it can be."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(1, 1, FRAMES // 4, 14, 14, generator=generator)
    grey = frames.float().mean(1)
    change = grey - grey.roll(1, 0)
    change[0] = 0
    return {
        "soft, one channel": interpolate(cells, size=(FRAMES, SIZE, SIZE), mode="trilinear")[0, 0],
        "of what moves, one channel": change,
        "noise, three channels": torch.randn(3, FRAMES, SIZE, SIZE, generator=generator),
    }


def medians(runs: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Seconds by the clock and of all processors, the medians of interleaved rounds."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            took[name].append((time.perf_counter() - start, time.process_time() - used))
    return {
        name: (statistics.median(clock), statistics.median(processors))
        for name, (clock, processors) in (
            (name, zip(*rounds, strict=True)) for name, rounds in took.items()
        )
    }


def _runs(folder: Path, frames: Tensor) -> dict[str, Callable[[], object]]:
    kinds = maps(frames)
    soft = next(iter(kinds.values()))
    runs: dict[str, Callable[[], object]] = {
        "write_video, plain frames": partial(write_video, folder / "plain.mp4", frames, 8)
    }
    for kind, values in kinds.items():
        drawn = overlay(frames, values)
        runs |= {
            f"overlay: {kind}": partial(overlay, frames, values),
            f"write_video of it: {kind}": partial(write_video, folder / "drawn.mp4", drawn, 8),
            f"save_video: {kind}": partial(save_video, folder / "saved.mp4", frames, values, fps=8),
        }
    runs["show_video: soft, one channel"] = lambda: show_video(frames, soft)._repr_html_()
    return runs


def main() -> None:
    """Prints the table."""
    frames = real_clip()
    with tempfile.TemporaryDirectory() as folder:
        took = medians(_runs(Path(folder), frames))
    clock, processors = next(iter(took.values()))
    print(
        f"{FRAMES} frames of {SIZE}x{SIZE}, H.264 at crf 18, {torch.get_num_threads()} threads, "
        f"median of {ROUNDS} interleaved rounds\n"
    )
    print("| run | ms | of plain encoding | ms of processors | of plain encoding |")
    print("|---|---|---|---|---|")
    for name, (seconds, used) in took.items():
        print(
            f"| {name} | {1000 * seconds:.0f} | {seconds / clock:.2f} "
            f"| {1000 * used:.0f} | {used / processors:.2f} |"
        )
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
