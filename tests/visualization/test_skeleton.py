"""What pictures of skeletons share: bodies, views, frames, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from captum_video._core.skeletons import KINECT_BONES, KINECT_JOINTS
from captum_video.visualization import skeleton_frames, skeleton_strip
from captum_video.visualization._skeleton import (
    camera,
    chosen_frames,
    project,
    read_body,
    read_sequences,
    seen_actors,
)
from captum_video.visualization._skeleton_parts import body_part, grouped_rows

JOINTS = ("base", "head", "hand_left", "hand_right")
BONES = (("base", "head"), ("head", "hand_left"), ("head", 3))
OWN: dict[str, Any] = {"joints": JOINTS, "bones": BONES}


def sequence(total: int = 6, *, second: bool = False, seed: int = 0) -> Tensor:
    """Two actors of four joints, ``(24, total)``; the second one is zero unless asked for."""
    generator = torch.Generator().manual_seed(seed)
    rest = torch.tensor([[0.0, 1, 3], [0, 2, 3], [-0.5, 1.5, 2.9], [0.5, 1.5, 3.1]])
    found = rest[None, :, :, None] + 0.2 * torch.rand(2, 4, 3, total, generator=generator)
    found[1, :, 0] += 2
    found[1] *= float(second)
    return found.reshape(24, total).double()


def at(values: Tensor, actor: int, joint: int, axis: int, frame: int) -> float:
    """A coordinate, by the layout's own words."""
    return float(values[(actor * len(JOINTS) + joint) * 3 + axis, frame])


@pytest.mark.parametrize(
    ("view", "right", "up", "near"),
    [
        ("front", -2, 3, -5),
        ("back", 2, 3, 5),
        ("side", 5, 3, -2),
        ("top", -2, 5, 3),
        ((0, 0), -2, 3, -5),
        ((0, -90), -5, 3, 2),
        ((90, 90), 5, 2, 3),
    ],
)
def test_views_of_a_point(view: Any, right: float, up: float, near: float) -> None:
    point = np.array([2.0, 3, 5]).reshape(1, 1, 3, 1)
    assert np.allclose(project(point, view), np.array([right, up, near]).reshape(1, 1, 1, 3))


@pytest.mark.parametrize("view", [(17.0, 40.0), (-60, 200), (90, 0), (0, 0)])
def test_a_view_is_a_rotation(view: tuple[float, float]) -> None:
    axes = camera(view)
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.allclose(np.cross(axes[0], axes[1]), axes[2])


def test_bodies() -> None:
    kinect = read_body(None, None)
    assert kinect.joints == KINECT_JOINTS
    assert kinect.bones == KINECT_BONES
    assert read_body(KINECT_JOINTS, None) == kinect
    own = read_body(JOINTS, BONES)
    assert own.bones == ((0, 1), (1, 2), (1, 3))
    assert own.left() == [False, True, False]
    inks = own.bone_inks(0)
    assert inks[0] == inks[2] != inks[1]
    assert not set(inks) & set(own.bone_inks(1))


def test_joints_are_grouped_by_part_of_the_body() -> None:
    rows = grouped_rows(KINECT_JOINTS, [0, 1])
    assert len(rows) == len(set(rows)) == 50
    assert [row.actor for row in rows] == [0] * 25 + [1] * 25
    assert sorted(row.joint for row in rows[:25]) == list(range(25))
    assert [row.joint for row in rows[:25]] == [row.joint for row in rows[25:]]
    assert [row.label for row in rows[:5]] == [
        "head", "neck", "spine shoulder", "spine mid", "spine base",
    ]  # fmt: skip
    assert [row.label for row in rows[5:11]] == [
        "shoulder", "elbow", "wrist", "hand", "hand tip", "thumb",
    ]  # fmt: skip
    parts = list(dict.fromkeys(row.part for row in rows))
    assert parts == ["trunk", "left arm", "right arm", "left leg", "right leg"]
    for row in rows:
        name = KINECT_JOINTS[row.joint]
        assert row.label.replace(" ", "_") == name.removesuffix("_left").removesuffix("_right")
        assert row.part.split()[0] in (*name.split("_"), "trunk")
    assert body_part("right_toe") == "right leg"
    assert body_part("ear_left") == "left side"


def test_frames_are_those_asked_for() -> None:
    assert chosen_frames(None, 10, 4) == [1, 3, 6, 8]
    assert chosen_frames(4, 10, 2) == [1, 3, 6, 8]
    assert chosen_frames(20, 3, 2) == [0, 1, 2]
    assert chosen_frames([5, 0, 5], 6, 2) == [5, 0, 5]


def test_an_actor_whom_the_first_sequence_lacks_is_not_seen() -> None:
    body = read_body(JOINTS, BONES)
    one, two = sequence(), sequence(second=True)
    values = read_sequences({"input": one, "layer": two}, body)
    assert seen_actors(values, None)["layer"].tolist() == [[True] * 6, [False] * 6]
    assert seen_actors(values, 2)["layer"].tolist() == [[True] * 6, [True] * 6]
    assert seen_actors(values, 2)["input"].tolist() == [[True] * 6, [False] * 6]
    gone = two.clone()
    gone[12:, 4:] = 0
    values = read_sequences({"input": gone, "layer": two}, body)
    found = seen_actors(values, None)
    assert found["input"][1].tolist() == [True] * 4 + [False] * 2
    assert found["layer"][1].all()
    assert not seen_actors(values, 1)["input"][1].any()
    nobody = read_sequences({"input": 0 * one, "layer": two}, body)
    assert seen_actors(nobody, None)["layer"].any(1).tolist() == [True, False]


BAD = sequence()
BAD[3, 2] = float("nan")


@pytest.mark.parametrize("draw", [skeleton_strip, skeleton_frames])
@pytest.mark.parametrize(
    ("sequences", "options", "text"),
    [
        ({}, OWN, "sequences is empty"),
        (
            {"a": sequence(), "b": sequence(5)},
            OWN,
            r"'a' has \(24, 6\), 'b' has \(24, 5\)",
        ),
        (
            {"a": sequence()[:13]},
            OWN,
            r"\['a'\] must be .* of 12 \(4 joints\), got shape \(13, 6\)",
        ),
        ({"a": sequence()[0]}, OWN, r"\['a'\] must be \(D, T\) .* got shape \(6,\)"),
        ({"a": sequence()[:, :0]}, OWN, r"\['a'\] holds no value, shape \(24, 0\)"),
        ({"a": sequence()}, {}, r"of 75 \(25 joints\), got shape \(24, 6\)"),
        ({"a": BAD}, OWN, r"\['a'\] has 1 values that are not finite"),
        ({"a": sequence()}, {"joints": JOINTS}, "joints are 4 of your own: .* bones="),
        ({"a": sequence()}, {**OWN, "joints": ("a", "a")}, "each once, got \\['a', 'a'\\]"),
        ({"a": sequence()}, {**OWN, "bones": [("base", "haed")]}, "no joint 'haed'. Did you mean"),
        ({"a": sequence()}, {**OWN, "bones": [(0, 4)]}, "from 0 to 3, got 4"),
        ({"a": sequence()}, {**OWN, "bones": [(0, 1, 2)]}, r"pairs of joints, got \(0, 1, 2\)"),
        ({"a": sequence()}, {**OWN, "bones": []}, "at least one pair"),
        ({"a": sequence()}, {**OWN, "view": "frnt"}, "no view 'frnt'. Did you mean 'front'"),
        ({"a": sequence()}, {**OWN, "view": (1, 2, 3)}, r"elevation, azimuth.* got \(1, 2, 3\)"),
        ({"a": sequence()}, {**OWN, "view": (float("nan"), 0)}, "in degrees, got"),
        ({"a": sequence()}, {**OWN, "scale": "one"}, "one of 'row', 'shared', got 'one'"),
        ({"a": sequence()}, {**OWN, "actors": 3}, "from 1 to 2 or None, got 3"),
        ({"a": sequence()}, {**OWN, "actors": 0}, "from 1 to 2 or None, got 0"),
        (
            {"a": sequence()},
            {**OWN, "weights": torch.ones(4, 6)},
            r"\['a'\] must be \(actors \* joints, T\) = \(8, 6\) .* got \(4, 6\)",
        ),
        (
            {"a": sequence()},
            {**OWN, "weights": {"b": torch.ones(8, 6)}},
            "for 'b', but the rows are a",
        ),
        (
            {"a": sequence()},
            {**OWN, "weights": torch.full((8, 6), torch.inf)},
            "has 48 values that are not finite",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    draw: Callable[..., Any], sequences: dict[str, Tensor], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        draw(sequences, **options)
