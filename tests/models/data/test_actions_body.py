"""The body behind ``Actions``, and the small motions of its hands, by hand-computed values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from captum_video._core.skeletons import KINECT_BONES, KINECT_JOINTS
from models.data._body import LENGTHS, Controls, Subject, _axes, _two_bones, sided, solve
from models.data._choreography import PROGRAMS, RATE, Scene, bump, ease, hold_in_front, reach, sit
from models.data.actions import ACTIONS

J = {name: number for number, name in enumerate(KINECT_JOINTS)}
ADULT = Subject(1.0, np.array(list(LENGTHS.values())), 1.0, 1.0, 1)
FRAMES = 96


def scene(**changes: Any) -> Scene:
    """4 seconds that begin at frame 10, done with the right hand at an even pace."""
    made = Scene(
        time=(np.arange(FRAMES) - 10) / RATE,
        seconds=4.0,
        going=1.0,
        side=1,
        tempo=1.0,
        vigour=1.0,
        apart=0.9,
        scales=(1.0, 1.0),
        u=np.full(24, 0.5),
    )
    return dataclasses.replace(made, **changes)


def acted(action: str, **changes: Any) -> tuple[Controls, np.ndarray]:
    """The controls that an action leaves behind, and the joints that follow."""
    controls = Controls.standing(2, FRAMES)
    hold_in_front(controls, scene())
    before = dataclasses.replace(controls, bends=controls.bends.copy())
    PROGRAMS[ACTIONS.index(action)](controls, scene(**changes))
    own = dataclasses.replace(controls, bends=controls.bends - before.bends)
    people = [ADULT, ADULT]
    return own, solve(people, controls) - solve(people, before)


def crossings(wave: np.ndarray) -> int:
    """How often a signal changes its sign."""
    signs = np.sign(wave[np.abs(wave) > 1e-9])
    return int((signs[1:] != signs[:-1]).sum())


def test_a_body_at_rest_stands_upright_on_its_feet() -> None:
    joints = solve([ADULT], Controls.standing(1, 2))[0, ..., 0]
    legs = 0.08 + 0.985 * (0.42 + 0.41) + np.sin(0.25) * 0.085
    np.testing.assert_allclose(joints[J["spine_base"]], [0, legs, 0], atol=1e-12)
    np.testing.assert_allclose(joints[J["head"]], [0, legs + 0.29 + 0.21 + 0.07 + 0.15, 0])
    np.testing.assert_allclose(joints[J["ankle_left"], 1], 0.08, atol=1e-12)
    across = np.cos(0.2) * 0.185
    shoulder = legs + 0.29 + 0.21 - np.sin(0.2) * 0.185
    np.testing.assert_allclose(joints[J["shoulder_right"]], [across, shoulder, 0], atol=1e-12)
    wrist = joints[J["wrist_right"]] - joints[J["shoulder_right"]]
    np.testing.assert_allclose(wrist, [0.08, -0.5, -0.06], atol=1e-12)
    mirrored = joints * np.array([-1, 1, 1])
    for name, number in J.items():
        twin = J[name.replace("left", "?").replace("right", "left").replace("?", "right")]
        np.testing.assert_allclose(joints[number], mirrored[twin], atol=1e-12)
    # knees and feet point to the front, elbows to the back
    assert joints[J["knee_left"], 2] < -0.02
    assert joints[J["foot_left"], 2] < -0.1
    assert joints[J["elbow_left"], 2] > 0.02


def test_scale_and_lengths_are_the_persons() -> None:
    grown = ADULT._replace(scale=1.1, lengths=ADULT.lengths * 0.97)
    joints = solve([ADULT, grown], Controls.standing(2, 2))[..., 0]
    names = ["spine", "chest", "neck", "head", "shoulder", "upper_arm", "forearm", "hand"]
    names += ["tip", "thumb", "shoulder", "upper_arm", "forearm", "hand", "tip", "thumb"]
    names += ["hip", "thigh", "shank", "foot"] * 2
    # KINECT_BONES begins with spine_mid, spine_shoulder, neck, head, then each limb from its root
    for (parent, child), name in zip(KINECT_BONES, names, strict=True):
        long = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
        np.testing.assert_allclose(long, np.array([1, 1.1 * 0.97]) * LENGTHS[name], rtol=1e-9)


def test_two_bones_of_length_5_over_8_bend_by_3() -> None:
    span = np.tile(np.array([0.0, -8.0, 0.0])[:, None], (1, 4, 1, 1))
    five = np.full((1, 4, 1, 1), 5.0)
    first, second = _two_bones(span, five, five)
    np.testing.assert_allclose(5 * (first + second), span, atol=1e-12)
    joint = 5 * first[0, :, :, 0]
    np.testing.assert_allclose(joint[:, 1], -4, atol=1e-12)
    np.testing.assert_allclose(np.hypot(joint[:, 0], joint[:, 2]), 3, atol=1e-12)
    assert (np.sign(joint[:, 0]) == [-1, 1, -1, 1]).all()
    assert (np.sign(joint[:, 2]) == [1, 1, -1, -1]).all()
    # unequal bones: 6 and 8 over 10 form a right angle
    first, second = _two_bones(span * 1.25, five * 1.2, five * 1.6)
    np.testing.assert_allclose((first * second).sum(2), 0, atol=1e-12)
    # out of reach: as good as straight, towards the target
    first, second = _two_bones(span * 9, five, five)
    assert (first * second).sum(2).min() > 0.99
    assert 5 * np.abs((first + second)[:, :, 1]).min() == pytest.approx(9.99)


@pytest.mark.parametrize(
    ("angles", "up", "right"),
    [
        ((90, 0, 0), (0, 0, -1), (1, 0, 0)),  # a bow to the front
        (
            (0, 90, 0),
            (0, 1, 0),
            (0, 0, -1),
        ),  # the right shoulder comes forward: a twist to the left
        ((0, 0, 90), (-1, 0, 0), (0, 1, 0)),  # over to the left
        ((90, 90, 0), (-1, 0, 0), (0, 0, -1)),  # a bow, turned to the left
    ],
)
def test_what_the_trunk_does(
    angles: tuple[int, ...], up: tuple[int, ...], right: tuple[int, ...]
) -> None:
    found = _axes(np.deg2rad(np.array(angles, dtype=float))[None, :, None])
    np.testing.assert_allclose(found[0][0, :, 0], up, atol=1e-12)
    np.testing.assert_allclose(found[1][0, :, 0], right, atol=1e-12)


def test_shapes_of_motions() -> None:
    np.testing.assert_allclose(ease(np.array([-1, 0, 0.25, 0.5, 1, 2])), [0, 0, 0.15625, 0.5, 1, 1])
    share = np.array([0.0, 0.2, 0.3, 0.4, 0.6, 1.0])
    np.testing.assert_allclose(bump(share, 0.2, 0.6), [0, 0, 0.5, 1, 0, 0], atol=1e-12)
    hold = scene().hold(0.5)
    assert not hold[:11].any()
    assert not hold[90:].any()
    np.testing.assert_allclose(hold[[15, 20, 50, 80, 85]], [0.5, 1, 1, 1, 0.5])
    assert not scene(going=0.0).hold(0.5).any()
    phase = scene().cycles(1.1)  # 4 s: four times
    assert (np.diff(phase) < 0).sum() == 4
    assert phase[[0, 10, 15, 30, 92]].tolist() == [
        0,
        0,
        0.25,
        0,
        0,
    ]
    np.testing.assert_allclose(
        scene().wave(1.0, 3.0, 0)[10:20], np.sin(np.pi * (1 + np.arange(10) / 5))
    )


def test_a_wrist_comes_to_its_place_by_an_arc_in_front() -> None:
    controls = Controls.standing(1, 3)
    reach(controls, 0, 0, (0.2, 0.3, 0.1), np.array([0, 0.5, 1]))
    wrist = controls.wrists[0, 0]
    np.testing.assert_allclose(wrist[:, 0], [-0.08, -0.5, -0.06])
    np.testing.assert_allclose(wrist[:, 1], [-0.14 - 0.125, -0.1, -0.08 - 0.15])
    np.testing.assert_allclose(wrist[:, 2], sided(0.2, 0.3, 0.1)[0])


def test_who_sits_has_level_thighs_and_hands_on_them() -> None:
    controls = Controls.standing(1, 2)
    sit(controls, 0, np.array([0.0, 1.0]))
    joints = solve([ADULT], controls)[0]
    thigh = joints[J["knee_left"], :, 1] - joints[J["hip_left"], :, 1]
    assert abs(thigh[1]) < 0.08
    assert thigh[2] < -0.38
    assert 0 < (joints[J["hand_left"], :, 1] - joints[J["hip_left"], :, 1])[1] < 0.25
    ankles = [J["ankle_left"], J["ankle_right"]]
    np.testing.assert_allclose(joints[ankles, :, 0], joints[ankles, :, 1], atol=1e-12)
