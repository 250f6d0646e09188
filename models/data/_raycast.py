"""Pictures of a street by casting rays at its boxes and its ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data._noise import Array, noise, visible
from models.data._street import FAR, Street

SKY, GROUND = -2, -1
_SHADES = np.array([0.8, 1.1, 1.0], dtype=np.float32)  # of faces across x, y and z
_GROUND_SHIFT = np.array([3.7, 91.2], dtype=np.float32)
_SKY_SHIFT = np.array([57.1, 20.4], dtype=np.float32)


@dataclass(frozen=True)
class Hits:
    """What the rays of a picture met.

    Attributes:
        depth: along the camera's view, in metres; infinite for the sky.
        what: the box's number, ``GROUND`` or ``SKY``.
        rays: ``(..., 3)``, directions in the world, of length 1 along the camera's view.
    """

    depth: Array
    what: NDArray[np.int64]
    rays: Array


def camera_axes(street: Street, frame: int) -> Array:
    """The rotation from the camera's coordinates to the world's.

    Args:
        street: the street.
        frame: the frame.

    Returns:
        ``(3, 3)``.
    """
    ch, sh = np.cos(street.heading[frame]), np.sin(street.heading[frame])
    cp, sp = np.cos(street.pitch[frame]), np.sin(street.pitch[frame])
    turn = np.array([[ch, 0, sh], [0, 1, 0], [-sh, 0, ch]])
    tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return (turn @ tilt).astype(np.float32)


def cast(
    street: Street,
    frame: int,
    size: tuple[int, int],
    intrinsics: tuple[float, float, float, float],
) -> Hits:
    """Casts one ray through the middle of each pixel.

    Args:
        street: the street.
        frame: the frame.
        size: height and width of the picture.
        intrinsics: ``(fx, fy, cx, cy)`` for that size.

    Returns:
        What the rays met, ``(H, W)`` each.
    """
    height, width = size
    fx, fy, cx, cy = intrinsics
    axes, origin = camera_axes(street, frame), street.position[frame]
    x = np.broadcast_to((np.arange(width, dtype=np.float32) - cx) / fx, size)
    y = np.broadcast_to(((np.arange(height, dtype=np.float32) - cy) / fy)[:, None], size)
    rays = (np.stack([x, y, np.ones(size, np.float32)], axis=-1) @ axes.T).astype(np.float32)
    # zero components would divide by zero
    rays = np.where(np.abs(rays) < 1e-7, np.float32(1e-7), rays)
    ground = -origin[1] / rays[..., 1]
    on_ground = (ground > 0) & (ground < FAR)
    depth = np.where(on_ground, ground, np.float32(np.inf))
    what = np.where(on_ground, GROUND, SKY)
    for box in range(len(street.half)):
        corners = _corners(street, frame, box) - origin
        view = corners @ axes
        window = _window(view, size, intrinsics)
        if window is None:
            continue
        hit = _meet(street, frame, box, origin, rays[window])
        nearer = hit < depth[window]
        depth[window] = np.where(nearer, hit, depth[window])
        what[window] = np.where(nearer, box, what[window])
    return Hits(depth, what, rays)


def _corners(street: Street, frame: int, box: int) -> Array:
    """The box's eight corners in the world."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
    local = signs * street.half[box]
    c, s = np.cos(street.turn[frame, box]), np.sin(street.turn[frame, box])
    x = c * local[:, 0] + s * local[:, 2] + street.place[frame, box, 0]
    z = -s * local[:, 0] + c * local[:, 2] + street.place[frame, box, 1]
    y = local[:, 1] - street.base[box] - street.half[box, 1]
    return np.stack([x, y, z], axis=1).astype(np.float32)


def _window(
    corners: Array, size: tuple[int, int], intrinsics: tuple[float, float, float, float]
) -> tuple[slice, slice] | None:
    """The part of the picture that a box may cover; None if it is behind or beside it."""
    depth = corners[:, 2]
    if depth.max() < 0.1 or depth.min() > FAR:
        return None
    if depth.min() < 0.1:
        return slice(0, size[0]), slice(0, size[1])
    fx, fy, cx, cy = intrinsics
    found = []
    for values, focal, centre, length in (
        (corners[:, 1], fy, cy, size[0]),
        (corners[:, 0], fx, cx, size[1]),
    ):
        pixels = values / depth * focal + centre
        first, last = max(int(pixels.min()), 0), min(int(pixels.max()) + 2, length)
        if first >= last:
            return None
        found.append(slice(first, last))
    return found[0], found[1]


def _meet(street: Street, frame: int, box: int, origin: Array, rays: Array) -> Array:
    """Depth at which rays enter a box; infinite where they miss it."""
    start, way = _local(street, frame, box, origin, rays)
    half = street.half[box]
    one, other = (-half - start) / way, (half - start) / way
    enter = np.minimum(one, other).max(axis=-1)
    leave = np.maximum(one, other).min(axis=-1)
    return np.where((enter < leave) & (enter > 0.05), enter, np.float32(np.inf))


def _local(
    street: Street, frame: int, box: int | NDArray[np.int64], origin: Array, rays: Array
) -> tuple[Array, Array]:
    """The camera's place and the rays, in the coordinates of a box (or of one for each ray)."""
    c, s = np.cos(street.turn[frame, box]), np.sin(street.turn[frame, box])
    place = street.place[frame, box]
    away_x, away_z = origin[0] - place[..., 0], origin[2] - place[..., 1]
    up = origin[1] + street.base[box] + street.half[box, 1]
    start = np.stack([c * away_x - s * away_z, up, s * away_x + c * away_z], axis=-1)
    x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
    return start, np.stack([c * x - s * z, y, s * x + c * z], axis=-1)


def shade(street: Street, frame: int, hits: Hits, focal: float) -> Array:
    """The colours that rays see.

    Args:
        street: the street.
        frame: the frame.
        hits: what the rays met.
        focal: in pixels, for the size of a pixel on what it shows.

    Returns:
        ``(H, W, 3)`` in [0, 1].
    """
    picture = np.empty((*hits.what.shape, 3), dtype=np.float32)
    for mask, paint in (
        (hits.what == SKY, _paint_sky),
        (hits.what == GROUND, _paint_ground),
        (hits.what >= 0, _paint_boxes),
    ):
        if mask.any():
            part = Hits(hits.depth[mask], hits.what[mask], hits.rays[mask])
            picture[mask] = paint(street, frame, part, focal)
    return np.clip(picture, 0, 1)


def _paint_sky(_street: Street, _frame: int, hits: Hits, focal: float) -> Array:
    """Clouds at infinity."""
    x, y, z = hits.rays.T
    level = np.hypot(x, z)
    # angles, brought to the scale that the noise is made for
    u, v = np.arctan2(x, z) * 16, y / level * 24
    footprint = np.full_like(u, 20 / focal)
    clouds = noise(u, v, footprint, np.broadcast_to(_SKY_SHIFT, (len(u), 2)))
    return np.array([0.72, 0.8, 0.9], np.float32) + 0.09 * clouds[:, None]


def _paint_ground(street: Street, frame: int, hits: Hits, focal: float) -> Array:
    """Asphalt with a dashed line between lighter pavements."""
    origin = street.position[frame]
    x = origin[0] + hits.rays[:, 0] * hits.depth
    z = origin[2] + hits.rays[:, 2] * hits.depth
    slant = np.abs(hits.rays[:, 1]) / np.linalg.norm(hits.rays, axis=1)
    footprint = hits.depth / focal / np.maximum(slant, 0.05)
    across = hits.depth / focal
    grain = noise(x, z, footprint, np.broadcast_to(_GROUND_SHIFT, (len(x), 2)))
    lateral, along = _beside(street.road, x, z)
    pavement = _step(lateral - 4.1, across) + _step(-6.6 - lateral, across)
    tone = 0.34 + 0.16 * pavement + (0.09 + 0.06 * pavement) * grain
    dash = 0.5 + np.clip(1.5 * np.cos(along * (2 * np.pi / 4)), -0.5, 0.5) * visible(4.0, footprint)
    line = _step(0.13 - np.abs(lateral + 1.35), across) * dash
    tone = tone + (0.85 - tone) * line
    return tone[:, None] * np.array([1, 0.98, 0.94], np.float32)


def _step(distance: Array, footprint: Array) -> Array:
    """1 where the distance is positive, 0 where it is negative, softly over a pixel."""
    return np.clip(0.5 + distance / np.maximum(footprint, 0.08), 0, 1)


def _beside(road: Array, x: Array, z: Array) -> tuple[Array, Array]:
    """How far points lie to the right of the road's middle, and how far along it."""
    point = np.stack([x, z], axis=1)
    nearest = ((point**2).sum(1)[:, None] - 2 * point @ road.T + (road**2).sum(1)).argmin(1)
    nearest = np.clip(nearest, 1, len(road) - 2)
    step = road[nearest + 1] - road[nearest - 1]
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    away = point - road[nearest]
    lateral = away[:, 0] * step[:, 1] - away[:, 1] * step[:, 0]
    return lateral, nearest + (away * step).sum(1)


def _paint_boxes(street: Street, frame: int, hits: Hits, focal: float) -> Array:
    """Walls with windows, and vehicles."""
    box = hits.what
    start, way = _local(street, frame, box, street.position[frame], hits.rays)
    half = street.half[box]
    point = start + way * hits.depth[:, None]
    face = np.abs(point / half).argmax(axis=1)
    rows = np.arange(len(face))
    u = np.where(face == 0, point[:, 2], point[:, 0])
    v = np.where(face == 1, point[:, 2], point[:, 1])
    slant = np.abs(way[rows, face]) / np.linalg.norm(way, axis=1)
    footprint = hits.depth / focal / np.maximum(slant, 0.05)
    shift = street.shift[box] + np.where(face == 0, 31.4, 0)[:, None].astype(np.float32)
    tone = 1 + street.contrast[box] * noise(u, v, footprint, shift)
    period = 2.6 + (street.shift[box, 0] % 1)
    level = point[:, 1] + half[:, 1]  # below the roof
    wave = np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * level / 3 + np.pi) - 0.4
    window = np.clip(2 * wave, 0, 1) * visible(period, footprint)
    tone *= 1 - 0.45 * window * ((street.kind[box] == 0) & (face != 1))
    return street.colour[box] * (np.maximum(tone, 0) * _SHADES[face])[:, None]
