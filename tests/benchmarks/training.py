"""Whether data keep the trainer fed, what reading a clip costs, and two processes against one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import models
from captum_video.io import read_clip
from models.data import UCF101
from models.training.loop import fit
from models.training.recipe_files import load_recipe
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run
from models.training.sources import open_source
from tests.models.data.recorded.trees import UCF101_CLASSES, ucf101_name, write_avi, write_list

STEPS = 40
FRAMES, SIZE = 180, (240, 320)  # of a usual clip of UCF101
ROUNDS = 9
ROOT = Path(__file__).parents[2]


def ucf101(root: Path, groups: int = 5) -> Path:
    """Clips of UCF101's size and length, of noise that moves, in its layout: two classes."""
    generator = torch.Generator().manual_seed(0)
    names = UCF101_CLASSES[:2]
    for name in names:
        for group in range(groups):
            coarse = torch.rand(1, 3, 40, 50, generator=generator)
            wide = torch.nn.functional.interpolate(coarse, size=(260, 520), mode="bilinear")
            texture = (255 * wide[0]).to(torch.uint8)
            frames = [texture[:, 10:250, t : t + SIZE[1]] for t in range(FRAMES)]
            write_avi(root / "UCF-101" / ucf101_name(name, group), torch.stack(frames))
    lists = root / "ucfTrainTestlist"
    write_list(lists / "classInd.txt", [f"{i} {name}" for i, name in enumerate(names, 1)])
    train = [f"{ucf101_name(n, g)} {i}" for i, n in enumerate(names, 1) for g in range(groups - 2)]
    test = [ucf101_name(n, g) for n in names for g in (groups - 2, groups - 1)]
    write_list(lists / "trainlist01.txt", train)
    write_list(lists / "testlist01.txt", test)
    return root


def waiting(model: Any, recipe: Recipe, folder: Path) -> dict[str, float]:
    """The last line of the log after some steps of a recipe, with one worker."""
    run = Run(model, recipe, 0, torch.device("cpu"), folder / "checkpoint.pt", tensorboard=False)
    fit(run, show_progress=False)
    return run.log.lines()[-1]


def bundled(name: str, folder: Path) -> dict[str, float]:
    """The same of a bundled model."""
    recipe = RECIPES[name]
    short = replace(recipe, steps=STEPS, eval_every=STEPS, eval_clips=recipe.batch_size)
    return waiting(models.build(name), short, folder)


def decoded(name: str, root: Path, folder: Path) -> dict[str, float]:
    """The same of a paper's recipe on files, of its own batch and net, for four steps."""
    file = load_recipe(name)
    source = open_source(file.data, root, file.data_options)
    model = file.build(source)
    # from fresh weights the recipe's rate diverges, and only time is asked for here
    slow = {"steps": 4, "lr": 1e-7}
    recipe = replace(file.recipe(source, model.info, slow), eval_every=4)
    return waiting(model, recipe, folder)


def reading(root: Path, folder: Path) -> dict[str, float]:
    """Milliseconds to read a clip: whole, for training, and from the cache; medians."""
    uncached = UCF101(root, frames=16, size=(112, 112))
    kept = UCF101(root, frames=16, size=(112, 112), cache=folder)
    kept[0]
    path = uncached.files[0]
    runs: dict[str, Callable[[], object]] = {
        "read_clip, all frames": lambda: read_clip(path),
        "16 frames at 112x112": lambda: uncached[0],
        "16 frames at 112x112, from the cache": lambda: kept[0],
    }
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            took[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in took.items()}


def two_against_one(folder: Path) -> float:
    """The largest difference between weights trained on one process and on two."""
    found = []
    for count in (1, 2):
        place = folder / str(count)
        place.mkdir()
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        subprocess.run(
            [sys.executable, *launcher, "-m", "tests.models.small_training", "--output", "out"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found.append(load_file(place / "out" / "c3d_small.safetensors"))
    one, two = found
    return max(float((two[key] - one[key]).abs().max()) for key in one)


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = ucf101(folder / "ucf101")
        print(f"{torch.get_num_threads()} threads, one worker\n")
        print(f"{'recipe':28}{'step, s':>10}{'waiting':>10}")
        for recipe in ("c3d_small", "cnn_lstm_small", "lenet5_3t", "fusion_net_small"):
            line = bundled(recipe, folder / recipe)
            print(f"{recipe:28}{line['step_seconds']:10.2f}{line['waiting']:10.1%}", flush=True)
        line = decoded("c3d-ucf101", root, folder / "c3d")
        print(f"{'c3d-ucf101':28}{line['step_seconds']:10.2f}{line['waiting']:10.1%}\n")
        print(f"Reading a clip of {FRAMES} frames, {SIZE[1]}x{SIZE[0]}:")
        for what, milliseconds in reading(root, folder / "cache").items():
            print(f"  {what:40}{milliseconds:8.1f} ms")
        print(f"\nTwo processes against one, largest difference: {two_against_one(folder):.1e}")
