"""Random streets: a winding road, what stands along it, who drives on it, and the camera's way.

World coordinates are x to the right, y down with the road at 0, z along the first frame's view.
Everything but the ground is a box that may be turned about the vertical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

FRAMES = 17
CAMERA_HEIGHT = 1.5
FAR = 90.0  # metres; what lies beyond is seen as sky

BUILDING, PARKED, MOVING, ROAD = 0, 1, 2, 3

_SPEED = (0.8, 1.8)  # metres a frame, a drive's own
_SPEED_CHANGE = 0.4  # largest share by which the speed swings about it
_TURN = 1.6  # degrees a frame, a drive's mean
_TURN_CHANGE = 3.2  # degrees a frame, the largest swing about it
_PERIOD = (10.0, 30.0)  # frames
_JITTER = 0.25  # degrees, of pitch
_CLEARANCE = 2.3  # metres from the road's middle that no building enters


@dataclass(frozen=True)
class Street:
    """All that a drive's pictures are drawn from.

    Attributes:
        position: ``(FRAMES, 3)``, the camera's.
        heading: ``(FRAMES,)``, radians to the right.
        pitch: ``(FRAMES,)``, radians upward.
        road: ``(points, 2)``, the road's middle as x and z, a metre apart.
        place: ``(FRAMES, boxes, 2)``, x and z of each box's middle.
        turn: ``(FRAMES, boxes)``, the boxes' headings.
        half: ``(boxes, 3)``, half of width, height and length.
        base: ``(boxes,)``, height of the lower face above the road.
        kind: ``(boxes,)``, ``BUILDING``, ``PARKED`` or ``MOVING``.
        colour: ``(boxes, 3)``.
        contrast: ``(boxes,)``, of the texture.
        shift: ``(boxes, 2)``, where in the noise the texture lies.
    """

    position: Array
    heading: Array
    pitch: Array
    road: Array
    place: Array
    turn: Array
    half: Array
    base: Array
    kind: NDArray[np.int64]
    colour: Array
    contrast: Array
    shift: Array


class _Road:
    """The camera's way, continued straight on both ends, by distance along it."""

    def __init__(self, way: Array, heading: Array) -> None:
        ends = [way[0] - 40 * _forward(heading[0]), way[-1] + 120 * _forward(heading[-1])]
        points = np.concatenate([ends[:1], way, ends[1:]])
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        self.along = along - along[1]
        self.points = points
        self.start, self.end = float(self.along[0]), float(self.along[-1])
        self.camera = self.along[1:-1]

    def at(self, along: Array, lateral: Array | float) -> tuple[Array, Array]:
        """Place and heading at a distance along the road, and one to the right of its middle."""
        before, after = self._point(along - 1.5), self._point(along + 1.5)
        step = after - before
        heading = np.arctan2(step[..., 0], step[..., 1])
        right = np.stack([np.cos(heading), -np.sin(heading)], axis=-1)
        return (before + after) / 2 + right * np.asarray(lateral)[..., None], heading

    def _point(self, along: Array) -> Array:
        return np.stack([np.interp(along, self.along, self.points[:, i]) for i in (0, 1)], axis=-1)


def build(rng: np.random.Generator) -> Street:
    """Draws a street and a drive along it.

    Args:
        rng: the source of randomness.

    Returns:
        The street.
    """
    way, heading = _drive(rng)
    road = _Road(way, heading)
    boxes = [*_buildings(rng, road), *_parked(rng, road), *_moving(rng, road)]
    places, turns, halves, bases, kinds, colours, contrasts = zip(*boxes, strict=True)
    height = np.full(FRAMES, -CAMERA_HEIGHT) + rng.normal(0, 0.01, FRAMES)
    pitch = np.deg2rad(rng.uniform(-_JITTER, _JITTER, FRAMES))
    points, _ = road.at(np.arange(road.start, road.end), 0.0)
    return Street(
        position=np.stack([way[:, 0], height, way[:, 1]], axis=1).astype(np.float32),
        heading=heading.astype(np.float32),
        pitch=pitch.astype(np.float32),
        road=points.astype(np.float32),
        place=np.stack([np.broadcast_to(p, (FRAMES, 2)) for p in places], 1).astype(np.float32),
        turn=np.stack([np.broadcast_to(t, FRAMES) for t in turns], 1).astype(np.float32),
        half=np.array(halves, dtype=np.float32),
        base=np.array(bases, dtype=np.float32),
        kind=np.array(kinds),
        colour=np.array(colours, dtype=np.float32),
        contrast=np.array(contrasts, dtype=np.float32),
        shift=rng.uniform(0, 256, (len(boxes), 2)).astype(np.float32),
    )


def _drive(rng: np.random.Generator) -> tuple[Array, Array]:
    """The camera's places ``(FRAMES, 2)`` and headings, with changing speed and yaw rate."""
    time = np.arange(FRAMES - 1)

    def swing(largest: float) -> Array:
        period, phase = rng.uniform(*_PERIOD), rng.uniform(0, 2 * np.pi)
        return rng.uniform(0, largest) * np.sin(2 * np.pi * time / period + phase)

    speed = rng.uniform(*_SPEED) * (1 + swing(_SPEED_CHANGE))
    rate = np.deg2rad(rng.uniform(-_TURN, _TURN) + swing(_TURN_CHANGE))
    heading = np.concatenate([[0], np.cumsum(rate)])
    steps = speed[:, None] * _forward((heading[1:] + heading[:-1]) / 2)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]), heading


def _forward(heading: Array) -> Array:
    return np.stack([np.sin(heading), np.cos(heading)], axis=-1)


_Box = tuple[Array, Array, tuple[float, float, float], float, int, Array, float]


def _buildings(rng: np.random.Generator, road: _Road) -> list[_Box]:
    """Houses and walls on both sides."""
    boxes: list[_Box] = []
    for side in (-1, 1):
        along = -8.0
        while along < road.camera[-1] + 75:
            length = rng.uniform(4, 11)
            depth, gap = rng.uniform(3, 8), rng.uniform(0, 3)
            setback = rng.uniform(5.0, 9.0) if side > 0 else rng.uniform(7.0, 11.0)
            height = rng.uniform(2.5, 11)
            place, turn = road.at(np.array(along + length / 2), side * (setback + depth / 2))
            colour = rng.uniform(0.25, 0.75) * np.array([1, 1, 1]) * rng.uniform(0.75, 1.15, 3)
            half = (depth / 2, height / 2, length / 2)
            if _clear(place, turn, half, road):
                boxes.append((place, turn, half, 0.0, BUILDING, colour, rng.uniform(0.35, 0.6)))
            along += length + gap
    return boxes


def _clear(place: Array, turn: Array, half: tuple[float, float, float], road: _Road) -> bool:
    """Whether a building leaves the road free."""
    points, _ = road.at(np.arange(road.start, road.end), 0.0)
    away = points - place
    right = away[:, 0] * np.cos(turn) - away[:, 1] * np.sin(turn)
    ahead = away[:, 0] * np.sin(turn) + away[:, 1] * np.cos(turn)
    inside = (np.abs(right) < half[0] + _CLEARANCE) & (np.abs(ahead) < half[2] + _CLEARANCE)
    return not inside.any()


def _parked(rng: np.random.Generator, road: _Road) -> list[_Box]:
    """Vehicles that stand at the kerb."""
    boxes: list[_Box] = []
    for lateral in (-5.4, 3.0):
        for along in np.arange(2, road.camera[-1] + 40, 7.0):
            if rng.random() < 0.45:
                at = np.array(along + rng.uniform(-0.7, 0.7))
                boxes += _vehicle(rng, *road.at(at, lateral + rng.uniform(-0.15, 0.15)), PARKED)
    return boxes


def _moving(rng: np.random.Generator, road: _Road) -> list[_Box]:
    """One vehicle ahead in the camera's lane and up to two that come towards it."""
    boxes: list[_Box] = []
    speed = float(np.diff(road.camera).mean())
    time = np.arange(FRAMES)
    if rng.random() < 0.8:
        along = road.camera + rng.uniform(10, 20) + speed * rng.uniform(-0.25, 0.5) * time
        along += max(0.0, 9.0 - float((along - road.camera).min()))
        boxes += _vehicle(rng, *road.at(along, rng.uniform(-0.3, 0.3)), MOVING)
    first = rng.uniform(10, 35)
    for _ in range(rng.integers(0, 3)):
        along = first - rng.uniform(0.4, 1.2) * time
        place, turn = road.at(along, -2.7 + rng.uniform(-0.2, 0.2))
        boxes += _vehicle(rng, place, turn + np.pi, MOVING)
        first += rng.uniform(12, 25)
    return boxes


def _vehicle(rng: np.random.Generator, place: Array, turn: Array, kind: int) -> list[_Box]:
    """A car, as body and cabin, or a truck."""
    hue = rng.permutation([rng.uniform(0.5, 0.95), rng.uniform(0.1, 0.6), rng.uniform(0.05, 0.4)])
    if rng.random() < 0.3:
        half = (rng.uniform(1.1, 1.25), rng.uniform(1.15, 1.5), rng.uniform(2.5, 4.0))
        return [(place, turn, half, 0.35, kind, hue, 0.35)]
    half = (rng.uniform(0.85, 0.95), 0.4, rng.uniform(1.9, 2.3))
    cabin = (half[0] * 0.88, 0.3, half[2] * 0.5)
    dark = np.array([0.16, 0.18, 0.22])
    return [
        (place, turn, half, 0.25, kind, hue, 0.3),
        (place, turn, cabin, 1.05, kind, dark, 0.3),
    ]
