"""Clips out of video files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import torch

from captum_video._core.errors import close_matches
from captum_video.io._clip import (
    Clip,
    ClipError,
    check_rate,
    check_window,
    empty_window,
    in_window,
)
from captum_video.io._folder import check_choice, read_folder
from captum_video.io._skvideo_reader import FramePipe, find_ffmpeg
from captum_video.io._truncation import early_end

_AGAIN = "Copy or download it again, or take the frames before the damage with allow_truncated=True"
_SEEK_AFTER = 2.0  # seconds; decoding that much is cheaper than looking for a key frame
_CONVERT = "Convert it first, for instance with: ffmpeg -i INPUT OUTPUT.mp4"
BACKENDS = ("pyav", "skvideo")


Keep = Callable[[int], Sequence[int]]


class _DamageError(Exception):
    """Decoding met a damaged packet or frame."""


@dataclass(frozen=True)
class _Wish:
    """What the caller of :func:`read_clip` asked for."""

    start: float | None
    end: float | None
    keep: Keep | None
    fps: float | None
    allow_truncated: bool
    max_bytes: int
    program: str | None  # the FFmpeg that gives the pixels in PyAV's place


@dataclass(frozen=True)
class _Scan:
    """What one pass over a file found: times of all frames in the window, and some frames."""

    times: list[float]
    frames: dict[int, np.ndarray]
    rate: float


def read_clip(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    end: float | None = None,
    keep: Keep | None = None,
    fps: float | None = None,
    allow_truncated: bool = False,
    max_bytes: int = 4 << 30,
    backend: str = "pyav",
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
        keep: which frames of that window to hold, from their number: for 16 evenly spaced ones
            ``lambda total: frame_indices(total, count=16)``. The file is decoded twice, and only
            the frames chosen take memory. ``None`` for all.
        fps: the rate to assume. For a folder it defaults to 25; for a file, to what the file says.
        allow_truncated: when the file is cut off or damaged, return the frames that can be
            decoded up to there instead of raising.
        max_bytes: refuse to hold more than this many bytes of frames (4 GiB).
        backend: what decodes a file's pixels. ``"skvideo"`` is scikit-video's FFmpeg reader: it runs
            the program ``ffmpeg``, the one on the search path or else that of the package
            imageio-ffmpeg, from the file's first frame on whatever the window. Times, the window and
            the checks stay PyAV's, and the pixels are the same, apart from colours stored at a
            coarser grid than brightness in files that are interlaced, have odd sizes or more than
            8 bits, which FFmpeg may place otherwise. Folders are read in one way only.

    Returns:
        The clip.

    Raises:
        ClipError: if there is no such file, it cannot be opened or decoded, is cut off, holds no
            frame (in the window), or is larger than ``max_bytes``; or if ``ffmpeg`` and PyAV do not
            agree on its frames.
        ValueError: if an argument makes no sense.
        ImportError: if the backend is ``"skvideo"`` and scikit-video is not installed.
        FileNotFoundError: if the backend is ``"skvideo"`` and there is no program ``ffmpeg``.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}. {close_matches(backend, BACKENDS)}")
    source = Path(path)
    check_window(start, end)
    if fps is not None:
        check_rate(fps)
    if source.is_dir():
        rate = 25.0 if fps is None else fps
        return read_folder(source, rate, start, end, keep, max_bytes=max_bytes)
    if not source.exists():
        raise ClipError(source, "there is no such file or folder", "Check the path")
    if source.stat().st_size == 0:
        raise ClipError(source, "the file is empty (0 bytes)", "Copy or download it again")
    program = find_ffmpeg() if backend == "skvideo" else None
    try:
        return _read(source, _Wish(start, end, keep, fps, allow_truncated, max_bytes, program))
    except ClipError:
        raise
    except av.error.DecoderNotFoundError as error:
        raise ClipError(source, "FFmpeg has no decoder for its video codec", _CONVERT) from error
    except av.error.EOFError as error:
        raise _no_frame(source) from error
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClipError(
            source,
            f"it cannot be opened as a video ({reason})",
            "It may be cut off, damaged or no video: play it, copy it again or convert it",
        ) from error


def _read(path: Path, wish: _Wish) -> Clip:
    if wish.keep is None:
        found = _scan(path, wish, None)
        return Clip(_stack(list(found.frames.values())), found.rate, path, tuple(found.times))
    total = len(_scan(path, wish, ()).times)
    numbers = check_choice(wish.keep(total), total)
    found = _scan(path, wish, set(numbers))
    frames = _stack([found.frames[number] for number in numbers])
    return Clip(frames, found.rate, path, tuple(found.times[number] for number in numbers))


def _scan(path: Path, wish: _Wish, wanted: Collection[int] | None) -> _Scan:
    """Decodes the window once and holds the frames wanted (``None``: all)."""
    times: list[float] = []
    frames: dict[int, np.ndarray] = {}
    decoded, last, damage = 0, 0.0, None
    with ExitStack() as opened:
        # absolute, as FFmpeg takes what stands before a colon for a protocol
        container = opened.enter_context(av.open(os.path.abspath(path)))
        stream = _stream(container, path)
        pipe = None
        if wish.program is not None and (wanted is None or wanted):
            threads = 1 if wish.allow_truncated else 0
            pipe = FramePipe(path, wish.program, stream.index, threads=threads)
            opened.enter_context(pipe)
        # Threads that decode ahead are fast, but lose a varying number of frames at a damaged place.
        stream.thread_type = "SLICE" if wish.allow_truncated else "AUTO"
        rate = float(wish.fps or stream.average_rate or stream.guessed_rate or 25)
        try:
            for frame, at in _decode(container, stream, wish, rate, seek=pipe is None):
                decoded, last = decoded + 1, at
                if wish.end is not None and at >= wish.end - 1e-6:
                    break
                stored = None if pipe is None else _piped(pipe, frame, wish)
                if not in_window(at, wish.start, wish.end):
                    continue
                if frame.is_corrupt:
                    raise _DamageError("a frame is incomplete")
                if wanted is None or len(times) in wanted:
                    first = next(iter(frames.values()), None)
                    frames[len(times)] = _pixels(frame, stored, path, first)
                    _check_memory(path, len(frames) * frames[len(times)].nbytes, wish.max_bytes)
                times.append(at)
            else:
                damage = early_end(path, container, stream, last + 2 / rate)
                if pipe is not None and damage is None and not pipe.at_end():
                    raise pipe.disagreement()
        except _DamageError as error:
            damage = str(error)
        except av.error.InvalidDataError:
            damage = "a frame cannot be decoded"
    if damage and not (wish.allow_truncated and times):
        raise ClipError(
            path,
            f"it is cut off or damaged: {damage}; {decoded} frames could be decoded",
            _AGAIN if decoded else "Copy or download it again",
        )
    if not decoded:
        raise _no_frame(path)
    if not times:
        raise empty_window(path, wish.start, wish.end, last + 1 / rate)
    if wish.fps is None and path.suffix.lower() == ".gif" and times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])  # its delays, not a nominal rate
    return _Scan(times, frames, rate)


def _stream(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise ClipError(path, "it holds no video stream", "Choose a file with moving pictures")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ClipError(path, "FFmpeg has no decoder for its video codec", _CONVERT)
    return stream


def _decode(
    container: Any, stream: Any, wish: _Wish, rate: float, *, seek: bool = True
) -> Iterator[tuple[Any, float]]:
    """Frames with their times, in order, from a key frame before the window on.

    At a damaged place it raises; if that is allowed for, after giving what the decoder still holds.
    """
    start = wish.start or 0.0
    origin = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
    sought = (
        seek
        and start > _SEEK_AFTER
        and wish.fps is None
        and stream.time_base is not None
        and _seek(container, stream, start + origin)
    )
    given = 0
    try:
        for number, frame in enumerate(_packets(container, stream)):
            nominal = wish.fps is not None or frame.time is None
            at = number / rate if nominal else float(frame.time) - origin
            if sought and number == 0 and (frame.time is None or at > start):
                break  # the file's index is no help
            yield frame, at
            given = number + 1
        else:
            return
    except (_DamageError, av.error.InvalidDataError):
        held = stream.codec_context.decode(None) if wish.allow_truncated else ()
        for number, frame in enumerate(held, given):
            nominal = wish.fps is not None or frame.time is None
            yield frame, number / rate if nominal else float(frame.time) - origin
        raise
    container.seek(0)
    yield from _decode(container, stream, wish, rate, seek=False)


def _no_frame(path: Path) -> ClipError:
    return ClipError(path, "it holds no frame (0 frames decoded)", "Copy or download it again")


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


def _piped(pipe: FramePipe, frame: Any, wish: _Wish) -> np.ndarray:
    """The pixels that belong to a frame, from the pipe whose turn they are."""
    pixels = pipe.read(frame)
    if pixels is None and wish.allow_truncated:
        raise _DamageError("ffmpeg gives up before PyAV")
    if pixels is None:
        raise pipe.disagreement()
    return pixels


def _pixels(
    frame: Any, stored: np.ndarray | None, path: Path, first: np.ndarray | None
) -> np.ndarray:
    """One frame as (H, W, 3), turned the way the file asks for."""
    pixels = frame.to_ndarray(format="rgb24") if stored is None else stored
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise
    if quarter_turns:
        pixels = np.rot90(pixels, quarter_turns)
    if first is not None and first.shape != pixels.shape:
        raise ClipError(
            path,
            f"its frames change from {_size(first)} to {_size(pixels)} (width x height)",
            _CONVERT,
        )
    return pixels


def _check_memory(path: Path, used: int, limit: int) -> None:
    if used > limit:
        raise ClipError(
            path,
            f"its frames take more than {limit / 2**30:.3g} GiB",
            "Read a part of it (start, end), choose frames (keep), or raise max_bytes",
        )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _stack(frames: list[np.ndarray]) -> torch.Tensor:
    height, width, channels = frames[0].shape
    stacked = torch.empty((len(frames), channels, height, width), dtype=torch.uint8)
    for slot, pixels in zip(stacked, frames, strict=True):
        slot.copy_(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1))
    return stacked
