"""Skeleton sequences side by side as a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.text import Text
from torch import Tensor

from captum_video.visualization._panels import check_captions
from captum_video.visualization._plots import INK, QUIET
from captum_video.visualization._skeleton import (
    Bones,
    View,
    camera,
    check_choice,
    project,
    read_body,
    read_sequences,
    seen_actors,
)
from captum_video.visualization._skeleton_draw import Puppet, frame_axes, read_weights, windows
from captum_video.visualization._skeleton_page import blank, text_width
from captum_video.visualization._skeleton_strip import SCALES

_DPI = 100
_GAP = 0.06  # inches
_SHAPES = (0.6, 1.6)


def skeleton_frames(
    sequences: Mapping[str, Tensor | np.ndarray],
    *,
    captions: Sequence[str] | None = None,
    height: int = 320,
    view: View = "front",
    scale: str = "row",
    actors: int | None = None,
    weights: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray] | None = None,
    cmap: str | Colormap | None = None,
    joints: Sequence[str] | None = None,
    bones: Bones | None = None,
    saturation: float | None = None,
) -> np.ndarray:
    """Draws skeleton sequences side by side as the frames of a video.

    The panels are those of :func:`skeleton_strip`, from left to right, with all frames; its
    :func:`~captum_video.io.write_video` makes a file of them::

        write_video("decoded.mp4", skeleton_frames({"input": clip, "layer 10": decoded}), fps=30)

    Args:
        sequences: ``(D, T)`` by name, from left to right; all of one shape, any device and type.
        captions: a line below each frame (T of them); None for the frame's number.
        height: of a panel, in pixels.
        view: as in :func:`skeleton_strip`.
        scale: ``"row"`` fits each panel to its sequence; ``"shared"`` draws all in one scale.
        actors: how many actors to draw; None for those of the first sequence.
        weights: of the joints, ``(actors * joints, T)``, for the first panel, or by panel.
        cmap: the colours of the weights, a diverging colour map; None for blue over white to red,
            ``"colour-blind"`` for orange and purple.
        joints: names of an actor's joints; None for the Kinect's 25.
        bones: pairs of joints, by name or number; None for the Kinect's.
        saturation: the magnitude at which colours and sizes of the weights saturate; None for the
            robust maximum of all (:func:`~captum_video.visualization.robust_maximum`). Give the
            same one to compare several pictures.

    Returns:
        uint8, ``(T, H, W, 3)``; H and W are even, as most video formats want them.

    Raises:
        ValueError: as :func:`skeleton_strip`, or if the height is below 40.
        TypeError: if captions are no list of text.
    """
    check_choice("scale", scale, SCALES)
    if isinstance(height, bool) or not isinstance(height, Integral) or height < 40:
        raise ValueError(f"height must be a number of pixels from 40 on, got {height!r}")
    body = read_body(joints, bones)
    values = read_sequences(sequences, body)
    total = next(iter(values.values())).shape[-1]
    check_captions(captions, total)
    dots = read_weights(weights, values, cmap, saturation)
    seen = seen_actors(values, actors)
    points = {name: project(array, view) for name, array in values.items()}
    tall = height / _DPI
    views, wide = windows(points, seen, range(total), scale, tall, _SHAPES)
    lines = [f"frame {k}" for k in range(total)] if captions is None else list(captions)
    canvas, places, caption = _stage(list(values), wide, tall, lines)
    floor = camera(view)[1, 1] > 0.99
    puppets = []
    for name, (x, y, across, up) in places.items():
        axes = canvas.figure.add_axes((x, y, across, up))
        frame_axes(axes, views[name], wide, tall, floor=floor)
        puppets.append(Puppet(axes, body, points[name], seen[name], dots.get(name), tall / 1.8))
    return _film(canvas, puppets, caption, lines)


def _stage(
    names: list[str], wide: float, tall: float, lines: list[str]
) -> tuple[FigureCanvasAgg, dict[str, tuple[float, float, float, float]], Text]:
    """A canvas of an even size, where panels go on it, and the line below them."""
    size = min(11.0, max(7.0, 4.5 * tall))
    top = bottom = size / 72 * 1.7
    inches = (_GAP + len(names) * (wide + _GAP), top + tall + bottom)
    width, height = (2 * round(side * _DPI / 2 + 0.49) / _DPI for side in inches)
    figure = blank(width, height, dpi=_DPI)
    places = {}
    for column, name in enumerate(names):
        x = _GAP + column * (wide + _GAP)
        places[name] = (x / width, bottom / height, wide / width, tall / height)
        fitted = size * min(1, wide / text_width(name, size)) if name.strip() else size
        figure.text((x + wide / 2) / width, (bottom + tall + top / 2) / height, name,
                    fontsize=fitted, color=INK, ha="center", va="center")  # fmt: skip
    longest = max((text_width(line, 0.85 * size) for line in dict.fromkeys(lines)), default=0)
    fitted = 0.85 * size * min(1, 0.98 * width / max(longest, 1e-9))
    caption = figure.text(0.5, bottom / 2 / height, "", fontsize=fitted, color=QUIET, ha="center",
                          va="center", animated=True)  # fmt: skip
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return canvas, places, caption


def _film(
    canvas: FigureCanvasAgg, puppets: list[Puppet], caption: Text, lines: list[str]
) -> np.ndarray:
    """All that stays is drawn once; on top of a copy of it, what moves is drawn for each frame."""
    canvas.draw()
    still = canvas.copy_from_bbox(canvas.figure.bbox)
    renderer = canvas.get_renderer()
    frames = []
    for frame, line in enumerate(lines):
        canvas.restore_region(still)
        for puppet in puppets:
            for artist in puppet.pose(frame):
                artist.draw(renderer)
        caption.set_text(line)
        caption.draw(renderer)
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return np.stack(frames)
