from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from captum_video._core.skeletons import (
    KINECT_BONES,
    KINECT_JOINTS,
    joint_dimensions,
    joint_numbers,
    split_joints,
)

#: the enumeration ``JointType`` of the Kinect for Windows SDK 2.0, in its order from 0 on
SDK = """
    SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight
    WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight
    SpineShoulder HandTipLeft ThumbLeft HandTipRight ThumbRight
""".split()


def test_names_are_those_of_the_sdk_in_its_order() -> None:
    assert ["".join(map(str.title, name.split("_"))) for name in KINECT_JOINTS] == SDK


def test_bones_are_a_tree_from_the_base_of_the_spine() -> None:
    assert len(KINECT_BONES) == 24
    reached = {0}
    for _ in KINECT_BONES:
        reached |= {child for parent, child in KINECT_BONES if parent in reached}
    assert reached == set(range(25))
    # 24 bones that join 25 joints: every joint but the base has one that bears it
    assert sorted(child for _, child in KINECT_BONES) == list(range(1, 25))


def test_bones_are_those_of_the_sdk() -> None:
    named = {KINECT_JOINTS[child]: KINECT_JOINTS[parent] for parent, child in KINECT_BONES}
    assert named["head"] == "neck"
    assert named["neck"] == "spine_shoulder"
    for side in ("left", "right"):
        chains = (
            "spine_base spine_mid spine_shoulder shoulder elbow wrist hand hand_tip",
            "hand thumb",
            "spine_base hip knee ankle foot",
        )
        for chain in chains:
            joints = [j if "spine" in j else f"{j}_{side}" for j in chain.split()]
            assert [named[child] for child in joints[1:]] == joints[:-1]


def test_numbers_of_names_and_numbers() -> None:
    given: list[Any] = ["thumb_right", 3, "12", "head", np.int64(0), torch.tensor(7)]
    found = joint_numbers(given)
    assert found == [0, 3, 7, 12, 24]
    assert all(type(number) is int for number in found)
    assert joint_numbers(iter(["b", "0"]), names=("a", "b")) == [0, 1]


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        ("12", r"joints must be several names or numbers, such as a list, got '12'"),
        ("head", r"such as a list, got 'head'"),
        ([], "There must be at least one joint, got none"),
        (["haed"], r"There is no joint 'haed'. Did you mean 'head'"),
        (["\u00b2"], "There is no joint '\u00b2'. Known: spine_base"),
        (["\u0661"], "There is no joint '\u0661'"),
        (["-1"], "There is no joint '-1'"),
        ([""], "There is no joint ''"),
        (["25"], "A joint's number must be from 0 to 24, got 25"),
        ([0, 25], "A joint's number must be from 0 to 24, got 25"),
        ([-1], "from 0 to 24, got -1"),
        ([True], "A joint must be a name or a whole number, got True"),
        ([1.0], r"a name or a whole number, got 1\.0"),
        ([2.5], r"a name or a whole number, got 2\.5"),
        ([None], "a name or a whole number, got None"),
    ],
)
def test_what_is_no_joint(joints: Iterable[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joint_numbers(joints)
    with pytest.raises(ValueError, match=message):
        joint_dimensions(joints)


def test_dimensions_by_hand() -> None:
    # the head is joint 3: dimensions 9 to 11, and 75 later those of the second actor
    assert joint_dimensions(["head"]) == [9, 10, 11, 84, 85, 86]
    assert joint_dimensions(["24", 0], actors=1) == [0, 1, 2, 72, 73, 74]
    assert joint_dimensions(["b"], actors=3, names=("a", "b")) == [3, 4, 5, 9, 10, 11, 15, 16, 17]


@pytest.mark.parametrize("actors", [0, -1])
def test_dimensions_of_nobody(actors: int) -> None:
    with pytest.raises(ValueError, match=f"actors must be at least 1, got {actors}"):
        joint_dimensions(["head"], actors=actors)


def test_split_by_hand() -> None:
    sequence = torch.arange(2 * 150 * 4).view(2, 150, 4)
    joints = split_joints(sequence)
    assert joints.shape == (2, 2, 25, 3, 4)
    for clip, actor, joint, axis, frame in ((0, 0, 0, 0, 0), (1, 1, 7, 2, 3), (0, 1, 24, 1, 2)):
        expected = (clip * 150 + actor * 75 + joint * 3 + axis) * 4 + frame
        assert joints[clip, actor, joint, axis, frame] == expected
    assert split_joints(sequence[0]).equal(joints[0])
    assert split_joints(sequence[:, :6], joints=2).equal(joints[:, :1, :2])


def test_split_is_a_view() -> None:
    sequence = torch.zeros(75, 2)
    split_joints(sequence)[0, 3] = 1
    assert sequence[9:12].eq(1).all()
    assert sequence.sum() == 6


@pytest.mark.parametrize("shape", [(75,), (74, 2), (0, 2), (3, 25, 2)])
def test_split_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="D a multiple of 75") as caught:
        split_joints(torch.zeros(shape))
    assert f"got shape {shape}" in str(caught.value)


@pytest.mark.parametrize("joints", [0, -2])
def test_split_into_no_joints(joints: int) -> None:
    with pytest.raises(ValueError, match=f"joints must be at least 1, got {joints}"):
        split_joints(torch.zeros(6, 2), joints)
