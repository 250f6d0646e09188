"""The ten motion programs of Video-MNIST."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FRAMES = 30
FRAME = 28  # pixels, height and width
MOTIONS = (
    "horizontal bounce",
    "vertical bounce",
    "shrink and grow",
    "clockwise",
    "counter-clockwise",
    "circle",
    "grow clockwise",
    "horizontal counter-clockwise",
    "clockwise and back",
    "random walk",
)
SIDES = (12, 14)  # pixels, of the digit's box in the first frame
START = 4  # pixels either way from the middle of the frame, in the first frame
SPEEDS = (1, 2)  # pixels per frame, of a bounce before it first meets the frame's edge
SHRINK, SMALLEST = 2, 4  # pixels per frame, pixels
GROW = 0.5  # pixels per frame
TURN = 12  # degrees per frame
SWING, SWING_FRAMES = 24, 15  # degrees per frame, frames until it turns back


class Draws(NamedTuple):
    """What a clip's motion leaves open; every motion draws all of it and uses its part.

    Attributes:
        side: the digit's box in the first frame, pixels.
        start: x and y of the first frame, pixels from the middle of the frame.
        speed: of a bounce, pixels per frame.
        sign: 1 or -1; 1 bounces to the right or down first, and circles clockwise.
        walk: ``(FRAMES - 1, 3)``, each -1, 0 or 1: the random walk's steps in x, y and angle.
    """

    side: int
    start: tuple[int, int]
    speed: int
    sign: int
    walk: np.ndarray


def draw(rng: np.random.Generator) -> Draws:
    """Draws what a motion leaves open.

    Args:
        rng: the source; it gives the same amount of numbers whatever the motion.

    Returns:
        The draws.
    """
    return Draws(
        int(rng.choice(SIDES)),
        (int(rng.integers(-START, START + 1)), int(rng.integers(-START, START + 1))),
        int(rng.choice(SPEEDS)),
        int(rng.choice((-1, 1))),
        rng.integers(-1, 2, (FRAMES - 1, 3)),
    )


def poses(motion: int, draws: Draws) -> np.ndarray:
    """Where the digit is in every frame.

    Args:
        motion: index into ``MOTIONS``.
        draws: what the motion leaves open.

    Returns:
        ``(FRAMES, 4)``: x and y of the centre in pixels from the middle of the frame, y downwards;
        the size as a factor of the first size; the angle in degrees, clockwise.
    """
    name, (x, y), side = MOTIONS[motion], draws.start, draws.side
    room = (FRAME - side) // 2
    frame = np.arange(FRAMES)
    pose = np.tile(np.array([x, y, 1.0, 0.0]), (FRAMES, 1))
    if name in ("horizontal bounce", "horizontal counter-clockwise"):
        pose[:, 0] = bounce(x, draws.sign * draws.speed, room)
    elif name == "vertical bounce":
        pose[:, 1] = bounce(y, draws.sign * draws.speed, room)
    elif name == "shrink and grow":
        there = (side - SMALLEST) // SHRINK
        pose[:, 2] = (side - SHRINK * (there - abs(frame % (2 * there) - there))) / side
    elif name == "circle":
        pose[:, :2] = circle(x, y, room / 2, draws.sign)
    elif name == "random walk":
        pose[:, :2] = walk((x, y), draws.walk[:, :2], room)
        pose[1:, 3] = TURN * draws.walk[:, 2].cumsum()
    if name == "grow clockwise":
        pose[:, 2] = (side + GROW * frame) / side
    if name in ("clockwise", "grow clockwise"):
        pose[:, 3] = TURN * frame
    elif name in ("counter-clockwise", "horizontal counter-clockwise"):
        pose[:, 3] = -TURN * frame
    elif name == "clockwise and back":
        pose[:, 3] = SWING * (SWING_FRAMES - abs(frame - SWING_FRAMES))
    return pose


def bounce(start: int, velocity: int, room: int) -> np.ndarray:
    """A coordinate that is reflected at ``-room`` and ``room``, one pixel per frame faster each time.

    Args:
        start: the first frame's.
        velocity: pixels per frame.
        room: how far the coordinate goes from the middle.

    Returns:
        ``(FRAMES,)``, whole numbers.
    """
    track = [start]
    for _ in range(FRAMES - 1):
        place = track[-1] + velocity
        if abs(place) > room:
            edge = room if velocity > 0 else -room
            place = 2 * edge - place
            velocity = -velocity - (1 if velocity > 0 else -1)
        track.append(place)
    return np.array(track)


def circle(x: int, y: int, radius: float, sign: int) -> np.ndarray:
    """Points on a circle that starts at (x, y) and whose centre lies towards the frame's middle.

    Args:
        x: the first frame's, pixels.
        y: the first frame's, pixels.
        radius: pixels.
        sign: 1 for clockwise, -1 for counter-clockwise.

    Returns:
        ``(FRAMES, 2)``, ``TURN`` degrees of the circle per frame.
    """
    phase = np.arctan2(y, x)
    angle = phase + np.deg2rad(sign * TURN * np.arange(FRAMES))
    steps = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.array([x, y]) + radius * (steps - steps[0])


def walk(start: tuple[int, int], steps: np.ndarray, room: int) -> np.ndarray:
    """A walk that stops at ``-room`` and ``room``.

    Args:
        start: x and y of the first frame.
        steps: ``(FRAMES - 1, 2)``.
        room: how far a coordinate goes from the middle.

    Returns:
        ``(FRAMES, 2)``, whole numbers.
    """
    track = [np.array(start)]
    for step in steps:
        track.append(np.clip(track[-1] + step, -room, room))
    return np.stack(track)
