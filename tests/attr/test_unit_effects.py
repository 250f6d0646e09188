"""The effect of each unit on one decision, against brute force."""

from __future__ import annotations

import copy
import itertools
import threading
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from captum_video import FusionPosterior
from captum_video.nn import FusionUnit, gated_modules, set_strategy
from tests.attr.fusion_nets import SHAPE, Listed, template
from tests.contract.kinds import assert_same, state
from tests.nets import clip


def by_brute_force(
    net: nn.Module, x: Tensor, target: list[int], held: dict[str, tuple[bool, ...]]
) -> Tensor:
    """The effects of S, ST and S+ST, one clip and one switched unit at a time."""
    columns = {"S": ("S",), "ST": ("ST",), "S+ST": ("S", "ST")}
    result = torch.zeros(len(x), len(held), 3, dtype=torch.float64)
    for n, (row, layer) in itertools.product(range(len(x)), enumerate(held)):
        module = gated_modules(net)[layer]
        assert module.gates is not None
        own = module.gates.units
        for column, (unit, parts) in enumerate(columns.items()):
            switched = (unit,) if unit in own else parts
            scores = []
            for value in (True, False):
                changed = dict(held)
                changed[layer] = tuple(
                    value if u in switched else k for u, k in zip(own, held[layer], strict=True)
                )
                twin = copy.deepcopy(net)
                set_strategy(twin, changed)
                scores.append(twin(x[n : n + 1])[0, target[n]].item())
            result[n, row, column] = scores[0] - scores[1]
    return result


class TestAttribute:
    @pytest.mark.parametrize("gates", ["two", "three"])
    @pytest.mark.parametrize("size", [1, 4, 16, None])
    def test_brute_force(self, gates: str, size: int | None) -> None:
        net, x = template(gates), clip(*SHAPE)
        first = (True, False, True)[: 2 if gates == "two" else 3]
        held = {"first": first, "second": tuple(not k for k in first)}
        set_strategy(net, held)
        effects = FusionPosterior(net).attribute(x, [0, 3, 1], internal_batch_size=size)
        assert effects.shape == (3, 2, 3)
        expected = by_brute_force(net, x, [0, 3, 1], held)
        assert (effects - expected).abs().max() < 1e-12
        assert expected.abs().min(0).values.max() > 1e-6

    def test_over_strategies(self) -> None:
        net, x = template(), clip(*SHAPE)
        posterior = FusionPosterior(net)
        strategies = posterior.sample(5, seed=2)
        whole = posterior.attribute(x, 2, strategies=strategies)
        each = torch.stack([by_brute_force(net, x, [2] * 3, dict(s)) for s in strategies])
        assert (whole - each.mean(0)).abs().max() < 1e-12

    def test_unused_unit_has_no_effect(self) -> None:
        net, x = template(), clip(*SHAPE)
        net.second.st.weight.data.zero_()
        effects = FusionPosterior(net).attribute(x, "predicted")
        assert (effects[:, 1, 1] == 0).all()
        # S+ST of that layer is then S
        assert torch.equal(effects[:, 1, 0], effects[:, 1, 2])
        assert (effects[:, 0].abs() > 0).all()

    def test_predicted_is_that_of_the_strategy_held(self) -> None:
        net, x = template(), clip(8, *SHAPE[1:])
        held = {"first": (False, True), "second": (True, False)}
        with torch.no_grad():
            # class 0 scores what all units give, class 1 the middle between that and the strategy
            net.fc.weight.copy_(torch.tensor([1.0, 0, 0, 0])[:, None].expand(4, 4))
            net.fc.bias.zero_()
            everything = net(x)[:, 0]
            set_strategy(net, held)
            middle = (everything + net(x)[:, 0]).mean() / 2
            net.fc.bias[1] = middle
            net.fc.bias[2:] = -100
        predicted = net(x).argmax(1)
        assert (predicted != (everything <= middle)).any()
        posterior = FusionPosterior(net)
        given = posterior.attribute(x, "predicted", internal_batch_size=3)
        assert torch.equal(given, posterior.attribute(x, predicted))
        assert not torch.equal(given, posterior.attribute(x, 1 - predicted))

    def test_batch_is_single(self) -> None:
        net, x = template(), clip(*SHAPE)
        posterior = FusionPosterior(net)
        whole = posterior.attribute(x, [0, 1, 2])
        each = torch.cat([posterior.attribute(x[i : i + 1], i) for i in range(3)])
        assert (whole - each).abs().max() <= 1e-10 * whole.abs().max()

    def test_additional_arguments_follow_their_example(self) -> None:
        net, x = template(), clip(*SHAPE)
        posterior = FusionPosterior(net)
        plain = posterior.attribute(x, 1)
        factor = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
        given = posterior.attribute(x, 1, (factor, 5.0), internal_batch_size=4)
        assert torch.allclose(given, plain * factor[:, None, None], rtol=0, atol=1e-12)

    def test_no_trace(self) -> None:
        net, x = template(), clip(*SHAPE)
        for number, parameter in enumerate(net.parameters()):
            parameter.grad = torch.full_like(parameter, float(number))
        before, given = state(net), x.clone()
        effects = FusionPosterior(net).attribute(x.requires_grad_(), target=1)
        assert_same(before, state(net))
        assert torch.equal(x, given)
        assert x.grad is None
        assert not effects.requires_grad
        assert torch.equal(effects, FusionPosterior(net).attribute(x, target=1))
        with pytest.raises(ValueError, match="target 4 does not fit"):
            FusionPosterior(net).attribute(x, target=4)
        assert_same(before, state(net))
        assert torch.equal(net(x), net(x))

    def test_two_threads(self) -> None:
        net = template()
        clips = [clip(*SHAPE, seed=s) for s in range(2)]
        posterior = FusionPosterior(net)
        expected = [posterior.attribute(x, 1) for x in clips]
        plain = net(clips[0])
        results: list[list[Tensor]] = [[], []]

        def work(number: int) -> None:
            for _ in range(5):
                results[number].append(posterior.attribute(clips[number], 1))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert torch.equal(net(clips[0]), plain)  # the strategy held is not theirs
        for number, values in enumerate(results):
            assert len(values) == 5
            assert all(torch.equal(v, expected[number]) for v in values)

    def test_dtype(self) -> None:
        net, x = template().float(), clip(*SHAPE, dtype=torch.float32)
        assert FusionPosterior(net).attribute(x, 1).dtype == torch.float32
        half = FusionPosterior(net.bfloat16()).attribute(x.bfloat16(), 1)
        assert half.dtype == torch.bfloat16
        assert half.isfinite().all()

    def test_captum_base(self) -> None:
        posterior = FusionPosterior(template())
        assert isinstance(posterior, Attribution)
        assert callable(posterior.attribute.__wrapped__)

    def test_training_mode(self) -> None:
        net = nn.Sequential(FusionUnit(2, 3), nn.BatchNorm3d(3), nn.Flatten()).double()
        with pytest.raises(RuntimeError, match="BatchNorm3d '1' is in training mode"):
            FusionPosterior(net).attribute(clip(*SHAPE), 0)
        # no gate is drawn, even where modules are in training mode
        harmless, x = template().train(), clip(*SHAPE)
        with pytest.warns(UserWarning, match=r"in training mode; call model.eval\(\)"):
            drawn = FusionPosterior(harmless).attribute(x, 1)
        expected = FusionPosterior(harmless.eval()).attribute(x, 1)
        assert torch.allclose(drawn, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("given", "error", "text"),
        [
            (clip(*SHAPE).mul(9).long(), TypeError, "floating-point dtype, got torch.int64"),
            (clip(*SHAPE)[:0], ValueError, "non-empty batch"),
            (clip(*SHAPE) / 0, ValueError, "NaN or infinite"),
            ([1.0], TypeError, "inputs must be a tensor, got list"),
        ],
    )
    def test_bad_input(self, given: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            FusionPosterior(template()).attribute(given, 1)

    def test_views_in_the_batch(self) -> None:
        class Views(nn.Module):
            """Scores two views of each clip, folded into the batch."""

            def __init__(self) -> None:
                super().__init__()
                self.net = template()

            def forward(self, x: Tensor) -> Tensor:
                return self.net(torch.stack([x, x.flip(2)], 1).flatten(0, 1)).view(-1, 2, 4).mean(1)

        net, x = Views().eval(), clip(*SHAPE)
        one = FusionPosterior(net).attribute(x, 1, internal_batch_size=1)
        both = [FusionPosterior(net.net).attribute(view, 1) for view in (x, x.flip(2))]
        assert torch.allclose(one, (both[0] + both[1]) / 2, rtol=0, atol=1e-12)
        with pytest.raises(ValueError, match=r"for 16 clips, .* sees 32: .*internal_batch_size=1"):
            FusionPosterior(net).attribute(x, 1)

    def test_bad_options(self) -> None:
        posterior, x = FusionPosterior(template()), clip(*SHAPE)
        with pytest.raises(ValueError, match="strategies must be at least one, got none"):
            posterior.attribute(x, 1, strategies=[])
        wrong = {"first": (True, True, True), "second": (True, True)}
        with pytest.raises(ValueError, match=r"each unit of 'first' \(S, ST\), got 3"):
            posterior.attribute(x, 1, strategies=[wrong])
        with pytest.raises(ValueError, match="internal_batch_size must be a positive integer"):
            posterior.attribute(x, 1, internal_batch_size=0)
        for short in ([0, 1], torch.tensor([0, 1])):
            with pytest.raises(ValueError, match="each of the 3 examples, got 2"):
                posterior.attribute(x, short, internal_batch_size=2)
        with pytest.raises(ValueError, match="target is needed: the model gives 4 outputs"):
            posterior.attribute(x)
        for target in (1, "predicted"):
            with pytest.raises(TypeError, match="must return one tensor, got list"):
                FusionPosterior(Listed(template()).eval()).attribute(x, target)
