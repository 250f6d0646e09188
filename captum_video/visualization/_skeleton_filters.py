"""Filters of the first layer as moving skeletons, as in paper 5, Figure 3, right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from captum_video.visualization._plots import QUIET
from captum_video.visualization._skeleton import (
    Body,
    Bones,
    View,
    camera,
    finite,
    project,
    read_body,
    read_sequences,
)
from captum_video.visualization._skeleton_draw import Puppet, draw_bar, frame_axes, windows
from captum_video.visualization._skeleton_page import grid, legend_handles, length_handle

_TALL = 1.35  # inches
_SHAPES = (0.45, 1.7)
_SHARE = 0.2  # of the mean skeleton's size: how far joints are moved at most unless gain is given
_GREY = "#d5d5d5"


def motion_primitives_figure(
    primitives: Tensor | np.ndarray,
    *,
    filters: int | Sequence[int] = 6,
    mean: Tensor | np.ndarray | None = None,
    gain: float | None = None,
    title: str | None = None,
    view: View = "front",
    actors: int = 1,
    joints: Sequence[str] | None = None,
    bones: Bones | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draws filters of the first layer as moving skeletons (paper 5, Figure 3, right).

    Each row is a filter, each column one of its taps in the order of time: an activation is high
    where the sequence moves like this. All rows share one scale.

    Weights are small beside a body's size, so that the motion is hard to see. Where ``mean`` is
    given, what differs from it is magnified; the mean is drawn below in grey, and the factor stands
    in the picture. The paper does not magnify: ``gain=1``.

    Args:
        primitives: ``(filters, D, taps)``, from
            :meth:`captum_video.FeatureMapDecoder.motion_primitives`.
        filters: how many to show, those whose weights (less the mean) have the largest norm first;
            or which.
        mean: ``(D,)``, the mean skeleton that the primitives contain, as those of a decoder do whose
            model subtracts it. For bare weights add it: ``weights + mean[:, None]``.
        gain: what differences from the mean are multiplied by; None for what moves a joint by up to
            a fifth of the mean skeleton's size. Only with ``mean``.
        title: a line above all.
        view: as in :func:`skeleton_strip`.
        actors: how many actors to draw. Filters have weights for a second actor who is rarely there,
            and whose part of the mean is that of an actor who often is not.
        joints: names of an actor's joints; None for the Kinect's 25.
        bones: pairs of joints, by name or number; None for the Kinect's.

    Returns:
        The figure, of which pyplot knows nothing, and its axes ``(filters, taps)``.

    Raises:
        ValueError: if a shape does not fit, a value is not finite, or a filter, joint, actor or view
            does not exist.
    """
    body = read_body(joints, bones)
    weights, rest = read_primitives(primitives, mean, len(body.joints))
    moved = weights - rest
    chosen = strongest(moved, filters, "primitives")
    still = read_sequences({"primitives": rest}, body)["primitives"]
    if isinstance(actors, bool) or actors not in range(1, len(still) + 1):
        raise ValueError(f"actors must be from 1 to {len(still)}, got {actors!r}")
    if mean is None:
        if gain is not None:
            raise ValueError(
                f"gain magnifies what differs from the mean: give mean too, got {gain!r}"
            )
        gain, grey = 1.0, None
    else:
        gain = _gain(gain, moved[chosen], still[:actors])
        grey = project(still[:actors], view)
    rows = {f"filter {k}": rest + gain * moved[k] for k in chosen}
    points = {
        name: project(found[:actors], view) for name, found in read_sequences(rows, body).items()
    }
    handles = legend_handles(body, range(actors), None)
    if grey is not None:
        larger = f", motion {gain:.3g} times as large" if gain != 1 else ""
        handles.append(Line2D([], [], color=_GREY, linewidth=2.2, label=f"mean skeleton{larger}"))
    handles.append(length_handle())
    floor = grey is not None and camera(view)[1, 1] > 0.99
    return _draw(body, points, grey, title, handles, floor)


def strongest(weights: np.ndarray, filters: int | Sequence[int], name: str) -> list[int]:
    """Which filters are shown.

    Args:
        weights: ``(filters, ...)``.
        filters: how many, those of the largest norm; or which.
        name: what messages call the weights.

    Returns:
        Their numbers: by falling norm, or as given.

    Raises:
        ValueError: for a filter that is not there, or none.
    """
    count = len(weights)
    if isinstance(filters, int):
        if filters < 1:
            raise ValueError(f"filters must be at least 1 or numbers of filters, got {filters}")
        norms = np.sqrt((weights.reshape(count, -1) ** 2).sum(1))
        return np.argsort(-norms, kind="stable")[:filters].tolist()
    found = [int(number) for number in filters]
    if not found or min(found) < 0 or max(found) >= count or len(set(found)) < len(found):
        raise ValueError(
            f"filters must be numbers from 0 to {count - 1} of {name}, each once, got {found}"
        )
    return found


def read_primitives(
    primitives: Tensor | np.ndarray, mean: Tensor | np.ndarray | None, joints: int
) -> tuple[np.ndarray, np.ndarray]:
    """Filters of the first layer, and the mean skeleton in them.

    Args:
        primitives: ``(filters, D, taps)``.
        mean: ``(D,)``; None for zeros.
        joints: how many an actor has.

    Returns:
        ``(filters, D, taps)`` and ``(D, 1)``.

    Raises:
        ValueError: if shapes do not fit or a value is not finite.
    """
    weights = finite(primitives, "primitives")
    if weights.ndim != 3 or weights.shape[1] % (3 * joints):
        raise ValueError(
            f"primitives must be (filters, D, taps) with D a multiple of {3 * joints} ({joints} "
            f"joints), got shape {weights.shape}"
        )
    dimensions = weights.shape[1]
    if mean is None:
        return weights, np.zeros((dimensions, 1))
    rest = finite(mean, "mean")
    if rest.shape not in ((dimensions,), (dimensions, 1)):
        raise ValueError(
            f"mean must be (D,) = ({dimensions},), as primitives have shape {weights.shape}, got "
            f"{rest.shape}"
        )
    return weights, rest.reshape(dimensions, 1)


def _gain(gain: float | None, moved: np.ndarray, still: np.ndarray) -> float:
    """The factor given, or the one that moves a joint by a fifth of a body, of two digits."""
    if gain is not None:
        if isinstance(gain, bool) or not np.isfinite(gain) or gain <= 0:
            raise ValueError(f"gain must be a positive number or None, got {gain!r}")
        return float(gain)
    used = moved.reshape(len(moved), -1, 3, moved.shape[-1])[:, : still[..., 0, 0].size]
    farthest = float(np.sqrt((used**2).sum(2)).max(initial=0))
    size = float(np.ptp(still, axis=1).max(initial=0))
    return float(f"{_SHARE * size / farthest:.1e}") if farthest > 0 and size > 0 else 1.0


def _draw(
    body: Body,
    points: dict[str, np.ndarray],
    grey: np.ndarray | None,
    title: str | None,
    handles: list[Line2D],
    floor: bool,
) -> tuple[Figure, np.ndarray]:
    """Rows of filters, columns of taps, the mean below them in grey."""
    taps = next(iter(points.values())).shape[1]
    extents = {
        name: found if grey is None else np.concatenate([found, grey], axis=1)
        for name, found in points.items()
    }
    seen = {name: np.ones(found.shape[:2], dtype=bool) for name, found in extents.items()}
    frames = range(next(iter(extents.values())).shape[1])
    views, wide = windows(extents, seen, frames, "shared", _TALL, _SHAPES)
    figure, axes = grid(list(points), taps, (wide, _TALL), title, handles)
    for row, name in zip(axes, points, strict=True):
        for tap, picture in enumerate(row):
            frame_axes(picture, views[name], wide, _TALL, floor=floor)
            if grey is not None:
                bones = grey[:, 0][:, np.array(body.bones), :2].reshape(-1, 2, 2)
                picture.add_collection(
                    LineCollection(list(bones), colors=_GREY, linewidths=2.2, zorder=1, gid="mean"),
                    autolim=False,
                )
            Puppet(picture, body, points[name], seen[name], size=0.85).pose(tap)
        draw_bar(row[-1], views[name], _TALL)
    for tap, picture in enumerate(axes[0]):
        picture.set_title(f"tap {tap}", fontsize=8, color=QUIET, pad=3)
    return figure, axes
