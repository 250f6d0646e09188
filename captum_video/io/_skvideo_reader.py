"""scikit-video's FFmpeg reader, made to read what PyAV reads.

As it comes, it needs NumPy names that are gone, ``ffprobe`` beside ``ffmpeg``, a name that ends in
a known way and a number of frames in the header, and it lets FFmpeg repeat and drop frames to keep
a rate. Here PyAV answers for ``ffprobe``, and FFmpeg is told to give each frame once, as stored.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from captum_video.io._clip import ClipError
from captum_video.io._skvideo import import_skvideo, old_numpy

_PURPOSE = "read_clip with backend='skvideo'"


def find_ffmpeg() -> str:
    """The FFmpeg program that scikit-video is to run.

    Returns:
        Its path: ``ffmpeg`` on the search path, or else the one in the package imageio-ffmpeg.

    Raises:
        ImportError: if scikit-video is not installed.
        FileNotFoundError: if there is no such program.
        OSError: if it cannot be run.
    """
    with old_numpy():
        import_skvideo("io.ffmpeg", _PURPOSE)
    found = shutil.which("ffmpeg") or _packaged()
    if found is None:
        raise FileNotFoundError(
            f"{_PURPOSE} runs the program ffmpeg, which is not on the search path (PATH): install "
            "FFmpeg, or a package that carries it: pip install imageio-ffmpeg"
        )
    program = os.path.abspath(found)
    _each_once(program)  # one that cannot be run is no matter of the file that is read
    return program


class FramePipe:
    """The frames of a file one after the other, as scikit-video's reader gets them from FFmpeg.

    A context manager: leaving it ends the program and closes its pipes.

    Args:
        path: the file.
        program: what :func:`find_ffmpeg` found.
        stream: the number of the video stream in the file.
        threads: how many threads decode; 0 for as many as FFmpeg likes.
    """

    def __init__(self, path: Path, program: str, stream: int, *, threads: int = 0) -> None:
        self._path = path
        self._given = 0
        self._program = program
        self._input = {"-nostdin": None, "-noautorotate": None, "-threads": str(threads)}
        # bilinear is what PyAV converts colours with, where their samples lie apart
        self._output = {"-map": f"0:{stream}", "-sws_flags": "bilinear", **_each_once(program)}
        self._reader: Any = None
        self._frames: Iterator[np.ndarray] = iter(())
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> FramePipe:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.close()

    def read(self, frame: Any) -> np.ndarray | None:
        """The next frame.

        Args:
            frame: the same frame as PyAV decodes it, which says how large it is.

        Returns:
            uint8, (H, W, 3), not turned; ``None`` if FFmpeg gives no more.

        Raises:
            ClipError: if its size is not that of the frames before.
        """
        size = (frame.width, frame.height)
        if self._reader is None:
            self._reader, self._size = self._open(size), size
            self._frames = self._reader.nextFrame()
        if size != self._size:
            before, now = ("x".join(map(str, each)) for each in (self._size or (), size))
            raise ClipError(
                self._path,
                f"its frames change from {before} to {now} (width x height)",
                "Convert it first, for instance with: ffmpeg -i INPUT OUTPUT.mp4",
            )
        pixels = next(self._frames, None)
        if pixels is None:
            return None
        self._given += 1
        return np.array(pixels)  # scikit-video's cannot be written to, which torch warns of

    def at_end(self) -> bool:
        """Whether FFmpeg has given all its frames; takes one if not.

        Returns:
            Whether it has.
        """
        return next(self._frames, None) is None

    def disagreement(self) -> ClipError:
        """The error for numbers of frames that differ.

        Returns:
            The error; the caller raises it.
        """
        return ClipError(
            self._path,
            f"the program {self._program} does not give the frames that PyAV decodes: they part "
            f"after frame {self._given}",
            "Install another version of it, or read with backend='pyav'",
        )

    def _open(self, size: tuple[int, int]) -> Any:
        with old_numpy():
            module = import_skvideo("io.ffmpeg", _PURPOSE)
            with _run_by(module, self._program):
                return _reader_class(module.FFmpegReader)(
                    os.path.abspath(self._path), size, dict(self._input), dict(self._output)
                )


@functools.cache
def _reader_class(base: Any) -> Any:
    """scikit-video's reader, less what it guesses. The base is there only once it is imported."""

    class Reader(base):
        def __init__(
            self, path: str, size: tuple[int, int], inputs: dict[str, Any], outputs: dict[str, Any]
        ) -> None:
            self._stored = size
            super().__init__(path, inputdict=inputs, outputdict=outputs)

        def _probe(self) -> dict[str, Any]:
            width, height = self._stored
            # no frames announced: read until there are no more
            return {"video": {"@width": str(width), "@height": str(height), "@nb_frames": "0"}}

        def _getSupportedDecoders(self) -> Any:
            return NotImplemented  # the name of a file does not say what can be decoded

        def _dict2Args(self, options: dict[str, Any]) -> list[str]:
            return [part for part in super()._dict2Args(options) if part is not None]

        def _createProcess(self, inputs: Any, outputs: Any, verbosity: int) -> None:
            inputs.pop("-pix_fmt", None)  # put there for files called .yuv or .raw
            super()._createProcess(inputs, outputs, verbosity)

        def close(self) -> None:
            with self._proc as process:  # leaving waits for it and closes its pipes
                process.kill()

    return Reader


@contextmanager
def _run_by(module: Any, program: str) -> Iterator[None]:
    """Has scikit-video run a program, for the length of the block.

    It took the names over when it was imported, so its own ``setFFmpegPath`` does not reach them.
    """
    abstract = import_skvideo("io.abstract", _PURPOSE)
    folder, name = os.path.split(program)
    wanted = [
        (module, "_HAS_FFMPEG", 1),
        (abstract, "_HAS_FFMPEG", 1),
        (module, "_FFMPEG_PATH", folder),
        (module, "_FFMPEG_APPLICATION", name),
    ]
    before = [(place, key, getattr(place, key)) for place, key, _ in wanted]
    try:
        for place, key, value in wanted:
            setattr(place, key, value)
        yield
    finally:
        for place, key, value in before:
            setattr(place, key, value)


def _packaged() -> str | None:
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


@functools.cache
def _each_once(program: str) -> dict[str, str]:
    """The option that has FFmpeg give each frame once; it was renamed in version 5.1."""
    done = subprocess.run(
        [program, "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    found = re.match(r"ffmpeg version n?(\d+)\.(\d+)", done.stdout)
    if found and (int(found[1]), int(found[2])) < (5, 1):
        return {"-vsync": "0"}
    return {"-fps_mode": "passthrough"}
