from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models import _low_data_cells as cells
from models._low_data_results import Cell, Settings
from tests.models.low_data_stand_in import MOTIONS, Clips, Net, small_net


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clips, "drawn", [], raising=False)


def test_labels_are_balanced_and_small_choices_begin_larger_ones() -> None:
    data: Any = Clips(10_000, 4, decoupled=True)
    pool = cells.Pool(data, 4)
    clips, motions = pool.balanced("motion", 37)
    assert sorted(Counter(motions.tolist()).values()) == 3 * [3] + 7 * [4]
    for end in (10, 20, 30):
        assert Counter(motions[:end].tolist()) == dict.fromkeys(range(10), end // 10)
    # the brightness tells the motion, and no clip is taken twice
    assert torch.equal(brightness(clips), motions)
    assert len(clips.flatten(1).unique(dim=0)) == 37
    few, labels = pool.balanced("motion", 11)
    assert torch.equal(few, clips[:11])
    assert torch.equal(labels, motions[:11])
    _, digits = pool.balanced("digit", 40)
    assert Counter(digits.tolist()) == dict.fromkeys(range(10), 4)


def test_each_task_asks_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "VideoMNIST", Clips)
    data = cells.Data(15)
    motions = [MOTIONS[number % len(MOTIONS)] for number in range(15)]
    digits = [(motion + number) % 10 for number, motion in enumerate(motions)]
    for task, truth in (("paper", motions), ("motion", motions), ("digit", digits)):
        clips, classes = data.validation(task)
        assert classes.tolist() == truth
        assert brightness(clips).tolist() == motions
        clips, classes = data.training(Cell(task, "lenet5_3d", 20, 6))
        assert Counter(classes.tolist()) == dict.fromkeys(range(10), 2)
        assert torch.equal(brightness(clips), classes) == (task != "digit")
    assert {key[:3] for key in Clips.drawn if key[1] == "train"} == {
        (6, "train", False),
        (6, "train", True),
    }


def brightness(clips: Tensor) -> Tensor:
    """The motion of a stand-in's clip."""
    return (clips.flatten(1).double().mean(1) / 255 * 10.5 - 0.5).round().long()


class Listening(Net):
    """Keeps what it is given."""

    heard: list[Tensor]

    def forward(self, clip: Tensor) -> Tensor:
        if self.training:
            Listening.heard.append(clip.clone())
        return super().forward(clip)


def test_both_nets_are_given_the_same_clips_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cells, "VideoMNIST", Clips)
    monkeypatch.setattr(cells, "build", lambda name: small_net(name, Listening))
    settings = Settings(batch_size=5, epochs=3, validation=20)
    data = cells.Data(20)
    seen: dict[tuple[int, int], list[list[Tensor]]] = {}
    for seed in (0, 1):
        for clips in (4, 12):
            for net in cells.NETS:
                Listening.heard = []
                cells.train(Cell("motion", net, clips, seed), settings, data)
                seen.setdefault((clips, seed), []).append(Listening.heard)
    for one, other in seen.values():
        assert len(one) == len(other)
        assert all(map(torch.equal, one, other))
    four, others = seen[4, 0][0], seen[4, 1][0]
    assert [len(step) for step in four] == [4, 4, 4]
    assert not torch.equal(four[0].sort(0).values, others[0].sort(0).values)
    # normalised, from whole steps of 1 / 255
    bytes_ = (four[0] * 0.25 + 0.5) * 255
    torch.testing.assert_close(bytes_, bytes_.round(), rtol=0, atol=1e-3)
    assert bytes_.min() >= 0
    assert bytes_.max() <= 255


def test_every_epoch_takes_each_clip_once() -> None:
    steps = list(cells.batches(12, 3, Settings(batch_size=5, epochs=2)))
    assert [len(step) for step in steps] == [5, 5, 2, 5, 5, 2]
    first, second = torch.cat(steps[:3]), torch.cat(steps[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(12))
    assert not torch.equal(first, second)
    other = torch.cat(list(cells.batches(12, 4, Settings(batch_size=5, epochs=2)))[:3])
    assert not torch.equal(first, other)
    # 7 epochs of 3 steps are the fewest with 20 steps
    assert len(list(cells.batches(12, 3, Settings(batch_size=5, epochs=2, min_steps=20)))) == 21
    assert len(list(cells.batches(2, 3, Settings(batch_size=5, epochs=9, min_steps=4)))) == 9


def test_temporal_parameters_may_have_a_rate_of_their_own() -> None:
    settings = Settings(lr_3d=1.0, lr_3t=2.0)
    for name, rate in (("lenet5_3d", 1.0), ("lenet5_3t", 2.0)):
        net = small_net(name)
        (group,) = cells.parameter_groups(net, name, settings)
        assert group["lr"] == rate
        assert len(group["params"]) == len(list(net.parameters()))
    net = small_net("lenet5_3t")
    others, own = cells.parameter_groups(net, "lenet5_3t", replace(settings, lr_temporal=0.5))
    conv: Any = net.body[0]
    temporal = {id(p) for p in (conv.scale, conv.rotation, conv.translation_x, conv.translation_y)}
    assert {id(p) for p in own["params"]} == temporal
    assert {id(p) for p in others["params"]} == {id(p) for p in net.parameters()} - temporal
    assert (others["lr"], own["lr"]) == (2.0, 0.5)
    plain = small_net("lenet5_3d")
    assert len(cells.parameter_groups(plain, "lenet5_3d", replace(settings, lr_temporal=0.5))) == 1


def test_the_accuracy_is_counted_by_hand() -> None:
    class First(Net):
        def forward(self, clip: Tensor) -> Tensor:
            assert not self.training
            return clip.flatten(1)[:, :10]

    net = small_net("lenet5_3d", First)
    clips = torch.zeros(130, 1, 2, 3, 3, dtype=torch.uint8)
    clips.view(130, 18)[:, 3] = 9
    classes = torch.full((130,), 3)
    classes[[0, 99, 100, 129]] = 5
    assert cells.accuracy(net, clips, classes) == 126 / 130


@pytest.mark.parametrize("net", cells.NETS)
def test_a_cell_of_the_real_nets_repeats_itself(net: str) -> None:
    settings = Settings(epochs=3, validation=40)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cell = Cell("motion", net, 12, 5)
        torch.manual_seed(0)
        first = cells.train(cell, settings, cells.Data(40))
        torch.manual_seed(1)
        data = cells.Data(40)
        data.training(cell._replace(clips=30, task="digit"))
        assert cells.train(cell, settings, data) == first
    finally:
        torch.set_num_threads(threads)
    assert first[1] == 3
