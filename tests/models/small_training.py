"""The trainer with a small net, for processes of their own: ``python -m tests.models.small_training``.

``DIE_AT=clip`` in the environment ends the process that draws that clip, as ``kill -9`` does;
``TERM_AT=clip`` asks all processes of its group to end, as ``timeout`` does.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

import torch

from models import BundledModel, build, train
from models.c3d import C3D
from models.data import MovingDigits, Sample
from models.training import command, recipes
from models.training.classification import Classification

NAME = "c3d_small"


class Fatal(MovingDigits):
    """Clips of which one is fatal to whoever draws it for training."""

    def __getitem__(self, index: int) -> Sample:
        if self.split == "train" and index == int(os.environ.get("DIE_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.split == "train" and index == int(os.environ.get("TERM_AT", -1)):
            os.killpg(os.getpgrp(), signal.SIGTERM)
        return super().__getitem__(index)


def narrow(name: str, **options: Any) -> BundledModel:
    """A net with the facts of ``c3d_small``, without dropout, and without batch norm by default."""
    widths = ((4,), (8,), (8,), (8,))
    options.setdefault("norm_from", int(os.environ.get("NORM_FROM", "0")) or None)
    net = C3D(19, widths=widths, hidden=(16,), size=(64, 64), dropout=0.0, **options)
    net.info = build(name).info
    return net


def main(arguments: list[str]) -> int:
    """Six steps of five clips by SGD with momentum, validated every third on five clips."""
    torch.set_num_threads(1)
    recipes.RECIPES[NAME] = replace(
        recipes.RECIPES[NAME],
        data=Fatal,
        steps=6,
        batch_size=5,
        eval_every=3,
        eval_clips=5,
        score_clips=3,
        optimizer="sgd",
        lr=0.05,
        task=Classification({"motion": range(1, 10), "look": range(10, 0, -1)}),
    )
    command.build = narrow
    return train.main([NAME, "--device", "cpu", "--workers", "0", "--quiet", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
