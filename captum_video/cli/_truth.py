"""The truth that a loss compares a regression's answer with, from a file of numbers."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from captum_video.cli._errors import UsageError

_KEY = "truth"
_FORMS = (".safetensors", ".npy", ".csv")


@dataclass(frozen=True)
class Truth:
    """The truth of each clip.

    Attributes:
        path: the file.
        values: what it holds; with several clips one row for each.
        clips: how many clips there are.
    """

    path: Path
    values: Tensor
    clips: int

    def of(self, number: int, shape: tuple[int, ...] | None, like: Tensor) -> Tensor:
        """The truth of one clip.

        Args:
            number: the clip's place on the command line.
            shape: the shape of the model's answer; ``None`` if it is not one tensor.
            like: a tensor whose type and device it takes.

        Returns:
            (1, *shape).

        Raises:
            UsageError: if it is not of that shape.
        """
        values = self.values
        if self.clips > 1:
            values = values[number]
        elif values.dim() > 0 and len(values) == 1 and tuple(values.shape) != shape:
            values = values[0]
        count = int(np.prod(shape)) if shape is not None else -1
        if shape is not None and tuple(values.shape) not in (shape, (count,)):
            rows = f"{self.clips} rows of that shape" if self.clips > 1 else "that shape"
            raise UsageError(
                f"--truth {self.path}: holds numbers of shape {tuple(self.values.shape)}, but the "
                f"model answers a clip by shape {shape}: give {rows}, or of {count} numbers in a "
                "row"
            )
        row = values if shape is None else values.reshape(shape)
        return row.unsqueeze(0).to(like)


def read_truth(path: Path, clips: int) -> Truth:
    """Reads the truth of all clips.

    Args:
        path: a ``.safetensors``, ``.npy`` or ``.csv`` file.
        clips: how many clips there are.

    Returns:
        The truth.

    Raises:
        UsageError: if the file cannot be read, holds anything but finite numbers, or has not one
            row for each of several clips.
    """
    if not path.is_file():
        raise UsageError(f"--truth {path}: there is no such file")
    if path.suffix not in _FORMS:
        raise UsageError(f"--truth {path}: must be one of {', '.join(_FORMS)}")
    try:
        values = _read(path)
    except (SafetensorError, OSError, ValueError, EOFError, csv.Error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--truth {path}: it cannot be read: {reason}") from error
    if not values.numel():
        raise UsageError(f"--truth {path}: holds no numbers")
    if not bool(values.isfinite().all()):
        raise UsageError(f"--truth {path}: holds NaN or infinity")
    if clips > 1 and (values.dim() == 0 or len(values) != clips):
        rows = len(values) if values.dim() else 1
        raise UsageError(f"--truth {path}: has {rows} rows for {clips} clips; each needs its own")
    return Truth(path, values, clips)


def _read(path: Path) -> Tensor:
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".npy":
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"it holds {array.dtype}, no numbers")
        return torch.from_numpy(array.astype(np.float64))
    tensors = load_file(path)
    if _KEY not in tensors and len(tensors) != 1:
        names = ", ".join(map(repr, sorted(tensors)[:6])) or "none"
        raise ValueError(f"it must hold one tensor, or one named {_KEY!r}; its tensors: {names}")
    found = tensors[_KEY] if _KEY in tensors else next(iter(tensors.values()))
    if found.is_complex():
        raise ValueError(f"it holds {found.dtype}, no real numbers")
    return found.double()


def _read_csv(path: Path) -> Tensor:
    rows: list[list[float]] = []
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for cells in csv.reader(lines):
            if not any(cell.strip() for cell in cells):
                continue
            try:
                rows.append([float(cell) for cell in cells])
            except ValueError as error:
                raise ValueError(f"row {len(rows) + 1} of its numbers: {error}") from error
            if len(rows[-1]) != len(rows[0]):
                raise ValueError(
                    f"row {len(rows)} has {len(rows[-1])} numbers, the first has {len(rows[0])}"
                )
    return torch.tensor(rows, dtype=torch.float64)
