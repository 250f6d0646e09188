from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from models.data import Epochs
from tests.models.data.recorded.clips import Listed, images, stairs


class Numbers:
    """Clips that are their own indices, and what was drawn for them."""

    classes = ("even", "odd")
    groups: ClassVar = {"parity": range(2)}

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, -1.0

    def draw(self, index: int, rng: np.random.Generator) -> tuple[int, float]:
        return index, float(rng.random())

    def labels(self, index: int) -> tuple[int]:
        return (index % 2,)


class Plain:
    """Clips that cannot be varied, and have neither classes nor labels."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        return 10 * index


def test_every_epoch_has_every_clip_once() -> None:
    stream = Epochs(Numbers(7), 24, seed=3)
    assert (len(stream), stream.epoch_length) == (24, 7)
    order = [stream[index][0] for index in range(24)]
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len(set(order[21:])) == 3


def test_orders_and_variations_by_hand() -> None:
    stream = Epochs(Numbers(5), 15, seed=8)
    for index in range(15):
        epoch = np.random.default_rng(np.random.SeedSequence(8, spawn_key=(index // 5,)))
        item = int(epoch.permutation(5)[index % 5])
        drawn = float(np.random.default_rng(np.random.SeedSequence([8, index])).random())
        assert stream[index] == (item, drawn)
        assert stream.item(index) == item


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    length = 20
    once = [Epochs(Numbers(6), length, 1)[index] for index in range(length)]
    stream = Epochs(Numbers(6), length, 1)
    order = np.random.default_rng(0).permutation(length)
    assert [stream[int(index)] for index in order] == [once[index] for index in order]
    longer = Epochs(Numbers(6), 3 * length, 1)
    assert [longer[index] for index in range(13, length)] == once[13:]
    assert [Epochs(Numbers(6), length, 2)[index] for index in range(length)] != once
    assert len({drawn for _, drawn in once}) == length


def test_resumed_in_workers() -> None:
    """What is left of a run is the same, however its workers share it out."""
    stream = Epochs(Numbers(5), 17, seed=4)
    whole = [stream[index] for index in range(17)]
    rest = DataLoader(Subset(stream, range(6, 17)), batch_size=None, num_workers=2)
    assert [(item, drawn) for item, drawn in rest] == whole[6:]


def test_another_seed_is_another_order() -> None:
    orders = {tuple(Epochs(Numbers(8), 8, seed).item(i) for i in range(8)) for seed in range(6)}
    assert len(orders) == 6


def test_labels_classes_and_groups_pass_through() -> None:
    data = Numbers(5)
    stream = Epochs(data, 12)
    assert [stream.labels(i) for i in range(12)] == [(stream[i][0] % 2,) for i in range(12)]
    assert stream.classes is data.classes
    assert stream.groups is data.groups
    assert stream.data is data


def test_data_without_draw_or_classes() -> None:
    stream = Epochs(Plain(), 6)
    assert sorted(stream[index] for index in range(3)) == [0, 10, 20]
    assert not hasattr(stream, "classes")
    assert not hasattr(stream, "groups")


def test_videos(tmp_path: Path) -> None:
    items = [(images(tmp_path / str(n), stairs(9, base=16 + n)), n % 2) for n in range(3)]
    data = Listed(items, sampling="window", mirror=True, resize=(30, 40))
    stream = Epochs(data, 7, seed=2)
    copy = pickle.loads(pickle.dumps(stream))
    assert torch.equal(copy[6].clip, stream[6].clip)
    for index in range(7):
        item = stream.item(index)
        rng = np.random.default_rng(np.random.SeedSequence([2, index]))
        assert torch.equal(stream[index].clip, data.draw(item, rng).clip)
        assert stream.labels(index) == (item % 2,) == (stream[index].action,)


@pytest.mark.parametrize("index", [-1, 4])
def test_no_such_sample(index: int) -> None:
    stream = Epochs(Numbers(3), 4)
    for ask in (stream.__getitem__, stream.labels, stream.item):
        with pytest.raises(IndexError, match=f"index must be from 0 to 3, got {index}"):
            ask(index)


def test_no_samples() -> None:
    assert len(Epochs(Numbers(3), 0)) == 0
    with pytest.raises(IndexError, match="The stream is empty, got index 0"):
        Epochs(Numbers(3), 0)[0]


def test_refused() -> None:
    with pytest.raises(ValueError, match="length must not be negative, got -1"):
        Epochs(Numbers(3), -1)
    with pytest.raises(ValueError, match="seed must not be negative, got -2"):
        Epochs(Numbers(3), 1, -2)
    with pytest.raises(ValueError, match="data must hold at least one clip, got none"):
        Epochs(Numbers(0), 1)
