from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from captum_video._core.skeletons import KINECT_JOINTS, split_joints
from captum_video.metrics import amplification
from models._diagnosis_compare import gains, paired_interval
from models._diagnosis_evidence import motion_features, present
from models._diagnosis_proposal import (
    Proposal,
    confused_pairs,
    confusion_of,
    propose,
    separability,
    standings,
    wilson,
)
from tests.measuring import Largest

CLASSES = ("reading", "writing", "jump up")
HAND = KINECT_JOINTS.index("hand_tip_right")
KNEE = KINECT_JOINTS.index("knee_left")


def planted(clips: int = 30, frames: int = 32) -> tuple[Tensor, Tensor]:
    """Clips in which writing differs from reading by one joint's motion, and jumps by all."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(clips) % 3
    inputs = torch.zeros(clips, 150, frames, dtype=torch.float64)
    noise = torch.randn(clips, 75, frames, generator=generator, dtype=torch.float64)
    inputs[:, :75] = 0.01 * noise
    joints = split_joints(inputs)
    wave = torch.sin(torch.arange(frames) * 2 * math.pi / 8).double()
    joints[labels == 1, 0, HAND, 1] += 0.05 * wave
    joints[labels == 2, 0, :, 1] += 0.5 * wave
    return inputs, labels


def proposal(
    inputs: Tensor, decoded: Tensor, labels: Tensor, predicted: Tensor, count: int = 4
) -> Proposal:
    gain = amplification(decoded, inputs)[:, :25]
    return propose(
        confusion_of(labels, predicted, 3), labels, motion_features(inputs), gain,
        classes=CLASSES, joints=KINECT_JOINTS, count=count,
    )  # fmt: skip


def test_the_lost_joint_that_tells_confused_classes_apart_comes_first() -> None:
    inputs, labels = planted()
    decoded = inputs.clone()
    split_joints(decoded)[:, 0, [HAND, KNEE]] *= 0.25
    # all writing is taken for reading
    predicted = torch.where(labels == 1, 0, labels)
    found = proposal(inputs, decoded, labels, predicted)
    assert found.target[0] == "hand_tip_right"
    # the knee is lost as much, but tells nothing; the mirror image tells as much, but is kept
    assert found.target == ("hand_tip_right", "hand_tip_left")
    first, second, *rest = found.joints
    assert first.separability == second.separability == 1
    assert first.lost == pytest.approx(2, abs=1e-6)
    assert second.lost == pytest.approx(0, abs=1e-6)
    assert first.evidence == pytest.approx((1 - found.chance) * 4 / 5)
    assert second.evidence == pytest.approx((1 - found.chance) / 2)
    assert max(row.separability for row in rest) < found.chance < 1
    assert found.pairs == {(0, 1): 10}
    assert "Weak classes: writing (0.0%)." in found.reason
    assert "reading and writing (10 clips)" in found.reason
    assert "hand_tip_right (separability 1.00, share of motion -" in found.reason
    assert "2.00 below the median joint)" in found.reason
    assert f"of {found.chance:.2f} in one of 20 shuffles of the labels" in found.reason
    assert proposal(inputs, decoded, labels, predicted, count=1).target == ("hand_tip_right",)


def test_nothing_weak_nothing_proposed() -> None:
    inputs, labels = planted()
    found = proposal(inputs, inputs, labels, labels)
    assert found.target == ()
    assert found.joints == ()
    assert "No target is proposed: no class is weak." in found.reason
    guessed = proposal(inputs, inputs, labels, torch.zeros_like(labels))
    assert guessed.target == ()
    assert "not clearly above guessing (33.3%)" in guessed.reason


def test_classes_that_no_motion_tells_apart_get_no_target() -> None:
    inputs, labels = planted(60)
    inputs[labels == 1] = inputs[labels == 0]
    found = proposal(inputs, inputs, labels, torch.where(labels == 1, 0, labels))
    assert found.target == ()
    assert "Weak classes: writing (0.0%)." in found.reason
    assert (
        "no joint's motion tells these classes apart better than the best joint's does in one of 20 "
        f"shuffles of the labels (separability {found.chance:.2f})" in found.reason
    )
    assert len(found.joints) == 25


def test_confusions_with_a_class_of_too_few_clips_are_left_out() -> None:
    inputs, labels = planted(24)
    labels = torch.where((labels == 0) & (torch.arange(24) >= 9), 2, labels)  # three of reading
    found = proposal(inputs, inputs, labels, torch.where(labels == 1, 0, labels))
    assert found.target == ()
    assert "what they are taken for has fewer than 5 clips" in found.reason


def test_standings_by_hand() -> None:
    # of twenty clips each: all right, all right, ten right
    confusion = torch.tensor([[20, 0, 0], [0, 20, 0], [4, 6, 10]])
    found = standings(confusion)
    assert [s.weak for s in found] == [False, False, True]
    assert [s.accuracy for s in found] == [1, 1, 0.5]
    assert [s.others for s in found] == [0.75, 0.75, 1]
    # Wilson's interval of 10 of 20, as printed in tables
    assert found[2].low == pytest.approx(0.2993, abs=1e-4)
    assert found[2].high == pytest.approx(0.7007, abs=1e-4)
    assert wilson(20, 20)[1] == pytest.approx(1)
    assert confused_pairs(confusion, [2]) == {(1, 2): 6, (0, 2): 4}
    # four clips are not judged, and a net that is equally unsure of everything has no weak class
    assert [s.weak for s in standings(torch.tensor([[20, 0], [4, 0]]))] == [False, False]
    assert not any(s.weak for s in standings(torch.tensor([[12, 8], [8, 12]])))
    # the margin: 0.7007 is below 0.75 but not below 0.75 - 0.05
    assert not standings(torch.tensor([[15, 5], [10, 10]]))[1].weak
    assert standings(torch.tensor([[16, 4], [10, 10]]))[1].weak
    assert math.isnan(standings(torch.tensor([[5, 0], [0, 0]]))[1].accuracy)


def test_separability_against_scikit_learn() -> None:
    torch.manual_seed(0)
    labels = torch.arange(30) % 3
    features = torch.randint(4, (30, 5, 2)).double()
    features[labels == 1, 3, 1] += 2
    pairs = {(0, 1): 3, (1, 2): 1}
    found, chance = separability(features, labels, pairs)
    for joint in range(5):
        expected = 0.0
        for (first, second), weight in pairs.items():
            chosen = (labels == first) | (labels == second)
            expected += weight * max(
                abs(2 * roc_auc_score(labels[chosen] == first, features[chosen, joint, k]) - 1)
                for k in range(2)
            )
        assert found[joint].item() == pytest.approx(expected / 4)
    assert 0.1 < chance < 0.6
    assert separability(features, labels, pairs)[1] == chance


def test_separability_with_ties_is_what_pairs_say() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(24) % 2
    features = torch.randint(3, (24, 4, 3), generator=generator).double()
    first, second = features[labels == 0], features[labels == 1]
    more = (first[:, None] > second).double() + (first[:, None] == second).double() / 2
    auroc = more.sum((0, 1)) / 144
    found, _ = separability(features, labels, {(0, 1): 3})
    assert found.equal((3 * (2 * auroc - 1).abs().amax(1)) / 3)


def test_chance_is_what_two_of_forty_shuffles_reach() -> None:
    features = torch.randn(14, 3, 2, generator=torch.Generator().manual_seed(3)).double()
    labels = torch.arange(14) % 2
    _, chance = separability(features, labels, {(0, 1): 1})
    generator = torch.Generator().manual_seed(0)
    best = []
    for _ in range(40):
        mine = (labels == 0)[torch.randperm(14, generator=generator)]
        more = (features[mine][:, None] > features[~mine]).double().mean((0, 1))
        best.append(float((2 * more - 1).abs().max()))
    assert chance == pytest.approx(sorted(best)[38])
    assert sum(value >= chance - 1e-9 for value in best) == 2


def test_without_a_signal_some_joint_passes_in_one_of_twenty_cases() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(40) % 2
    passed = 0
    for _ in range(200):
        features = torch.randn(40, 25, 4, generator=generator)
        found, chance = separability(features, labels, {(0, 1): 1})
        passed += bool(found.max() > chance)
    # 10 expected, standard deviation 3; against the mean of the shuffles it would be 95
    assert 1 <= passed <= 20


def test_separability_takes_memory_in_proportion_to_the_clips() -> None:
    largest = []
    for clips in (200, 400):
        with Largest() as noted:
            separability(torch.rand(clips, 25, 3), torch.arange(clips) % 2, {(0, 1): 1})
        largest.append(noted.numbers)
    assert largest[0] >= 200 * 75
    assert largest[1] <= 2 * largest[0]


def test_motion_features_by_hand() -> None:
    inputs = torch.zeros(1, 150, 4, dtype=torch.float64)
    joints = split_joints(inputs)
    # the hand moves by 1 to and fro, and bears the finger tips with it; the head goes along a line
    joints[0, 0, KINECT_JOINTS.index("hand_right"), 0] = torch.tensor([0.0, 1, 0, 1]).double()
    joints[0, 0, HAND, 0] = torch.tensor([0.0, 1, 0, 1]).double()
    joints[0, 0, KINECT_JOINTS.index("head"), 2] = torch.tensor([0.0, 1, 2, 3]).double()
    found = dict(zip(KINECT_JOINTS, motion_features(inputs)[0].tolist(), strict=True))
    # over one frame 1, over two frames 0, and their ratio
    assert found["hand_right"] == found["hand_left"] == [1, 0, 0]
    assert found["hand_tip_right"] == [0, 0, 0]
    assert found["thumb_right"] == [1, 0, 0]  # relative to the hand
    assert found["head"] == [1, 2, 2]
    assert found["spine_base"] == [0, 0, 0]
    # a second actor who is there counts as much as the first, one who is not does not count
    assert present(inputs).tolist() == [[True, False]]
    inputs[0, 75 + 3 * KINECT_JOINTS.index("spine_base")] = torch.tensor([0.0, 6, 12, 18])
    both = motion_features(inputs)[0]
    assert both[KINECT_JOINTS.index("head")].tolist() == [0.5, 1, 1]
    assert both[0].tolist() == [3, 6, 1]


def test_paired_interval() -> None:
    # nothing differs: not a certainty; half a clip in each cell of 8
    low, high = paired_interval(0, 0, 8)
    assert high == pytest.approx(1.959964 * 1 / 10)
    assert low == -high
    # b = 5.5, c = 0.5, n' = 12: 5/12 and the root of 6 - 25/12
    low, high = paired_interval(5, 0, 10)
    assert (low + high) / 2 == pytest.approx(5 / 12)
    assert (high - low) / 2 == pytest.approx(1.959964 / 12 * math.sqrt(6 - 25 / 12))
    assert paired_interval(3, 3, 3) != paired_interval(2, 3, 3)
    assert paired_interval(2, 0, 2)[1] == 1


def test_gains_are_paired_over_the_same_clips() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    first = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
    second = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0])
    rows = {row.name: row for row in gains(labels, first, second, ("a", "b", "c"), [1])}
    assert list(rows) == ["a", "b", "all weak classes", "all other classes", "all classes"]
    assert rows["a"][1:5] == (4, 1, 0.75, -0.25)
    assert rows["b"][1:5] == (4, 0.25, 0.5, 0.25)
    assert rows["b"][5:7] == paired_interval(2, 1, 4)
    assert rows["all classes"][1:5] == (8, 0.625, 0.625, 0)
    assert [row.weak for row in rows.values()] == [False, True, True, False, False]
    assert rows["all weak classes"][1:7] == rows["b"][1:7]
    assert rows["all other classes"][1:7] == rows["a"][1:7]
    assert list(gains(labels, first, second, ("a", "b"), []))[-1].name == "all classes"
    assert len(gains(labels, first, second, ("a", "b"), [])) == 3
