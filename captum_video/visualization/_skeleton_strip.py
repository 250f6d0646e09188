"""Skeleton sequences below each other, frame by frame, as in paper 5, Figures 4 to 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_video.visualization._plots import QUIET
from captum_video.visualization._skeleton import (
    Bones,
    View,
    camera,
    check_choice,
    chosen_frames,
    project,
    read_body,
    read_sequences,
    seen_actors,
)
from captum_video.visualization._skeleton_draw import (
    Puppet,
    draw_bar,
    frame_axes,
    read_weights,
    windows,
)
from captum_video.visualization._skeleton_page import (
    grid,
    legend_handles,
    length_handle,
)

SCALES = ("row", "shared")
_TALL = 1.5  # inches
_SHAPES = (0.45, 1.7)


def skeleton_strip(
    sequences: Mapping[str, Tensor | np.ndarray],
    *,
    frames: int | Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    view: View = "front",
    scale: str = "row",
    actors: int | None = None,
    weights: Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray] | None = None,
    quantity: str = "relevance",
    cmap: str | Colormap | None = None,
    joints: Sequence[str] | None = None,
    bones: Bones | None = None,
    saturation: float | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws skeleton sequences below each other, a column for each frame (paper 5, Figures 4 to 6).

    Each row is a sequence in the layout of :data:`captum_video.io.KINECT_JOINTS`, such as the input
    and what :class:`captum_video.FeatureMapDecoder` makes of each layer. All frames of a row share
    one window, so that an actor who jumps is seen to rise above the line, which marks the row's
    lowest point. The bar beside a row is a length in the row's own units: decoded sequences are sums
    of weighted filters and may be many times larger or smaller than the input.

    Args:
        sequences: ``(D, T)`` by name, from top to bottom; all of one shape, any device and type.
        frames: how many frames to show, evenly spaced, or their numbers; None for up to eight.
        labels: what is written above each frame of the sequence (T of them); None for its number.
        title: a line above all.
        view: ``"front"`` (as the camera saw it: the left hand of an actor who faces the camera is
            at the right), ``"side"``, ``"back"``, ``"top"``, or elevation and azimuth of the
            viewer in degrees, who goes up and around to the camera's right.
        scale: ``"row"`` fits each row into its cells; ``"shared"`` draws all rows in one scale.
        actors: how many actors to draw; None for those of the first row. A decoder writes numbers
            into the dimensions of a second actor whom the input does not have: such an actor is
            not drawn. One whose coordinates are all zero in a frame is not drawn there.
        weights: of the joints, ``(actors * joints, T)``, for the first row, or by row: dots, red
            for positive and blue for negative, as large as the magnitude. One scale for all rows.
        quantity: what the weights are.
        cmap: the colours of the weights, a diverging colour map; None for blue over white to red,
            ``"colour-blind"`` for orange and purple.
        joints: names of an actor's joints; None for the Kinect's 25. Bones to joints whose names
            hold the word ``left`` get an ink of their own.
        bones: pairs of joints, by name or number; None for the Kinect's.
        saturation: the magnitude at which colours and sizes of the weights saturate; None for the
            robust maximum of all (:func:`~captum_video.visualization.robust_maximum`). Give the
            same one to compare several pictures.

    Returns:
        The figure (``figure.savefig("strip.png")``), of which pyplot knows nothing, and its axes
        ``(len(sequences), number of frames)``.

    Raises:
        ValueError: if there is no sequence, they are not of one shape or do not fit the joints, a
            value is not finite, or a frame, joint, view or option does not exist.
    """
    check_choice("scale", scale, SCALES)
    body = read_body(joints, bones)
    values = read_sequences(sequences, body)
    total = next(iter(values.values())).shape[-1]
    shown = chosen_frames(frames, total, min(8, total))
    if labels is not None and len(labels) != total:
        raise ValueError(f"labels must be one per frame ({total}), got {len(labels)}")
    dots = read_weights(weights, values, cmap, saturation)
    seen = seen_actors(values, actors)
    points = {name: project(array, view) for name, array in values.items()}
    views, wide = windows(points, seen, shown, scale, _TALL, _SHAPES)
    present = np.flatnonzero(
        np.any([there[:, shown].any(1) for there in seen.values()], axis=0)
    ).tolist()
    handles = legend_handles(body, present, quantity if dots else None, cmap)
    handles.append(length_handle())
    figure, axes = grid(list(values), len(shown), (wide, _TALL), title, handles)
    floor = camera(view)[1, 1] > 0.99
    for row, name in zip(axes, values, strict=True):
        for picture, frame in zip(row, shown, strict=True):
            frame_axes(picture, views[name], wide, _TALL, floor=floor)
            Puppet(picture, body, points[name], seen[name], dots.get(name)).pose(frame)
        draw_bar(row[-1], views[name], _TALL)
        if not seen[name].any():
            row[0].text(0.5, 0.5, "all zero", transform=row[0].transAxes, fontsize=8, color=QUIET,
                        ha="center", va="center")  # fmt: skip
    for picture, frame in zip(axes[0], shown, strict=True):
        text = str(frame) if labels is None else labels[frame]
        picture.set_title(text, fontsize=8, color=QUIET, pad=3)
    return figure, axes
