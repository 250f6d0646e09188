"""A clip in memory, and the checks that every reader and writer shares."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captum_video._core.arrays import host_tensor


class ClipError(ValueError):
    """A clip that cannot be read or written; the message names the file, the cause and the cure.

    Attributes:
        path: the file or folder.
    """

    def __init__(self, path: str | os.PathLike[str], cause: str, cure: str) -> None:
        super().__init__(path, cause, cure)  # all of them, so that it can be pickled
        self.path = Path(path)

    def __str__(self) -> str:
        path, cause, cure = self.args
        return f"{os.fspath(path)}: {cause}. {cure}"


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames with the times at which they are shown.

    Attributes:
        frames: uint8, (T, C, H, W) with C = 3 (red, green, blue).
        fps: frames per second of the source.
        path: where the clip came from.
        times: when each frame is shown, in seconds from the beginning of the source; if left out,
            frames follow each other at ``fps`` from 0 on.
    """

    frames: Tensor
    fps: float
    path: Path
    times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuses frames that are not uint8 (T, C, H, W) and rates that are not positive."""
        check_rate(self.fps)
        if self.frames.dtype != torch.uint8 or self.frames.dim() != 4 or not self.frames.numel():
            raise ValueError(
                "frames must be uint8 of shape (T, C, H, W) with T > 0, got "
                f"{self.frames.dtype} of shape {tuple(self.frames.shape)}"
            )
        if not self.times:
            object.__setattr__(self, "times", tuple(i / self.fps for i in range(len(self))))
        elif len(self.times) != len(self):
            raise ValueError(f"times must be one per frame ({len(self)}), got {len(self.times)}")

    def __len__(self) -> int:
        """The number of frames."""
        return self.frames.shape[0]

    def between(self, start: float | None = None, end: float | None = None) -> Clip:
        """The part of the clip shown in ``start <= time < end``.

        Args:
            start: seconds from the beginning of the source; ``None`` for the first frame.
            end: seconds from the beginning of the source; ``None`` for all that follows.

        Returns:
            A clip that shares memory with this one.

        Raises:
            ClipError: if no frame lies in the window.
        """
        inside = [i for i, time in enumerate(self.times) if in_window(time, start, end)]
        if not inside:
            raise empty_window(self.path, start, end, self.times[-1] + 1 / self.fps)
        part = slice(inside[0], inside[-1] + 1)
        return Clip(self.frames[part], self.fps, self.path, self.times[part])


def check_rate(fps: float) -> None:
    """Refuses a frame rate that is not a positive number.

    Args:
        fps: frames per second.

    Raises:
        ValueError: if it is zero, negative, infinite or not a number.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number, got {fps}")


def check_window(start: float | None, end: float | None) -> None:
    """Refuses a time window that cannot hold a frame.

    Args:
        start: its beginning in seconds, or ``None``.
        end: its end in seconds, or ``None``.

    Raises:
        ValueError: if a bound is negative or not finite, or the end is not after the start.
    """
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a time in seconds >= 0, got {value}")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end must be later than start, got start={start or 0.0} and end={end}")


def in_window(time: float, start: float | None, end: float | None) -> bool:
    """Whether a frame belongs to a time window.

    Args:
        time: when it is shown, in seconds.
        start: the window's beginning in seconds, or ``None``.
        end: the window's end in seconds, which is not part of it, or ``None``.

    Returns:
        True if it does; rounding errors of a microsecond are forgiven.

    Raises:
        ValueError: as :func:`check_window`.
    """
    check_window(start, end)
    return time >= (start or 0.0) - 1e-6 and (end is None or time < end - 1e-6)


def empty_window(
    path: str | os.PathLike[str], start: float | None, end: float | None, last: float
) -> ClipError:
    """The error for a time window without frames.

    Args:
        path: the clip's file.
        start: the window's beginning in seconds, or ``None``.
        end: the window's end in seconds, or ``None``.
        last: when the clip ends.

    Returns:
        The error; the caller raises it.
    """
    window = f"start={start or 0.0:g}, end={'the last frame' if end is None else f'{end:g}'}"
    return ClipError(
        path, f"no frame lies in {window}", f"The clip ends at {last:.3f} s: choose a window in it"
    )


def frames_first(frames: Tensor | np.ndarray) -> Tensor:
    """Frames as (T, C, H, W), whichever of the two usual layouts they come in.

    A shape that reads both ways, such as (4, 3, 5, 3), is taken as (T, C, H, W).

    Args:
        frames: uint8, (T, C, H, W) or (T, H, W, C), C = 1 or 3; a tensor or an array.

    Returns:
        A uint8 tensor (T, C, H, W) on the CPU; a view where possible.

    Raises:
        ValueError: for another type, rank or number of channels, for a masked array, and for no
            frames.
    """
    tensor = host_tensor(frames, "frames")
    shape = tuple(tensor.shape)
    if tensor.dtype != torch.uint8:
        raise ValueError(
            f"frames must be uint8 (0..255), got {tensor.dtype} of shape {shape}; for values in "
            "0..1 use (255 * frames).round().clamp(0, 255).to(torch.uint8)"
        )
    if tensor.dim() != 4 or not {1, 3} & {shape[1], shape[3]}:
        raise ValueError(
            "frames must have shape (T, C, H, W) or (T, H, W, C) with one or three channels, "
            f"got {shape}"
        )
    if not tensor.numel():
        raise ValueError(f"frames are empty: shape {shape}")
    return tensor if shape[1] in (1, 3) else tensor.permute(0, 3, 1, 2)


def frames_last(frames: Tensor | np.ndarray) -> np.ndarray:
    """Frames as a contiguous colour array (T, H, W, 3), for drawing and encoding.

    Args:
        frames: uint8, (T, C, H, W) or (T, H, W, C), C = 1 or 3; a tensor or an array.

    Returns:
        A uint8 array (T, H, W, 3); one channel is repeated three times.

    Raises:
        ValueError: as :func:`frames_first`.
    """
    tensor = frames_first(frames)
    tensor = tensor.expand(-1, 3, -1, -1) if tensor.shape[1] == 1 else tensor
    if tensor.permute(0, 2, 3, 1).is_contiguous():
        return tensor.permute(0, 2, 3, 1).numpy()
    # a channel at a time: seven times as fast as a permuted copy
    return np.stack([tensor[:, channel].numpy() for channel in range(3)], axis=-1)
