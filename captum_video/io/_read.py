"""Clips out of video files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import torch

from captum_video.io._clip import Clip, ClipError, check_rate, check_window, empty_window
from captum_video.io._folder import read_folder
from captum_video.io._truncation import early_end

_AGAIN = "Copy or download it again, or take the frames before the damage with allow_truncated=True"
_SEEK_AFTER = 2.0  # seconds; decoding that much is cheaper than looking for a key frame
_CONVERT = "Convert it first, for instance with: ffmpeg -i INPUT OUTPUT.mp4"


class _DamageError(Exception):
    """Decoding met a damaged packet or frame."""


def read_clip(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    end: float | None = None,
    stride: int = 1,
    fps: float | None = None,
    allow_truncated: bool = False,
    max_bytes: int = 4 << 30,
) -> Clip:
    """Reads the frames of a video file, or of a folder of images.

    Everything that FFmpeg decodes can be read (mp4, mov, avi, webm, mkv, gif, ...); PyAV's wheels
    bring it along. Frames come as stored, in colour: a rotation that the file asks players to
    apply (as telephones do) is applied, transparency is dropped, and pixels that are not square
    stay as they are. A folder gives its images in natural order (``2.png`` before ``10.png``).

    Args:
        path: the file or folder.
        start: leave out frames shown earlier than this, in seconds.
        end: leave out frames shown at this time or later, in seconds.
        stride: keep every so many frames of that window; the clip's rate is divided by it.
        fps: the rate to assume. For a folder it defaults to 25; for a file, to what the file says.
        allow_truncated: when the file is cut off or damaged, return the frames that can be
            decoded up to there instead of raising.
        max_bytes: refuse to hold more than this many bytes of frames (4 GiB).

    Returns:
        The clip.

    Raises:
        ClipError: if there is no such file, it cannot be opened or decoded, is cut off, holds no
            frame (in the window), or is larger than ``max_bytes``.
        ValueError: if an argument makes no sense.
    """
    source = Path(path)
    check_window(start, end)
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    if fps is not None:
        check_rate(fps)
    if source.is_dir():
        clip = read_folder(source, 25.0 if fps is None else fps, max_bytes=max_bytes)
        clip = clip if start is None and end is None else clip.between(start, end)
        if stride == 1:
            return clip
        return Clip(clip.frames[::stride], clip.fps / stride, source, clip.start)
    if not source.exists():
        raise ClipError(source, "there is no such file or folder", "Check the path")
    if source.stat().st_size == 0:
        raise ClipError(source, "the file is empty (0 bytes)", "Copy or download it again")
    try:
        with av.open(os.fspath(source)) as container:
            return _read(container, source, start, end, stride, fps, allow_truncated, max_bytes)
    except ClipError:
        raise
    except av.error.DecoderNotFoundError as error:
        raise ClipError(source, "FFmpeg has no decoder for its video codec", _CONVERT) from error
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClipError(
            source,
            f"it cannot be opened as a video ({reason})",
            "It may be cut off, damaged or no video: play it, copy it again or convert it",
        ) from error


def _read(
    container: Any,
    path: Path,
    start: float | None,
    end: float | None,
    stride: int,
    fps: float | None,
    allow_truncated: bool,
    max_bytes: int,
) -> Clip:
    if not container.streams.video:
        raise ClipError(path, "it holds no video stream", "Choose a file with moving pictures")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ClipError(path, "FFmpeg has no decoder for its video codec", _CONVERT)
    stream.thread_type = "AUTO"
    rate = float(fps or stream.average_rate or stream.guessed_rate or 25)
    frames: list[np.ndarray] = []
    times: list[float] = []
    begin, seen, decoded, used = (start or 0.0) - 1e-6, 0, 0, 0
    damage, last = None, 0.0
    try:
        for frame, at in _decode(container, stream, start or 0.0, rate, allow_truncated):
            decoded, last = decoded + 1, at
            if end is not None and at >= end - 1e-6:
                break
            if at < begin:
                continue
            if frame.is_corrupt:
                raise _DamageError("a frame is incomplete")
            if seen % stride == 0:
                frames.append(_pixels(frame, path, frames))
                times.append(at)
                used += frames[-1].nbytes
                _check_memory(path, used, max_bytes)
            seen += 1
        else:
            damage = early_end(path, container, stream, last + 2 / rate)
    except (_DamageError, av.error.InvalidDataError) as error:
        damage = str(error) if isinstance(error, _DamageError) else "a frame cannot be decoded"
    if damage and not (allow_truncated and frames):
        raise ClipError(
            path,
            f"it is cut off or damaged: {damage}; {decoded} frames could be decoded",
            _AGAIN if decoded else "Copy or download it again",
        )
    if not decoded:
        raise ClipError(path, "it holds no frame (0 frames decoded)", "Copy or download it again")
    if not frames:
        raise empty_window(path, start, end, last + 1 / rate)
    if fps is None and path.suffix.lower() == ".gif" and len(times) > 1:
        rate = stride * (len(times) - 1) / (times[-1] - times[0])  # delays, not a nominal rate
    return Clip(_stack(frames), rate / stride, path, times[0])


def _decode(
    container: Any, stream: Any, start: float, rate: float, drain: bool
) -> Iterator[tuple[Any, float]]:
    """Frames with their times, in order, from a key frame before ``start`` on.

    At a damaged place it raises; if ``drain``, after giving what the decoder still holds.
    """
    origin = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
    sought = (
        start > _SEEK_AFTER
        and stream.time_base is not None
        and _seek(container, stream, start + origin)
    )
    try:
        for number, frame in enumerate(_packets(container, stream)):
            at = number / rate if frame.time is None else float(frame.time) - origin
            if sought and number == 0 and (frame.time is None or at > start):
                break  # the file's index is no help
            yield frame, at
        else:
            return
    except (_DamageError, av.error.InvalidDataError):
        for frame in stream.codec_context.decode(None) if drain else ():
            if frame.time is not None:
                yield frame, float(frame.time) - origin
        raise
    container.seek(0)
    yield from _decode(container, stream, 0.0, rate, drain)


def _seek(container: Any, stream: Any, time: float) -> bool:
    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except (av.error.FFmpegError, OSError):
        return False
    return True


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise _DamageError("a packet is incomplete")
        yield from packet.decode()


def _pixels(frame: Any, path: Path, others: list[np.ndarray]) -> np.ndarray:
    """One frame as (H, W, 3), turned the way the file asks for."""
    pixels = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise
    if quarter_turns:
        pixels = np.rot90(pixels, quarter_turns)
    if others and others[0].shape != pixels.shape:
        raise ClipError(
            path,
            f"its frames change from {_size(others[0])} to {_size(pixels)} (width x height)",
            _CONVERT,
        )
    return pixels


def _check_memory(path: Path, used: int, limit: int) -> None:
    if used > limit:
        raise ClipError(
            path,
            f"its frames take more than {limit / 2**30:.3g} GiB",
            "Read a part of it (start, end, stride) or raise max_bytes",
        )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _stack(frames: list[np.ndarray]) -> torch.Tensor:
    height, width, channels = frames[0].shape
    stacked = torch.empty((len(frames), channels, height, width), dtype=torch.uint8)
    for slot, pixels in zip(stacked, frames, strict=True):
        slot.copy_(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1))
    return stacked
