"""Three cameras around a scene, and the errors of a depth camera that tracks joints.

The documented error, per joint and axis, is Gaussian with a standard deviation of ``STD`` metres at
3 m, times ``(distance / 3)^1.5``, times up to 2 for arms and legs that lie behind their body as the
camera sees it (fully from ``FAR`` metres). Half of its variance is independent from frame to frame,
half follows an AR(1) process of coefficient 0.8. Now and then a joint is lost for 2 to 5 frames: it
freezes where it was last seen, or is guessed some centimetres off.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from captum_video._core.skeletons import KINECT_JOINTS
from models.data._body import Array

CAMERAS = (-45, 0, 45)
FAR = 0.25
#: share of the variance that is correlated in time, and its AR(1) coefficient
CORRELATED, COEFFICIENT = 0.5, 0.8
#: mean number of times that a joint is lost, per person and second
LOST_PER_SECOND = 0.5

_TRUNK = ("spine_base", "spine_mid", "neck", "head", "spine_shoulder", "hip_left", "hip_right")
_BY_PART = {
    "shoulder": 0.004, "elbow": 0.005, "wrist": 0.006, "hand": 0.0065, "hand_tip": 0.008,
    "thumb": 0.009, "knee": 0.005, "ankle": 0.006, "foot": 0.008,
}  # fmt: skip
#: standard deviation at 3 m, metres
STD = np.array(
    [0.0035 if name in _TRUNK else _BY_PART[name.rpartition("_")[0]] for name in KINECT_JOINTS]
)
_LIMB = np.array([name not in _TRUNK for name in KINECT_JOINTS], dtype=float)
_SPINE = KINECT_JOINTS.index("spine_mid")
_LOST = np.cumsum(STD**2 * _LIMB) / np.sum(STD**2 * _LIMB)


def turn(joints: Array, degrees: float) -> Array:
    """Turns joints about the vertical axis.

    Args:
        joints: ``(..., 3, T)`` about the origin.
        degrees: from ``z`` towards ``x``.

    Returns:
        The same, turned.
    """
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = joints.copy()
    turned[..., 0, :] = cos * joints[..., 0, :] + sin * joints[..., 2, :]
    turned[..., 2, :] = cos * joints[..., 2, :] - sin * joints[..., 0, :]
    return turned


def spread(joints: Array) -> Array:
    """The standard deviation of the error at every joint and frame.

    Args:
        joints: ``(A, 25, 3, T)`` in the camera's coordinates.

    Returns:
        ``(A, 25, T)`` in metres.
    """
    depth = joints[:, :, 2]
    behind = np.clip((depth - depth[:, _SPINE, None]) / FAR, 0, 1) * _LIMB[:, None]
    near = np.sqrt(np.square(joints[:, _SPINE]).sum(1)) / 3
    return STD[:, None] * (near**1.5)[:, None] * (1 + behind)


def seen(joints: Array, rng: np.random.Generator, rate: float) -> Array:
    """What the camera makes of joints.

    Args:
        joints: ``(A, 25, 3, T)`` in its coordinates, left as they are.
        rng: source of randomness.
        rate: frames per second.

    Returns:
        The same shape, with errors.
    """
    frames = joints.shape[-1]
    noise = rng.standard_normal(joints.shape) @ _mixing(frames)
    found = joints + noise * spread(joints)[:, :, None]
    for actor in range(len(joints)):
        for _ in range(rng.poisson(LOST_PER_SECOND * frames / rate)):
            joint = int(np.searchsorted(_LOST, rng.random()))
            start, long = int(rng.integers(1, frames)), int(rng.integers(2, 6))
            offset = 0.03 * rng.standard_normal(3)
            path = found[actor, joint]
            if rng.random() < 0.5:
                path[:, start : start + long] = path[:, start - 1, None]
            else:
                path[:, start : start + long] += offset[:, None]
    return found


@lru_cache(maxsize=8)
def _mixing(frames: int) -> Array:
    """Turns independent numbers along time into ones with the documented correlation."""
    lag = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    covariance = CORRELATED * COEFFICIENT**lag + (1 - CORRELATED) * np.eye(frames)
    return np.ascontiguousarray(np.linalg.cholesky(covariance).T)
