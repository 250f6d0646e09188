"""What pictures of skeletons share: joints and bones, actors, views, inks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from captum_video._core.arrays import host_tensor
from captum_video._core.errors import close_matches
from captum_video._core.skeletons import (
    KINECT_BONES,
    KINECT_JOINTS,
    joint_numbers,
    split_joints,
)
from captum_video.io import frame_indices

#: for each actor the ink of trunk and right limbs, and that of left limbs
INKS = (("#17324f", "#3f9bb8"), ("#8c3b0e", "#e39a4f"), ("#3d4d1c", "#93ad45"))
VIEWS = {"front": (0.0, 0.0), "side": (0.0, 90.0), "back": (0.0, 180.0), "top": (90.0, 0.0)}

Bones = Sequence[tuple[str | int, str | int]]
View = str | tuple[float, float]


class Body(NamedTuple):
    """Joints by name, and the bones between them as pairs of joint numbers."""

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]

    def left(self) -> list[bool]:
        """Which bones belong to the left side: those that end at a joint named so."""
        return [side(self.joints[child]) == "left" for _, child in self.bones]

    def bone_inks(self, actor: int) -> list[str]:
        """A colour for each bone of an actor."""
        other, left = INKS[actor % len(INKS)]
        return [left if on_left else other for on_left in self.left()]


def side(joint: str) -> str:
    """``"left"``, ``"right"`` or nothing, by the joint's name."""
    words = joint.lower().replace("-", "_").replace(" ", "_").split("_")
    return next((word for word in ("left", "right") if word in words), "")


def read_body(joints: Sequence[str] | None, bones: Bones | None) -> Body:
    """The skeleton that is drawn.

    Args:
        joints: names of one actor's joints; None for the Kinect's 25.
        bones: pairs of joints, by name or number; None for the Kinect's bones.

    Returns:
        Names and pairs of numbers.

    Raises:
        ValueError: for a name that occurs twice, a joint that does not exist, or other joints than
            the Kinect's without bones.
    """
    names = KINECT_JOINTS if joints is None else tuple(joints)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"joints must be names, each once, got {list(names)}")
    if bones is None:
        if names != KINECT_JOINTS:
            raise ValueError(
                f"joints are {len(names)} of your own: say which are joined, as pairs, with bones="
            )
        return Body(names, KINECT_BONES)
    pairs = []
    for bone in bones:
        if isinstance(bone, str) or len(bone) != 2:
            raise ValueError(f"bones must be pairs of joints, got {bone!r}")
        first, second = (joint_numbers([joint], names)[0] for joint in bone)
        pairs.append((first, second))
    if not pairs:
        raise ValueError("bones must hold at least one pair of joints, got none")
    return Body(names, tuple(pairs))


def finite(values: Tensor | np.ndarray, name: str) -> np.ndarray:
    """Values of any device and type as float64.

    Args:
        values: a tensor or an array.
        name: what messages call it.

    Returns:
        An array of the same shape.

    Raises:
        ValueError: for no values or values that are not finite.
    """
    found = host_tensor(values, name).double()
    if not found.numel():
        raise ValueError(f"{name} holds no value, shape {tuple(found.shape)}")
    bad = int((~found.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinity)")
    return found.numpy()


def read_sequences(
    sequences: Mapping[str, Tensor | np.ndarray], body: Body
) -> dict[str, np.ndarray]:
    """Sequences by actor and joint.

    Args:
        sequences: ``(D, T)`` by name.
        body: their skeleton.

    Returns:
        Each ``(actors, joints, 3, T)``.

    Raises:
        ValueError: if there is none, one does not fit the skeleton or the first one, or holds values
            that are not finite.
    """
    if not sequences:
        raise ValueError("sequences is empty: give at least one, such as {'input': clip}")
    found: dict[str, np.ndarray] = {}
    first, expected = "", (0, 0)
    for name, values in sequences.items():
        array = finite(values, f"sequences[{name!r}]")
        shape, unit = array.shape, 3 * len(body.joints)
        if len(shape) != 2 or shape[0] % unit:
            raise ValueError(
                f"sequences[{name!r}] must be (D, T) with D a multiple of {unit} "
                f"({len(body.joints)} joints), got shape {shape}"
            )
        if not found:
            first, expected = name, shape
        elif shape != expected:
            raise ValueError(
                f"sequences must be of one shape: {first!r} has {expected}, {name!r} has {shape}"
            )
        found[name] = split_joints(torch.from_numpy(array), len(body.joints)).numpy()
    return found


def seen_actors(sequences: Mapping[str, np.ndarray], actors: int | None) -> dict[str, np.ndarray]:
    """Which actors are drawn in which frames.

    An actor whose coordinates are all zero in a frame is absent from it, as in NTU RGB+D.

    Args:
        sequences: each ``(actors, joints, 3, T)``.
        actors: that many, from the first one on; None for those whom the first sequence has.

    Returns:
        For each sequence ``(actors, T)``.

    Raises:
        ValueError: for a number of actors that the sequences do not have.
    """
    there = {name: np.abs(values).sum((1, 2)) > 0 for name, values in sequences.items()}
    first = next(iter(there.values()))
    if actors is None:
        wanted = first.any(1)
        wanted[0] |= not wanted.any()
    elif isinstance(actors, bool) or actors not in range(1, len(first) + 1):
        raise ValueError(f"actors must be from 1 to {len(first)} or None, got {actors!r}")
    else:
        wanted = np.arange(len(first)) < actors
    return {name: seen & wanted[:, None] for name, seen in there.items()}


def camera(view: View) -> np.ndarray:
    """What is right, up and near on the picture, for a camera that looks from some side.

    Args:
        view: a name, or elevation and azimuth in degrees: the camera goes up, and around to its own
            right. ``(0, 0)`` is the view that the recording camera had. ``x`` grows to that camera's
            left, so to the left of its picture.

    Returns:
        ``(3, 3)``: the picture's directions to the right, up and towards the viewer in ``x, y, z``.

    Raises:
        ValueError: for an unknown name or angles that are none.
    """
    if isinstance(view, str):
        if view not in VIEWS:
            raise ValueError(f"There is no view {view!r}. {close_matches(view, VIEWS)}")
        view = VIEWS[view]
    if len(view) != 2 or not all(math.isfinite(angle) for angle in view):
        raise ValueError(f"view must be a name or (elevation, azimuth) in degrees, got {view!r}")
    up, around = (math.radians(angle) for angle in view)
    right = [-math.cos(around), 0.0, math.sin(around)]
    above = [math.sin(up) * math.sin(around), math.cos(up), math.sin(up) * math.cos(around)]
    near = [-math.cos(up) * math.sin(around), math.sin(up), -math.cos(up) * math.cos(around)]
    return np.array([right, above, near])


def project(sequence: np.ndarray, view: View) -> np.ndarray:
    """Joints on the picture.

    Args:
        sequence: ``(actors, joints, 3, T)``.
        view: see :func:`camera`.

    Returns:
        ``(actors, T, joints, 3)``: to the right, up and towards the viewer.
    """
    return np.einsum("pc,ajct->atjp", camera(view), sequence)


def chosen_frames(frames: int | Sequence[int] | None, total: int, default: int) -> list[int]:
    """Frame numbers, from a number of frames or themselves.

    Args:
        frames: how many, evenly spaced; or which.
        total: how many there are.
        default: how many for None.

    Returns:
        The numbers, in the order given.

    Raises:
        ValueError: for a number that is no frame, or none at all.
    """
    if frames is None or isinstance(frames, int):
        count = default if frames is None else frames
        if count < 1:
            raise ValueError(f"frames must be at least 1, got {count}")
        return frame_indices(total, count=min(count, total))
    found = [int(frame) for frame in frames]
    if not found or min(found) < 0 or max(found) >= total:
        raise ValueError(f"frames must be frame numbers from 0 to {total - 1}, got {found}")
    return found


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Raises a ValueError that lists what an option can be.

    Args:
        name: the option's.
        value: what was given.
        known: what there is.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
