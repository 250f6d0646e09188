"""Writes ``.skeleton`` files in NTU RGB+D's format, by its description and not by the reader."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

IDS = tuple(72057594037931000 + number for number in range(8))  # no float holds them apart
JOINTS = 25


def joint_line(x: float, y: float, z: float, state: int = 2) -> str:
    picture = "277.4 191.8 1036.2 519.1"
    return f"{x:.7g} {y:.7g} {z:.7g} {picture} -0.2205 0.0248 0.9726 -0.0687 {state}"


def body_lines(body: int, joints: np.ndarray, state: int = 2) -> list[str]:
    head = f"{body} 0 1 1 1 1 0 -0.0241 0.0912 2"
    return [head, str(len(joints)), *(joint_line(x, y, z, state) for x, y, z in joints.tolist())]


def skeleton_lines(frames: Sequence[Mapping[int, np.ndarray]]) -> list[str]:
    """For each frame, positions (25, 3) by body id."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body, joints in bodies.items():
            lines += body_lines(body, joints)
    return lines


def write_skeleton(path: Path, frames: Sequence[Mapping[int, np.ndarray]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\r\n".join([*skeleton_lines(frames), ""]).encode("ascii"))
    return path


def pose(start: float, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Positions that tell joint and axis: start + 0, 1/8, 2/8, ..., exact in float32; shifted."""
    return start + np.arange(JOINTS * 3).reshape(JOINTS, 3) / 8 + np.array(shift)


def walk(frames: int, step: float = 0.25, start: float = 0.0) -> list[np.ndarray]:
    """Poses that go ``step`` along x in each frame."""
    return [pose(start, (step * frame, 0, 0)) for frame in range(frames)]
