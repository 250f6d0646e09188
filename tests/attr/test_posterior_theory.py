"""Gates that are learnt after training: where theory says that they end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video.attr._posterior_fit import equal_prices, fit_gates, gated_copy
from captum_video.nn import FusionGates, FusionUnit, fusion_regularizer, gated_modules
from captum_video.nn.gates import GatedModule
from captum_video.nn.strategies import gates_of
from tests.nets import clip


class Worth(GatedModule):
    """What is lost by dropping each unit, in nats, by itself."""

    gates: FusionGates

    def __init__(self, *nats: float) -> None:
        super().__init__()
        self.gates = FusionGates([f"u{number}" for number in range(len(nats))])
        self.nats = torch.tensor(nats)

    def forward(self, x: Tensor) -> Tensor:
        return ((1 - self.gates(x)[..., 0, 0, 0, 0]) * self.nats).sum(1).expand(len(x))

    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        return (torch.full((2,), 1.0 + int(unit[1:])),)

    def fixed(self, kept: Sequence[bool]) -> nn.Module:
        raise NotImplementedError


def as_it_is(outputs: Tensor, target: Any) -> Tensor:
    return outputs


BLANK = [(torch.zeros(50, 1, 1, 1, 1), torch.zeros(50))] * 2


class Helps(GatedModule):
    """By how much one unit helps a clip, beside a unit without any effect."""

    gates: FusionGates

    def __init__(self) -> None:
        super().__init__()
        self.gates = FusionGates(("u0", "u1"))

    def forward(self, x: Tensor) -> Tensor:
        return self.gates(x).flatten(1)[:, 0] * x.flatten(1)[:, 0]

    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        return (torch.ones(2),)

    def fixed(self, kept: Sequence[bool]) -> nn.Module:
        raise NotImplementedError


class Pair(Helps):
    """Two units of which the second is worth a nat to each clip if the first is kept, too."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.gates(x).flatten(1).expand(len(x), -1).unbind(1)
        return 2 - first * second - 0.3 * first


class TestTheory:
    @pytest.mark.parametrize(("price", "samples"), [(3.0, None), (1.0, None), (3.0, 400.0)])
    def test_the_posterior_of_a_unit(self, price: float, samples: float | None) -> None:
        worth = (0.0, 0.01, -0.02, 0.4)
        model = Worth(*worth)
        history = fit_gates(model, BLANK, loss=as_it_is, price=price, samples=samples)
        expected = torch.tensor(worth) * (samples or 100) - price
        assert torch.allclose(-model.gates.drop_logit.detach(), expected, rtol=1e-5, atol=1e-4)
        assert history.worth["Worth"] == pytest.approx(worth, abs=1e-6)

    def test_an_unused_unit_is_where_the_regularizer_is_level(self) -> None:
        for price in (0.5, 2.0, 5.0, 60.0):
            model = Worth(0.0, 0.0)
            fit_gates(model, BLANK, loss=as_it_is, price=price)
            logit = model.gates.drop_logit
            assert torch.allclose(logit.detach(), torch.tensor(price), atol=1e-5)
            regularizer = fusion_regularizer(model, 1, length_scale=equal_prices(model, price))
            (slope,) = torch.autograd.grad(regularizer, logit)
            assert torch.allclose(slope, torch.zeros(2), atol=1e-6)

    @pytest.mark.parametrize("drop", [0.1, 0.9])
    @pytest.mark.parametrize("mean", [0.0, 0.09])
    def test_clips_that_disagree(self, drop: float, mean: float) -> None:
        # a unit that helps some clips by a nat and harms others, in small batches
        rng = torch.Generator().manual_seed(0)
        helps = torch.randn(64, generator=rng)
        helps = (helps - helps.mean()) / helps.std() + mean
        model = Helps()
        fit_gates(
            model, [(part, part) for part in helps.view(64, 1, 1, 1, 1).split(8)],
            loss=lambda outputs, _: 9 - outputs, drop_probability=drop,
        )  # fmt: skip
        expected = torch.sigmoid(torch.tensor([64 * mean - 3, -3.0]))
        assert torch.allclose(model.gates.keep_probability().detach(), expected, atol=1e-4)

    def test_the_bound_is_highest_there(self) -> None:
        """Two gates that need each other, against the bound over a grid of their probabilities."""
        model, price, samples = Pair(), 1.0, 2.5
        few = [(torch.zeros(5, 1, 1, 1, 1), torch.zeros(5))]  # so that draws must be averaged out
        with warnings.catch_warnings(record=True):
            fit_gates(model, few, loss=as_it_is, price=price, samples=samples, sweeps=600)
        found = model.gates.keep_probability().detach().double()
        grid = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
        first, second = torch.meshgrid(grid, grid, indexing="ij")
        mean = 2 - first * second - 0.3 * first
        entropy = sum(-k * k.log() - (1 - k) * (1 - k).log() for k in (first, second))
        bound = -samples * mean - price * (first + second) + entropy
        row, column = divmod(int(bound.argmax()), len(grid))
        assert found.tolist() == pytest.approx([grid[row].item(), grid[column].item()], abs=0.02)

    def test_a_last_sweep_that_changed_much(self) -> None:
        model = Worth(0.0)
        with pytest.warns(UserWarning, match=r"still changed by 0\.94 in the last sweep"):
            history = fit_gates(model, BLANK, loss=as_it_is, sweeps=1)
        assert history.changes == (pytest.approx(0.99 - 1 / (1 + math.exp(3)), abs=1e-6),)
        history = fit_gates(model, BLANK, loss=as_it_is, sweeps=2)
        assert history.changes[1] < 1e-6

    def test_units_have_one_price_whatever_their_weights(self) -> None:
        model = nn.Sequential(FusionUnit(2, 3), FusionUnit(3, 4, gates="three"))
        for name, scales in equal_prices(model, 2.5).items():
            module = gated_modules(model)[name]
            assert module.gates is not None
            for unit, k in zip(module.gates.units, scales, strict=True):
                squares = sum(w.detach().square().sum().item() for w in module.weights_of(unit))
                assert k**2 / 2 * squares == pytest.approx(2.5)

    def test_a_unit_without_weights_says_nothing(self) -> None:
        conv = nn.Conv3d(1, 2, 3).requires_grad_(False)
        conv.weight.copy_(torch.randn(2, 1, 1, 3, 3).expand(2, 1, 3, 3, 3) / 3)
        other = nn.Conv3d(2, 2, (2, 1, 1)).requires_grad_(False)
        other.weight[:, :, 1] = -other.weight[:, :, 0]
        gated = gated_copy(nn.Sequential(conv, other, nn.AdaptiveAvgPool3d(1), nn.Flatten()))
        assert [[k == 0 for k in own] for own in equal_prices(gated, 1.0).values()] == [
            [False, True],
            [True, False],
        ]
        with pytest.warns(UserWarning, match="without weights, .*: ST of 0, S of 1"):
            history = fit_gates(
                gated, [(clip(4, 1, 5, 4, 4).float(), torch.zeros(4).long())], sweeps=2
            )
        assert history.without_weights == (("0", "ST"), ("1", "S"))
        first, second = (one.keep_probability().tolist() for one in gates_of(gated).values())
        assert first[1] == second[0] == 0.5


class TestLengthScales:
    def test_one_for_each_unit(self) -> None:
        model = Worth(0.0, 0.0)
        model.gates.set_drop_probability((0.2, 0.6))
        entropy = torch.distributions.Bernoulli(torch.tensor([0.2, 0.6])).entropy().sum().item()
        found = fusion_regularizer(model, 4, length_scale={"Worth": (3.0, 5.0)}).item()
        # squares 2 and 8
        assert found == pytest.approx((0.8 * 4.5 * 2 + 0.4 * 12.5 * 8 - entropy) / 4, rel=1e-5)
        same = fusion_regularizer(model, 4, length_scale={"Worth": (3.0, 3.0)})
        assert torch.equal(same, fusion_regularizer(model, 4, length_scale=3.0))
        assert torch.equal(same, fusion_regularizer(model, 4, length_scale={"Worth": 3.0}))

    def test_bad_ones(self) -> None:
        with pytest.raises(ValueError, match=r"'Worth' must be one number or 2 \(u0, u1\), got 3"):
            fusion_regularizer(Worth(0.0, 0.0), 1, length_scale={"Worth": (1.0, 2.0, 3.0)})
        with pytest.raises(
            ValueError, match="length_scale must not be negative or infinite, got -1"
        ):
            fusion_regularizer(Worth(0.0, 0.0), 1, length_scale={"Worth": (1.0, -1.0)})
