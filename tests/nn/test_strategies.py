"""Fusion strategies: probabilities, draws, kinds, and networks under them."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_video.nn.fusion import FusionUnit, Silent
from captum_video.nn.gates import gated_modules
from captum_video.nn.strategies import (
    Strategy,
    current_strategy,
    fixed_network,
    most_probable_strategy,
    sample_strategies,
    set_strategy,
)

DROP = {"0": (0.2, 0.7), "2.0": (0.4, 0.9, 0.25)}
UNITS = {"0": ("S", "ST"), "2.0": ("S", "ST", "S+ST")}


def net(drop: Mapping[str, tuple[float, ...]] = DROP) -> nn.Sequential:
    """Two layers, of two and of three gates: 32 strategies."""
    torch.manual_seed(0)
    early = FusionUnit(2, 3, gates="two", drop_probability=drop["0"], dtype=torch.float64)
    late = FusionUnit(3, 2, gates="three", drop_probability=drop["2.0"], dtype=torch.float64)
    return nn.Sequential(early, nn.ReLU(), nn.Sequential(late))


def everything() -> list[dict[str, tuple[bool, ...]]]:
    bits = itertools.product([True, False], repeat=5)
    return [{"0": one[:2], "2.0": one[2:]} for one in bits]


def probability(kept: Mapping[str, tuple[bool, ...]]) -> float:
    return math.prod(
        1 - p if keep else p for layer in DROP for keep, p in zip(kept[layer], DROP[layer], strict=True)
    )  # fmt: skip


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def clip() -> Tensor:
    return torch.randn(2, 2, 4, 5, 5, generator=torch.Generator().manual_seed(1)).double()


class TestProbability:
    def test_all_strategies(self) -> None:
        model = net()
        total = 0.0
        for kept in everything():
            set_strategy(model, kept)
            log = current_strategy(model).log_probability
            assert log == pytest.approx(math.log(probability(kept)), rel=1e-12)
            total += math.exp(log)
        assert total == pytest.approx(1, abs=1e-13)

    def test_most_probable(self) -> None:
        best = max(everything(), key=probability)
        model = net()
        found = most_probable_strategy(model)
        assert dict(found) == best == {"0": (True, False), "2.0": (True, False, True)}
        assert found.log_probability == pytest.approx(math.log(probability(best)), rel=1e-12)
        assert current_strategy(model)["0"] == (True, True)  # it is not set

    def test_one_half_is_kept(self) -> None:
        model = net({"0": (0.5, 0.5), "2.0": (0.5, 0.6, 0.4)})
        assert dict(most_probable_strategy(model)) == {
            "0": (True, True),
            "2.0": (True, False, True),
        }

    def test_certain_units(self) -> None:
        model = net()
        with torch.no_grad():
            model[0].gates.drop_logit.fill_(-1000)  # type: ignore[union-attr, operator]
        assert most_probable_strategy(model).log_probability == pytest.approx(
            math.log(0.6 * 0.9 * 0.75), rel=1e-12
        )
        set_strategy(model, {"0": (False, True), "2.0": (True, True, True)})
        log = current_strategy(model).log_probability
        assert log == pytest.approx(-1000 + math.log(0.6 * 0.1 * 0.75))


class TestSample:
    def test_frequencies(self) -> None:
        count = 4000
        drawn = sample_strategies(net(), count, seed=3)
        assert len(drawn) == count
        found = Counter(tuple(one.kept.items()) for one in drawn)
        chi_square = 0.0
        for kept in everything():
            want = count * probability(kept)
            chi_square += (found[tuple(kept.items())] - want) ** 2 / want
        assert chi_square < 31 + 4 * math.sqrt(2 * 31)
        for one in drawn[:20]:
            assert one.log_probability == pytest.approx(math.log(probability(one)), rel=1e-12)
            assert one.units == UNITS

    def test_seed(self) -> None:
        model = net()
        before, random = state(model), torch.get_rng_state()
        assert sample_strategies(model, 20, seed=1) == sample_strategies(model, 20, seed=1)
        assert sample_strategies(model, 20, seed=1) != sample_strategies(model, 20, seed=2)
        assert sample_strategies(model, 20) == sample_strategies(model, 20, seed=0)
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())

    @pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
    def test_count(self, count: Any) -> None:
        text = f"number of strategies must be a whole number from 1, got {count!r}"
        with pytest.raises(ValueError, match=text):
            sample_strategies(net(), count)


class TestKinds:
    @pytest.mark.parametrize(
        ("kept", "kind"),
        [
            ((1, 0), "s"), ((0, 1), "st"), ((1, 1), "s+st"), ((0, 0), "none"),
            ((1, 0, 0), "s"), ((0, 1, 0), "st"), ((0, 0, 0), "none"), ((1, 1, 0), "s+st"),
            ((0, 0, 1), "s+st"), ((1, 0, 1), "s+st"), ((0, 1, 1), "s+st"), ((1, 1, 1), "s+st"),
        ],
    )  # fmt: skip
    def test_kinds(self, kept: tuple[int, ...], kind: str) -> None:
        values = tuple(bool(k) for k in kept)
        units = ("S", "ST", "S+ST")[: len(kept)]
        assert Strategy({"a": values}, {"a": units}, 0.0).kinds() == {"a": kind}

    def test_text(self) -> None:
        kept = {"a": (True, False), "b": (False, True)}
        one = Strategy(kept, dict.fromkeys(kept, ("S", "ST")), 0.0)
        assert str(one) == "a s | b st"

    @pytest.mark.parametrize(
        ("own", "count", "want"),
        [
            ("s st s+st", 3, "s st s+st"),
            ("s st s+st", 1, "st"),
            ("s st", 1, "st"),  # the middle is as near to both
            ("s st", 4, "s s st st"),
            ("s st s+st", 6, "s s st st s+st s+st"),
            ("s st s+st", 4, "s st st s+st"),  # 1/8, 3/8, 5/8, 7/8 in thirds
            ("s st s+st", 2, "s s+st"),  # 1/4 and 3/4 in thirds
            ("s st s+st s st", 3, "s s+st st"),  # 1/6, 1/2, 5/6 in fifths
            ("none st none", 3, "s st s"),
        ],
    )
    def test_at_depth(self, own: str, count: int, want: str) -> None:
        values = {"s": (True, False), "st": (False, True), "s+st": (True, True)}
        kinds = enumerate(own.split())
        kept = {str(n): values.get(kind, (False, False)) for n, kind in kinds}
        one = Strategy(kept, dict.fromkeys(kept, ("S", "ST")), 0.0)
        assert one.at_depth(count) == tuple(want.split())

    @pytest.mark.parametrize("count", [0, -3])
    def test_depth_error(self, count: int) -> None:
        with pytest.raises(ValueError, match=f"count must be at least 1, got {count}"):
            current_strategy(net()).at_depth(count)


class TestMapping:
    def test_of_layers_in_order(self) -> None:
        one = current_strategy(net())
        assert list(one) == ["0", "2.0"]
        assert len(one) == 2
        assert one["2.0"] == (True, True, True)
        assert "1" not in one
        assert one.units == UNITS

    def test_probability_and_units_do_not_count(self) -> None:
        first, likely = current_strategy(net()), current_strategy(net({**DROP, "0": (0.01, 0.01)}))
        assert first.log_probability != likely.log_probability
        assert first == likely
        assert hash(first) == hash(likely)
        assert len({first, likely}) == 1
        other = Strategy({**first.kept, "0": (True, False)}, first.units, first.log_probability)
        assert first != other
        turned = Strategy({"2.0": first["2.0"], "0": first["0"]}, first.units, 0.0)
        assert first == turned  # as with dicts
        assert hash(first) == hash(turned)

    def test_equals_other_mappings(self) -> None:
        one = current_strategy(net())
        assert one == dict(one)
        assert dict(one) == one
        assert one == MappingProxyType(dict(one))
        assert one != {**one, "0": (True, False)}
        assert one != {"0": one["0"]}
        assert one != tuple(one.items())


class TestSet:
    def test_round_trip(self) -> None:
        model = net().eval()
        answers = []
        for kept in everything():
            set_strategy(model, kept)
            assert dict(current_strategy(model)) == kept
            answers.append(model(clip()))
        for drawn in sample_strategies(model, 5):
            set_strategy(model, drawn)
            assert current_strategy(model) == drawn
            assert torch.equal(model(clip()), answers[everything().index(dict(drawn))])

    @pytest.mark.parametrize(
        ("kept", "text"),
        [
            ({"0": (False, False)}, r"2 layers \(0, 2.0\); missing or unknown: 2.0$"),
            ({}, "missing or unknown: 0, 2.0$"),
            ({"0": (False,) * 2, "2.0": (False,) * 3, "x": (False,)}, "missing or unknown: x$"),
            ({"0": (False,) * 2, "2.0": (False,) * 2}, r"unit of '2.0' \(S, ST, S\+ST\), got 2$"),
            (
                {"0": (False,) * 2, "2.0": (False, 2, False)},
                r"strategy for '2.0' must be of zeros and ones, got \(False, 2, False\)",
            ),
            ({"0": (False,) * 2, "2.0": (False, 0.5, False)}, "must be of zeros and ones, got"),
            ({"0": (False,) * 2, "2.0": (False, math.nan, 1)}, "must be of zeros and ones, got"),
        ],
    )
    def test_errors_change_nothing(self, kept: Any, text: str) -> None:
        model = net()
        with pytest.raises(ValueError, match=text):
            set_strategy(model, kept)
        assert all(all(values) for values in current_strategy(model).values())

    @pytest.mark.parametrize("given", [None, "s", ["s", "st"], [("0", (True, True))]])
    def test_no_mapping(self, given: Any) -> None:
        text = f"strategy must be a Strategy or a mapping .* got {type(given).__name__}"
        with pytest.raises(TypeError, match=text):
            set_strategy(net(), given)

    def test_gates_of_two_layers(self) -> None:
        model = nn.Sequential(FusionUnit(1, 1), nn.Sequential(FusionUnit(1, 1)))
        model[1][0].gates = model[0].gates  # type: ignore[index]
        text = "layers '0' and '1.0' must not have the same gates"
        for call in (most_probable_strategy, current_strategy, lambda m: sample_strategies(m, 1)):
            with pytest.raises(ValueError, match=text):
                call(model)

    def test_a_module_that_is_used_twice_is_one_layer(self) -> None:
        one = FusionUnit(1, 1)
        assert list(current_strategy(nn.Sequential(one, nn.ReLU(), one))) == ["0"]

    def test_no_gates(self) -> None:
        model = nn.Sequential(FusionUnit(1, 1, gates=None))
        text = "must have modules with gates, got Sequential without any: build it with captum_video.nn"
        for call in (
            lambda: sample_strategies(model, 1),
            lambda: most_probable_strategy(model),
            lambda: current_strategy(model),
            lambda: set_strategy(model, {}),
        ):
            with pytest.raises(ValueError, match=text):
                call()


class TestFixedNetwork:
    @pytest.mark.parametrize("kept", everything()[::3])
    def test_nested(self, kept: dict[str, tuple[bool, ...]]) -> None:
        model = net().eval()
        set_strategy(model, kept)
        want = model(clip())
        fixed = fixed_network(copy.deepcopy(model))
        assert not gated_modules(fixed)
        torch.testing.assert_close(fixed(clip()), want, rtol=1e-12, atol=1e-12)
        assert torch.equal(model(clip()), want)
        assert isinstance(fixed[0], Silent) == (not any(kept["0"]))  # type: ignore[index]

    def test_a_shared_module_stays_shared(self) -> None:
        torch.manual_seed(0)
        one = FusionUnit(2, 2, gates="two", dtype=torch.float64)
        model = nn.Sequential(one, nn.ReLU(), one, nn.ModuleDict({"deep": one})["deep"])
        model = nn.Sequential(model, nn.Sequential(one)).eval()
        set_strategy(model, {"0.0": (False, True)})
        want = model(clip())
        assert fixed_network(model) is model
        assert not gated_modules(model)
        assert model[0][0] is model[0][2] is model[0][3] is model[1][0]  # type: ignore[index]
        torch.testing.assert_close(model(clip()), want, rtol=1e-12, atol=1e-12)

    def test_hooks_would_be_lost(self) -> None:
        model = net()
        early, late = model[0], model[2][0]  # type: ignore[index]
        late.spatial.register_forward_hook(lambda *_: None)
        text = "layer '2.0': FusionUnit spatial has forward hooks, which would be lost"
        with pytest.raises(ValueError, match=text):
            fixed_network(model)
        assert list(gated_modules(model).values()) == [early, late]  # nothing is changed

    def test_the_root_itself(self) -> None:
        one = FusionUnit(2, 2, dtype=torch.float64).eval()
        set_strategy(one, {"FusionUnit": (True, False)})
        fixed = fixed_network(one)
        assert fixed is not one
        assert not gated_modules(fixed)
        torch.testing.assert_close(fixed(clip()), one(clip()), rtol=1e-12, atol=1e-12)

    def test_without_gates_nothing_changes(self) -> None:
        model = nn.Sequential(FusionUnit(2, 2, gates=None), nn.ReLU())
        children = list(model.children())
        assert list(fixed_network(model).children()) == children

    def test_what_is_fixed_follows_no_gates_in_training(self) -> None:
        model = net()
        set_strategy(model, {"0": (True, False), "2.0": (False, True, True)})
        want = copy.deepcopy(model).eval()(clip())
        fixed = fixed_network(model)
        assert all(m.training for m in fixed.modules())
        before = torch.get_rng_state()
        torch.testing.assert_close(fixed(clip()), want, rtol=1e-12, atol=1e-12)
        assert torch.equal(before, torch.get_rng_state())
