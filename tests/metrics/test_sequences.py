from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor

from captum_video.metrics import (
    amplification,
    joint_motion,
    rank_correlation,
    response_profiles,
    signature,
    view_distance,
)
from tests.measuring import Largest


def sequence(*joints: list[list[float]]) -> Tensor:
    """One clip from the positions of each joint, a list of frames of x, y, z."""
    return torch.tensor(joints, dtype=torch.float64).transpose(1, 2).flatten(0, 1).unsqueeze(0)


STILL = [[7.3, 0.1, 2.7]] * 2
#: three and four metres to either side of the middle, in a plane
FIVE = [[0.0, 0.0, 1.0], [6.0, 8.0, 1.0]]
TWO = [[5.0, 1.0, 1.0], [5.0, 1.0, 5.0]]


def test_joint_motion_by_hand() -> None:
    clip = sequence(STILL, FIVE, TWO, STILL)
    assert joint_motion(clip, joints=4).tolist() == [[0, 5, 2, 0]]
    assert joint_motion(clip, joints=2).tolist() == [[0, 5, 2, 0]]
    # distances 1, 1 and 2 from the mean: the root of (1 + 1 + 4) / 3
    three = sequence([[0.0, 0, 0], [0.0, 0, 0], [3.0, 0, 0]])
    assert joint_motion(three, joints=1).item() == pytest.approx(math.sqrt(2))


def test_joint_motion_of_stillness_is_exactly_zero_in_float32() -> None:
    clip = torch.full((1, 6, 7), 2.7) * torch.tensor([1, 1.1, 1.3, 1.7, 1.9, 2.3]).view(1, 6, 1)
    assert joint_motion(clip, joints=2).tolist() == [[0, 0]]


def test_joint_motion_against_loops() -> None:
    torch.manual_seed(0)
    clips = torch.randn(3, 12, 5, dtype=torch.float64)
    found = joint_motion(clips, joints=2)
    for n in range(3):
        for joint in range(4):
            track = [[float(clips[n, 3 * joint + axis, t]) for axis in range(3)] for t in range(5)]
            middle = [sum(frame[axis] for frame in track) / 5 for axis in range(3)]
            squares = [math.dist(frame, middle) ** 2 for frame in track]
            assert found[n, joint].item() == pytest.approx(math.sqrt(sum(squares) / 5))


def test_amplification_by_hand() -> None:
    # shares of the motion: 5/7 and 2/7 before, 4/7 * 10 and 10/7 after: the scale does not count
    inputs = sequence(FIVE, TWO)
    decoded = torch.cat([inputs[:, :3], 4 * inputs[:, 3:]], dim=1) * 3
    first, second = amplification(decoded, inputs, joints=2)[0].tolist()
    assert first == pytest.approx(math.log2((15 / 39) / (5 / 7)))
    assert second == pytest.approx(math.log2((24 / 39) / (2 / 7)))
    assert amplification(2 * inputs + 9, inputs, joints=2).abs().max() < 1e-12


def test_absent_actors_and_still_joints_count_nowhere() -> None:
    inputs = sequence(FIVE, FIVE, STILL, STILL)
    decoded = sequence(FIVE, TWO, FIVE, TWO)
    found = amplification(decoded, inputs, joints=2)[0]
    assert found[2:].isnan().all()
    assert found[:2].tolist() == pytest.approx([math.log2(10 / 7), math.log2(4 / 7)])
    lost = amplification(sequence(FIVE, STILL, FIVE, FIVE), inputs, joints=2)[0]
    assert lost[:2].tolist() == [1, -math.inf]
    assert amplification(sequence(*4 * [STILL]), inputs, joints=2).isnan().all()


def test_profiles_by_hand() -> None:
    responses = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])
    assert response_profiles(responses).tolist() == [[2, 5, 1, 0]]


def test_signature_by_hand() -> None:
    # two filters: one answers class 0 and the other class 1, in every sample
    one, two = [[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 3.0]]
    found = signature(torch.tensor([one, one, two, two]), torch.tensor([4, 4, 9, 9]))
    assert found.classes.tolist() == [4, 9]
    assert found.auroc.tolist() == [1, 1]
    assert found.no_signature.tolist() == [0, 0]
    assert found.activity.tolist() == [1, 1]
    # a filter that never changes says nothing, even if rounding makes its mean differ
    dead = torch.tensor([0.1, 0.1 * (1 + 1e-7), 0.1, 0.1]).view(4, 1, 1).expand(4, 1, 2)
    beside = torch.cat([torch.tensor([one, one, two, two]), dead], dim=1)
    assert signature(beside, torch.tensor([4, 4, 9, 9])).auroc.tolist() == [1, 1]
    # each sample looks like one of the other class and unlike its own
    crossed = signature(torch.tensor([one, two, one, two]), torch.tensor([0, 0, 1, 1]))
    assert crossed.auroc.tolist() == [0.25, 0.25]  # of two others, one is as unlike: half a point
    assert crossed.no_signature.tolist() == [1, 1]


def test_no_response_at_all_is_no_signature() -> None:
    torch.manual_seed(0)
    responses = torch.full((6, 3, 8), 0.1)
    found = signature(responses, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert found.auroc.tolist() == [0.5, 0.5]
    assert found.no_signature.tolist() == [1, 1]
    responses[3:] += torch.rand(3, 3, 8)
    assert signature(responses, torch.tensor([0, 0, 0, 1, 1, 1])).activity.tolist() == [0, 2]


def test_signature_against_scikit_learn() -> None:
    torch.manual_seed(0)
    responses = torch.rand(17, 4, 6, dtype=torch.float64)
    labels = torch.randint(3, (17,))
    responses[labels == 1, 0] += 0.4
    profiles = torch.cat([responses.mean(2), responses.std(2, correction=0)], 1).numpy()
    z = (profiles - profiles.mean(0)) / profiles.std(0)
    found = signature(responses, labels)
    assert signature(response_profiles(responses), labels).auroc.equal(found.auroc)
    for label in range(3):
        scores = []
        for i in (labels == label).nonzero().flatten().tolist():
            others = [j for j in range(17) if j != i]
            near = [pearsonr(z[i], z[j]).statistic for j in others]
            scores.append(roc_auc_score([int(labels[j]) == label for j in others], near))
        assert found.auroc[label].item() == pytest.approx(sum(scores) / len(scores), abs=1e-12)
    changes = responses.std(2, correction=0).mean(1)
    means = torch.stack([changes[labels == label].mean() for label in range(3)])
    assert torch.allclose(found.activity, means / means.mean())


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_signature_in_blocks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    profiles = torch.rand(23, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (23,), generator=generator)
    whole = signature(profiles, labels)
    monkeypatch.setattr("captum_video.metrics.sequences._ROWS", rows)
    assert signature(profiles, labels).auroc.equal(whole.auroc)
    # ties across blocks: see the crossed samples above
    one, two = [3.0, 0.0, 1.0, 0.0], [0.0, 3.0, 0.0, 1.0]
    crossed = signature(torch.tensor([one, two, one, two]), torch.tensor([0, 0, 1, 1]))
    assert crossed.auroc.tolist() == [0.25, 0.25]


def test_signature_holds_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captum_video.metrics.sequences._ROWS", 8)
    with Largest() as largest:
        signature(torch.rand(80, 6), torch.arange(80) % 2)
    assert 8 * 80 <= largest.numbers < 16 * 80


def test_signature_of_a_lonely_sample_is_unknown() -> None:
    responses = torch.rand(3, 2, 4)
    assert signature(responses, torch.tensor([0, 0, 1])).auroc.isnan().tolist() == [False, True]
    assert signature(responses, torch.tensor([0, 0, 0])).auroc.isnan().all()


def test_view_distance_by_hand() -> None:
    up = torch.tensor([[0.0, 2.0], [0.0, 0.0]]).double()
    side = torch.tensor([[3.0, 3.0], [0.0, 9.0]]).double()
    # views are the same but for scale and place, performances uncorrelated
    same = torch.stack([torch.stack([up, 5 * up + 1]), torch.stack([side, side - 4])])
    assert tuple(view_distance(same)) == pytest.approx((0, 0, 1), abs=1e-12)
    # the second performance's views are opposite: (0 + 2) / 2 against 1
    opposite = torch.stack([torch.stack([up, up]), torch.stack([side, -side])])
    assert tuple(view_distance(opposite)) == pytest.approx((1, 1, 1), abs=1e-12)
    still = torch.stack([torch.zeros(2, 2), torch.zeros(2, 2)])
    with_still = view_distance(torch.cat([same, still[None].double()]))
    assert tuple(with_still) == pytest.approx((0, 0, 1), abs=1e-12)
    assert math.isnan(view_distance(torch.zeros(2, 2, 3, 4)).ratio)
    assert math.isnan(view_distance(torch.tensor([0.0, 2.0]).expand(2, 2, 2, 2)).ratio)


def test_view_distance_against_loops() -> None:
    torch.manual_seed(0)
    clips = torch.randn(4, 3, 2, 5, dtype=torch.float64).cumsum(-1)

    def distance(x: Tensor, y: Tensor) -> float:
        x, y = ((s - s.mean(1, keepdim=True)).flatten() for s in (x, y))
        return 1 - float(pearsonr(x.numpy(), y.numpy()).statistic)

    views = [
        distance(clips[p, v], clips[p, w]) for p in range(4) for v in range(3) for w in range(v)
    ]
    others = [
        distance(clips[p, v], clips[q, v]) for v in range(3) for p in range(4) for q in range(p)
    ]
    found = view_distance(clips)
    assert found.between_views == pytest.approx(sum(views) / 12)
    assert found.between_performances == pytest.approx(sum(others) / 18)
    assert found.ratio == pytest.approx(sum(views) / 12 / (sum(others) / 18))


def test_rank_correlation() -> None:
    first = torch.tensor([1.0, 2.0, 2.0, 9.0, math.nan, 4.0])
    second = torch.tensor([5.0, 5.0, 8.0, 100.0, 3.0, math.nan])
    # ranks 1, 2.5, 2.5, 4 and 1.5, 1.5, 3, 4: (1.5 + 2.25) / 4.5
    assert rank_correlation(first, second) == pytest.approx(3.75 / 4.5)
    torch.manual_seed(0)
    x, y = torch.randint(5, (2, 30)).double()
    assert rank_correlation(x, y) == pytest.approx(float(spearmanr(x, y).statistic))
    assert rank_correlation(x, x.exp()) == pytest.approx(1)
    assert math.isnan(rank_correlation(x, torch.zeros(30).double()))
    assert math.isnan(rank_correlation(first[:1], second[:1]))


def test_refusals() -> None:
    clip = torch.zeros(2, 6, 4)
    with pytest.raises(ValueError, match=r"sequences must be floating point of 3 dimensions"):
        joint_motion(clip[0])
    with pytest.raises(ValueError, match=r"got shape \(2, 6, 4\) of torch.int64"):
        joint_motion(clip.long())
    with pytest.raises(ValueError, match=r"D a multiple of 75"):
        joint_motion(clip)
    with pytest.raises(ValueError, match=r"decoded must be of the inputs' shape \(2, 6, 4\)"):
        amplification(clip[:1], clip, joints=2)
    with pytest.raises(ValueError, match=r"labels must be integers \(2,\).*got shape \(3,\)"):
        signature(clip, torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"of torch\.float32"):
        signature(clip, torch.zeros(2))
    with pytest.raises(
        ValueError, match=r"at least two performances and two views.*\(1, 2, 6, 4\)"
    ):
        view_distance(clip[None])
    with pytest.raises(ValueError, match=r"second must be of first's shape \(3,\), got \(2,\)"):
        rank_correlation(torch.zeros(3), torch.zeros(2))
