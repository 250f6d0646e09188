"""Clips into video files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import IO, Any

import av
import av.error
import numpy as np
from torch import Tensor

from captum_video._core.files import written_whole
from captum_video.io._clip import ClipError, check_rate, frames_last

# suffix -> (FFmpeg's container, encoders in order of preference, what they are called)
FORMATS: dict[str, tuple[str, tuple[str, ...], str]] = {
    ".mp4": ("mp4", ("libx264", "libopenh264"), "H.264"),
    ".mov": ("mov", ("libx264", "libopenh264"), "H.264"),
    ".mkv": ("matroska", ("libx264", "libopenh264"), "H.264"),
    ".webm": ("webm", ("libvpx-vp9", "libvpx"), "VP9"),
    ".gif": ("gif", ("gif",), "GIF"),
}
_BT709 = 1
_FINEST = 1001 * 60  # denominator of a rate; x264 refuses such rates as 1 / 60060
# Matroska and WebM count milliseconds; a GIF's frame lasts at most 65535 hundredths of a second
_RATES = {
    ".mkv": (Fraction(1, 10_000), 1000),
    ".webm": (Fraction(1, 10_000), 1000),
    ".gif": (Fraction(1, 655), 50),
}


def write_video(
    path: str | os.PathLike[str], frames: Tensor | np.ndarray, fps: float, *, crf: int = 18
) -> Path:
    """Writes a video file, whole or not at all; the suffix picks the format.

    ``.mp4``, ``.mov`` and ``.mkv`` are H.264 and ``.webm`` is VP9, both yuv420p, which all players
    and browsers show. That format wants even sides: an odd height or width is made even by
    repeating the last row or column, so nothing is lost. A ``.gif`` gets one palette made for the
    whole clip; its frame times are multiples of 1/100 s, so its rate is met on average.

    Args:
        path: the file to write.
        frames: uint8, (T, C, H, W) or (T, H, W, C) with one or three channels.
        fps: frames per second.
        crf: quality of H.264 and VP9, 0 (best) to 51; 18 is hard to tell from the original.

    Returns:
        The file.

    Raises:
        ClipError: if this FFmpeg lacks the encoder or refuses the frames.
        ValueError: for an unknown suffix, frames that are none, or a rate that makes no sense.
        OSError: if the disk refuses; an older file at ``path`` stays as it was then.
    """
    pictures = frames_last(frames)
    with video_file(path, fps, crf=crf) as write:
        write(pictures)
    return Path(path)


@contextmanager
def video_file(
    path: str | os.PathLike[str], fps: float, *, crf: int = 18
) -> Iterator[Callable[[Iterable[np.ndarray]], None]]:
    """Does all of :func:`write_video` that needs no frames, and yields what writes them.

    So a wrong suffix or a folder that takes no file is found before the frames are drawn. The file
    appears at the end of the block, whole or not at all.

    Args:
        path: the file to write.
        fps: frames per second.
        crf: quality of H.264 and VP9.

    Yields:
        A function that takes the frames one after the other, each uint8 (H, W, 3), to be called
        once. They may be drawn as they are taken.

    Raises:
        ClipError: if this FFmpeg lacks the encoder.
        ValueError: for an unknown suffix or a rate that makes no sense.
        OSError: if no file can be made there.
    """
    target = Path(path)
    encoding = Encoding.of(target, fps, crf=crf)
    with written_whole(target) as part:

        def write(pictures: Iterable[np.ndarray]) -> None:
            # A Python file, so that a full disk is an OSError here and not a line in FFmpeg's log.
            with part.open("wb", buffering=1 << 20) as file:
                encoding.write(file, pictures)
                file.flush()
                os.fsync(file.fileno())

        yield write


def can_write(suffix: str) -> bool:
    """Whether this FFmpeg has an encoder for a format.

    Args:
        suffix: one of ``FORMATS``.
    """
    return any(map(_has_encoder, FORMATS[suffix][1]))


@dataclass(frozen=True)
class Encoding:
    """How frames become a video.

    Attributes:
        target: what messages name.
        container: FFmpeg's name of the file format.
        encoder: FFmpeg's name of the encoder.
        rate: frames per second.
        crf: quality of H.264 and VP9.
        loop: whether a GIF begins anew at its end; other formats leave that to the player.
    """

    target: Path
    container: str
    encoder: str
    rate: Fraction
    crf: int = 18
    loop: bool = True

    @classmethod
    def of(cls, target: Path, fps: float, *, crf: int = 18, loop: bool = True) -> Encoding:
        """What a file name, a rate and a quality ask for.

        Args:
            target: the file; only its name counts.
            fps: frames per second.
            crf: quality of H.264 and VP9.
            loop: whether a GIF begins anew at its end.

        Returns:
            The encoding.

        Raises:
            ClipError: if this FFmpeg lacks the encoder.
            ValueError: for an unknown suffix, or a number out of range.
        """
        suffix = target.suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(
                f"cannot tell a video format from {target.name!r}: use {', '.join(FORMATS)}"
            )
        check_rate(fps)
        if not 0 <= crf <= 51:
            raise ValueError(f"crf must lie in 0..51, got {crf}")
        container, encoders, name = FORMATS[suffix]
        encoder = next((codec for codec in encoders if _has_encoder(codec)), None)
        if encoder is None:
            others = ", ".join(filter(can_write, FORMATS))
            raise ClipError(
                target,
                f"this FFmpeg has no {name} encoder ({' or '.join(encoders)})",
                f"It can write {others or 'no video'}; `pip install av` brings a full one",
            )
        rate = Fraction(float(fps)).limit_denominator(_FINEST)
        lowest, highest = _RATES.get(suffix, (Fraction(1, 10_000), 1_000_000))
        if not lowest <= rate <= highest:
            raise ValueError(
                f"a {suffix} file shows from {lowest} to {highest} frames per second, got {fps}"
            )
        return cls(target, container, encoder, rate, crf, loop)

    def write(self, file: IO[bytes], pictures: Iterable[np.ndarray]) -> None:
        """Encodes frames.

        Args:
            file: what to write to; it must be seekable.
            pictures: at least one frame, each uint8 (H, W, 3); an array (T, H, W, 3), or what draws
                one after the other.

        Raises:
            ClipError: if FFmpeg refuses the frames.
            OSError: if the file takes no more.
        """
        frames = iter(pictures)
        first = next(frames)
        height, width = first.shape[:2]
        frames = chain([first], frames)
        once = {"loop": "-1"} if self.encoder == "gif" and not self.loop else {}
        try:
            with av.open(file, "w", format=self.container, options=once) as output:
                if self.encoder == "gif":
                    _encode_gif(output, frames, (height, width), self.rate)
                else:
                    _encode(output, self.encoder, frames, (height, width), self.rate, self.crf)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno and error.errno < 1000:
                raise OSError(error.errno, os.strerror(error.errno), str(self.target)) from error
            raise ClipError(
                self.target,
                f"the {self.encoder} encoder refused frames of {width}x{height} ({error.strerror})",
                "Try another size or suffix",
            ) from error


def _has_encoder(name: str) -> bool:
    try:
        return av.Codec(name, "w") is not None
    except av.error.FFmpegError:
        return False
    except ValueError:  # PyAV's UnknownCodecError
        return False


def _encode(
    output: Any,
    encoder: str,
    pictures: Iterable[np.ndarray],
    size: tuple[int, int],
    rate: Fraction,
    crf: int,
) -> None:
    odd_height, odd_width = size[0] % 2, size[1] % 2
    stream = output.add_stream(encoder, rate=rate)
    stream.height, stream.width = size[0] + odd_height, size[1] + odd_width
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(crf)} | ({"b:v": "0"} if encoder.startswith("libvpx") else {})
    context = stream.codec_context  # say which colours these are: players guess otherwise
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = 1
    for picture in pictures:
        if odd_height or odd_width:
            picture = np.pad(picture, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _encode_gif(
    output: Any, pictures: Iterable[np.ndarray], size: tuple[int, int], rate: Fraction
) -> None:
    stream = output.add_stream("gif", rate=rate)
    stream.height, stream.width = size
    stream.pix_fmt = "pal8"
    for frame in _with_palette(pictures, size, rate):
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _with_palette(
    pictures: Iterable[np.ndarray], size: tuple[int, int], rate: Fraction
) -> Iterator[Any]:
    """The pictures in 256 colours, chosen for all of them together."""
    height, width = size
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / rate
    )
    split, palette = graph.add("split"), graph.add("palettegen")
    use, sink = graph.add("paletteuse", "dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        graph.push(frame)
    source.push(None)
    while True:
        try:
            yield sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
