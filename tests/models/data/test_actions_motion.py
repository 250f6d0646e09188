"""What people do in ``Actions``: that they move what is said, when it is said, and as a body does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from captum_video._core.skeletons import KINECT_BONES, KINECT_JOINTS, split_joints
from models.data._body import SUBJECTS, subject
from models.data.actions import ACTIONS, FINE_GRAINED, Actions

DATA = Actions(900, seed=3)
J = {name: number for number, name in enumerate(KINECT_JOINTS)}
HELD = ("cheer up", "hand waving", *FINE_GRAINED[1:], "hand shaking", "punching")
BY_ACTION = {
    action: [i for i in range(len(DATA)) if DATA.labels(i) == (number,)]
    for number, action in enumerate(ACTIONS)
}
LANDS = ("sitting down", "standing up", "pushing", "walking towards each other")


def clean(index: int, moving: bool = True) -> Tensor:
    """``(2, 25, 3, T)`` from the camera in the middle."""
    return split_joints(DATA.clean(index, camera=1, moving=moving)).double()


def side_of(index: int, actor: int = 0) -> str:
    """The side with which a clip's action is done."""
    informative = DATA[index].informative[actor]
    return "right" if informative[[J["thumb_right"], J["ankle_right"]]].any() else "left"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_moves_its_joints_in_its_frames_and_nothing_else(action: str) -> None:
    # the smallest of all is half of a thumb's stroke
    least = 0.003 if action in FINE_GRAINED else 0.02
    for index in BY_ACTION[action][:8]:
        sample = DATA[index]
        own = clean(index) - clean(index, moving=False)
        reach = own.norm(dim=2).amax(-1)
        assert reach[~sample.informative].sum() == 0
        assert reach[sample.informative].min() > least
        frames = sample.active.nonzero().flatten()
        first, last = int(frames[0]), int(frames[-1])
        assert frames.tolist() == list(range(first, last + 1))
        assert 0.38 * 96 < len(frames) < 0.92 * 96
        assert not own[..., : first + 1].any()
        if action not in LANDS:
            assert not own[..., last:].any()
        speed = own.diff(dim=-1).norm(dim=2).amax((0, 1))
        moving = (speed[first:last] > 2e-4).nonzero().flatten()
        if action != "reading":  # whose pages are turned now and then
            assert (moving[-1] - moving[0] + 1) / (last - first) > 0.8
        assert moving[0] < 15
        if action in HELD:  # all the frames but the first and the last, which begin and end it
            away = own.flatten(0, 2).any(0).nonzero().flatten()
            assert away[[0, -1]].tolist() == [first + 1, last - 1]


def test_what_lands_stays_where_it_is() -> None:
    for action in LANDS:
        for index in BY_ACTION[action][:8]:
            after = (clean(index) - clean(index, moving=False))[..., ~DATA[index].active]
            end = after[..., int(DATA[index].active.nonzero()[0]) :]
            # sitting changes how knees and elbows follow the sway
            allowed = 0.07 if action in LANDS[:2] else 2e-6
            assert end.shape[-1] == 0 or (end - end[..., :1]).norm(dim=2).max() < allowed


def test_bones_keep_their_length_and_belong_to_the_person() -> None:
    parents, children = np.array(KINECT_BONES).T
    known: dict[int, Tensor] = {}
    for index in range(120):
        joints = clean(index)[0]
        bones = (joints[children] - joints[parents]).norm(dim=1)
        assert (bones.amax(-1) - bones.amin(-1)).max() < 2e-6  # float32 at 4 m
        length = known.setdefault(DATA[index].subject, bones[:, 0])
        torch.testing.assert_close(bones[:, 0], length, rtol=0, atol=2e-6)
        left = [c.startswith(("shoulder", "elbow", "knee")) and c.endswith("left") for c in J]
        for joint in np.flatnonzero(left):
            mirror = J[KINECT_JOINTS[joint].replace("left", "right")]
            pair = [list(children).index(number) for number in (joint, mirror)]
            torch.testing.assert_close(bones[pair[0]], bones[pair[1]], rtol=0, atol=2e-6)
    assert 40 < len(known) <= 80


def test_people_are_of_the_stated_sizes() -> None:
    everyone = [subject(number) for split in SUBJECTS.values() for number in split]
    scales = np.array([person.scale for person in everyone])
    assert 0.85 <= scales.min() < 0.87
    assert 1.08 < scales.max() <= 1.1
    tempo, vigour = np.array([[person.tempo, person.vigour] for person in everyone]).T
    assert 0.86 < tempo.min() < 0.9
    assert 1.1 < tempo.max() < 1.16
    assert 0.85 < vigour.min() < 0.88
    assert 1.12 < vigour.max() < 1.15
    assert 40 < sum(person.hand for person in everyone) < 80


@pytest.mark.parametrize("action", ["hand waving", "typing on a keyboard", "punching"])
def test_people_sway_slowly_by_a_centimetre_or_so(action: str) -> None:
    frequencies = torch.fft.rfftfreq(96, 1 / 20)
    sizes = []
    for index in BY_ACTION[action][:12]:
        joints = clean(index, moving=False)[0]
        sway = joints - joints.mean(-1, keepdim=True)
        sizes.append(sway.square().sum(1).mean(-1).sqrt())
        power = torch.fft.rfft(sway * torch.hann_window(96)).abs().square().sum((0, 1))
        assert power[frequencies > 1.2].sum() < 0.02 * power.sum()
    size = torch.stack(sizes).mean(0)
    standing = [J[name] for name in ("ankle_left", "foot_left", "ankle_right", "foot_right")]
    assert size[standing].max() < 1e-6
    rest = [joint for joint in range(25) if joint not in standing]
    assert size[rest].min() > 0.003
    assert size[rest].max() < 0.03


def test_no_joint_is_faster_than_people_are() -> None:
    for index in range(150):
        assert clean(index).diff(dim=-1).norm(dim=2).max() * 20 < 9


def test_the_fine_actions_share_one_posture_but_for_the_height_of_the_hands() -> None:
    postures: dict[str, Tensor] = {}
    for action in FINE_GRAINED:
        rows = []
        for index in BY_ACTION[action][:50]:
            joints = clean(index, moving=False)[0].mean(-1)
            wrists = joints[[J["wrist_left"], J["wrist_right"]]] - joints[J["neck"]]
            bow = joints[J["head"]] - joints[J["neck"]]
            height = (joints[J["spine_base"]] - joints[J["ankle_left"]])[1]
            rows.append(torch.cat([wrists.flatten(), bow, height[None]]))
        postures[action] = torch.stack(rows)
    reading, writing, typing, playing = postures.values()
    together = torch.cat([reading, writing, typing, playing])
    heights = torch.zeros(together.shape[1], dtype=torch.bool)
    heights[[1, 4]] = True
    for one, other in ((reading, playing), (writing, typing), (reading, writing)):
        error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()
        unlike = (one.mean(0) - other.mean(0)).abs() > 4 * error
        assert not unlike[~heights].any()
        assert unlike[heights].tolist() == [other is writing] * 2
    # 14 cm, times the mean scale
    apart = (reading.mean(0) - writing.mean(0))[heights]
    assert ((apart - 0.14 * 0.975).abs() < 0.03).all()
    seated = together[:, -1] < 0.7
    assert 0.35 < seated.double().mean() < 0.65
    # forearms raised in front: below the neck, well above the hips, in front of it
    assert (together[:, heights] < -0.1).all()
    assert (together[:, heights] > -0.65).all()
    assert (together[:, [2, 5]] < -0.1).all()


def test_each_action_reads_as_what_it_is() -> None:
    def first(action: str, count: int = 6) -> list[tuple[Tensor, int]]:
        return [(clean(index), index) for index in BY_ACTION[action][:count]]

    for joints, _ in first("jump up"):
        heights = joints[0, [J["ankle_left"], J["ankle_right"]], 1]
        assert (heights.amax(-1) - heights.amin(-1) > 0.1).all()
    for joints, _ in first("cheer up"):
        above = joints[0, [J["hand_left"], J["hand_right"]], 1] - joints[0, J["head"], 1]
        assert (above.amax(-1) > 0).all()
    for joints, index in first("hand waving"):
        hand, shoulder = (J[f"{part}_{side_of(index)}"] for part in ("hand", "shoulder"))
        assert (joints[0, hand, 1] - joints[0, shoulder, 1]).max() > 0.1
    for joints, index in first("kicking something"):
        ankle = joints[0, J[f"ankle_{side_of(index)}"]]
        assert ankle[1].max() - ankle[1, 0] > 0.15
        assert ankle[2, 0] - ankle[2].min() > 0.25
    for action, sign in (("sitting down", 1), ("standing up", -1)):
        for joints, _ in first(action):
            drop = sign * (joints[0, 0, :, 0] - joints[0, 0, :, -1])
            assert drop[1] > 0.3
            assert drop[2] < -0.25
    for joints, index in first("throw"):
        hand, shoulder = (J[f"hand_{side_of(index)}"], J[f"shoulder_{side_of(index)}"])
        way = joints[0, shoulder, 2] - joints[0, hand, 2]
        assert way.min() < way[0] - 0.05
        assert way.max() > 0.4
    for joints, _ in first("nod head"):
        bow = joints[0, J["neck"], 2] - joints[0, J["head"], 2]
        assert bow.max() - bow.min() > 0.03


def test_two_people_do_it_to_each_other() -> None:
    def between(joints: Tensor, one: int, other: int) -> Tensor:
        return (joints[0, one] - joints[1, other]).norm(dim=0)

    for index in BY_ACTION["hand shaking"][:6]:
        hand = J[f"hand_{side_of(index)}"]
        assert between(clean(index), hand, hand).min() < 0.2 < between(clean(index), hand, hand)[0]
    for index in BY_ACTION["walking towards each other"][:6]:
        apart = between(clean(index), 0, 0)
        assert apart[0] > 2.2
        assert apart[-1] < 1.2
    for index in BY_ACTION["pushing"][:6]:
        apart = between(clean(index), 0, 0)
        assert apart[-1] - apart[0] > 0.1
    for index in BY_ACTION["punching"][:6]:
        role = int(DATA[index].informative[0].sum() > 5)
        joints = clean(index)[[role, 1 - role]]
        hits = between(joints, J[f"hand_{side_of(index, role)}"], J["head"])
        assert hits.min() < 0.55
    for index in BY_ACTION["pushing"][:6]:
        noses = clean(index)[:, :, [0, 2], 0]
        facing = noses[:, J["foot_left"]] - noses[:, J["ankle_left"]]
        towards = noses[1, 0] - noses[0, 0]
        assert facing[0] @ towards > 0 > facing[1] @ towards


def test_two_people_stand_across_the_middle_view_within_ten_degrees() -> None:
    angles = []
    for index in BY_ACTION["walking towards each other"][:25]:
        line = clean(index, moving=False)[:, 0].mean(-1).diff(dim=0)[0]
        angles.append(float(torch.rad2deg(torch.atan(line[2] / line[0]))))
    assert max(np.abs(angles)) < 10.5
    assert 4 < np.std(angles) < 8
