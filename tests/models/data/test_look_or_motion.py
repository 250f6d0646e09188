from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data import LookOrMotion, LookOrMotionSample
from models.data.look_or_motion import FRAMES, HALVED_FRAMES, MEAN, MOTIONS, SIZE, STD, _draw

REVERSE = {
    "left": "right",
    "up": "down",
    "growing": "shrinking",
    "clockwise": "counter-clockwise",
}
SHARED = LookOrMotion(300, seed=11, split="validation")


def equal(a: LookOrMotionSample, b: LookOrMotionSample) -> bool:
    return all(
        torch.equal(torch.as_tensor(x), torch.as_tensor(y)) for x, y in zip(a, b, strict=True)
    )


def drawn(motion: str, key: int, look: int = 4) -> LookOrMotionSample:
    return _draw(np.random.default_rng(key), MOTIONS.index(motion), look, "train")


def centroid(mask: Tensor) -> np.ndarray:
    """x and y."""
    return mask.nonzero().double().mean(0).flip(0).numpy()


def test_a_sample_is_a_tuple_of_the_stated_shapes() -> None:
    for halved, frames in ((False, FRAMES), (True, HALVED_FRAMES)):
        sample = LookOrMotion(2, halved=halved)[1]
        assert sample.clip.shape == (1, frames, *SIZE)
        assert sample.clip.dtype == torch.float32
        assert sample.clip.is_contiguous()
        assert 0 <= float(sample.clip.min()) <= float(sample.clip.max()) <= 1
        assert sample.mask.shape == (frames, *SIZE)
        assert sample.mask.dtype == torch.bool
        assert sample.mask.flatten(1).any(1).all()


def test_a_sample_depends_on_seed_index_and_split_alone() -> None:
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002  (must not matter)
    again = pickle.loads(pickle.dumps(LookOrMotion(20, seed=11, split="validation")))
    assert equal(again[7], SHARED[7])
    assert not equal(LookOrMotion(300, seed=12, split="validation")[7], SHARED[7])
    assert not equal(LookOrMotion(300, seed=11)[7], SHARED[7])
    assert not equal(SHARED[8], SHARED[7])


def test_labels_are_those_of_the_clip() -> None:
    for index in range(20):
        assert SHARED.labels(index) == (SHARED[index].motion, SHARED[index].look)
    with pytest.raises(IndexError, match="index must be from 0 to 299, got 300"):
        SHARED.labels(300)
    with pytest.raises(IndexError, match="got -1"):
        SHARED[-1]


def test_look_and_motion_are_independent_and_even() -> None:
    data = LookOrMotion(8000, seed=2)
    counts = np.zeros((8, 10))
    for index in range(len(data)):
        counts[data.labels(index)] += 1
    assert data.groups == {"motion": range(8), "look": range(8, 18)}
    assert len(data.classes) == 18
    # chi-square of 79 degrees of freedom: 99.99 % are below 134
    assert ((counts - 100) ** 2 / 100).sum() < 134


@pytest.mark.parametrize("motion", REVERSE)
def test_played_backwards_a_clip_is_one_of_the_reverse_motion(motion: str) -> None:
    for key in range(3):
        one, other = drawn(motion, key), drawn(REVERSE[motion], key)
        torch.testing.assert_close(one.clip.flip(1), other.clip, rtol=0, atol=1e-4)
        assert float((one.clip - other.clip).abs().max()) > 0.2


def test_halved_clips_played_backwards_are_so_too() -> None:
    for index in range(20):
        whole, halved = SHARED[index], LookOrMotion(300, 11, "validation", halved=True)[index]
        backwards = F.avg_pool3d(whole.clip.flip(1), (3, 1, 1), (2, 1, 1))
        torch.testing.assert_close(halved.clip.flip(1), backwards)
        for k in range(HALVED_FRAMES):
            window = slice(2 * k, 2 * k + 3)
            torch.testing.assert_close(halved.clip[:, k], whole.clip[:, window].mean(1))
            assert torch.equal(halved.mask[k], whole.mask[window].any(0))
        assert (halved.motion, halved.look) == (whole.motion, whole.look)


@pytest.mark.parametrize(
    ("motion", "direction"),
    [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))],
)
def test_the_digit_moves_as_the_label_says(motion: str, direction: tuple[int, int]) -> None:
    for key in range(10):
        mask = drawn(motion, key).mask
        shift = centroid(mask[-1]) - centroid(mask[0])
        assert 6 < shift @ np.array(direction) < 11
        assert abs(shift @ np.array(direction[::-1])) < 1.5


def test_the_digit_grows_and_turns_as_the_label_says() -> None:
    for key in range(10):
        sizes = drawn("growing", key).mask.sum((1, 2))
        assert 1.6 < sizes[-1] / sizes[0] < 3.5
        angles = []
        for frame in drawn("clockwise", key, look=1).mask:
            y, x = (axis.double() for axis in frame.nonzero().T)
            (a, b), (_, c) = np.cov(torch.stack([x, y]).numpy())
            angles.append(0.5 * np.arctan2(2 * b, a - c))  # of the long axis, y downwards
        turned = np.unwrap(angles, period=np.pi)
        assert 25 < np.rad2deg(turned[-1] - turned[0]) < 95


def test_all_but_the_digit_is_still() -> None:
    for index in range(10):
        sample = SHARED[index]
        # soft edges reach beyond the masks
        moving = F.max_pool2d(sample.mask.any(0)[None].float(), 5, 1, 2)[0] > 0
        rest = sample.clip[0, :, ~moving]
        torch.testing.assert_close(rest, rest[:1].expand_as(rest), rtol=0, atol=1e-6)
        assert rest[0].std() > 0.02


def test_the_digit_stays_in_the_frame() -> None:
    cut = [
        bool(mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())
        for mask in (SHARED[index].mask for index in range(200))
    ]
    assert sum(cut) < 40  # by an outline's pixel


def test_mean_and_deviation_are_those_stated() -> None:
    clips = torch.stack([SHARED[index].clip for index in range(300)])
    assert abs(float(clips.mean()) - MEAN[0]) < 0.015
    assert abs(float(clips.std()) - STD[0]) < 0.015


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, "train"), "length must not be negative, got -1"),
        ((1, -2, "train"), "seed must not be negative, got -2"),
        ((1, 0, "test"), "split must be one of 'train', 'validation', got 'test'"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[int, int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LookOrMotion(*arguments)
