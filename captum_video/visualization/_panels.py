"""Several videos of the same frames, side by side, with their names above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_video.io import frames_last

_DPI = 100


def side_by_side(
    panels: Mapping[str, Tensor | np.ndarray],
    *,
    captions: Sequence[str] | None = None,
    gap: int = 4,
) -> np.ndarray:
    """Puts videos of equal size next to each other, named above, on white.

    Args:
        panels: videos by name, from left to right, each uint8 (T, C, H, W) or (T, H, W, C).
        captions: a line below each frame (T of them), such as its time; ``None`` for none.
        gap: white pixels between videos.

    Returns:
        uint8, (T, H', W', 3).

    Raises:
        ValueError: if there is no panel, their sizes differ, or captions are not one per frame.
    """
    videos = {name: frames_last(frames) for name, frames in panels.items()}
    sizes = {name: video.shape[:3] for name, video in videos.items()}
    if not videos or len(set(sizes.values())) > 1:
        raise ValueError(f"panels must be of the same (T, H, W), got {sizes or 'none'}")
    total, height, width = next(iter(sizes.values()))
    check_captions(captions, total)
    text = max(14, width // 12)
    across = len(videos) * (width + gap) - gap
    middle = np.full((total, height, across, 3), 255, dtype=np.uint8)
    for column, video in enumerate(videos.values()):
        left = column * (width + gap)
        middle[:, :, left : left + width] = video
    head = np.concatenate(
        [
            piece
            for name in videos
            for piece in (_text(name, text + 8, width, text), _text("", text + 8, gap, text))
        ][:-1],
        axis=1,
    )
    sheet = np.concatenate([np.broadcast_to(head, (total, *head.shape)), middle], axis=1)
    return sheet if captions is None else captioned(sheet, captions, width)


def check_captions(captions: Sequence[str] | None, total: int) -> None:
    """Refuses captions that are not one per frame.

    Args:
        captions: the lines, or ``None`` for none.
        total: the number of frames.

    Raises:
        ValueError: if there are more or fewer.
        TypeError: if they are one string, or hold something else than text.
    """
    if isinstance(captions, str):
        raise TypeError(f"captions must be a list of lines, one per frame, got {captions!r}")
    if captions is not None and len(captions) != total:
        raise ValueError(f"captions must be one per frame ({total}), got {len(captions)}")
    for number, line in enumerate(() if captions is None else captions):
        if not isinstance(line, str):
            raise TypeError(
                f"captions must be lines of text, got {line!r} for frame {number}: use str()"
            )


def captioned(pictures: np.ndarray, captions: Sequence[str], width: int) -> np.ndarray:
    """Frames with a line below each, on white.

    Args:
        pictures: uint8, (T, H, W, 3).
        captions: T lines.
        width: of one video, by which the size of the text goes.

    Returns:
        uint8, (T, H', W, 3).
    """
    size = max(11, round(max(14, width // 12) * 0.8))
    across = pictures.shape[2]
    lines = {line: _text(line, size + 8, across, size) for line in dict.fromkeys(captions)}
    return np.concatenate([pictures, np.stack([lines[line] for line in captions])], axis=1)


def _text(line: str, height: int, width: int, size: int) -> np.ndarray:
    """A line of text, centred on white; it shrinks if it is too wide."""
    if not line.strip() or not width:
        return np.full((height, width, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    points = 0.72 * size
    shown = figure.text(0.5, 0.5, line, fontsize=points, ha="center", va="center", color="#222222")
    shown.set_parse_math(False)  # a dollar sign is a dollar sign
    needed = shown.get_window_extent().width
    if needed > 0.96 * width:
        shown.set_fontsize(points * 0.96 * width / needed)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:height, :width, :3].copy()
