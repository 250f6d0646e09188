from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Event, Events, events
from models.data._sprites import digit_bank

SHARED = Events(120, seed=11, split="validation")


@pytest.fixture(scope="module")
def samples() -> list[Event]:
    return [SHARED[index] for index in range(len(SHARED))]


def drawn(index: int, event: int) -> Event:
    """The clip of an index as it would be with another label."""
    rng = np.random.default_rng(index)
    return events._draw(rng, event, "validation")


def equal(a: Event, b: Event) -> bool:
    return a.event == b.event and all(
        torch.equal(getattr(a, name), getattr(b, name)) for name in ("clip", "frames", "mask")
    )


def runs(flags: Tensor) -> int:
    """How many times a row of flags goes up."""
    return int((flags.int().diff(prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())


def test_a_sample_is_a_tuple_of_the_stated_shapes(samples: list[Event]) -> None:
    sample = samples[0]
    assert sample.clip.shape == (3, 16, *events.SIZE)
    assert sample.clip.dtype == torch.float32
    assert sample.clip.is_contiguous()
    assert sample.frames.shape == (16,)
    assert sample.mask.shape == (16, *events.SIZE)
    assert sample.frames.dtype == sample.mask.dtype == torch.bool
    assert all(0 <= float(s.clip.min()) <= float(s.clip.max()) <= 1 for s in samples)


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    first = Events(9, seed=3)[7]
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = torch.get_rng_state()
    other = Events(1000, seed=3)
    other[4]
    assert equal(other[7], first)
    assert equal(pickle.loads(pickle.dumps(other))[7], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not equal(Events(9, seed=4)[7], first)
    assert not equal(Events(9, seed=3)[6], first)
    assert not equal(Events(9, seed=7)[3], first)


def test_the_label_shows_in_the_events_frames_and_in_no_other() -> None:
    """Two clips that differ in nothing but their label are the same outside of the event."""
    for index in range(20):
        one, other = drawn(index, 3), drawn(index, 8)
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.clip[:, ~one.frames], other.clip[:, ~one.frames])
        apart = (one.clip - other.clip).abs().amax(0)[one.frames]
        assert (apart.flatten(1).amax(1) > 0.3).all()
        # and there only where either digit is, with its soft edge
        near = torch.nn.functional.max_pool2d(
            (one.mask | other.mask)[one.frames].float(), 5, 1, 2
        ).bool()
        assert float(apart[~near].max()) < 0.02


def test_the_event_is_three_or_four_frames_at_any_time(samples: list[Event]) -> None:
    lengths = {int(s.frames.sum()) for s in samples}
    assert lengths == {3, 4}
    assert all(runs(s.frames) == 1 for s in samples)
    when = torch.stack([s.frames for s in samples]).float().mean(0)
    assert (when[1:-1] > 0.05).all()
    starts = {int(s.frames.int().argmax()) for s in samples}
    assert {0, 12} <= starts
    assert len(starts) >= 13


def test_the_mask_is_the_digit(samples: list[Event]) -> None:
    for sample in samples:
        shown = sample.mask[sample.frames]
        assert not sample.mask[~sample.frames].any()
        assert (shown == shown[0]).all()
        assert 0.03 < float(shown.float().mean()) < 0.2
        border = torch.ones(events.SIZE, dtype=torch.bool)
        border[1:-1, 1:-1] = False
        assert not (shown & border).any()
        brightness = sample.clip[:, sample.frames].amax(0)[shown]
        assert float(brightness.quantile(0.9)) > 0.75  # the ink
        assert float(brightness.quantile(0.1)) < 0.35  # the outline
        # the event's own picture changes at its beginning and end there more than elsewhere
        before = sample.clip[:, ~sample.frames].mean(1)
        change = (sample.clip[:, sample.frames].mean(1) - before).abs().mean(0)
        assert float(change[shown[0]].mean()) > 2 * float(change[~shown[0]].mean())


def test_digits_stand_anywhere(samples: list[Event]) -> None:
    ever = torch.stack([s.mask.any(0) for s in samples]).float().mean(0)
    assert float(ever[12:36, 12:36].min()) > 0.03
    assert float(ever.max()) < 0.5


def changes(sample: Event) -> Tensor:
    """Whether something other than the digit differs between each frame and the one before."""
    apart = (sample.clip[:, 1:] - sample.clip[:, :-1]).abs().amax(0)
    digit = torch.nn.functional.max_pool2d(sample.mask.any(0)[None].float(), 7, 1, 3)[0].bool()
    return apart[:, ~digit].amax(1) > 0.2


def test_distractors_come_and_go_beside_the_event_and_in_the_other_frames(
    samples: list[Event],
) -> None:
    found = torch.stack([changes(s) for s in samples]).float()
    assert (found.mean(0) > 0.5).all()
    assert (found.sum(1) >= 4).all()
    beside = 0
    for sample in samples:
        still = sample.clip.median(1).values  # the background: each distractor is short
        apart = (sample.clip - still[:, None]).abs().amax(0)
        apart[torch.nn.functional.max_pool2d(sample.mask.float(), 7, 1, 3).bool()] = 0
        beside += bool((apart[sample.frames] > 0.2).any())
    assert beside >= 0.95 * len(samples)  # the digit may hide the others


def test_times_of_distractors_stay_within_the_clip() -> None:
    rng = np.random.default_rng(0)
    some = [events._sometime(rng) for _ in range(300)]
    assert all(0 <= s.start < min(s.stop, 16) for s in some)
    shown = torch.zeros(16)
    for s in some:
        shown[s] += 1
    assert float(shown.max() / shown.min()) < 1.8
    for event in (slice(0, 3), slice(6, 10), slice(12, 16)):
        for _ in range(50):
            beside = events._beside(rng, event)
            assert beside.start >= 0
            assert max(beside.start, event.start) < min(beside.stop, event.stop)


def test_labels_are_uniform_and_the_digits_class() -> None:
    from sklearn.datasets import load_digits

    data = Events(3000, seed=2)
    labels = [int(data._generator(i).integers(10)) for i in range(len(data))]
    counts = np.bincount(labels, minlength=10)
    # nine degrees of freedom: the statistic exceeds 34 once in ten thousand
    assert ((counts - 300) ** 2 / 300).sum() < 34
    assert [data[i].event for i in range(12)] == labels[:12]
    target = load_digits().target
    bank = digit_bank("train")
    for digit, rows in enumerate(bank.by_class):
        assert {int(target[bank.indices[row]]) for row in rows} == {digit}
    assert data.groups == {"event": range(10)}
    assert data.classes == tuple(f"digit {digit}" for digit in range(10))


def test_the_splits_share_no_digit_image() -> None:
    train, validation = Events(6), Events(6, split="validation")
    for index in range(6):
        one, other = train[index], validation[index]
        assert one.event == other.event
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.clip[:, ~one.frames], other.clip[:, ~one.frames])
        assert not torch.equal(one.mask, other.mask)
    assert not set(digit_bank("train").indices) & set(digit_bank("validation").indices)


def test_mean_and_deviation_are_the_clips(samples: list[Event]) -> None:
    clips = torch.stack([s.clip for s in samples])
    normal = (clips - torch.tensor(events.MEAN).view(3, 1, 1, 1)) / torch.tensor(events.STD).view(
        3, 1, 1, 1
    )
    assert normal.mean((0, 2, 3, 4)).abs().max() < 0.15
    assert (normal.std((0, 2, 3, 4)) - 1).abs().max() < 0.15


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', got 'test'"):
        Events(3, split="test")
    with pytest.raises(ValueError, match="length must not be negative, got -1"):
        Events(-1)
    with pytest.raises(ValueError, match="seed must not be negative, got -2"):
        Events(1, seed=-2)
    for index in (-1, 3):
        with pytest.raises(IndexError, match=rf"index must be from 0 to 2, got {index}"):
            Events(3)[index]
    with pytest.raises(IndexError, match="empty, got index 0"):
        Events(0)[0]
