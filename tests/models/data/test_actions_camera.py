"""What the three cameras of ``Actions`` see, and with what errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_video._core.skeletons import KINECT_JOINTS, split_joints
from models.data import _kinect
from models.data._kinect import FAR, LOST_PER_SECOND, STD, seen, spread, turn
from models.data.actions import ACTIONS, CAMERAS, TWO_PERSON, Actions

DATA = Actions(200, seed=4)
J = {name: number for number, name in enumerate(KINECT_JOINTS)}
STEADY = float("inf")  # at this many frames a second nothing is lost


def still(frames: int = 96, depth: float = 3.0) -> np.ndarray:
    """A person whose joints all are at one place."""
    joints = np.zeros((1, 25, 3, frames))
    joints[:, :, 2] = depth
    return joints


def kabsch(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The rotation and shift that bring one cloud ``(n, 3)`` onto another, and what remains."""
    middle = source.mean(0), target.mean(0)
    left, _, right = np.linalg.svd((source - middle[0]).T @ (target - middle[1]))
    sign = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = (left @ sign @ right).T
    shift = middle[1] - rotation @ middle[0]
    return rotation, shift, float(np.abs(source @ rotation.T + shift - target).max())


def test_the_views_are_rotations_of_one_another() -> None:
    for index in range(20):
        views = [DATA.clean(index, camera=camera) for camera in range(3)]
        actors = 2 if ACTIONS[DATA[index].action] in TWO_PERSON else 1
        left, middle, right = (
            split_joints(view)[:actors].double().permute(0, 1, 3, 2).reshape(-1, 3).numpy()
            for view in views
        )
        for other, sign in ((left, -1), (right, 1)):
            rotation, shift, rest = kabsch(middle, other)
            half = np.sqrt(0.5)
            wanted = [[half, 0, sign * half], [0, 1, 0], [-sign * half, 0, half]]
            np.testing.assert_allclose(rotation, wanted, atol=1e-5)
            assert rest < 2e-6
            # the point that stays, to within its height
            centre = np.linalg.lstsq(np.eye(3) - rotation, shift, rcond=1e-3)[0]
            assert 2.99 < centre[2] < 3.61
            assert abs(centre[0]) < 0.11
            start = middle.reshape(actors, 25, -1, 3)[:, 0, 0].mean(0)
            assert np.hypot(*(centre - start)[[0, 2]]) < 0.45  # who sits is behind it
        assert -1.11 < middle[:, 1].min() < -0.93  # the floor, below a camera at 1 to 1.1 m


def test_the_right_hand_camera_is_on_the_persons_right() -> None:
    assert CAMERAS == (-45, 0, 45)
    for index in range(30):
        if ACTIONS[DATA[index].action] in TWO_PERSON:
            continue
        for camera, sign in ((0, 1), (2, -1)):
            joints = split_joints(DATA.clean(index, camera=camera))[0, :, 2].mean(-1)
            assert sign * (joints[J["shoulder_right"]] - joints[J["shoulder_left"]]) > 0.05
        front = split_joints(DATA.clean(index, camera=1))[0].mean(-1)
        assert front[J["shoulder_right"], 0] - front[J["shoulder_left"], 0] > 0.2
        assert front[J["foot_left"], 2] < front[J["ankle_left"], 2]


def test_a_samples_own_view_is_its_clip_and_the_others_have_their_own_errors() -> None:
    for index in range(12):
        sample, views = DATA[index], DATA.views(index)
        assert views.shape == (3, 150, 96)
        assert torch.equal(views[sample.camera], sample.clip)
        clean = torch.stack([DATA.clean(index, camera=camera) for camera in range(3)])
        assert torch.equal(clean[sample.camera], DATA.clean(index))
        errors = split_joints(views - clean)[:, 0, :, 1].flatten(1).numpy()
        assert abs(np.corrcoef(errors) - np.eye(3)).max() < 0.15
        assert (errors != 0).mean() > 0.99


def test_turning_is_from_depth_to_the_cameras_left() -> None:
    ahead = np.array([0.0, 2.0, 1.0])[:, None]
    np.testing.assert_allclose(turn(ahead, 90), np.array([1, 2, 0])[:, None], atol=1e-15)
    np.testing.assert_allclose(turn(turn(ahead, 30), -30), ahead, atol=1e-15)


def test_the_error_is_of_the_documented_size_and_correlation() -> None:
    rng = np.random.default_rng(0)
    errors = np.concatenate([seen(still(), rng, STEADY) - still() for _ in range(300)])
    np.testing.assert_allclose(errors.std((0, 2, 3)), STD, rtol=0.02)
    # 300 clips of 75 numbers: the mean of a clip has a variance of about 5 % of a number's
    assert np.abs(errors.mean((0, 3)) / STD[:, None]).max() < 4.5 * np.sqrt(0.06 / 300)
    scaled = errors / STD[:, None, None]
    for lag, wanted in ((1, 0.5 * 0.8), (2, 0.5 * 0.64), (5, 0.5 * 0.8**5)):
        assert (scaled[..., lag:] * scaled[..., :-lag]).mean() == pytest.approx(wanted, abs=0.01)
    assert abs((scaled[..., 0, :] * scaled[..., 1, :]).mean()) < 0.005
    assert abs((scaled[:, 3] * scaled[:, 4]).mean()) < 0.02


def test_hands_are_seen_worse_than_the_trunk() -> None:
    of = {name: STD[number] for name, number in J.items()}
    assert of["spine_mid"] == of["head"] == of["hip_left"] == 0.0035
    assert of["hand_right"] == 0.0065
    assert of["thumb_left"] == 0.009
    assert of["spine_base"] < of["elbow_left"] < of["wrist_left"] < of["hand_tip_left"]


def test_the_error_grows_with_distance_and_behind_the_body() -> None:
    np.testing.assert_allclose(spread(still()), np.tile(STD[:, None], (1, 1, 96)), rtol=1e-12)
    np.testing.assert_allclose(spread(still(depth=12.0)) / spread(still()), 8, rtol=1e-12)
    near, far = (
        seen(still(depth=depth), np.random.default_rng(2), STEADY) - still(depth=depth)
        for depth in (3.0, 12.0)
    )
    np.testing.assert_allclose(far, 8 * near, atol=1e-12)
    joints = still(2)
    hand, head = J["hand_left"], J["head"]
    joints[0, [hand, head], 2] += np.array([FAR / 2, 2 * FAR])
    joints[0, J["hand_right"], 2] -= FAR
    found = spread(joints)[0] / STD[:, None]
    np.testing.assert_allclose(found[hand], [1.5, 2.0], rtol=1e-12)
    np.testing.assert_allclose(found[[head, J["hand_right"], J["knee_left"]]], 1, rtol=1e-12)


def test_the_far_arm_of_a_turned_body_is_seen_worse() -> None:
    far, near = [], []
    for index in range(60):
        if ACTIONS[DATA[index].action] not in ("nod head", "kicking something"):
            continue
        joints = split_joints(DATA.clean(index, camera=2))[:1].double().numpy()
        found = spread(joints)[0].mean(-1)
        far.append(found[J["wrist_left"]] / found[J["spine_base"]])
        near.append(found[J["wrist_right"]] / found[J["spine_base"]])
    assert np.mean(near) == pytest.approx(6 / 3.5, rel=0.02)
    assert np.mean(far) > 1.3 * np.mean(near)


def test_joints_are_lost_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kinect, "STD", np.zeros(25))
    rng, frames, runs, rate = np.random.default_rng(1), 96, 3000, 100.0
    path = still()
    path[..., 0, :] = np.arange(frames)  # so that a frozen joint is one that falls behind
    before = path.copy()
    kinds = {"frozen": 0, "guessed": 0, "cut off": 0, "two at once": 0}
    lengths, sizes = set(), []
    for _ in range(runs):
        error = (seen(path, rng, rate) - path)[0]
        assert not error[[0, 1, 2, 3, 12, 16, 20]].any()
        assert not error[..., 0].any()
        for joint in np.flatnonzero(error.any((1, 2))):
            hit = np.flatnonzero(error[joint].any(0))
            found = error[joint][:, hit]
            if hit[-1] == frames - 1:
                kinds["cut off"] += 1
            elif (found[0] == -np.arange(1, len(hit) + 1)).all() and not found[1:].any():
                kinds["frozen"] += 1
                lengths.add(len(hit))
            elif hit[-1] - hit[0] == len(hit) - 1 and np.ptp(found, axis=1).max() < 1e-9:
                kinds["guessed"] += 1
                lengths.add(len(hit))
                sizes.append(found[:, 0])
            else:
                kinds["two at once"] += 1
    np.testing.assert_array_equal(path, before)
    count = sum(kinds.values())
    assert count == pytest.approx(runs * LOST_PER_SECOND * frames / rate, rel=0.1)
    assert kinds["cut off"] + kinds["two at once"] < 0.1 * count
    assert lengths == {2, 3, 4, 5}
    both = kinds["frozen"] + kinds["guessed"]
    assert abs(kinds["frozen"] / both - 0.5) < 4.5 * 0.5 / np.sqrt(both)
    assert np.std(sizes) == pytest.approx(0.03, rel=0.05)
