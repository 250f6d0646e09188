"""The divergence of the gates' posterior from its prior: values, gradients, minima."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from captum_video.nn.fusion import FusionUnit
from captum_video.nn.gates import FusionGates, GatedModule, fusion_regularizer


class Toy(GatedModule):
    """Units with given weights, and nothing else."""

    def __init__(self, p: Sequence[float], *weights: Sequence[float]) -> None:
        super().__init__()
        self.gates = FusionGates(
            [f"unit{i}" for i in range(len(p))], drop_probability=p, dtype=torch.float64
        )
        self.weights = nn.ParameterList(torch.tensor(w, dtype=torch.float64) for w in weights)

    def weights_of(self, unit: str) -> tuple[Tensor, ...]:
        return (self.weights[int(unit.removeprefix("unit"))],)

    def fixed(self, kept: Sequence[bool]) -> nn.Module:
        raise NotImplementedError


def unit(kind: str, p: float | Sequence[float] = 0.25) -> FusionUnit:
    """One channel; the squares sum up to 4 for S, 6 for ST and 3 for S+ST."""
    one = FusionUnit(1, 1, gates=kind, drop_probability=p, dtype=torch.float64)  # type: ignore[arg-type]
    kernels = [(one.s, [2.0]), (one.st, [1.0, 2.0, -1.0])]
    if one.both is not None:
        kernels += [(one.both[0], [-1.0]), (one.both[1], [0.0, 1.0, 1.0])]  # type: ignore[list-item]
    with torch.no_grad():
        for conv, taps in kernels:
            conv.weight.copy_(torch.tensor(taps).view_as(conv.weight))
    return one


def negative_entropy(p: float) -> float:
    return p * math.log(p) + (1 - p) * math.log(1 - p)


class TestValue:
    def test_two_gates_by_hand(self) -> None:
        # 3/4 * 2^2 / 2 * (4 + 6) = 15
        want = (15 + 2 * (math.log(1 / 4) / 4 + 3 * math.log(3 / 4) / 4)) / 10
        got = fusion_regularizer(unit("two"), 10, length_scale=2)
        assert got.shape == ()
        assert got.item() == pytest.approx(want, rel=1e-14)

    def test_three_gates_by_hand(self) -> None:
        # 3/4 * 2^2 / 2 * (4 + 6 + 3) = 19.5
        want = (19.5 + 3 * (math.log(1 / 4) / 4 + 3 * math.log(3 / 4) / 4)) / 10
        got = fusion_regularizer(unit("three"), 10, length_scale=2)
        assert got.item() == pytest.approx(want, rel=1e-14)

    def test_each_unit_has_its_own_probability(self) -> None:
        p = (1 / 2, 1 / 4, 1 / 8)
        want = 4 / 4 + 6 * 3 / 8 + 3 * 7 / 16 + sum(negative_entropy(one) for one in p)
        assert fusion_regularizer(unit("three", p), 1).item() == pytest.approx(want, rel=1e-14)

    def test_the_shared_kernel_does_not_count(self) -> None:
        one = unit("two")
        want = fusion_regularizer(one, 3).item()
        with torch.no_grad():
            one.spatial.weight.mul_(7)
        value = fusion_regularizer(one, 3)
        assert value.item() == want
        value.backward()
        assert one.spatial.weight.grad is None

    def test_sums_over_modules(self) -> None:
        first, second = unit("two", 0.3), unit("three", 0.6)
        model = nn.Sequential(first, nn.ReLU(), nn.Sequential(second, FusionUnit(1, 1, gates=None)))
        want = fusion_regularizer(first, 5) + fusion_regularizer(second, 5)
        torch.testing.assert_close(fusion_regularizer(model, 5), want, rtol=1e-14, atol=0)

    def test_a_module_that_is_used_twice_counts_once(self) -> None:
        one = unit("two")
        model = nn.Sequential(one, nn.ReLU(), one, nn.Sequential(one))
        assert torch.equal(fusion_regularizer(model, 5), fusion_regularizer(one, 5))

    def test_length_scales_by_name(self) -> None:
        first, second = unit("two"), unit("three")
        model = nn.ModuleDict({"early": first, "late": nn.Sequential(second)})
        got = fusion_regularizer(model, 4, length_scale={"early": 0.5, "late.0": 3, "unused": 1})
        want = fusion_regularizer(first, 4, length_scale=0.5)
        want = want + fusion_regularizer(second, 4, length_scale=3)
        torch.testing.assert_close(got, want, rtol=1e-14, atol=0)

    def test_no_length_scale_leaves_the_entropy(self) -> None:
        got = fusion_regularizer(unit("two", (0.2, 0.9)), 1, length_scale=0)
        assert got.item() == pytest.approx(negative_entropy(0.2) + negative_entropy(0.9), rel=1e-14)

    def test_either_mode(self) -> None:
        one = unit("two")
        one.train()
        want = fusion_regularizer(one, 3)
        state = torch.get_rng_state()
        assert torch.equal(fusion_regularizer(one.eval(), 3), want)
        assert torch.equal(state, torch.get_rng_state())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_summed_in_float32(self, dtype: torch.dtype) -> None:
        one = unit("three").to(dtype)
        with torch.no_grad():
            one.s.weight.fill_(300.0)  # its square is beyond float16
        value = fusion_regularizer(one, 7)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, fusion_regularizer(one.float(), 7))
        assert value.isfinite()


class TestGradient:
    @pytest.mark.parametrize("p", [1e-6, 0.1, 0.25, 0.5, 0.9, 1 - 1e-6])
    def test_closed_form(self, p: float) -> None:
        k, samples = 1.5, 8
        one = unit("three", p)
        assert one.gates is not None
        fusion_regularizer(one, samples, length_scale=k).backward()
        grad = one.gates.drop_logit.grad
        assert grad is not None
        for got, squares in zip(grad.tolist(), (4, 6, 3), strict=True):
            by_p = (-(k**2) / 2 * squares + math.log(p) - math.log1p(-p)) / samples
            assert got == pytest.approx(by_p * p * (1 - p), rel=1e-9)
            without_the_second_entropy = (-(k**2) / 2 * squares + math.log(p) + 1) / samples
            assert got != pytest.approx(without_the_second_entropy * p * (1 - p), rel=1e-2)
        for conv in (one.s, one.st, *(one.both or ())):
            want = (1 - p) * k**2 * conv.weight / samples
            torch.testing.assert_close(conv.weight.grad, want, rtol=1e-9, atol=0)

    def test_gradcheck(self) -> None:
        model = Toy([0.2, 0.7], [1.0, 2.0], [0.5])
        assert model.gates is not None

        def loss(logit: Tensor, weight: Tensor) -> Tensor:
            state = {"model.gates.drop_logit": logit, "model.weights.0": weight}
            return torch.func.functional_call(_Regularized(model), state, ())

        inputs = (model.gates.drop_logit, model.weights[0])
        assert torch.autograd.gradcheck(
            loss, tuple(v.detach().clone().requires_grad_() for v in inputs)
        )

    @pytest.mark.parametrize("logit", [1e4, -1e4, 100.0, -100.0, 30.0, -30.0])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_extremes(self, logit: float, dtype: torch.dtype) -> None:
        one = unit("two").to(dtype)
        assert one.gates is not None
        with torch.no_grad():
            one.gates.drop_logit.fill_(logit)
        value = fusion_regularizer(one, 1, length_scale=2)
        value.backward()
        assert one.gates.drop_logit.grad is not None
        assert one.gates.drop_logit.grad.isfinite().all()
        # all kept: 4 / 2 * (4 + 6); all dropped: nothing
        assert value.item() == pytest.approx(20.0 if logit < 0 else 0.0, abs=1e-9)


class _Regularized(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self) -> Tensor:
        return fusion_regularizer(self.model, 3, length_scale=2)


class TestDivergence:
    """Two narrow Gaussians at 0 and w, of weights p and 1 - p, against N(0, 1 / k^2)."""

    @staticmethod
    def numeric(p: float, w: float, k: float, sigma: float) -> float:
        x = torch.linspace(-20 * sigma, w + 20 * sigma, 200_001, dtype=torch.float64)

        def log_normal(mean: float, std: float) -> Tensor:
            return -(((x - mean) / std) ** 2) / 2 - math.log(std * math.sqrt(2 * math.pi))

        parts = [math.log(p) + log_normal(0, sigma), math.log(1 - p) + log_normal(w, sigma)]
        log_q = torch.stack(parts).logsumexp(0)
        return torch.trapezoid(log_q.exp() * (log_q - log_normal(0, 1 / k)), x).item()

    @pytest.mark.parametrize(
        ("first", "second"),
        [((0.1, 1.0), (0.6, 1.0)), ((0.3, 0.5), (0.3, 2.0)), ((0.05, 0.5), (0.9, 1.5))],
    )
    def test_differences(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        k, sigma = 1.7, 0.01

        def change(divergence: Callable[[float, float], float]) -> float:
            return divergence(*second) - divergence(*first)

        got = change(lambda p, w: fusion_regularizer(Toy([p], [w]), 1, length_scale=k).item())
        want = change(lambda p, w: self.numeric(p, w, k, sigma))
        assert got == pytest.approx(want, abs=1e-8)
        # the constant that is left out: k^2 sigma^2 / 2 - log(k sigma) - 1/2
        p, w = first
        constant = (k * sigma) ** 2 / 2 - math.log(k * sigma) - 0.5
        value = fusion_regularizer(Toy([p], [w]), 1, length_scale=k).item()
        assert value + constant == pytest.approx(self.numeric(p, w, k, sigma), abs=1e-8)


class TestMinimum:
    @pytest.mark.parametrize(("weight", "k"), [(0.0, 3.0), (1.0, 1.0), (1.5, 2.0), (2.0, 0.0)])
    def test_where_the_price_is_the_logit(self, weight: float, k: float) -> None:
        price = k**2 * weight**2 / 2  # zero weights settle at p = 1/2
        model = Toy([0.5], [weight])
        assert model.gates is not None
        values = []
        for logit in (price - 0.1, price, price + 0.1):
            with torch.no_grad():
                model.gates.drop_logit.fill_(logit)
            model.zero_grad()
            value = fusion_regularizer(model, 1, length_scale=k)
            value.backward()
            values.append(value.item())
            assert model.gates.drop_logit.grad is not None
            slope = model.gates.drop_logit.grad.item()
            assert math.copysign(float(abs(slope) > 1e-12), slope) == (logit > price) - (
                logit < price
            )
        assert values[1] < min(values[0], values[2])

    def test_descent_finds_it(self) -> None:
        model = Toy([0.1, 0.1], [1.0, 1.0], [0.0])  # prices 1 and 0
        assert model.gates is not None
        optimizer = torch.optim.SGD([model.gates.drop_logit], lr=2.0)
        for _ in range(100):
            optimizer.zero_grad()
            fusion_regularizer(model, 1).backward()
            optimizer.step()
        assert model.gates.drop_logit.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


class TestErrors:
    @pytest.mark.parametrize("model", [nn.Linear(2, 2), FusionUnit(1, 1, gates=None)])
    def test_no_gates(self, model: nn.Module) -> None:
        name = type(model).__name__
        with pytest.raises(
            ValueError, match=f"must have modules with gates, got {name} without any"
        ):
            fusion_regularizer(model, 1)

    def test_gates_of_two_layers(self) -> None:
        """Their entropy would count twice, though it is drawn once."""
        model = nn.Sequential(unit("two"), unit("two"))
        model[1].gates = model[0].gates
        with pytest.raises(ValueError, match="layers '0' and '1' must not have the same gates"):
            fusion_regularizer(model, 1)

    @pytest.mark.parametrize("samples", [0, -1, 0.5, math.nan, True, False])
    def test_samples(self, samples: int) -> None:
        with pytest.raises(ValueError, match=f"samples must be at least 1, got {samples}"):
            fusion_regularizer(unit("two"), samples)

    @pytest.mark.parametrize("k", [-1.0, math.nan, math.inf])
    def test_length_scale(self, k: float) -> None:
        for given in (k, {"0": k}):
            text = f"length_scale must not be negative or infinite, got {k}"
            with pytest.raises(ValueError, match=text):
                fusion_regularizer(nn.Sequential(unit("two")), 1, length_scale=given)

    @pytest.mark.parametrize("given", [{}, {"1": 2.0}])
    def test_missing_length_scale(self, given: Mapping[str, float]) -> None:
        with pytest.raises(ValueError, match="length_scale must have a number for '0', got none"):
            fusion_regularizer(nn.Sequential(unit("two")), 1, length_scale=given)

    @pytest.mark.parametrize("logit", [math.inf, -math.inf, math.nan])
    def test_probability(self, logit: float) -> None:
        one = unit("two")
        assert one.gates is not None
        with torch.no_grad():
            one.gates.drop_logit[1] = logit
        p = torch.tensor(logit).sigmoid().item()
        text = (
            rf"probabilities of '0' must be between 0 and 1, both excluded, got \[0\.25\d*, {p}\]"
        )
        with pytest.raises(ValueError, match=text):
            fusion_regularizer(nn.Sequential(one), 1)
