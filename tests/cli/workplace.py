"""What every test of the command needs: a clip, the command in this process, what it wrote."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_video.cli import main

SMALL = ["--frames", "4", "--size", "16"]


def moving(frames: int = 8) -> Tensor:
    """A bright square that crosses a dim texture."""
    generator = torch.Generator().manual_seed(2)
    clip = torch.randint(0, 90, (3, 24, 32), generator=generator).expand(frames, -1, -1, -1).clone()
    for t in range(frames):
        clip[t, :, 8:16, 2 * t + 2 : 2 * t + 10] = 220
    return clip.to(torch.uint8)


def explain(*arguments: str) -> int:
    """Runs ``captum-video explain``."""
    return main(["explain", *arguments])


def found(name: str, module: str = "tinynets") -> Any:
    """What ``MODULE:NAME`` means to the command."""
    sys.path.insert(0, os.getcwd())
    return getattr(importlib.import_module(module), name)


def model_of(factory: str, module: str = "tinynets") -> Any:
    """The model that ``--model MODULE:FACTORY`` gives, in evaluation mode."""
    return found(factory, module)().eval()


def summary(name: str = "walk") -> dict[str, Any]:
    """The summary that was written for a clip."""
    loaded: dict[str, Any] = json.loads(Path("explanations", name, "summary.json").read_text())
    return loaded
