"""The readout of fusion units: hand-computed probabilities, effects by brute force, exports."""

from __future__ import annotations

import copy
import csv
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from captum_video import FusionPosterior
from captum_video.attr import FusionReadout
from captum_video.nn import FusionGates, FusionUnit, gated_modules, set_strategy
from captum_video.nn.strategies import current_strategy
from tests.attr.fusion_nets import SHAPE, Listed, Template, template
from tests.contract.kinds import assert_same, state
from tests.nets import C3DLike, clip, seeded


class TestRead:
    def test_two_gates(self) -> None:
        readout = FusionPosterior(template()).read()
        expected = torch.tensor([[0.75, 0.5, 0.375], [0.2, 0.6, 0.12]], dtype=torch.float64)
        assert torch.allclose(readout.probability, expected, atol=1e-12)
        assert torch.allclose(readout.time, expected[:, 1], atol=1e-12)
        assert list(readout) == ["first", "second"] == list(readout.layers)
        assert readout["second"] == pytest.approx({"S": 0.2, "ST": 0.6, "S+ST": 0.12})
        assert len(readout) == 2
        with pytest.raises(KeyError, match="third"):
            readout["third"]

    def test_three_gates(self) -> None:
        readout = FusionPosterior(template("three")).read()
        expected = torch.tensor([[0.75, 0.5, 0.9], [0.2, 0.6, 0.3]], dtype=torch.float64)
        assert torch.allclose(readout.probability, expected, atol=1e-12)
        # one of the two units that see time, or both
        assert readout.time.tolist() == pytest.approx([1 - 0.5 * 0.1, 1 - 0.4 * 0.7])

    def test_table(self, tmp_path: Path) -> None:
        readout = FusionPosterior(template()).read()
        readout.to_csv(tmp_path / "posterior.csv")
        with (tmp_path / "posterior.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["layer"] for row in rows] == ["first", "second"]
        assert [row["depth"] for row in rows] == ["1", "2"]
        assert [float(row["S+ST"]) for row in rows] == pytest.approx([0.375, 0.12])
        assert rows[0].keys() == {"layer", "depth", "S", "ST", "S+ST", "time"}
        assert "second: S 0.20, ST 0.60, S+ST 0.12" in repr(readout)

    def test_reads_what_is_there_now(self) -> None:
        net = template()
        posterior = FusionPosterior(net)
        assert net.first.gates is not None
        net.first.gates.set_drop_probability(0.3)
        assert posterior.read()["first"]["S"] == pytest.approx(0.7)

    def test_not_a_number(self) -> None:
        net = template()
        assert net.second.gates is not None
        net.second.gates.drop_logit.data[1] = math.nan
        with pytest.raises(ValueError, match="drop probabilities of 'second' are not numbers"):
            FusionPosterior(net).read()


class TestStrategies:
    def test_probability(self) -> None:
        posterior = FusionPosterior(template())
        by_hand = {
            kept: math.prod(p if k else 1 - p for k, p in zip(kept, (0.75, 0.5, 0.2, 0.6), strict=True))
            for kept in itertools.product((True, False), repeat=4)
        }  # fmt: skip
        drawn = posterior.sample(4000, seed=3)
        counts: dict[tuple[bool, ...], int] = {}
        for strategy in drawn:
            kept = strategy["first"] + strategy["second"]
            assert math.exp(strategy.log_probability) == pytest.approx(by_hand[kept])
            counts[kept] = counts.get(kept, 0) + 1
        for kept, p in by_hand.items():
            spread = 4 * math.sqrt(p * (1 - p) * len(drawn))
            assert abs(counts.get(kept, 0) - p * len(drawn)) < spread
        best = posterior.most_probable()
        assert math.exp(best.log_probability) == pytest.approx(max(by_hand.values()))

    def test_seeds(self) -> None:
        posterior = FusionPosterior(template())
        before = torch.get_rng_state()
        assert posterior.sample(20, seed=1) == posterior.sample(20, seed=1)
        assert posterior.sample(20, seed=1) != posterior.sample(20, seed=2)
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize("gates", ["two", "three"])
    def test_export(self, gates: str) -> None:
        net, x = template(gates), clip(*SHAPE)
        posterior, count = FusionPosterior(net), sum(p.numel() for p in net.parameters())
        for strategy in posterior.sample(12, seed=4):
            before = state(net)
            plain = posterior.export(strategy)
            assert_same(before, state(net))
            assert not gated_modules(plain)
            assert sum(p.numel() for p in plain.parameters()) < count
            twin = copy.deepcopy(net)
            set_strategy(twin, strategy)
            assert (plain(x) - twin(x)).abs().max() < 1e-12

    def test_export_of_what_the_model_holds(self) -> None:
        net, x = template(), clip(*SHAPE)
        set_strategy(net, {"first": (True, False), "second": (False, True)})
        plain = FusionPosterior(net).export()
        assert torch.allclose(plain(x), net(x), rtol=0, atol=1e-12)
        # 2 -> 2 by S; 2 -> 3 of 9 taps and biases; 3 -> 5 by ST; 5 -> 4; the scores
        wanted = 2 * 2 + 2 * 3 * 9 + 3 + 3 * 5 * 3 + 5 * 4 * 9 + 4 + 4 * 4 + 4
        assert sum(p.numel() for p in plain.parameters()) == wanted


class TestEvaluate:
    def test_accuracy_of_each(self) -> None:
        net = template()
        posterior = FusionPosterior(net)
        batches = [
            (clip(4, *SHAPE[1:], seed=s), torch.tensor([0, 1, 2, 3]).roll(s)) for s in range(3)
        ]
        strategies = posterior.sample(6, seed=9)
        before = state(net)
        found = posterior.evaluate(strategies, batches)
        assert_same(before, state(net))
        for strategy, accuracy in zip(strategies, found.tolist(), strict=True):
            twin = copy.deepcopy(net)
            set_strategy(twin, strategy)
            right = sum(int((twin(x).argmax(1) == y).sum()) for x, y in batches)
            assert accuracy == pytest.approx(right / 12)

    def test_metric_counts_clips(self) -> None:
        net = template()
        posterior = FusionPosterior(net)
        two, one = clip(2, *SHAPE[1:]), clip(1, *SHAPE[1:], seed=1)
        batches = [(two, torch.zeros(2)), ((one,), torch.ones(1))]
        found = posterior.evaluate(
            [current_strategy(net)], batches, metric=lambda out, truth: out.detach()[:, 0] + truth
        )
        scores = torch.cat([net(two)[:, 0], net(one)[:, 0] + 1]).detach()
        assert found.item() == pytest.approx(scores.mean().item())

    def test_bad_input(self) -> None:
        net = template()
        posterior = FusionPosterior(net)
        kept, x = posterior.sample(1), clip(*SHAPE)
        with pytest.raises(ValueError, match="data must hold at least one clip, got none"):
            posterior.evaluate(kept, [])
        with pytest.raises(ValueError, match="strategies must be at least one, got none"):
            posterior.evaluate([], [(x, torch.zeros(3))])
        with pytest.raises(ValueError, match=r"number for each of 3 clips, got shape \(3, 4\)"):
            posterior.evaluate(kept, [(x, torch.zeros(3))], metric=lambda out, _: out)
        with pytest.raises(ValueError, match="missing or unknown: second"):
            posterior.evaluate([{"first": (True, True)}], [(x, torch.zeros(3))])
        with pytest.raises(
            ValueError, match=r"each of 3 clips unless a metric .* got shape \(1,\)"
        ):
            posterior.evaluate(kept, [(x, torch.zeros(1))])
        with pytest.raises(TypeError, match="strategies must be a sequence of strategies, got one"):
            posterior.evaluate(kept[0], [(x, torch.zeros(3))])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="unless a metric is given, got list"):
            FusionPosterior(Listed(net).eval()).evaluate(
                [{"net.first": (True, True), "net.second": (True, True)}], [(x, torch.zeros(3))]
            )
        with pytest.raises(ValueError, match="unless a metric is given, got list"):
            FusionPosterior(Listed(net).eval()).evaluate(
                FusionPosterior(Listed(net).eval()).sample(1), [(x, torch.zeros(3))]
            )


class TestFit:
    def test_what_the_prior_says(self) -> None:
        net, x = seeded(C3DLike()).float(), clip(2, 3, 4, 8, 8, dtype=torch.float32)
        posterior = FusionPosterior.fit(net, [(x, torch.zeros(2).long())], price=2.0, samples=1)
        readout = posterior.read()
        unused = 1 / (1 + math.exp(2))
        assert readout.prior is not None
        assert readout.prior.tolist() == [pytest.approx([unused, unused, unused**2])] * 2
        assert list(readout) == ["features.0", "features.3"]
        assert posterior.history is not None
        for layer, worth in posterior.history.worth.items():
            for unit, nats in zip(("S", "ST"), worth, strict=True):
                expected = 1 / (1 + math.exp(2 - nats))
                assert readout[layer][unit] == pytest.approx(expected, abs=1e-6)
        # until told otherwise, the copy is the model
        assert torch.equal(posterior.model(x), net(x))
        assert posterior.attribute(x, 1).shape == (2, 2, 3)
        prior = {"a": torch.tensor([0.2, 0.3, 0.4])}
        three = FusionReadout({"a": FusionGates(("S", "ST", "S+ST"))}, prior)
        assert three.prior is not None
        assert three.prior.tolist() == [pytest.approx([0.2, 0.3, 0.4])]
        assert FusionPosterior(template()).read().prior is None

    def test_one_layer(self) -> None:
        net, x = seeded(C3DLike()).float(), clip(2, 3, 4, 8, 8, dtype=torch.float32)
        data = [(x, torch.zeros(2).long())]
        posterior = FusionPosterior.fit(net, data, layers="features.3", learn=("ST",))
        assert posterior.layers == ("features.3",)
        readout = posterior.read()
        assert readout["features.3"]["S"] == pytest.approx(1)
        assert readout.prior is not None
        # what was not learnt has no prior
        assert readout.prior.isnan().tolist() == [[True, False, True]]
        with pytest.raises(ValueError, match="more than one tap in time"):
            FusionPosterior.fit(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()), data)
        with pytest.raises(TypeError, match=r"model must be callable, got int"):
            FusionPosterior.fit(3, data)  # type: ignore[arg-type]


class TestModelsWithoutGates:
    def test_ordinary(self) -> None:
        with pytest.raises(ValueError, match=r"got C3DLike without any: .*FusionPosterior.fit"):
            FusionPosterior(C3DLike())
        with pytest.raises(ValueError, match="got Template without any"):
            FusionPosterior(Template(None))

    def test_no_module(self) -> None:
        with pytest.raises(TypeError, match=r"must be a torch.nn.Module, .* got function"):
            FusionPosterior(lambda x: x)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"model must be callable, got int"):
            FusionPosterior(3)  # type: ignore[arg-type]

    def test_a_unit_alone(self) -> None:
        unit = seeded(FusionUnit(2, 3))
        assert list(FusionPosterior(unit).read()) == ["FusionUnit"]
        plain = FusionPosterior(unit).export({"FusionUnit": (True, False)})
        assert plain(clip(*SHAPE)).shape == (3, 3, 5, 6, 6)
