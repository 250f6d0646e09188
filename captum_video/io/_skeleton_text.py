"""The text of a ``.skeleton`` file, checked line by line.

First line: the number of frames. Then for each frame a line with its number of bodies, and for each
body a line of 10 numbers (body id, clipped edges, confidence and state of the left and of the right
hand, restricted, lean in x and y, tracking state), a line with the number of joints, 25, and for each
joint a line of 12 numbers: x, y, z (metres), its place in the depth and in the colour picture (2 + 2),
its orientation (4) and its tracking state (0 not tracked, 1 inferred, 2 tracked).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from captum_video._core.skeletons import KINECT_JOINTS

JOINTS = len(KINECT_JOINTS)
_MOST_BODIES = 6  # that the sensor tracks at a time
_BODY_NUMBERS = 10
_JOINT_NUMBERS = 12
_STATES = 2  # the highest
_ALLOWED = b"0123456789+-.eE \t\r\ninfatyINFATY"  # numbers, and what is not finite


class SkeletonError(ValueError):
    """A ``.skeleton`` file that does not hold what it must.

    Attributes:
        path: the file.
        line: where in the file, from 1 on; ``None`` if it is no single line's fault.
    """

    def __init__(
        self, path: str | os.PathLike[str], line: int | None, found: str, expected: str
    ) -> None:
        super().__init__(path, line, found, expected)
        self.path = Path(path)
        self.line = line

    def __str__(self) -> str:
        path, line, found, expected = self.args
        place = os.fspath(path) + ("" if line is None else f", line {line}")
        return f"{place}: found {found}, expected {expected}."


@dataclass
class Sightings:
    """Bodies in frames, in the order of the file; one entry for each body of each frame.

    Attributes:
        length: the number of frames.
        frames: the frame's number, from 0 on.
        bodies: the body's id.
        lines: the line of the first joint.
        numbers: x, y, z and tracking state, 25 times.
    """

    length: int
    frames: list[int] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)


def parse(path: Path) -> tuple[Sightings, np.ndarray, np.ndarray]:
    """Reads and checks a file.

    Args:
        path: the file.

    Returns:
        The bodies of the frames; their positions, float32 (sightings, 25, 3); and their joints'
        tracking states, uint8 (sightings, 25).

    Raises:
        FileNotFoundError: there is no such file.
        SkeletonError: it is not in the format.
    """
    reader = _Reader(path)
    seen = Sightings(reader.count("the number of frames, at least 1", 1))
    for frame in range(seen.length):
        reader.frame(seen, frame)
    reader.end()
    table = np.array(seen.numbers, dtype=np.float64).reshape(-1, JOINTS, 4)
    with np.errstate(over="ignore"):
        positions = table[..., :3].astype(np.float32)
    finite = np.isfinite(positions).sum(axis=-1) == 3
    reader.require(seen, finite, "finite x, y and z")
    states = table[..., 3]
    known = np.isin(states, range(_STATES + 1))
    reader.require(seen, known, f"a tracking state from 0 to {_STATES} as the last number")
    return seen, positions, states.astype(np.uint8)


class _Reader:
    """The lines of a file, from the next on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes()
        strange = data.translate(None, _ALLOWED)[:1]
        text = data.decode("ascii", errors="replace").rstrip()
        self.lines = text.split("\n") if text else []
        self.at = 0
        if strange:
            number = data[: data.index(strange)].count(b"\n") + 1
            raise SkeletonError(path, number, self._shown(number), "numbers in plain text only")
        if not text:
            raise SkeletonError(path, 1, "an empty file", "the number of frames")

    def count(self, what: str, low: int, high: int | None = None) -> int:
        """The next line's only number, a whole one."""
        text = self._next(what)
        try:
            number = int(text)
        except ValueError:
            raise self._error(what) from None
        if number < low or (high is not None and number > high):
            raise self._error(what)
        return number

    def frame(self, seen: Sightings, frame: int) -> None:
        """Reads a frame's bodies."""
        place = f"frame {frame + 1} of {seen.length}"
        count = self.count(
            f"the number of bodies (0 to {_MOST_BODIES}) in {place}", 0, _MOST_BODIES
        )
        bodies: set[int] = set()
        for k in range(count):
            here = f"body {k + 1} of {count}, {place}"
            body = self._body(here)
            if body in bodies:
                raise self._error(f"each body once in {place}, and this one is there already")
            bodies.add(body)
            self.count(f"the number of joints, {JOINTS} ({here})", JOINTS, JOINTS)
            seen.frames.append(frame)
            seen.bodies.append(body)
            seen.lines.append(self.at + 1)
            self._joints(seen.numbers, here)

    def end(self) -> None:
        """Refuses text after the last frame."""
        if self.at < len(self.lines):
            self._next("")
            raise self._error("nothing after the last frame")

    def require(self, seen: Sightings, good: np.ndarray, what: str) -> None:
        """Refuses joints, (sightings, 25), that are not good."""
        if not good.all():
            k, joint = np.argwhere(~good)[0]
            self.at = seen.lines[k] + int(joint)
            raise self._error(f"{what} of {KINECT_JOINTS[joint]} (frame {seen.frames[k] + 1})")

    def _body(self, place: str) -> int:
        """The id on a body's line."""
        what = f"{_BODY_NUMBERS} numbers, the first a whole one, of {place}"
        words = self._next(what).split()
        try:
            numbers = [float(word) for word in words[1:]]
            body = int(words[0])
        except (ValueError, IndexError):
            raise self._error(what) from None
        if len(numbers) != _BODY_NUMBERS - 1:
            raise self._error(what, f"{len(words)} numbers")
        return body

    def _joints(self, numbers: list[float], place: str) -> None:
        """Adds x, y, z and state of a body's joints."""
        for joint in range(JOINTS):
            try:
                words = self.lines[self.at].split()
                x, y, z, _, _, _, _, _, _, _, _, state = map(float, words)
            except (IndexError, ValueError):
                what = f"the {_JOINT_NUMBERS} numbers of {KINECT_JOINTS[joint]} ({place})"
                words = self._next(what).split()
                amount = f"{len(words)} numbers" if _all_numbers(words) else None
                raise self._error(what, amount) from None
            self.at += 1
            numbers += (x, y, z, state)

    def _next(self, what: str) -> str:
        """The next line."""
        if self.at == len(self.lines):
            raise SkeletonError(self.path, self.at + 1, "the end of the file", what)
        self.at += 1
        return self.lines[self.at - 1]

    def _error(self, expected: str, found: str | None = None) -> SkeletonError:
        """The error for the line that was read last."""
        return SkeletonError(self.path, self.at, found or self._shown(self.at), expected)

    def _shown(self, number: int) -> str:
        """The beginning of a line, as an error quotes it."""
        text = self.lines[number - 1].strip() if number <= len(self.lines) else ""
        return ascii(text if len(text) <= 40 else text[:37] + "...") if text else "an empty line"


def _all_numbers(words: Sequence[str]) -> bool:
    """Whether every word is a number, and there is one."""
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False
