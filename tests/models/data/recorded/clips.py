"""Small recorded data sets, made on the spot; the brightness of a frame tells its number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.data.recorded import Videos
from tests.io.videos import encode

STEP = 8  # levels of brightness from frame to frame; codecs are off by less than half of it


def stairs(frames: int, height: int = 24, width: int = 32, base: int = 16) -> Tensor:
    """(T, 3, H, W) uint8; frame k is of one grey, ``base + 8 k``."""
    grey = base + STEP * torch.arange(frames)
    assert int(grey[-1]) <= 235
    return grey.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, height, width).contiguous()


def numbers(clip: Tensor, base: int = 16) -> list[int]:
    """Which frames of :func:`stairs` a sample (3, T, H, W) holds."""
    levels = 255 * clip.mean((0, 2, 3))
    return [round(float(level - base) / STEP) for level in levels]


def video(path: Path, frames: int | Tensor = 10) -> Path:
    """A video of :func:`stairs`, or of what is given; its codec by the suffix."""
    pixels = stairs(frames) if isinstance(frames, int) else frames
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".webm":
        return encode(path, pixels, "libvpx", options={"crf": "4", "b": "2M"})
    if path.suffix == ".gif":
        return encode(path, pixels, "gif", pix_fmt="gray")
    # its key frames alone are within a level of what went in
    return encode(path, pixels, "mpeg4", options={"qscale": "1", "b": "4M", "g": "1"})


def images(folder: Path, frames: int | Tensor = 10) -> Path:
    """A folder of images, ``1.png`` and so on."""
    pixels = stairs(frames) if isinstance(frames, int) else frames
    folder.mkdir(parents=True)
    for number, frame in enumerate(pixels, 1):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return folder


class Listed(Videos):
    """Clips with the classes given, "a" and "b" unless others are."""

    def __init__(
        self, items: Sequence[tuple[Path, int]], classes: Sequence[str] = ("a", "b"), **reading: Any
    ) -> None:
        options: dict[str, Any] = {"size": (24, 32), "frames": 4, **reading}
        super().__init__(items, classes, **options)
