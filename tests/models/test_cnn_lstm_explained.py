"""The bundled CNN-LSTMs explained: where attention and Grad-CAM lie when the event is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import models
from tests.benchmarks import attention


@pytest.fixture(scope="module")
def batch() -> Any:
    return next(attention.batches(24))


def test_attention_and_grad_cam_find_the_event(batch: Any) -> None:
    """A few clips of what `python -m tests.benchmarks attention` measures on many."""
    chance = attention.means([attention.chances(batch)])
    net = models.load(attention.ATTENTIVE)
    found = attention.means([attention.measured(net, batch)])
    assert found["attention on the event"] > 0.9 > 3 * chance["attention on the event"]
    assert found["first frame is the event's"] > 0.9
    for pooling in attention.POOLINGS:
        assert found[f"{pooling} a"] > 0.45 > 10 * chance["a"]
        assert found[f"{pooling} b"] > 0.75 > 3 * chance["b"]
        assert found[f"{pooling} c"] > 0.75 > 10 * chance["c"]


def test_grad_cam_finds_the_event_without_attention(batch: Any) -> None:
    net = models.load(attention.PLAIN)
    found = attention.means([attention.measured(net, batch)])
    assert not {name for name in found if name.endswith(" c") or "attention" in name}
    for pooling in attention.POOLINGS:
        assert found[f"{pooling} a"] > 0.5
        assert found[f"{pooling} b"] > 0.7


def test_an_untrained_net_does_not_find_it(batch: Any) -> None:
    torch.manual_seed(0)
    net: Any = models.build(attention.ATTENTIVE).eval()
    found = attention.means([attention.measured(net, batch)])
    assert abs(found["attention on the event"] - batch.frames.double().mean()) < 0.02
    assert found["frame a"] < 0.4


def test_figures_by_hand() -> None:
    mean, half = attention.interval([0.8, 0.9, 1.0])
    # standard deviation 0.1, over the root of 3, times 4.303
    assert mean == pytest.approx(0.9)
    assert half == pytest.approx(0.1 / math.sqrt(3) * 4.303)
    alone, none = attention.interval([0.8])
    assert alone == 0.8
    assert math.isnan(none)
    with pytest.raises(ValueError, match="at most 10 seeds, got 11"):
        attention.interval([0.0] * 11)
    mask = torch.zeros(1, 2, 5, 6, dtype=torch.bool)
    mask[0, 1, 1, 4] = True
    wide = attention.widened(mask, 1)
    assert not wide[0, 0].any()
    assert wide[0, 1].nonzero().tolist() == [[y, x] for y in (0, 1, 2) for x in (3, 4, 5)]
    maps = torch.tensor([[0.1, 0.5, 0.2], [0.9, 0.0, 0.3]])
    hits = attention.peak(maps, torch.tensor([[False, True, False], [False, True, True]]))
    assert hits.tolist() == [True, False]


def test_measured_figures_are_their_definitions(
    batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps and weights that are known: on the digit in the event's frames but for the first clip."""

    class Known:
        """Stands for both methods: the map is the mask, attention the event's frames."""

        def __init__(self, *_arguments: object, **_options: object) -> None:
            pass

        def attribute(self, clips: torch.Tensor, target: object = None) -> torch.Tensor:
            if target is None:
                weights = batch.frames.double()
                weights[0] = 1 - weights[0]
                return weights / weights.sum(1, keepdim=True)
            maps = batch.mask[:, None].double().clone()
            maps[0] = 1 - maps[0]
            return maps

    monkeypatch.setattr(attention, "VideoGradCam", Known)
    monkeypatch.setattr(attention, "FrameAttention", Known)
    rows = attention.measured(models.load(attention.ATTENTIVE), batch)
    for name, values in rows.items():
        assert len(values) == 24
        if name != "accuracy":
            assert values == [0.0] + [1.0] * 23, name
    share = batch.frames.double().mean(1).tolist()
    chance = attention.chances(batch)
    assert chance["attention on the event"] == share
    for a, b, c, t in zip(chance["a"], chance["b"], chance["c"], share, strict=True):
        assert b * t == pytest.approx(c)  # no other frame has a place that counts
        assert 0 < a < c
