"""Small videos, made on the spot by PyAV directly so that readers and writers are tested apart."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor


def smooth(frames: int = 20, height: int = 48, width: int = 64) -> Tensor:
    """Soft colours that drift: (T, 3, H, W) uint8. Frame t is brighter than frame t - 1."""
    t, y, x = torch.meshgrid(
        torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij"
    )
    red = 40 + 4 * t + 60 * torch.sin((x + t) / 14)
    green = 80 + 4 * t + 50 * torch.cos(y / 11)
    blue = 60 + 4 * t + 40 * torch.sin((x + y) / 17)
    return torch.stack([red, green, blue], 1).round().clamp(0, 255).to(torch.uint8)


def noise(frames: int = 30, height: int = 48, width: int = 64) -> Tensor:
    """Frames that no codec can make small."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, height, width), generator=generator, dtype=torch.uint8)


def encode(
    path: Path,
    frames: Tensor,
    codec: str,
    *,
    rate: int = 25,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            pixels = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float) -> Path:
    """The first part of a file, as an interrupted download leaves it."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut-{path.name}")
    shorter.write_bytes(data[: int(share * len(data))])
    return shorter


def psnr(a: Tensor, b: Tensor) -> float:
    error = (a.double() - b.double()).square().mean()
    return float(10 * torch.log10(255**2 / error)) if error else float("inf")


def cut_noise(path: Path, codec: str, container: dict[str, str], share: float) -> tuple[Path, Path]:
    """A file of noise, and its first part."""
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    whole = encode(path, noise(), codec, pix_fmt=pix_fmt, container_options=dict(container))
    return whole, cut(whole, share)
