"""A body of 25 joints, posed by where its pelvis, wrists and ankles are and how its spine leans.

A body's own frame is ``x`` to its right, ``y`` up, ``z`` to its back, so that a body at rest faces
a camera whose ``z`` points away from it. Elbows and knees follow from the two-bone solution: the
joint lies on the circle about the line from shoulder to wrist (hip to ankle), towards a fixed pole.
Bones keep their length whatever the controls say; a target beyond reach is approached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_video._core.skeletons import KINECT_JOINTS

Array = NDArray[np.float64]

#: bone lengths in metres of an adult of 1.75 m
LENGTHS = {
    "spine": 0.29, "chest": 0.21, "neck": 0.07, "head": 0.15,
    "shoulder": 0.185, "upper_arm": 0.28, "forearm": 0.25,
    "hand": 0.075, "tip": 0.085, "thumb": 0.06,
    "hip": 0.085, "thigh": 0.42, "shank": 0.41, "foot": 0.13,
}  # fmt: skip
#: the two sides of a body as signs of ``x``
SIDES = np.array([-1.0, 1.0])
LEFT, RIGHT = 0, 1
#: height of the shoulders above the floor at scale 1, metres
SHOULDER_HEIGHT = 1.38
#: people known by number: of the first set, then of the other
SUBJECTS = {"train": range(80), "validation": range(80, 120)}

_J = {name: number for number, name in enumerate(KINECT_JOINTS)}
_COLUMN = {name: number for number, name in enumerate(LENGTHS)}
_ANKLE_HEIGHT = 0.08
_REACH = LENGTHS["upper_arm"] + LENGTHS["forearm"]
_HIP_DROP = 0.25  # radians by which the hips lie below the base of the spine
_SHOULDER_DROP = 0.2
_STRETCH = 0.985  # of the legs, when they stand
_POLES = np.array([[-0.6, -0.6, 0.5], [0.6, -0.6, 0.5], [-0.15, 0.0, -1.0], [0.15, 0.0, -1.0]])
_LIMBS = tuple(
    [_J[f"{part}_{side}"] for part in parts for side in ("left", "right")]
    for parts in (("shoulder", "hip"), ("elbow", "knee"), ("wrist", "ankle"))
)
_FINGERS = [[_J[f"{part}_{side}"] for side in ("left", "right")] for part in
            ("hand", "hand_tip", "thumb", "foot")]  # fmt: skip


class Subject(NamedTuple):
    """What a person brings to every clip.

    Attributes:
        scale: height over that of an adult of 1.75 m, 0.85 to 1.1.
        lengths: ``(14,)`` bone lengths at scale 1, in the order of ``LENGTHS``, each within 4 %.
        tempo: factor of every speed, 0.87 to 1.15.
        vigour: factor of every amplitude, 0.85 to 1.15.
        hand: 0 for a left-handed person, 1 for a right-handed one.
    """

    scale: float
    lengths: Array
    tempo: float
    vigour: float
    hand: int


@cache
def subject(number: int) -> Subject:
    """The person with a number, always the same.

    Args:
        number: of the person.

    Returns:
        Size, proportions and style.
    """
    rng = np.random.default_rng([5, number])
    scale = rng.uniform(0.85, 1.1)
    lengths = np.array(list(LENGTHS.values())) * rng.uniform(0.96, 1.04, len(LENGTHS))
    tempo = np.exp(rng.uniform(-0.14, 0.14))
    return Subject(scale, lengths, tempo, rng.uniform(0.85, 1.15), int(rng.random() < 0.5))


@dataclass
class Controls:
    """What poses ``A`` bodies over ``T`` frames, at scale 1 in each body's own frame.

    Attributes:
        root: ``(A, 3, T)`` the pelvis from where it is in standing.
        lean: ``(A, 3, T)`` radians of the trunk: forwards, twist to the left, roll to the left.
        head: ``(A, 3, T)`` the same for the head, against the trunk.
        lift: ``(A, 1, T)`` radians by which the shoulders are raised.
        wrists: ``(A, 2, 3, T)`` from the shoulders, left and right.
        ankles: ``(A, 2, 3, T)`` from where they are in standing.
        bends: ``(A, 4, 2, 3, T)`` what is added to the unit vectors along forearm, hand, finger tip
            and thumb before they are made unit vectors again.
    """

    root: Array
    lean: Array
    head: Array
    lift: Array
    wrists: Array
    ankles: Array
    bends: Array

    @classmethod
    def standing(cls, actors: int, frames: int) -> Controls:
        """Bodies that stand still with their arms at their sides."""
        wrists = np.empty((actors, 2, 3, frames))
        wrists[:] = sided(0.08, -0.5, 0.06)[:, :, None]
        root, lean, head = (np.zeros((actors, 3, frames)) for _ in range(3))
        return cls(
            root=root,
            lean=lean,
            head=head,
            lift=np.zeros((actors, 1, frames)),
            wrists=wrists,
            ankles=np.zeros((actors, 2, 3, frames)),
            bends=np.zeros((actors, 4, 2, 3, frames)),
        )


def sided(outward: float, up: float, forward: float) -> Array:
    """A place for both sides of a body, mirrored.

    Args:
        outward: metres away from the body's middle.
        up: metres upwards.
        forward: metres to the front.

    Returns:
        ``(2, 3)`` in the body's frame, left and right.
    """
    return np.array([[-outward, up, -forward], [outward, up, -forward]])


def solve(people: list[Subject], controls: Controls) -> Array:
    """The joints of posed bodies, each in its own frame with the floor at height 0.

    Args:
        people: one per body.
        controls: their poses.

    Returns:
        ``(A, 25, 3, T)`` in metres.
    """
    lengths = np.stack([person.lengths for person in people])
    joints = np.empty((len(people), len(KINECT_JOINTS), 3, controls.root.shape[-1]))

    def length(*names: str) -> Array:
        return lengths[:, [_COLUMN[name] for name in names]]

    legs = length("thigh", "shank").sum(1)
    hips = np.sin(_HIP_DROP) * length("hip")[:, 0]
    base = controls.root.copy()
    base[:, 1] += (_ANKLE_HEIGHT + _STRETCH * legs + hips)[:, None]
    up, right = _axes(controls.lean)
    joints[:, _J["spine_base"]] = base
    for child, parent, bone in (
        ("spine_mid", "spine_base", "spine"),
        ("spine_shoulder", "spine_mid", "chest"),
        ("neck", "spine_shoulder", "neck"),
    ):
        joints[:, _J[child]] = joints[:, _J[parent]] + length(bone)[..., None] * up
    bowed = length("head")[..., None] * _axes(controls.lean + controls.head)[0]
    joints[:, _J["head"]] = joints[:, _J["neck"]] + bowed
    angle = controls.lift - _SHOULDER_DROP
    width = length("shoulder")[..., None] * np.cos(angle) * right
    rise = length("shoulder")[..., None] * np.sin(angle) * up + joints[:, _J["spine_shoulder"]]
    joints[:, _J["shoulder_left"]] = rise - width
    joints[:, _J["shoulder_right"]] = rise + width
    hip = length("hip")[:, 0]
    offset = np.cos(_HIP_DROP) * hip[:, None] * SIDES  # (A, 2)
    for side, name in enumerate(("hip_left", "hip_right")):
        joints[:, _J[name]] = base
        joints[:, _J[name], 0] += offset[:, side, None]
        joints[:, _J[name], 1] -= hips[:, None]
    targets = np.empty((len(people), 4, 3, base.shape[-1]))
    arm = length("upper_arm", "forearm").sum(1) / _REACH
    shoulders = joints[:, _LIMBS[0][:2]]
    targets[:, :2] = shoulders + arm[:, None, None, None] * controls.wrists
    targets[:, 2:] = controls.ankles
    targets[:, 2:, 0] += 1.15 * offset[..., None]
    targets[:, 2:, 1] += _ANKLE_HEIGHT
    upper = length("upper_arm", "upper_arm", "thigh", "thigh")[..., None, None]
    lower = length("forearm", "forearm", "shank", "shank")[..., None, None]
    first, second = _two_bones(targets - joints[:, _LIMBS[0]], upper, lower)
    second[:, :2] = _unit(second[:, :2] + controls.bends[:, 0])
    joints[:, _LIMBS[1]] = joints[:, _LIMBS[0]] + upper * first
    joints[:, _LIMBS[2]] = joints[:, _LIMBS[1]] + lower * second
    _ends(joints, second[:, :2], controls.bends, length("hand", "tip", "thumb", "foot"))
    joints *= np.array([person.scale for person in people])[:, None, None, None]
    return joints


def _ends(joints: Array, forearms: Array, bends: Array, lengths: Array) -> None:
    """Hands, finger tips, thumbs and feet, from wrists and ankles that are in place."""
    sizes = lengths[:, :, None, None, None]
    hands = _unit(forearms + bends[:, 1])
    joints[:, _FINGERS[0]] = joints[:, _LIMBS[2][:2]] + sizes[:, 0] * hands
    joints[:, _FINGERS[1]] = joints[:, _FINGERS[0]] + sizes[:, 1] * _unit(hands + bends[:, 2])
    spread = hands.copy()
    spread[:, :, 0] -= 0.8 * SIDES[:, None]  # thumbs point inwards, and forwards
    spread[:, :, 2] -= 0.4
    thumbs = _unit(_unit(spread) + bends[:, 3])
    joints[:, _FINGERS[2]] = joints[:, _FINGERS[0]] + sizes[:, 2] * thumbs
    toes = np.array([0.25, -0.3, -1.0]) / np.linalg.norm([0.25, -0.3, -1.0])
    feet = np.stack([toes * [-1, 1, 1], toes])[:, :, None]
    joints[:, _FINGERS[3]] = joints[:, _LIMBS[2][2:]] + sizes[:, 3] * feet


def _two_bones(span: Array, upper: Array, lower: Array) -> tuple[Array, Array]:
    """Unit vectors along both bones of limbs that reach over a span, ``(A, 4, 3, T)`` each."""
    distance = np.sqrt(np.square(span).sum(2, keepdims=True))
    along = span / distance
    reached = np.clip(distance, np.abs(upper - lower) + 0.05, 0.999 * (upper + lower))
    share = (upper**2 - lower**2 + reached**2) / (2 * reached)
    poles = _POLES[:, :, None]
    across = _unit(poles - (poles * along).sum(2, keepdims=True) * along)
    joint = share * along + np.sqrt(np.maximum(upper**2 - share**2, 0)) * across
    return joint / upper, (reached * along - joint) / lower


def _unit(vectors: Array) -> Array:
    """Vectors along the last axis but one, made of length 1."""
    return vectors / np.sqrt(np.square(vectors).sum(-2, keepdims=True))


def _axes(angles: Array) -> tuple[Array, Array]:
    """Where upwards and rightwards point after leaning forwards, rolling and twisting."""
    (sp, sy, sr), (cp, cy, cr) = (
        function(angles).transpose(1, 0, 2) for function in (np.sin, np.cos)
    )
    up = np.stack([-cp * sr * cy - sp * sy, cp * cr, cp * sr * sy - sp * cy], axis=1)
    return up, np.stack([cr * cy, sr, -cr * sy], axis=1)
