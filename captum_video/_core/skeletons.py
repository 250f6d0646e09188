"""Skeletons as sequences: names and bones of the 25 joints that a Kinect tracks, and their layout.

A sequence is ``(D, T)`` or ``(N, D, T)`` with ``D = actors * 25 * 3``: actor by actor, joint by joint,
``x`` (to the camera's left), ``y`` (up), ``z`` (away from the camera), in metres.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from torch import Tensor

from captum_video._core.errors import close_matches

#: in the order of the Kinect SDK, which is that of NTU RGB+D
KINECT_JOINTS = (
    "spine_base", "spine_mid", "neck", "head",
    "shoulder_left", "elbow_left", "wrist_left", "hand_left",
    "shoulder_right", "elbow_right", "wrist_right", "hand_right",
    "hip_left", "knee_left", "ankle_left", "foot_left",
    "hip_right", "knee_right", "ankle_right", "foot_right",
    "spine_shoulder", "hand_tip_left", "thumb_left", "hand_tip_right", "thumb_right",
)  # fmt: skip

_PARENTS = {
    "spine_mid": "spine_base", "spine_shoulder": "spine_mid", "neck": "spine_shoulder",
    "head": "neck",
    "shoulder_left": "spine_shoulder", "elbow_left": "shoulder_left",
    "wrist_left": "elbow_left", "hand_left": "wrist_left",
    "hand_tip_left": "hand_left", "thumb_left": "hand_left",
    "shoulder_right": "spine_shoulder", "elbow_right": "shoulder_right",
    "wrist_right": "elbow_right", "hand_right": "wrist_right",
    "hand_tip_right": "hand_right", "thumb_right": "hand_right",
    "hip_left": "spine_base", "knee_left": "hip_left", "ankle_left": "knee_left",
    "foot_left": "ankle_left",
    "hip_right": "spine_base", "knee_right": "hip_right", "ankle_right": "knee_right",
    "foot_right": "ankle_right",
}  # fmt: skip

#: pairs of joint numbers, the one nearer to the base of the spine first
KINECT_BONES = tuple(
    (KINECT_JOINTS.index(parent), KINECT_JOINTS.index(child)) for child, parent in _PARENTS.items()
)


def joint_numbers(joints: Iterable[str | int], names: Sequence[str] = KINECT_JOINTS) -> list[int]:
    """The numbers of joints that are given by name or number.

    Args:
        joints: names or numbers, also such as ``"12"``.
        names: all joints, in order.

    Returns:
        The numbers, each once, in ascending order.

    Raises:
        ValueError: for a string in place of several joints, an unknown name, a number that is no
            joint's, what is neither a name nor a whole number, or if there is no joint at all.
    """
    if isinstance(joints, str):
        raise ValueError(
            f"joints must be several names or numbers, such as a list, got {joints!r}."
        )
    found = {_number(joint, names) for joint in joints}
    if not found:
        raise ValueError("There must be at least one joint, got none.")
    return sorted(found)


def _number(joint: str | int, names: Sequence[str]) -> int:
    """The number of one joint."""
    if isinstance(joint, str) and not (joint.isascii() and joint.isdecimal()):
        if joint not in names:
            raise ValueError(f"There is no joint {joint!r}. {close_matches(joint, names)}")
        return names.index(joint)
    try:
        if isinstance(joint, bool):
            raise TypeError
        number = int(joint) if isinstance(joint, str) else operator.index(joint)
    except TypeError as error:
        raise ValueError(f"A joint must be a name or a whole number, got {joint!r}.") from error
    if not 0 <= number < len(names):
        raise ValueError(f"A joint's number must be from 0 to {len(names) - 1}, got {number}.")
    return number


def joint_dimensions(
    joints: Iterable[str | int], *, actors: int = 2, names: Sequence[str] = KINECT_JOINTS
) -> list[int]:
    """The input dimensions that belong to some joints, of every actor.

    Args:
        joints: names or numbers.
        actors: how many the sequence has, at least one.
        names: all joints, in order.

    Returns:
        Three numbers for each joint and actor, in ascending order.

    Raises:
        ValueError: as for :func:`joint_numbers`, or if there are no actors.
    """
    if actors < 1:
        raise ValueError(f"actors must be at least 1, got {actors}.")
    numbers = joint_numbers(joints, names)
    return [
        (actor * len(names) + joint) * 3 + axis
        for actor in range(actors)
        for joint in numbers
        for axis in range(3)
    ]


def split_joints(sequence: Tensor, joints: int = len(KINECT_JOINTS)) -> Tensor:
    """A sequence's dimensions as actors, joints and axes.

    Args:
        sequence: ``(..., D, T)``.
        joints: how many an actor has, at least one.

    Returns:
        A view ``(..., actors, joints, 3, T)``.

    Raises:
        ValueError: if ``D`` is no multiple of ``3 * joints``, or ``joints`` is not positive.
    """
    if joints < 1:
        raise ValueError(f"joints must be at least 1, got {joints}.")
    if sequence.dim() < 2 or not sequence.shape[-2] or sequence.shape[-2] % (3 * joints):
        raise ValueError(
            f"A sequence of skeletons must be (..., D, T) with D a multiple of {3 * joints} "
            f"({joints} joints), got shape {tuple(sequence.shape)}."
        )
    return sequence.unflatten(-2, (-1, joints, 3))
