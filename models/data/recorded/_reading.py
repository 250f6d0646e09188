"""How a recorded clip becomes the frames of a sample: which of them, how large, and what part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video.io import ClipError, frame_indices, read_clip, resize
from captum_video.io._read import BACKENDS

_CHOICES = {
    "fit": ("squeeze", "crop"),
    "sampling": ("even", "window"),
    "mirror": (False, True),  # a word such as "no" would be true
    "backend": BACKENDS,
    "on_error": ("raise", "skip"),
}
_TOGETHER = 8  # frames
_AT_ONCE = 1 << 30  # bytes of frames as stored


class Chance(NamedTuple):
    """What is random in a sample, drawn before anything is known about its clip.

    Attributes:
        window: where the window begins, as a share of its room.
        top: where the crop begins, as a share of the room above and below.
        left: where the crop begins, as a share of the room on both sides.
        mirrored: below one half, the clip is mirrored if that is asked for.
    """

    window: float
    top: float
    left: float
    mirrored: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Chance:
        """Draws all four, whichever are needed.

        Args:
            rng: the source of randomness.

        Returns:
            Numbers in [0, 1).
        """
        return cls(*rng.random(4).tolist())


@dataclass(frozen=True)
class Reading:
    """The options of :class:`Videos`, which says what they mean.

    Raises:
        ValueError: one of them makes no sense.
        NotADirectoryError: ``cache`` is a file.
    """

    frames: int = 16
    size: tuple[int, int] = (112, 112)
    fit: str = "squeeze"
    sampling: str = "even"
    stride: int = 1
    resize: tuple[int, int] | None = None
    mirror: bool = False
    backend: str = "pyav"
    cache: Path | None = None
    on_error: str = "raise"

    def __post_init__(self) -> None:
        """Refuses what makes no sense."""
        for name in ("frames", "stride"):
            if not _positive(getattr(self, name)):
                raise ValueError(f"{name} must be a positive integer, got {getattr(self, name)!r}.")
            object.__setattr__(self, name, int(getattr(self, name)))
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}. "
                    f"{close_matches(str(value), map(str, known))}"
                )
        if self.sampling == "even" and self.stride != 1:
            raise ValueError(
                f"stride must be 1 for sampling='even', which spaces the frames itself, got "
                f"{self.stride}: use sampling='window'."
            )
        object.__setattr__(self, "size", _size("size", self.size))
        if self.resize is not None:
            object.__setattr__(self, "resize", _size("resize", self.resize))
            if self.resize[0] < self.size[0] or self.resize[1] < self.size[1]:
                raise ValueError(
                    f"resize must be at least size {self.size} in height and in width, since size "
                    f"is cut out of it, got {self.resize}."
                )
        if self.cache is not None:
            # absolute, so that it stays where it is when the working directory changes
            object.__setattr__(self, "cache", Path(self.cache).absolute())
            if self.cache.exists() and not self.cache.is_dir():
                raise NotADirectoryError(f"cache must be a folder, and {self.cache} is a file.")

    def numbers(self, total: int, chance: Chance | None) -> list[int]:
        """The frames of a sample.

        Args:
            total: how many frames the clip has.
            chance: where a window begins; ``None`` for the middle.

        Returns:
            ``frames`` numbers in ascending order, from 0 to ``total - 1``.
        """
        if self.sampling == "even":
            return frame_indices(total, count=self.frames)
        room = max(0, total - (self.frames - 1) * self.stride - 1)
        start = room // 2 if chance is None else int(chance.window * (room + 1))
        return frame_indices(total, count=self.frames, stride=self.stride, start=start)

    def resized(self, frames: Tensor) -> Tensor:
        """Frames at the size out of which ``size`` is cut.

        Args:
            frames: uint8, ``(T, 3, H, W)``.

        Returns:
            uint8; ``resize`` (``size`` without one) if ``fit`` is ``"squeeze"``, else just large
            enough to cover it.
        """
        fit: Literal["cover", "squeeze"] = "squeeze" if self.fit == "squeeze" else "cover"
        size = self.resize or self.size
        # a few at a time stay in the processor's cache: up to three times as fast, and less memory
        return torch.cat([resize(part, size, fit=fit) for part in frames.split(_TOGETHER)])

    def sample(self, frames: Tensor, chance: Chance | None) -> Tensor:
        """Cuts ``size`` out, mirrors and scales.

        Args:
            frames: uint8, ``(T, 3, H, W)``, resized.
            chance: where to cut and whether to mirror; ``None`` for the middle, not mirrored.

        Returns:
            ``(3, T, height, width)`` float32 in [0, 1].
        """
        height, width = self.size
        below, right = frames.shape[2] - height, frames.shape[3] - width
        top = below // 2 if chance is None else int(chance.top * (below + 1))
        left = right // 2 if chance is None else int(chance.left * (right + 1))
        part = frames[:, :, top : top + height, left : left + width]
        if self.mirror and chance is not None and chance.mirrored < 0.5:
            part = part.flip(3)
        return part.transpose(0, 1).contiguous().float().div_(255)

    def decode(self, path: Path, chance: Chance | None) -> Tensor:
        """Reads the frames of a sample and resizes them.

        Args:
            path: a video, or a folder of images.
            chance: where a window begins; ``None`` for the middle.

        Returns:
            uint8, ``(T, 3, H, W)``.

        Raises:
            ClipError: it cannot be read.
        """
        order: list[int] = []

        def keep(total: int) -> Sequence[int]:
            numbers = self.numbers(total, chance)
            distinct = sorted(set(numbers))
            order[:] = [distinct.index(number) for number in numbers]
            return distinct

        frames = self.resized(read_clip(path, keep=keep, **self._backend()).frames)
        return frames if len(frames) == len(order) else frames[torch.tensor(order)]

    def decode_all(self, path: Path) -> Tensor:
        """Reads all frames and resizes them.

        Args:
            path: a video, or a folder of images.

        Returns:
            uint8, ``(T, 3, H, W)``.

        Raises:
            ClipError: it cannot be read.
        """
        try:
            clip = read_clip(path, max_bytes=_AT_ONCE, **self._backend())
        except ClipError:  # too large for one go; another error comes again
            return torch.cat([self.resized(part) for part in self._parts(path)])
        return self.resized(clip.frames)

    def try_out(self, path: Path) -> None:
        """Reads a clip only to see whether it can be read.

        Args:
            path: a video, or a folder of images.

        Raises:
            ClipError: it cannot.
        """

        def keep(total: int) -> Sequence[int]:
            if path.is_dir():
                return range(total)  # with another number of frames, others of its images count
            if self.sampling == "even":
                return sorted(set(self.numbers(total, None)))
            return sorted({0, total - 1})  # a video is decoded from end to end whatever is kept

        read_clip(path, keep=keep, **self._backend())

    def _parts(self, path: Path) -> Iterator[Tensor]:
        """All frames as stored, a part of memory at a time."""
        total = 1

        def keep(count: int) -> Sequence[int]:
            nonlocal total
            total = count
            return range(start, min(stop, count))

        start, stop = 0, 1
        while start < total:
            frames = read_clip(path, keep=keep, **self._backend()).frames
            yield frames
            start, stop = stop, stop + max(1, _AT_ONCE // frames[0].numel())

    def _backend(self) -> dict[str, Any]:
        """What ``read_clip`` is told about the decoder."""
        return {} if self.backend == "pyav" else {"backend": self.backend}


def _positive(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _size(name: str, value: Any) -> tuple[int, int]:
    """A height and a width."""
    pair = (value, value) if isinstance(value, Integral) else value
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(map(_positive, pair)):
        raise ValueError(f"{name} must be a height and a width in pixels, got {value!r}.")
    return int(pair[0]), int(pair[1])
