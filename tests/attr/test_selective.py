from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient
from torch import Tensor

from captum_video import DeepTaylor, SelectiveRelevance
from captum_video.attr.selective import temporal_derivative
from tests.nets import C3DLike, clip, seeded


def test_derivative_of_a_hand_worked_map() -> None:
    maps = torch.zeros(1, 1, 3, 3, 3, dtype=torch.float64)
    maps[0, 0, 1, 1, 1] = 1  # one flash in the middle
    change = temporal_derivative(maps, 2)[0, 0]
    smooth = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=torch.float64)
    assert torch.equal(change[0], smooth)
    assert torch.equal(change[1], torch.zeros_like(smooth))
    assert torch.equal(change[2], -smooth)


def test_borders_are_repeated() -> None:
    ramp = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 3, 3)
    change = temporal_derivative(ramp, 2)[0, 0, :, 0, 0]
    assert change.tolist() == [16.0, 32.0, 32.0, 16.0]  # differences 1, 2, 2, 1 times (1 + 2 + 1)^2


class TestSelection:
    net = seeded(C3DLike())
    x = clip(2, 3, 5, 8, 8)

    @staticmethod
    def by_hand(relevance: Tensor, sigma: float) -> Tensor:
        change = temporal_derivative(relevance.sum(1, keepdim=True), 2)
        kept = torch.zeros_like(relevance)
        for n in range(relevance.shape[0]):
            limit = sigma * (change[n] ** 2).mean().sub(change[n].mean() ** 2).sqrt()
            for t in range(relevance.shape[2]):
                where = change[n, 0, t].abs() > limit
                kept[n, :, t][:, where] = relevance[n, :, t][:, where]
        return kept

    @pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
    def test_keeps_what_changes(self, sigma: float) -> None:
        relevance = DeepTaylor(self.net).attribute(self.x, target=1)
        kept = SelectiveRelevance(self.net, threshold=sigma).attribute(self.x, target=1)
        assert torch.equal(kept, self.by_hand(relevance, sigma))
        assert 0 < (kept != 0).double().mean() < (relevance != 0).double().mean()

    def test_any_method_and_options(self) -> None:
        relevance = InputXGradient(self.net).attribute(self.x.clone().requires_grad_(), target=1)
        kept = SelectiveRelevance(InputXGradient(self.net)).attribute(self.x, target=1)
        assert torch.equal(kept, self.by_hand(relevance.detach(), 1.0))
        one = SelectiveRelevance(self.net, seed="one").attribute(self.x, target=1)
        assert not torch.equal(one, SelectiveRelevance(self.net).attribute(self.x, target=1))

    def test_higher_thresholds_keep_less(self) -> None:
        kept = [
            (SelectiveRelevance(self.net, threshold=s).attribute(self.x, target=1) != 0).sum()
            for s in (0, 1, 2, 3)
        ]
        assert kept == sorted(kept, reverse=True)
        assert kept[0] > kept[-1]

    @pytest.mark.parametrize("threshold", [-1, float("nan")])
    def test_threshold(self, threshold: float) -> None:
        with pytest.raises(ValueError, match="threshold must be a number of at least 0"):
            SelectiveRelevance(self.net, threshold=threshold)
