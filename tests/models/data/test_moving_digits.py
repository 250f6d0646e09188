from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import MovingDigits, Sample
from models.data._motion import MOTIONS, move, warp
from models.data._sprites import EXTENT, RESOLUTION, SPLITS, digit_bank

SHARED = MovingDigits(400, seed=11, split="validation")


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Sample]]:
    """Eight clips of every motion."""
    found: dict[str, list[Sample]] = {motion: [] for motion in MOTIONS}
    for index in range(len(SHARED)):
        kept = found[MOTIONS[SHARED.labels(index)[0]]]
        if len(kept) < 8:
            kept.append(SHARED[index])
    assert {len(kept) for kept in found.values()} == {8}
    return found


def centroid(mask: Tensor) -> np.ndarray:
    """x and y."""
    return mask.nonzero().double().mean(0).flip(0).numpy()


def widened(mask: Tensor) -> Tensor:
    """Where the mask ever is, and ten pixels around: soft edges reach beyond masks."""
    return torch.nn.functional.max_pool2d(mask.any(0)[None].float(), 21, 1, 10)[0] > 0


def equal(a: Sample, b: Sample) -> bool:
    return (a.motion, a.look) == (b.motion, b.look) and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("clip", "mask", "distractor_mask")
    )


def test_a_sample_is_a_tuple_of_the_stated_shapes() -> None:
    sample = SHARED[0]
    assert sample.clip.shape == (3, 16, 64, 64)
    assert sample.clip.dtype == torch.float32
    assert sample.clip.is_contiguous()
    assert 0 <= float(sample.clip.min()) <= float(sample.clip.max()) <= 1
    for mask in (sample.mask, sample.distractor_mask):
        assert mask.shape == (16, 64, 64)
        assert mask.dtype == torch.bool
        assert mask.flatten(1).any(1).all() or mask is sample.distractor_mask
    assert not (sample.mask & sample.distractor_mask).any()


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    first = MovingDigits(9, seed=3)[7]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state()
    other = MovingDigits(1000, seed=3)
    other[4]
    assert equal(other[7], first)
    assert equal(pickle.loads(pickle.dumps(other))[7], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not equal(MovingDigits(9, seed=4)[7], first)
    assert not equal(MovingDigits(9, seed=3)[6], first)
    assert not equal(MovingDigits(9, seed=7)[3], first)


def test_labels_are_uniform_and_independent() -> None:
    data = MovingDigits(18_000, seed=2)
    table = np.zeros((9, 10))
    for index in range(len(data)):
        table[data.labels(index)] += 1
    # 89 degrees of freedom: the statistic exceeds 146 once in ten thousand
    assert ((table - 200) ** 2 / 200).sum() < 146
    sample = data[17]
    assert (sample.motion, sample.look) == data.labels(17)


def test_names_and_groups_agree() -> None:
    assert SHARED.classes[:9] == MOTIONS
    assert [SHARED.classes[i] for i in SHARED.groups["look"]] == [f"digit {d}" for d in range(10)]
    assert SHARED.groups["motion"] == range(9)


@pytest.mark.parametrize(
    ("motion", "direction"),
    [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))],
)
def test_the_digit_goes_where_the_label_says(
    samples: dict[str, list[Sample]], motion: str, direction: tuple[int, int]
) -> None:
    for sample in samples[motion]:
        way = np.array([centroid(mask) for mask in sample.mask])
        gone = way[-1] - way[0]
        along = np.array(direction)
        assert 13 < gone @ along < 21
        assert np.abs(gone * (1 - np.abs(along))).max() < 0.7
        assert ((np.diff(way, axis=0) @ along) > 0.3).all()


def test_the_digit_grows_and_shrinks_in_place(samples: dict[str, list[Sample]]) -> None:
    for motion, sign in (("growing", 1), ("shrinking", -1)):
        for sample in samples[motion]:
            area = sample.mask.flatten(1).sum(1).double()
            assert 1.7 < float(area[-1] / area[0]) ** sign < 3.6
            box = [mask.nonzero().double() for mask in sample.mask[[0, -1]]]
            middle = [(points.max(0).values + points.min(0).values) / 2 for points in box]
            assert float((middle[0] - middle[1]).abs().max()) < 3.5


def turned(mask: Tensor, degrees: float) -> Tensor:
    """The mask turned clockwise on the screen about its centroid (x right, y down)."""
    centre = centroid(mask)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    ys, xs = np.mgrid[0:64, 0:64]
    dx, dy = xs - centre[0], ys - centre[1]
    # a point that ends at (dx, dy) came from the point a counter-clockwise turn away
    fx, fy = c * dx + s * dy + centre[0], -s * dx + c * dy + centre[1]
    inside = (fx >= 0) & (fx <= 63) & (fy >= 0) & (fy <= 63)
    xi, yi = fx.round().clip(0, 63).astype(int), fy.round().clip(0, 63).astype(int)
    return mask[yi, xi] & torch.from_numpy(inside)


def test_the_digit_turns_in_the_stated_sense(samples: dict[str, list[Sample]]) -> None:
    for motion, sign in (("clockwise", 1), ("counter-clockwise", -1)):
        for sample in samples[motion]:
            first, last = sample.mask[0], sample.mask[-1]
            angles = range(-90, 91, 5)
            shift = centroid(last) - centroid(first)
            target = torch.roll(last, tuple(-np.round(shift[::-1]).astype(int)), (0, 1))
            overlap = []
            for angle in angles:
                trial = turned(first, angle)
                overlap.append(float((trial & target).sum() / (trial | target).sum()))
            best = angles[int(np.argmax(overlap))] * sign
            assert 40 <= best <= 75, (motion, best)
            assert max(overlap) > 0.8


def test_a_still_digit_is_still_while_the_distractor_moves(
    samples: dict[str, list[Sample]],
) -> None:
    def change(sample: Sample) -> float:
        """Mean difference to the first frame on the digit's first place."""
        inside = sample.clip[:, :, sample.mask[0]]
        return float((inside - inside[:, :1]).abs().mean())

    for sample in samples["still"]:
        assert (sample.mask == sample.mask[0]).all()
        # not zero: distractors shine through the outline's soft edge
        assert change(sample) < 0.02
        assert (sample.clip[:, 0] != sample.clip[:, -1]).any()
    for sample in samples["left"]:
        assert change(sample) > 0.1


def everything(samples: dict[str, list[Sample]]) -> Iterator[Sample]:
    for kept in samples.values():
        yield from kept


def test_every_clip_has_a_distractor_that_moves(samples: dict[str, list[Sample]]) -> None:
    moving = 0
    for sample in everything(samples):
        first, last = sample.distractor_mask[0], sample.distractor_mask[-1]
        moving += bool((first ^ last).sum() > 0.2 * (first | last).sum())
    assert moving >= 70  # of 72: one may hide behind the digit


def test_nothing_else_moves(samples: dict[str, list[Sample]]) -> None:
    for sample in everything(samples):
        rest = sample.clip[:, :, ~widened(sample.mask | sample.distractor_mask)]
        torch.testing.assert_close(rest, rest[:, :1].expand_as(rest), rtol=0, atol=0.03)


def test_the_digit_is_whole_and_stands_out(samples: dict[str, list[Sample]]) -> None:
    for sample in everything(samples):
        border = torch.ones(64, 64, dtype=torch.bool)
        border[1:-1, 1:-1] = False
        assert not (sample.mask & border).any()
        for t in (0, 15):
            brightness = sample.clip[:, t].amax(0)[sample.mask[t]]
            assert float(brightness.quantile(0.9)) > 0.75  # the ink
            assert float(brightness.quantile(0.1)) < 0.35  # the outline


@pytest.mark.parametrize("motion", MOTIONS)
def test_place_and_size_halfway_do_not_tell_the_motion(motion: str) -> None:
    pose = move(motion, 17, (3, -2), 2.5, 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(pose.centre[8], (3, -2))
    np.testing.assert_allclose(pose.centre.mean(0), (3, -2))
    np.testing.assert_allclose(pose.cell[8], 2.5)
    assert pose.angle[0] == 0.1


def test_how_far_a_motion_goes_is_drawn_alike_for_all() -> None:
    states = set()
    for motion in MOTIONS:
        rng = np.random.default_rng(0)
        move(motion, 4, (0, 0), 1, 0, rng)
        states.add(rng.random())
    assert len(states) == 1


def test_a_dot_is_drawn_where_its_pose_puts_it() -> None:
    # a sprite with a dot three cells right of its centre and one cell above it
    sprite = torch.zeros(1, 1, RESOLUTION, RESOLUTION)
    per_cell = RESOLUTION // EXTENT
    row, column = (EXTENT // 2 - 1) * per_cell, (EXTENT // 2 + 3) * per_cell
    sprite[..., row - 2 : row + 2, column - 2 : column + 2] = 1
    pose = move("clockwise", 3, (4, 2), 4.0, 0.0, np.random.default_rng(0))
    for angle, (x, y) in ((0.0, (3, -1)), (np.pi / 2, (1, 3)), (np.pi, (-3, 1))):
        pose.angle[:] = angle
        drawn = warp(sprite, [pose], (64, 80))
        assert drawn.shape == (3, 1, 64, 80)
        # the middle of the frame is between pixels 39 and 40, and 31 and 32
        expected = (39.5 + 4 + 4 * x, 31.5 + 2 + 4 * y)
        np.testing.assert_allclose(centroid(drawn[0, 0] > 0.4), expected, atol=0.3)


def test_the_splits_share_no_digit_image() -> None:
    banks = {split: digit_bank(split) for split in SPLITS}
    train, validation = (set(banks[split].indices) for split in SPLITS)
    assert not train & validation
    assert train | validation == set(range(1797))
    for bank in banks.values():
        assert min(len(rows) for rows in bank.by_class) > 25
        assert sum(len(rows) for rows in bank.by_class) == len(bank.indices)
        assert bank.sprites.shape == (len(bank.indices), 2, RESOLUTION, RESOLUTION)
        assert (bank.sprites[:, 0] <= bank.sprites[:, 1]).all()
    pictures = [{s.numpy().tobytes() for s in banks[split].sprites} for split in SPLITS]
    assert not pictures[0] & pictures[1]


def test_the_look_is_the_digits_class() -> None:
    from sklearn.datasets import load_digits

    target = load_digits().target
    bank = digit_bank("validation")
    for digit, rows in enumerate(bank.by_class):
        assert {int(target[bank.indices[row]]) for row in rows} == {digit}
    train, validation = MovingDigits(5), MovingDigits(5, split="validation")
    for index in range(5):
        assert train.labels(index) == validation.labels(index)
        assert not torch.equal(train[index].mask, validation[index].mask)


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', got 'test'"):
        MovingDigits(3, split="test")
    with pytest.raises(ValueError, match="length must not be negative, got -1"):
        MovingDigits(-1)
    with pytest.raises(ValueError, match="seed must not be negative, got -2"):
        MovingDigits(1, seed=-2)
    for index in (-1, 3):
        with pytest.raises(IndexError, match=rf"index must be from 0 to 2, got {index}"):
            MovingDigits(3)[index]
    with pytest.raises(IndexError, match="empty, got index 0"):
        MovingDigits(0)[0]
