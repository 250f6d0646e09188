"""Relaxed Bernoulli gates: their distribution and their gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import RelaxedBernoulli

from captum_video.nn.gates import FusionGates

UNITS = ("S", "ST", "S+ST")
CLIP = torch.zeros(4, 2, 3, 5, 5)


def gates(
    p: float | Sequence[float] = (0.1, 0.5, 0.7),
    units: Sequence[str] = UNITS,
    temperature: float = 0.2,
    dtype: torch.dtype = torch.float64,
) -> FusionGates:
    return FusionGates(units, temperature=temperature, drop_probability=p, dtype=dtype)


def stated_cdf(eps: Tensor, p: float, temperature: float) -> Tensor:
    """The distribution function of the class's docstring, from probabilities."""
    return torch.sigmoid(temperature * torch.logit(eps) - math.log((1 - p) / p))


def relaxed_from(uniform: Tensor, drop_logit: Tensor, temperature: float) -> Tensor:
    """What a uniform number becomes, from the odds."""
    odds = uniform / (1 - uniform) * torch.exp(-drop_logit)
    return odds ** (1 / temperature) / (1 + odds ** (1 / temperature))


class TestDistribution:
    @pytest.mark.parametrize("temperature", [0.2, 0.5, 1.0, 2.0])
    @pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8])
    def test_kolmogorov_smirnov(self, p: float, temperature: float) -> None:
        torch.manual_seed(0)
        one = gates(p, UNITS[:2], temperature)
        drawn = one.relaxed(4000).detach()
        for sample in drawn.T:
            found = stats.kstest(
                sample, lambda e: stated_cdf(torch.as_tensor(e), p, temperature).numpy()
            )
            assert found.pvalue > 1e-3
        assert abs(stats.spearmanr(*drawn.T).statistic) < 5 / math.sqrt(4000)  # units on their own

    @pytest.mark.parametrize("temperature", [0.2, 1.0, 2.0])
    def test_torch_has_the_same_distribution(self, temperature: float) -> None:
        p = 0.3
        # its density is the derivative of the distribution function
        eps = torch.linspace(0.01, 0.99, 50, dtype=torch.float64).requires_grad_()
        (density,) = torch.autograd.grad(stated_cdf(eps, p, temperature).sum(), eps)
        peer = RelaxedBernoulli(
            torch.tensor(temperature, dtype=torch.float64), torch.tensor(1 - p, dtype=torch.float64)
        )
        torch.testing.assert_close(density.log(), peer.log_prob(eps), rtol=1e-10, atol=1e-10)
        torch.manual_seed(0)
        ours = gates(p, ["S"], temperature).relaxed(4000).detach().flatten()
        assert stats.ks_2samp(ours, peer.sample(torch.Size([4000]))).pvalue > 1e-3

    def test_the_noise_is_the_logit_of_a_uniform_number(self) -> None:
        one = gates(temperature=0.7)
        torch.manual_seed(3)
        got = one.relaxed(50)
        torch.manual_seed(3)
        uniform = torch.rand(50, 3, dtype=torch.float64)
        torch.testing.assert_close(got, relaxed_from(uniform, one.drop_logit, 0.7))

    @pytest.mark.parametrize("temperature", [0.01, 0.2, 1.0])
    def test_more_than_half_is_kept(self, temperature: float) -> None:
        torch.manual_seed(0)
        open_ = gates(temperature=temperature).relaxed(4000) > 0.5
        torch.manual_seed(0)
        drop = torch.tensor([0.1, 0.5, 0.7], dtype=torch.float64)
        assert torch.equal(open_, torch.rand(4000, 3, dtype=torch.float64) > drop)
        for count, p in zip(open_.sum(0).tolist(), drop.tolist(), strict=True):
            assert abs(count - 4000 * (1 - p)) < 4 * math.sqrt(4000 * p * (1 - p))

    def test_low_temperatures_are_nearly_binary(self) -> None:
        torch.manual_seed(0)
        p, count = 0.3, 20_000
        eps = gates(p, ["S"], 0.01).relaxed(count).flatten()
        between = stated_cdf(torch.tensor([1e-3, 1 - 1e-3], dtype=torch.float64), p, 0.01)
        share = float(between[1] - between[0])
        assert share < 0.03
        middle = ((eps > 1e-3) & (eps < 1 - 1e-3)).sum().item()
        assert abs(middle - count * share) < 4 * math.sqrt(count * share)
        ones = (eps >= 1 - 1e-3).sum().item()
        share = 1 - float(between[1])
        assert abs(ones - count * share) < 4 * math.sqrt(count * share * (1 - share))
        eps = gates(p, ["S"], 1e-6).relaxed(count)
        assert torch.minimum(eps, 1 - eps).max() < 1e-3
        assert abs(eps.sum().item() - count * (1 - p)) < 4 * math.sqrt(count * p * (1 - p))

    def test_a_setting_of_the_temperature_counts(self) -> None:
        one = gates()
        one.temperature = 1.5
        torch.manual_seed(0)
        got = one.relaxed(7)
        torch.manual_seed(0)
        assert torch.equal(got, gates(temperature=1.5).relaxed(7))


class TestGradient:
    @pytest.mark.parametrize("temperature", [0.2, 1.0, 2.0])
    def test_analytic_and_pathwise(self, temperature: float) -> None:
        one = gates((0.2, 0.5, 0.7), temperature=temperature)
        torch.manual_seed(1)
        eps = one.relaxed(20)
        got = torch.autograd.grad(eps.sum(), one.drop_logit)[0]
        eps = eps.detach()
        analytic = -eps * (1 - eps) / temperature
        torch.testing.assert_close(got, analytic.sum(0), rtol=1e-10, atol=0)

        # the implicit form: minus the derivative of the distribution function over the density
        logit = one.drop_logit.detach().requires_grad_()
        change = torch.stack([torch.autograd.grad(
            torch.sigmoid(temperature * torch.logit(row) + logit).sum(), logit)[0] for row in eps
        ])  # fmt: skip
        peer = RelaxedBernoulli(
            torch.tensor(temperature, dtype=torch.float64), logits=-logit.detach()
        )
        implicit = -change / peer.log_prob(eps).exp()
        inside = torch.minimum(eps, 1 - eps) > 1e-9
        torch.testing.assert_close(implicit[inside], analytic[inside], rtol=1e-5, atol=0)

    def test_difference_quotient(self) -> None:
        one = gates((0.2, 0.5, 0.7), temperature=0.5)
        weights = torch.randn(20, 3, dtype=torch.float64)

        def loss(logit: Tensor) -> Tensor:
            torch.manual_seed(1)
            eps = torch.func.functional_call(_Relaxed(one), {"gates.drop_logit": logit}, (20,))
            return (eps * weights).sum()

        assert torch.autograd.gradcheck(loss, one.drop_logit.detach().clone().requires_grad_())

    def test_more_dropping_closes_gates(self) -> None:
        one = gates()
        one.relaxed(100).sum().backward()
        assert one.drop_logit.grad is not None
        assert (one.drop_logit.grad < 0).all()


class _Relaxed(torch.nn.Module):
    def __init__(self, one: FusionGates) -> None:
        super().__init__()
        self.gates = one

    def forward(self, count: int) -> Tensor:
        return self.gates.relaxed(count)


class TestModes:
    def test_each_clip_draws_its_own(self) -> None:
        torch.manual_seed(0)
        values = gates()(CLIP.double())
        assert values.shape == (4, 3, 1, 1, 1, 1)
        assert len(values.flatten(1).unique(dim=0)) == 4
        torch.manual_seed(0)
        assert torch.equal(values.flatten(1), gates().relaxed(4))
        assert gates()(CLIP[0]).shape == (3, 1, 1, 1, 1)

    def test_evaluation_follows_the_strategy_and_draws_nothing(self) -> None:
        one = gates().eval()
        assert one.strategy.tolist() == [True, True, True]
        before = torch.get_rng_state()
        for kept in ([True, False, True], [False, False, False], torch.tensor([0, 1, 0])):
            one.set_strategy(kept)
            values = one(CLIP)
            assert values.shape == (1, 3, 1, 1, 1, 1)
            assert values.flatten().tolist() == [float(k) for k in kept]
            assert torch.equal(values, one(CLIP))
            assert one(CLIP[0]).shape == (3, 1, 1, 1, 1)
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_values_have_the_clip_s_dtype(self, dtype: torch.dtype) -> None:
        for own in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            one = gates(dtype=torch.float32).to(own)
            values = one(CLIP.to(dtype))
            assert values.dtype == dtype
            assert values.isfinite().all()
            assert one.relaxed(2).dtype == torch.promote_types(own, torch.float32)
            assert one.eval()(CLIP.to(dtype)).dtype == dtype

    def test_half_precision_draws_as_float32(self) -> None:
        one = gates(dtype=torch.float32).to(torch.bfloat16)
        wide = copy.deepcopy(one).float()
        torch.manual_seed(0)
        got = one.relaxed(50)
        torch.manual_seed(0)
        assert torch.equal(got, wide.relaxed(50))

    def test_autocast(self) -> None:
        one = gates(dtype=torch.float32)
        torch.manual_seed(0)
        want = one.relaxed(10)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            got = one.relaxed(10)
        assert got.dtype == torch.float32
        assert torch.equal(got, want)


class TestSample:
    def test_frequencies(self) -> None:
        p = (0.1, 0.5, 0.7)
        drawn = gates(p).sample(10_000, generator=torch.Generator().manual_seed(0))
        assert drawn.dtype == torch.bool
        assert drawn.shape == (10_000, 3)
        for count, drop in zip(drawn.sum(0).tolist(), p, strict=True):
            assert abs(count - 10_000 * (1 - drop)) < 4 * math.sqrt(10_000 * drop * (1 - drop))
        both = (drawn[:, 0] & drawn[:, 1]).sum().item()
        assert abs(both - 4500) < 4 * math.sqrt(10_000 * 0.45 * 0.55)

    def test_generator(self) -> None:
        before = torch.get_rng_state()
        first, again, other = (
            gates().sample(50, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(before, torch.get_rng_state())
        gates().sample(1)
        assert not torch.equal(before, torch.get_rng_state())

    def test_certain_units(self) -> None:
        one = gates(dtype=torch.float32)
        with torch.no_grad():
            one.drop_logit.copy_(torch.tensor([-200.0, 0.0, 200.0]))
        drawn = one.sample(1000)
        assert drawn[:, 0].all()
        assert not drawn[:, 2].any()


class TestExtremes:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("logit", [-200.0, -20.0, 0.0, 20.0, 200.0])
    def test_finite(self, monkeypatch: Any, dtype: torch.dtype, logit: float) -> None:
        # the least and the greatest that torch.rand gives, and 1, which rounding might
        bits = 24 if dtype == torch.float32 else 53
        edges = torch.tensor([0.0, 2.0**-bits, 1 - 2.0**-bits, 1.0], dtype=dtype)
        monkeypatch.setattr(torch, "rand", lambda *size, **_: edges[:, None].expand(*size).clone())
        for temperature in (0.01, 0.2, 2.0):
            one = gates(0.5, UNITS, temperature, dtype)
            with torch.no_grad():
                one.drop_logit.fill_(logit)
            eps = one.relaxed(4)
            (eps * 3 + eps.square()).sum().backward()
            assert ((eps >= 0) & (eps <= 1)).all()
            assert (eps.diff(dim=0) >= 0).all()
            assert one.drop_logit.grad is not None
            assert one.drop_logit.grad.isfinite().all()
            if logit == 0:
                assert eps[0, 0] < 1e-3
                assert eps[-1, 0] == 1
            if logit == -200 and dtype == torch.float32:
                assert eps[0, 0] == 1  # a uniform number that rounds to 0 is not one that is 0


class TestProbability:
    def test_set_exactly(self) -> None:
        one = gates()
        assert one.drop_probability().tolist() == pytest.approx([0.1, 0.5, 0.7], rel=1e-15)
        want = [math.log(0.1 / 0.9), 0.0, math.log(0.7 / 0.3)]
        assert one.drop_logit.tolist() == pytest.approx(want, rel=1e-15)
        one.set_drop_probability(0.25)
        assert one.drop_logit.tolist() == pytest.approx([-math.log(3)] * 3, rel=1e-15)
        assert one.keep_probability().tolist() == pytest.approx([0.75] * 3, rel=1e-15)
        one.set_drop_probability([1e-300, 1 - 2**-53, 0.5])
        assert one.drop_logit.tolist() == pytest.approx(
            [-300 * math.log(10), 53 * math.log(2), 0.0]
        )
        assert (one.keep_probability()[1] - 2.0**-53).abs() < 1e-30
        assert one.drop_logit.requires_grad
        assert one.drop_logit.is_leaf

    def test_defaults_are_the_paper_s(self) -> None:
        one = FusionGates(["S"])
        assert one.temperature == 0.2
        assert one.drop_probability().item() == pytest.approx(0.1)

    def test_differentiable(self) -> None:
        one = gates()
        p = one.drop_probability()
        slope = torch.autograd.grad(p.sum(), one.drop_logit)[0]
        torch.testing.assert_close(slope, (p * (1 - p)).detach())
        other = torch.autograd.grad(one.keep_probability().sum(), one.drop_logit)[0]
        torch.testing.assert_close(other, -slope)

    def test_repr(self) -> None:
        assert "S: 0.900, ST: 0.500, S+ST: 0.300, temperature=0.2" in repr(gates())


class TestErrors:
    @pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, -0.1, 1.5, math.nan, math.inf, True])
    def test_probability(self, value: float) -> None:
        one = gates()
        before = one.drop_logit.detach().clone()
        for given in (value, [0.3, value, 0.3]):
            with pytest.raises(
                ValueError, match=f"between 0 and 1, both excluded, got {value}: set a"
            ):
                one.set_drop_probability(given)
            with pytest.raises(ValueError, match=f"excluded, got {value}"):
                FusionGates(UNITS, drop_probability=given)
        assert torch.equal(one.drop_logit, before)

    @pytest.mark.parametrize("value", [[], [0.1], [0.1] * 4])
    def test_number_of_probabilities(self, value: list[float]) -> None:
        text = rf"must be one number or 3 \(S, ST, S\+ST\), got {len(value)}"
        with pytest.raises(ValueError, match=text):
            gates(value)

    @pytest.mark.parametrize("value", [0, 0.0, -1, math.nan, math.inf])
    def test_temperature(self, value: float) -> None:
        one = gates()
        with pytest.raises(
            ValueError, match=f"temperature must be positive and finite, got {value}"
        ):
            one.temperature = value
        assert one.temperature == 0.2
        with pytest.raises(ValueError, match="temperature must be positive"):
            gates(temperature=value)

    @pytest.mark.parametrize("value", [[], [True], [True] * 4, [[True] * 3], True])
    def test_length_of_a_strategy(self, value: Any) -> None:
        one = gates()
        with pytest.raises(ValueError, match=r"must have 3 values \(S, ST, S\+ST\), got shape"):
            one.set_strategy(value)

    @pytest.mark.parametrize("value", [[0, 2, 1], [0.5, 1, 1], [math.nan, 1, 1], [-1, 0, 1]])
    def test_values_of_a_strategy(self, value: list[float]) -> None:
        one = gates()
        one.set_strategy([0.0, 1.0, True])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="must be of zeros and ones, got"):
            one.set_strategy(value)  # type: ignore[arg-type]
        assert one.strategy.tolist() == [False, True, True]
