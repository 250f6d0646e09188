"""Clips in and out of folders of images, and single pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from torch import Tensor

from captum_video._core.files import folder_written_whole, written_whole
from captum_video.io._clip import Clip, ClipError, empty_window, frames_last, in_window

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


def read_folder(
    folder: Path,
    fps: float,
    start: float | None = None,
    end: float | None = None,
    keep: Callable[[int], Sequence[int]] | None = None,
    *,
    max_bytes: int,
) -> Clip:
    """Reads a folder's images, in natural order, as a clip.

    Args:
        folder: the folder; files that are no images are passed over, hidden ones too.
        fps: the rate to assume.
        start: leave out images before this time, in seconds.
        end: leave out images from this time on, in seconds.
        keep: which images of that window to read, from their number; ``None`` for all.
        max_bytes: refuse to hold more than this many bytes of frames.

    Returns:
        The clip.

    Raises:
        ClipError: if the folder or an image cannot be read, there is no image (in the window), their
            sizes differ or they are too large together.
    """
    try:
        items = list(folder.iterdir())
    except OSError as error:
        raise ClipError(
            folder, f"the folder cannot be read ({error.strerror})", "Check its permissions"
        ) from error
    images = sorted(
        (
            item
            for item in items
            if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".")
        ),
        key=natural_order,
    )
    if not images:
        raise ClipError(
            folder,
            "the folder holds no image",
            f"A folder of frames has files that end in {', '.join(IMAGE_SUFFIXES)}",
        )
    inside = [i for i in range(len(images)) if in_window(i / fps, start, end)]
    if not inside:
        raise empty_window(folder, start, end, len(images) / fps)
    if keep is not None:
        inside = [inside[number] for number in check_choice(keep(len(inside)), len(inside))]
    frames = _read_images(folder, [images[i] for i in inside], max_bytes)
    return Clip(frames, fps, folder, tuple(i / fps for i in inside))


def check_choice(numbers: Sequence[int], total: int) -> list[int]:
    """Refuses frames that do not exist.

    Args:
        numbers: what ``keep`` returned.
        total: how many frames there are.

    Returns:
        The numbers as a list.

    Raises:
        ValueError: if there is none, or one is out of range.
    """
    chosen = list(numbers)
    if not chosen or min(chosen) < 0 or max(chosen) >= total:
        raise ValueError(f"keep must choose frames from 0 to {total - 1}, got {chosen}")
    return chosen


def _read_images(folder: Path, images: list[Path], max_bytes: int) -> Tensor:
    first = read_image(images[0])
    if first.nbytes * len(images) > max_bytes:
        raise ClipError(
            folder,
            f"its {len(images)} images take more than {max_bytes / 2**30:.3g} GiB",
            "Read fewer, smaller ones, or raise max_bytes",
        )
    frames = torch.empty((len(images), 3, *first.shape[:2]), dtype=torch.uint8)
    for slot, image in zip(frames, images, strict=True):
        pixels = first if image == images[0] else read_image(image)
        if pixels.shape != first.shape:
            raise ClipError(
                image,
                f"it is {pixels.shape[1]}x{pixels.shape[0]} pixels where {images[0].name} is "
                f"{first.shape[1]}x{first.shape[0]}",
                "All images of a clip must have the same size",
            )
        slot.copy_(torch.from_numpy(pixels).permute(2, 0, 1))
    return frames


def natural_order(path: Path) -> tuple[list[int | str], str]:
    """A sorting key that counts: ``frame2`` before ``frame10``.

    Args:
        path: the file.

    Returns:
        The key: text and numbers in turn, then the name itself to break ties.
    """
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def read_image(path: Path) -> np.ndarray:
    """Reads one image.

    Args:
        path: the file.

    Returns:
        uint8, (H, W, 3).

    Raises:
        ClipError: if it cannot be decoded.
    """
    try:
        # absolute, as FFmpeg takes what stands before a colon for a protocol
        with av.open(os.path.abspath(path)) as container:
            frame = next(container.decode(video=0))
            quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
            return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns))
    except (av.error.FFmpegError, OSError, StopIteration, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no picture in it"
        raise ClipError(
            path, f"the image cannot be decoded ({reason})", "Replace or remove the file"
        ) from error


def encode_png(pixels: np.ndarray) -> bytes:
    """One picture as the bytes of a PNG file.

    Args:
        pixels: uint8, (H, W, 3).

    Returns:
        The file's content.
    """
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1)
    packets = encoder.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    return b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])


def write_frames(path: str | os.PathLike[str], frames: Tensor | np.ndarray) -> Path:
    """Writes a folder with one PNG per frame, ``0000.png`` and so on, whole or not at all.

    Args:
        path: the folder; it must not exist yet, or be empty.
        frames: uint8, (T, C, H, W) or (T, H, W, C).

    Returns:
        The folder.

    Raises:
        ValueError: if ``frames`` are no frames.
        FileExistsError: if the folder holds files already.
        OSError: if the disk refuses; nothing is left then.
    """
    pictures = frames_last(frames)
    digits = max(4, len(str(len(pictures) - 1)))
    with folder_written_whole(path) as part:
        for number, picture in enumerate(pictures):
            (part / f"{number:0{digits}d}.png").write_bytes(encode_png(picture))
    return Path(path)


def write_strip(
    path: str | os.PathLike[str],
    frames: Tensor | np.ndarray,
    *,
    columns: int | None = None,
    gap: int = 2,
) -> Path:
    """Writes frames side by side into one PNG.

    Args:
        path: the file; must end in ``.png``.
        frames: uint8, (T, C, H, W) or (T, H, W, C).
        columns: frames in a row; ``None`` puts all of them into one.
        gap: white pixels between frames.

    Returns:
        The file.

    Raises:
        ValueError: for another suffix, frames that are none, or a number out of range.
        OSError: if the disk refuses; nothing is left then.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"a strip is written as .png, got {target.name!r}")
    pictures = frames_last(frames)
    total, height, width, _ = pictures.shape
    columns = total if columns is None else columns
    if columns < 1 or gap < 0:
        raise ValueError(f"columns must be at least 1 and gap at least 0, got {columns} and {gap}")
    columns = min(columns, total)
    rows = -(-total // columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8
    )
    for number, picture in enumerate(pictures):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    with written_whole(target) as part:
        part.write_bytes(encode_png(sheet))
    return target
