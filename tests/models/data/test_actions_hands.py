"""The small motions that tell the fine actions of ``Actions`` apart."""

from __future__ import annotations

import numpy as np
import pytest

from models.data._body import SIDES
from tests.models.data.test_actions_body import J, acted, crossings

INSIDE = slice(14, 86)  # clear of the ramps


def size(path: np.ndarray) -> float:
    """The largest distance from the first frame."""
    return float(np.linalg.norm(path - path[:, :1], axis=0).max())


@pytest.mark.parametrize("side", [0, 1])
def test_reading_turns_pages_inwards(side: int) -> None:
    controls, moved = acted("reading", side=side)
    name = ("left", "right")[side]
    tip = moved[0, J[f"hand_tip_{name}"]]
    turns = np.abs(tip).max(0) > 1e-9
    starts = np.flatnonzero(np.diff(turns.astype(int)) == 1) + 1
    ends = np.flatnonzero(np.diff(turns.astype(int)) == -1) + 1
    assert len(starts) == 2
    assert set((ends - starts).tolist()) <= {11, 12}  # 0.6 s, less the ends at 0
    assert 1.5 * 20 <= np.diff(starts)[0] <= 3 * 20 + 1
    assert 0.1 < size(tip) < 0.35
    assert (-SIDES[side] * tip[0] > -1e-12).all()
    assert np.abs(controls.bends[0, 0, side, 0]).max() == pytest.approx(0.21 / 0.25, rel=0.02)
    assert not moved[0, J[f"elbow_{name}"]].any()


def test_writing_is_fast_strokes_and_a_slow_drift() -> None:
    controls, moved = acted("writing")
    for bone, long in ((2, 0.085), (3, 0.06)):  # the tip and the thumb
        strokes = controls.bends[0, bone, 1] * long
        # 3 Hz: a sine changes sign 6 times a second
        assert abs(crossings(strokes[0, INSIDE]) - 6 * 72 / 20) <= 1
        assert np.abs(strokes[0]).max() == pytest.approx(0.018, rel=0.05)
        assert np.abs(strokes[1]).max() == pytest.approx(0.018, rel=0.05)
        assert abs(np.corrcoef(strokes[:2, INSIDE])[0, 1]) < 0.5
    line = controls.bends[0, 0, 1, 0] * 0.25
    assert 0.12 < line.max() < 0.141
    assert line.min() > -1e-12
    back = np.diff(line[INSIDE]).min()
    out = np.diff(line[INSIDE]).max()
    assert -back > 2 * out  # slowly to the side, fast back
    np.testing.assert_allclose(line[10:70:50], line[10:70:50][0], atol=1e-9)  # every 2.5 s anew
    assert not moved[0, J["hand_tip_left"]].any()
    assert not moved[0, J["elbow_right"]].any()


def test_typing_taps_with_both_hands_in_turn() -> None:
    controls, moved = acted("typing on a keyboard")
    left, right = (-controls.bends[0, 2, side, 1] * 0.085 for side in (0, 1))
    assert (left >= 0).all()
    assert (right >= 0).all()
    assert (np.minimum(left, right) < 1e-9).all()
    assert max(left.max(), right.max()) == pytest.approx(0.025, rel=0.05)
    down = [int((np.diff((taps[INSIDE] > 1e-9).astype(int)) == 1).sum()) for taps in (left, right)]
    assert all(abs(count - 3 * 72 / 20) <= 1 for count in down)
    for name in ("left", "right"):
        assert 0.002 < np.abs(moved[0, J[f"wrist_{name}"]]).max() < 0.01
        assert moved[0, J[f"hand_tip_{name}"], 1].min() < -0.006


@pytest.mark.parametrize("side", [0, 1])
def test_on_a_phone_one_thumb_is_at_work(side: int) -> None:
    _, moved = acted("playing with phone", side=side)
    thumb = J[("thumb_left", "thumb_right")[side]]
    others = [joint for joint in range(25) if joint != thumb]
    assert not moved[0, others].any()
    # 2.25 Hz
    assert abs(crossings(moved[0, thumb, 1, INSIDE]) - 4.5 * 72 / 20) <= 1
    assert 0.02 < size(moved[0, thumb]) < 0.035


def test_vigour_scales_and_tempo_speeds_up() -> None:
    for action in ("writing", "playing with phone"):
        even, strong = (acted(action, vigour=vigour)[0].bends[0, 3, 1] for vigour in (1.0, 1.2))
        np.testing.assert_allclose(strong, 1.2 * even, atol=1e-12)
        fast, slow = (acted(action, tempo=tempo)[0].bends[0, 3, 1, 1] for tempo in (1.5, 1.0))
        assert crossings(fast) > 1.3 * crossings(slow)


@pytest.mark.parametrize(
    "action", ["reading", "writing", "typing on a keyboard", "playing with phone"]
)
def test_with_the_motion_switched_off_hands_are_still(action: str) -> None:
    assert not acted(action, going=0.0)[1].any()
    assert acted(action)[1].any()
