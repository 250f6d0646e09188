"""Gates that are learnt after training: data of many forms, and errors."""

from __future__ import annotations

import copy
import math
import warnings
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_video.attr._posterior_fit import fit_gates, gated_copy
from captum_video.nn.strategies import gates_of, most_probable_strategy
from tests.attr.test_posterior_fit import batches, fitted, small


class TestData:
    def test_a_mean_loss_or_one_for_each_clip(self) -> None:
        expected = fitted(batches())
        for reduction in ("mean", "none"):
            found = fitted(
                batches(), loss=lambda o, y, how=reduction: F.cross_entropy(o, y, reduction=how)
            )
            assert torch.allclose(found[1], expected[1], rtol=1e-5)
            assert found[0].worth["0"] == pytest.approx(expected[0].worth["0"], abs=1e-6)

    def test_losses_are_means_over_clips(self) -> None:
        data = [*batches(1, 5), *batches(1, 2)]
        net = small().eval()
        history, _ = fitted(data)
        each = torch.cat([F.cross_entropy(net(x), y, reduction="none") for x, y in data])
        assert history.open_loss == pytest.approx(each.mean().item(), rel=1e-5)
        assert (history.clips, history.samples, len(history.changes)) == (7, 7, 2)
        assert fitted(data, samples=2)[0].samples == 2

    def test_the_strategy_of_the_end(self) -> None:
        gated = gated_copy(small())
        history = fit_gates(gated, batches(), samples=1, price=20.0)
        assert most_probable_strategy(gated)["0"] == (False, False)
        fixed = copy.deepcopy(gated)
        gates_of(fixed)["0"].set_strategy([False, False])
        each = torch.cat([F.cross_entropy(fixed(x), y, reduction="none") for x, y in batches()])
        assert history.strategy_loss == pytest.approx(each.mean().item(), rel=1e-5)
        assert history.strategy_loss != pytest.approx(history.open_loss, rel=1e-3)

    def test_several_inputs(self) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = small()

            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return self.net(x + y)

        expected = [(2 * x, y) for x, y in batches()]
        for form in (tuple, list):
            gated = gated_copy(Two())
            fit_gates(gated, [(form((x, x)), y) for x, y in batches()], sweeps=2)
            found = gates_of(gated)["net.0"].drop_logit.detach()
            assert torch.equal(found, fitted(expected)[1])

    def test_targets_of_any_kind(self) -> None:
        Pair = namedtuple("Pair", "first second")
        for target in (
            lambda y: {"truth": y, "name": "a"},
            lambda y: Pair(y, [y]),
            lambda y: (y, None),
        ):
            seen: list[Any] = []

            def loss(outputs: Tensor, truth: Any, seen: list[Any] = seen) -> Tensor:
                seen.append(truth)
                return outputs.square().mean()

            fitted([(x, target(y)) for x, y in batches()], loss=loss)
            assert type(seen[0]) is type(target(torch.zeros(1)))

    def test_bad_batches(self) -> None:
        (x, y), *_ = batches()
        Batch = namedtuple("Batch", "clip label")
        for batch, shown in (
            ({"clip": x, "label": y}, "a dict"),
            (Batch(x, y), "a Batch"),
            ((x, y, y), "a tuple of 3"),
            (x, "a Tensor"),
        ):
            with pytest.raises(
                TypeError, match=rf"pairs \(inputs, target\), got {shown}.*map them"
            ):
                fitted([batch])
        with pytest.raises(ValueError, match="batch 1 of data: inputs holds 1 values that are NaN"):
            fitted([(x, y), (torch.where(torch.arange(5) > 3, torch.nan, x[:1, :, :1, :1]), y)])
        with pytest.raises(ValueError, match="batch 0 of data: inputs must be a non-empty batch"):
            fitted([(x[:0], y[:0])])
        with pytest.raises(TypeError, match="batch 0 of data: inputs must be of a floating-point"):
            fitted([(x.long(), y)])
        with pytest.raises(ValueError, match="data must hold at least one batch, got none"):
            fitted([])

    def test_data_that_is_read_once(self) -> None:
        with pytest.raises(TypeError, match=r"data must be read again and again, got .*iterator"):
            fitted(iter(batches()))

        class Once:
            def __init__(self) -> None:
                self.left = batches()

            def __iter__(self) -> Iterator[Any]:
                while self.left:
                    yield self.left.pop()

        with pytest.raises(ValueError, match="held no batch the second time"):
            fitted(Once())


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"sweeps": 0}, "sweeps must be a whole number from 1, got 0"),
            ({"sweeps": 2.5}, "sweeps must be a whole number from 1, got 2.5"),
            ({"draws": True}, "draws must be a whole number from 1, got True"),
            ({"price": -1.0}, "price must be positive and finite, got -1.0"),
            ({"price": math.inf}, "price must be positive and finite, got inf"),
            ({"samples": 0.5}, "samples must be at least 1, or None for all clips, got 0.5"),
            ({"drop_probability": 1.0}, "drop_probability must be between 0 and 1"),
            ({"learn": ()}, r"learn must be some of \['S', 'ST'\], got \(\)"),
            ({"learn": ("T",)}, r"learn must be some of \['S', 'ST'\], got \('T',\)"),
        ],
    )
    def test_arguments(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            fitted(batches(), **options)

    def test_a_model_without_gates(self) -> None:
        with pytest.raises(ValueError, match="model must have modules with gates"):
            fit_gates(small(), batches())

    def test_losses(self) -> None:
        for loss, text in (
            (lambda o, y: o, r"a number|got \(3, 2\)"),
            (lambda o, y: 1.0, "got float"),
            (lambda o, y: o.mean() * math.nan, "the loss must be finite, got nan at batch 0 under"),
        ):
            with pytest.raises(ValueError, match=text):
                fitted(batches(), loss=loss)

    def test_a_loss_that_is_lost_on_the_way(self) -> None:
        calls = iter(range(100))

        def loss(outputs: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(outputs, target) * (math.nan if next(calls) == 6 else 1)

        with pytest.raises(
            ValueError, match="the loss must be finite, got nan at batch 0 under drawn gates"
        ):
            fitted(batches(), loss=loss, sweeps=9)

    def test_the_default_loss_is_of_classes(self) -> None:
        net = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1))
        with pytest.raises(
            ValueError, match=r"outputs must be \(N, classes\) unless a loss is given"
        ):
            fit_gates(gated_copy(net), batches())
        with pytest.raises(
            TypeError, match=r"the targets must be a tensor unless a loss .* got list"
        ):
            fitted([(x, y.tolist()) for x, y in batches()])

    def test_a_layer_that_is_not_reached(self) -> None:
        class Around(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inside = small()
                self.aside = nn.Conv3d(1, 1, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.inside(F.conv3d(x, self.aside.weight))

        gated = gated_copy(Around())
        with pytest.warns(UserWarning, match="never calls these layers.*: aside"):
            history = fit_gates(gated, batches(), sweeps=2)
        assert history.unreached == ("aside",)

    def test_a_bar_on_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted(batches())
            assert capsys.readouterr().err == ""
            fitted(batches(), show_progress=True)
            assert "gates" in capsys.readouterr().err
