from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video import DeepTaylor, normalized_range
from captum_video.relevance import AlphaBeta, Epsilon, Flat, WSquare, ZBeta
from captum_video.relevance.settings import Context
from tests.nets import C3DLike, Residual, TwoStream, clip, seeded


def by_hand() -> nn.Sequential:
    """Two inputs, two hidden units, one output, small integers."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
    first, last = net[0], net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 1.0]]))
        first.bias.copy_(torch.tensor([1.0, 0.0]))
        last.weight.copy_(torch.tensor([[3.0, -1.0]]))
        last.bias.copy_(torch.tensor([2.0]))
    return net


class TestByHand:
    """x = (2, 1): hidden (2 - 1 + 1, 4 + 1) = (2, 5), score 6 - 5 + 2 = 3."""

    x = torch.tensor([[2.0, 1.0]], dtype=torch.float64)

    @staticmethod
    def explained(**options: Any) -> list[float]:
        method = DeepTaylor(by_hand(), rules={"first": AlphaBeta(1, 0)}, **options)
        return method.attribute(TestByHand.x).flatten().tolist()

    def test_alpha1_beta0_absorb(self) -> None:
        # hidden: 6 / (6 + 2) * 3 = 9/4 and nothing; input: 2 / (2 + 1) of it
        assert self.explained() == pytest.approx([1.5, 0.0])

    def test_alpha1_beta0_ignore(self) -> None:
        # the bias takes nothing: all 3 to the first hidden unit, all of that to the first input
        assert self.explained(bias="ignore") == pytest.approx([3.0, 0.0])

    def test_alpha2_beta1_ignore(self) -> None:
        # hidden: 2 * 3 and -1 * 3; the second unit gives 4/5 and 1/5 of its -3
        assert self.explained(alpha=2, beta=1, bias="ignore") == pytest.approx([6 - 2.4, -0.6])

    def test_seed_one(self) -> None:
        assert self.explained(seed="one") == pytest.approx([0.5, 0.0])

    def test_w_square_first(self) -> None:
        # 9/4 at the first hidden unit, weights (1, -1): halves
        relevance = DeepTaylor(by_hand()).attribute(self.x)
        assert relevance.flatten().tolist() == pytest.approx([1.125, 1.125])

    def test_z_beta_first(self) -> None:
        # range (0, 4): shares 2 * 1 - 0 and 1 * -1 - 4 * -1 = 3
        relevance = DeepTaylor(by_hand(), input_range=(0, 4)).attribute(self.x)
        assert relevance.flatten().tolist() == pytest.approx([2.25 * 2 / 5, 2.25 * 3 / 5])

    def test_flat_and_epsilon(self) -> None:
        flat = DeepTaylor(by_hand(), rules={"first": Flat()}).attribute(self.x)
        assert flat.flatten().tolist() == pytest.approx([1.125, 1.125])
        # z_j = 2 with bias 1: contributions 2 and -1
        exact = DeepTaylor(by_hand(), rules={"first": Epsilon(0.0)}).attribute(self.x)
        assert exact.flatten().tolist() == pytest.approx([2.25, -1.125])


class TestTargets:
    net = seeded(C3DLike())
    x = clip(3, 3, 4, 8, 8)

    def test_forms_agree(self) -> None:
        method = DeepTaylor(self.net, input_range=(0, 1))
        each = torch.cat(
            [method.attribute(self.x[i : i + 1], target=t) for i, t in enumerate((1, 4, 0))]
        )
        scale = each.abs().max()
        forms: list[Any] = [[1, 4, 0], torch.tensor([1, 4, 0]), [(1,), (4,), (0,)]]
        for target in forms:
            given = method.attribute(self.x, target=target)
            assert (given - each).abs().max() <= 1e-10 * scale
        one = method.attribute(self.x, target=2)
        forms = [torch.tensor(2), torch.tensor([2]), (2,)]
        for target in forms:
            assert torch.equal(method.attribute(self.x, target=target), one)

    def test_predicted(self) -> None:
        method = DeepTaylor(self.net, input_range=(0, 1))
        classes = self.net(self.x).argmax(1)
        assert torch.equal(
            method.attribute(self.x, target="predicted"), method.attribute(self.x, target=classes)
        )

    def test_target_of_a_map(self) -> None:
        net = seeded(nn.Conv3d(3, 2, 3, padding=1))
        relevance = DeepTaylor(net, bias="ignore", seed="one").attribute(
            self.x, target=(1, 2, 4, 4)
        )
        assert torch.allclose(relevance.sum((1, 2, 3, 4)), torch.ones(3, dtype=torch.float64))
        assert relevance[..., 7].abs().max() == 0  # out of the unit's sight
        assert relevance[:, :, 1:4, 3:6, 3:6].abs().min() > 0

    @pytest.mark.parametrize("target", [5, -6, (1, 2), [0, 1], torch.tensor([0, 1]), [0, 1, 9]])
    def test_misfits(self, target: Any) -> None:
        with pytest.raises(ValueError, match=r"target .* does not fit an output of shape \(3, 5\)"):
            DeepTaylor(self.net).attribute(self.x, target=target)

    def test_missing_and_unknown(self) -> None:
        with pytest.raises(ValueError, match="target is needed: the model gives 5 outputs"):
            DeepTaylor(self.net).attribute(self.x)
        with pytest.raises(ValueError, match=r"got 'predict'. Did you mean 'predicted'"):
            DeepTaylor(self.net).attribute(self.x, target="predict")
        net = seeded(nn.Conv3d(3, 2, 3))
        with pytest.raises(ValueError, match=r"needs an output \(N, classes\), got shape \(3, 2"):
            DeepTaylor(net).attribute(self.x, target="predicted")

    def test_single_output_needs_none(self) -> None:
        net = seeded(C3DLike(classes=1))
        method = DeepTaylor(net)
        assert torch.equal(method.attribute(self.x), method.attribute(self.x, target=0))


class TestConvergenceDelta:
    @pytest.mark.parametrize("options", [{}, {"alpha": 2, "beta": 1}])
    @pytest.mark.parametrize("kind", [C3DLike, Residual])
    def test_is_what_biases_kept(self, kind: type[nn.Module], options: dict[str, float]) -> None:
        net, x = seeded(kind()), clip(2, 3, 4, 8, 8)
        method = DeepTaylor(net, input_range=(0, 1), **options)  # type: ignore[arg-type]
        relevance, delta = method.attribute(x, target=1, return_convergence_delta=True)
        score = net(x)[:, 1]
        assert torch.allclose(relevance.flatten(1).sum(1) + delta, score)
        context = Context(method.settings)
        method._relevance((x,), 1, None, context)
        assert context.absorbed == pytest.approx(delta.sum().item(), rel=1e-9)
        assert abs(context.absorbed) > 1e-3 * score.abs().sum().item()

    def test_is_zero_when_biases_are_ignored(self) -> None:
        net, x = seeded(Residual()), clip(2, 3, 4, 8, 8)
        method = DeepTaylor(net, input_range=(0, 1), bias="ignore")
        _, delta = method.attribute(x, target=1, return_convergence_delta=True)
        assert delta.abs().max() < 1e-10
        assert method.has_convergence_delta()
        assert method.multiplies_by_inputs


class TestInputs:
    def test_several_inputs_with_their_own_ranges(self) -> None:
        net = seeded(TwoStream())
        rgb, flow = clip(2, 3, 4, 8, 8), clip(2, 2, 4, 8, 8, seed=1) * 2 - 1
        ranges = ((0.0, 1.0), (-1.0, 1.0))
        method = DeepTaylor(net, input_range=ranges, bias="ignore", seed="one")
        first, second = method.attribute((rgb, flow), target=3)
        assert first.shape == rgb.shape
        assert second.shape == flow.shape
        total = first.flatten(1).sum(1) + second.flatten(1).sum(1)
        assert torch.allclose(total, torch.ones(2, dtype=torch.float64))
        # a stream keeps its relevance when the other stream's range changes
        other = DeepTaylor(net, input_range=((0, 1), (-3, 3)), bias="ignore", seed="one")
        again, changed = other.attribute((rgb, flow), target=3)
        assert torch.equal(again, first)
        assert not torch.allclose(changed, second)
        only = DeepTaylor(net, input_range=((0, 1), None)).attribute((rgb, flow), target=3)
        assert len(only) == 2

    def test_additional_arguments_are_not_explained(self) -> None:
        net = seeded(TwoStream())
        pair = clip(2, 3, 4, 8, 8), clip(2, 2, 4, 8, 8, seed=1)
        gain = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
        plain = DeepTaylor(net).attribute(pair, target=0)
        scaled = DeepTaylor(net).attribute(pair, target=0, additional_forward_args=gain)
        for a, b in zip(plain, scaled, strict=True):
            assert torch.allclose(a * gain.view(2, 1, 1, 1, 1), b)

    @pytest.mark.parametrize(
        ("layers", "shape"),
        [
            (
                nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)),
                (2, 3, 8, 8),
            ),
            (
                nn.Sequential(nn.Conv1d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)),
                (2, 5, 8),
            ),
            (nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2)), (2, 7)),
        ],
    )
    def test_any_rank(self, layers: list[nn.Module], shape: tuple[int, ...]) -> None:
        net = seeded(nn.Sequential(*layers))
        method = DeepTaylor(net, bias="ignore", seed="one", input_range=(0, 1))
        relevance = method.attribute(clip(*shape), target=1)
        assert relevance.shape == shape
        assert torch.allclose(relevance.flatten(1).sum(1), torch.ones(2, dtype=torch.float64))

    def test_dtypes(self) -> None:
        x = clip(2, 3, 4, 8, 8)
        exact = DeepTaylor(seeded(Residual()), input_range=(0, 1)).attribute(x, target=1)
        for dtype, within in ((torch.float32, 1e-4), (torch.bfloat16, 0.15)):
            net = seeded(Residual(), dtype=dtype)
            relevance = DeepTaylor(net, input_range=(0, 1)).attribute(x.to(dtype), target=1)
            assert relevance.dtype == dtype
            difference = (relevance.double() - exact).abs().sum() / exact.abs().sum()
            assert difference < within


class TestRange:
    net = seeded(C3DLike())
    x = clip(2, 3, 4, 8, 8)

    def explained(self, given: Any, x: Tensor | None = None) -> Tensor:
        return DeepTaylor(self.net, input_range=given).attribute(
            self.x if x is None else x, target=1
        )

    def test_forms_agree(self) -> None:
        channels = torch.zeros(3), torch.ones(3)
        assert torch.equal(self.explained((0, 1)), self.explained(channels))
        assert torch.equal(self.explained((0, 1)), self.explained(([0, 0, 0], [1, 1, 1])))
        laid = torch.zeros(1, 3, 1, 1, 1), torch.ones(1, 3, 1, 1, 1)
        assert torch.equal(self.explained((0, 1)), self.explained(laid))
        assert not torch.allclose(self.explained((0, 1)), self.explained((0, [1, 2, 3])))

    def test_normalisation_inside_the_model(self) -> None:
        """The range follows an ``(x - mean) / std`` that the model does itself."""
        mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, -0.3, 0.25])
        mean, std = (v.double().view(1, 3, 1, 1, 1) for v in (mean, std))

        def inside(x: Tensor) -> Tensor:
            return self.net((x - mean) / std)

        within = DeepTaylor(inside, input_range=(0, 1)).attribute(self.x, target=1)
        low, high = -mean / std, (1 - mean) / std
        bounds = torch.minimum(low, high), torch.maximum(low, high)
        outside = DeepTaylor(self.net, input_range=bounds).attribute(
            (self.x - mean) / std, target=1
        )
        assert torch.allclose(within, outside)

    def test_helper(self) -> None:
        low, high = normalized_range([0.5, 0.4], [0.5, 0.2])
        assert low.tolist() == pytest.approx([-1.0, -2.0])
        assert high.tolist() == pytest.approx([1.0, 3.0])
        assert [b.item() for b in normalized_range(128, 2, high=255)] == [-64.0, 63.5]
        with pytest.raises(ValueError, match="std must be positive, got 0"):
            normalized_range(0, 0)
        with pytest.raises(ValueError, match="low must not exceed high, got low=2 and high=1"):
            normalized_range(0, 1, low=2)

    def test_too_narrow_warns_and_widens(self) -> None:
        x = self.x.clone()
        x[1, 0, 0, 0, 0] = 1.5
        with pytest.warns(UserWarning, match=r"inputs reaches from .* to 1.5, outside input_range"):
            widened = self.explained((0, 1), x)
        assert torch.equal(widened[0], self.explained((0, 1))[0])  # the other example keeps its own
        wide = torch.ones(2, 3, 1, 1, 1, dtype=torch.float64)
        wide[1] = 1.5
        assert torch.allclose(widened, self.explained((0, wide), x))

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ((1, 0), "low < high everywhere"),
            ((0, float("inf")), "must be finite"),
            ((0, 1, 2), r"must be a pair \(low, high\)"),
            (([0, 0], [1, 1]), r"shape \(2,\) does not fit an input of shape \(2, 3, 4, 8, 8\)"),
        ],
    )
    def test_misfits(self, given: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            self.explained(given)

    def test_one_for_each_input(self) -> None:
        method = DeepTaylor(seeded(TwoStream()), input_range=(0, 1))
        with pytest.raises(ValueError, match=r"one .* pair for each of the 2 inputs"):
            method.attribute((clip(1, 3, 4, 8, 8), clip(1, 2, 4, 8, 8)), target=0)


class TestRules:
    net = seeded(C3DLike())
    x = clip(1, 3, 4, 8, 8)

    def explained(self, rules: Any = None, **options: Any) -> Tensor:
        return DeepTaylor(self.net, rules=rules, **options).attribute(self.x, target=1)

    def test_every_key_finds_its_layer(self) -> None:
        plain = self.explained()
        by_name = self.explained({"features.3": Epsilon()})
        assert not torch.allclose(by_name, plain)
        assert torch.equal(self.explained({"first": WSquare()}), plain)
        assert torch.equal(
            self.explained({"features.0": ZBeta(0, 1)}), self.explained(input_range=(0, 1))
        )
        # a type leaves the first layer to "first"; an enclosing module counts, an inner one wins
        assert torch.equal(self.explained({nn.Conv3d: Epsilon()}), by_name)
        nested = {"features": Flat(), "features.3": Epsilon(), "features.0": WSquare()}
        with pytest.raises(ValueError, match="no weighted operation runs in 'features'"):
            self.explained(nested)
        outer = self.explained({"head": Epsilon()})
        assert torch.equal(outer, self.explained({nn.Linear: Epsilon()}))

    def test_rules_stay_after_a_call(self) -> None:
        method = DeepTaylor(self.net, rules={"features.3": Epsilon()})
        assert torch.equal(method.attribute(self.x, target=1), method.attribute(self.x, target=1))

    def test_mistakes(self) -> None:
        with pytest.raises(ValueError, match=r"no module 'feature.3'. Did you mean 'features.3'"):
            self.explained({"feature.3": Epsilon()})
        with pytest.raises(TypeError, match=r"rules\['first'\] must be a Rule"):
            self.explained({"first": "epsilon"})
        with pytest.raises(TypeError, match="module names or module types, got 3"):
            self.explained({3: Epsilon()})
        with pytest.raises(ValueError, match="no weighted operation runs in ReLU"):
            self.explained({nn.ReLU: Epsilon()})
        with pytest.raises(ValueError, match=r"ZBeta\(\) outside the first layer"):
            self.explained({"features.3": ZBeta()})

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"alpha": 2}, "alpha - beta = 1"),
            ({"alpha": 0, "beta": -1}, "beta >= 0"),
            ({"bias": "drop"}, "bias must be 'absorb' or 'ignore', got 'drop'"),
            ({"seed": "two"}, "seed must be 'one' or 'score', got 'two'"),
            ({"average": "x"}, "average must be 'proportional' or 'uniform', got 'x'"),
        ],
    )
    def test_choices(self, options: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            self.explained(**options)
        with pytest.raises(TypeError, match="model must be callable, got int"):
            DeepTaylor(3)  # type: ignore[arg-type]
