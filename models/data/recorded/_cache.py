"""Decoded frames on disk: a clip is decoded once, and read from there afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captum_video._core.files import written_whole
from models.data.recorded._reading import Chance, Reading

_FORMAT = 1
_LONGEST = 120  # bytes of a clip's name in a file's, which may have 255
_PACKAGES = {"pyav": "av", "skvideo": "scikit-video"}  # where a package is not named as its backend


def cached_frames(path: Path, name: Path, reading: Reading, chance: Chance | None) -> Tensor:
    """The resized frames of a sample, from the cache if it has them; if not, they are put there.

    A file of the cache is an array with one row per frame: its pixels and their check sum. Its name
    tells the clip, and a digest of everything that its content depends on.

    Args:
        path: a video, or a folder of images.
        name: what it is called in the cache; a relative path.
        reading: how it is read; it has a cache.
        chance: where a window begins; ``None`` for the middle.

    Returns:
        uint8, ``(T, 3, H, W)``, the same as without the cache.

    Raises:
        ClipError: the clip cannot be read.
        OSError: the cache cannot be written.
    """
    file = cache_file(path, name, reading)
    frames = _load(file, reading, chance)
    if frames is not None:
        return frames
    whole = reading.sampling == "window"
    frames = reading.decode_all(path) if whole else reading.decode(path, None)
    _save(file, frames)
    return frames[torch.tensor(reading.numbers(len(frames), chance))] if whole else frames


def cache_file(path: Path, name: Path, reading: Reading) -> Path:
    """Where the frames of a clip are kept.

    Args:
        path: a video, or a folder of images.
        name: what it is called in the cache; a relative path.
        reading: how it is read; it has a cache.

    Returns:
        The file; another one if the clip or the way of reading it has changed.
    """
    assert reading.cache is not None
    key = {
        "format": _FORMAT,
        "name": name.as_posix(),
        "state": _state(path),
        "size": reading.resize or reading.size,
        "fit": reading.fit,
        "frames": reading.frames if reading.sampling == "even" else None,
        "backend": [reading.backend, _version(_PACKAGES.get(reading.backend, reading.backend))],
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    short = name.name.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "ignore")
    return reading.cache / name.parent / f"{short}-{digest}.npy"


def _state(path: Path) -> list[tuple[str, int, int]]:
    """What changes when a clip does: size and time of its file, or of all files of its folder."""
    try:
        if not path.is_dir():
            status = path.stat()
            return [("", status.st_size, status.st_mtime_ns)]
        with os.scandir(path) as entries:
            states = [(entry.name, _status(entry)) for entry in entries]
            return sorted((name, status.st_size, status.st_mtime_ns) for name, status in states)
    except OSError:
        return []  # it is gone, which whoever decodes it says


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """What an entry of a folder is: of a link that leads nowhere, the link itself."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _load(file: Path, reading: Reading, chance: Chance | None) -> Tensor | None:
    """The frames of a sample; ``None`` if the file is not there, damaged, or something else."""
    if not file.is_file():
        return None
    try:
        rows = np.load(file, mmap_mode="r")
        shape = rows.dtype["pixels"].shape
        if rows.dtype != _row(shape) or not _fits(len(rows), shape, reading):
            return None
        if reading.sampling == "window":
            rows = rows[reading.numbers(len(rows), chance)]
        pixels = np.array(rows["pixels"])  # contiguous, and free of the file
        checks = [_check(frame) for frame in pixels]
        return torch.from_numpy(pixels) if checks == rows["check"].tolist() else None
    except Exception:  # a damaged header can bring any; the clip is decoded again
        return None


def _fits(total: int, shape: tuple[int, ...], reading: Reading) -> bool:
    """Whether this can be the clip's frames."""
    height, width = reading.resize or reading.size
    sizes = (
        shape == (3, height, width)
        if reading.fit == "squeeze"
        else len(shape) == 3 and shape[0] == 3 and shape[1] >= height and shape[2] >= width
    )
    return sizes and (reading.sampling == "window" or total == reading.frames)


def _save(file: Path, frames: Tensor) -> None:
    """Writes frames, whole or not at all; whoever writes the same file meanwhile writes the same."""
    pixels = frames.numpy()
    rows = np.empty(len(pixels), _row(pixels.shape[1:]))
    rows["pixels"] = pixels
    rows["check"] = [_check(frame) for frame in pixels]
    with written_whole(file) as part, part.open("wb") as target:
        np.save(target, rows)


def _row(shape: tuple[int, ...]) -> np.dtype:
    """What one row of a file holds."""
    return np.dtype([("pixels", "u1", shape), ("check", "<u4")])


def _check(frame: np.ndarray) -> int:
    """The check sum of a frame, which tells pixels that a disk has lost."""
    return zlib.crc32(np.ascontiguousarray(frame).data)
