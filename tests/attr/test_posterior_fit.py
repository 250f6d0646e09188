"""Gates that are learnt after training: planted patterns come back, and theory holds."""

from __future__ import annotations

import copy
import math
import warnings
from collections import namedtuple
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_video.attr._posterior_fit import FitHistory, equal_prices, fit_gates, gated_copy
from captum_video.nn import FusionGates, FusionUnit, fusion_regularizer, gated_modules
from captum_video.nn.gates import GatedModule, forced_gates
from captum_video.nn.strategies import gates_of, most_probable_strategy
from tests.contract.kinds import assert_same, state
from tests.nets import clip, seeded

LAYERS = 4
Batches = list[tuple[Tensor, Tensor]]


class Lights(nn.Module):
    """Says of two lights whether they brighten or fade: four classes.

    Channels: both lights, then for each whether it brightens and whether it fades, then two that
    nobody reads. Light ``i`` is told in layer ``where[i]``, by the difference of the next frame and
    the last. All else that is read passes through equal taps, so that its layers' ST is unused; but it
    is not zero, because of what nobody reads. Frames of a brightening clip, backwards, are those of
    a fading one: no mean over time can tell them apart.
    """

    def __init__(self, where: tuple[int, int], seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList()
        for number in range(LAYERS):
            conv = nn.Conv3d(
                8 if number else 2, 8, (3, 1, 1), padding=(1, 0, 0), padding_mode="replicate"
            ).requires_grad_(False)
            kernel = conv.weight.zero_()[..., 0, 0]
            assert conv.bias is not None
            conv.bias.zero_()
            kernel[6:, :2] = torch.randn(2, 2, 3, generator=rng)
            for light in range(2):
                kernel[light, light] = 1 / 3
                for way, told in enumerate((2 + 2 * light, 3 + 2 * light)):
                    if number == where[light]:
                        kernel[told, light] = torch.tensor([-1.0, 0, 1]) * (1 - 2 * way)
                    elif number:
                        kernel[told, told] = 1 / 3
            self.layers.append(conv)
        signs = torch.tensor(
            [[1.0 if (c >> light) & 1 else -1.0 for light in (0, 1)] for c in range(4)]
        )
        read = torch.stack([signs, -signs], 2).flatten(1)
        self.head = torch.cat([torch.zeros(4, 2), 40 * read, torch.zeros(4, 2)], 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return x.mean((2, 3, 4)) @ self.head.T


def lights(count: int, seed: int, batch: int = 32) -> Batches:
    """Clips of both lights, each on one pixel of its channel."""
    rng = torch.Generator().manual_seed(seed)
    truth = torch.randint(4, (count,), generator=rng)
    ramp = torch.linspace(0, 1, 5)
    clips = torch.zeros(count, 2, 5, 2, 2)
    for number, answer in enumerate(truth.tolist()):
        for light in range(2):
            row, column = torch.randint(2, (2,), generator=rng).tolist()
            clips[number, light, :, row, column] = ramp if (answer >> light) & 1 else ramp.flip(0)
    return list(zip(clips.split(batch), truth.split(batch), strict=True))


def planted(where: tuple[int, int]) -> list[tuple[bool, bool]]:
    """Which units each layer needs: what was told, or is to be told later, must be passed on."""
    return [
        (any(layer != told for told in where) or layer < max(where), layer in where)
        for layer in range(LAYERS)
    ]


class TestPlanted:
    @pytest.mark.parametrize(
        ("where", "seed"), [((1, 3), 0), ((2, 2), 1), ((0, 3), 2), ((3, 3), 3)]
    )
    def test_the_pattern_comes_back(self, where: tuple[int, int], seed: int) -> None:
        model, data = Lights(where, seed), lights(64, seed)
        gated = gated_copy(model)
        history = fit_gates(gated, data, seed=seed)
        unused = 1 / (1 + math.exp(3))
        for expected, one in zip(planted(where), gates_of(gated).values(), strict=True):
            for used, keep in zip(expected, one.keep_probability().tolist(), strict=True):
                assert keep > 0.97 if used else abs(keep - unused) < 0.01
        assert list(most_probable_strategy(gated).values()) == planted(where)
        assert history.strategy_loss == pytest.approx(history.open_loss, abs=1e-4)
        assert history.open_loss < 0.02
        assert (history.without_weights, history.unreached) == ((), ())

    def test_the_pattern_is_true(self) -> None:
        # what is to be found, by dropping each unit alone
        for where in ((1, 3), (2, 2), (0, 3), (3, 3)):
            gated, ((clips, truth),) = gated_copy(Lights(where, 0)), lights(64, 0, 64)
            gates = gates_of(gated)
            least = F.cross_entropy(gated(clips), truth)
            for layer, expected in zip(gates.values(), planted(where), strict=True):
                for unit, used in enumerate(expected):
                    row = torch.ones(1, 2)
                    row[0, unit] = 0
                    with forced_gates({layer: row}):
                        worse = F.cross_entropy(gated(clips), truth) - least
                    assert worse > 0.2 if used else abs(worse) < 1e-5

    def test_some_units(self) -> None:
        gated = gated_copy(Lights((1, 3), 0))
        fit_gates(gated, lights(64, 0), learn=("ST",))
        keep = torch.stack([one.keep_probability() for one in gates_of(gated).values()])
        assert (keep[:, 0] >= 1 - 1e-6).all()
        assert (keep[:, 1] > 0.9).tolist() == [False, True, False, True]

    def test_some_layers(self) -> None:
        model = Lights((1, 3), 0)
        gated = gated_copy(model, ["layers.1", model.layers[2]])
        fit_gates(gated, lights(64, 0), steps=100)
        assert list(gates_of(gated)) == ["layers.1", "layers.2"]
        keep = [one.keep_probability()[1].item() for one in gates_of(gated).values()]
        assert keep[0] > 0.9
        assert keep[1] < 0.1
        assert list(gates_of(gated_copy(model, "layers.1"))) == ["layers.1"]
        with pytest.raises(
            ValueError, match=r"layers 'layers.7': the model has no such layer. Did"
        ):
            gated_copy(model, "layers.7")


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


class TestTheory:
    @pytest.mark.parametrize(("price", "samples"), [(3.0, None), (1.0, None), (3.0, 400.0)])
    def test_the_posterior_of_a_unit(self, price: float, samples: float | None) -> None:
        worth = (0.0, 0.01, 0.02, 0.04)
        model = Worth(*worth)
        fit_gates(
            model, BLANK, loss=as_it_is, steps=600, lr=0.1, price=price, samples=samples,
            temperature=0.05,
        )  # fmt: skip
        expected = torch.tensor(worth) * (samples or 100) - price
        kept = -model.gates.drop_logit.detach()
        settled = expected < 2.5  # beyond, a unit is too rarely dropped for its worth to be met
        assert torch.allclose(kept[settled], expected[settled], atol=0.35)
        assert (kept[~settled] > 1.5).all()

    @pytest.mark.parametrize("price", [0.5, 2.0, 5.0])
    def test_an_unused_unit_settles_at_the_price(self, price: float) -> None:
        model = Worth(0.0, 0.0)
        fit_gates(model, BLANK, loss=as_it_is, price=price)
        logit = gates_of(model)["Worth"].drop_logit.detach()
        assert torch.allclose(logit, torch.tensor(price), atol=0.15)
        # where the slope of what it costs to keep it is zero
        logit.fill_(price)
        regularizer = fusion_regularizer(model, 1, length_scale=equal_prices(model, price))
        (slope,) = torch.autograd.grad(regularizer, model.gates.drop_logit)
        assert torch.allclose(slope, torch.zeros(2), atol=1e-6)

    def test_a_price_at_which_probabilities_round_to_one(self) -> None:
        model = Worth(0.0, 0.0)
        fit_gates(model, BLANK, loss=as_it_is, price=60.0, lr=2.0)
        assert torch.allclose(model.gates.drop_logit.detach(), torch.tensor(60.0), atol=1)

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
                gated, [(clip(4, 1, 5, 4, 4).float(), torch.zeros(4).long())], steps=3
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


def small() -> nn.Module:
    net = nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.BatchNorm3d(3), nn.ReLU(), nn.Dropout(0.5),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2),
    )  # fmt: skip
    return seeded(net, dtype=torch.float32)


def batches(count: int = 2, size: int = 3) -> Batches:
    return [
        (clip(size, 1, 4, 5, 5, seed=number).float(), torch.arange(size) % 2)
        for number in range(count)
    ]


def fitted(data: Any, **options: Any) -> tuple[FitHistory, Tensor]:
    gated = gated_copy(small())
    history = fit_gates(gated, data, **{"steps": 3, **options})
    return history, torch.cat([one.drop_logit.detach() for one in gates_of(gated).values()])


class TestNoTrace:
    def test_the_given_model(self) -> None:
        net = small().train()
        before = state(net)
        gated = gated_copy(net)
        fit_gates(gated, batches(), steps=3)
        assert_same(before, state(net))

    @pytest.mark.parametrize("training", [True, False])
    def test_nothing_but_the_logits(self, training: bool) -> None:
        gated = gated_copy(small()).train(training)
        gates_of(gated)["0"].temperature = 0.7
        before = state(gated)
        fit_gates(gated, batches(), steps=3)
        after = state(gated)
        key = "0.gates.drop_logit"
        assert not torch.equal(before["tensors"].pop(key)[1], after["tensors"].pop(key)[1])
        assert_same(before, after)
        assert gates_of(gated)["0"].temperature == 0.7

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_an_interrupted_fit(self, error: type[BaseException]) -> None:
        gated = gated_copy(small()).train()
        before = state(gated)
        calls = iter(range(100))

        def loss(outputs: Tensor, target: Tensor) -> Tensor:
            if next(calls) == 4:
                raise error
            return F.cross_entropy(outputs, target)

        with pytest.raises(error):
            fit_gates(gated, batches(), loss=loss, steps=20)
        assert_same(before, state(gated))

    def test_a_seed_says_all(self) -> None:
        clips, truth = (torch.cat(parts) for parts in zip(*batches(4), strict=True))
        loader = DataLoader(TensorDataset(clips, truth), batch_size=3, shuffle=True)
        history, logits = fitted(loader, seed=5)
        torch.manual_seed(123)
        again, same = fitted(loader, seed=5)
        assert torch.equal(logits, same)
        assert history == again
        _, other = fitted(loader, seed=6)
        assert not torch.equal(logits, other)


class TestData:
    def test_a_mean_loss_or_one_for_each_clip(self) -> None:
        expected = fitted(batches())
        for reduction in ("mean", "none"):
            found = fitted(
                batches(), loss=lambda o, y, how=reduction: F.cross_entropy(o, y, reduction=how)
            )
            assert torch.equal(found[1], expected[1])
            assert found[0].losses == pytest.approx(expected[0].losses)

    def test_losses_are_means_over_clips(self) -> None:
        data = [*batches(1, 5), *batches(1, 2)]
        net = small().eval()
        history, _ = fitted(data)
        each = torch.cat([F.cross_entropy(net(x), y, reduction="none") for x, y in data])
        assert history.open_loss == pytest.approx(each.mean().item(), rel=1e-5)
        assert (history.clips, history.samples, len(history.losses)) == (7, 7, 3)
        assert fitted(data, samples=2)[0].samples == 2

    def test_the_strategy_of_the_end(self) -> None:
        gated = gated_copy(small())
        history = fit_gates(gated, batches(), steps=60, samples=1, price=20.0)
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
            fit_gates(gated, [(form((x, x)), y) for x, y in batches()], steps=3)
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
            ({"steps": 0}, "steps must be a whole number from 1, got 0"),
            ({"steps": 2.5}, "steps must be a whole number from 1, got 2.5"),
            ({"steps": True}, "steps must be a whole number from 1, got True"),
            ({"lr": 0.0}, "lr must be positive and finite, got 0.0"),
            ({"price": -1.0}, "price must be positive and finite, got -1.0"),
            ({"price": math.inf}, "price must be positive and finite, got inf"),
            ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
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
            (lambda o, y: (o.argmax(1) == y).float(), "does not depend on any of the gates"),
        ):
            with pytest.raises(ValueError, match=text):
                fitted(batches(), loss=loss)

    def test_a_loss_that_is_lost_on_the_way(self) -> None:
        calls = iter(range(100))

        def loss(outputs: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(outputs, target) * (math.nan if next(calls) == 6 else 1)

        with pytest.raises(ValueError, match="the loss must be finite, got nan at step 4"):
            fitted(batches(), loss=loss, steps=20)

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
        with pytest.warns(UserWarning, match="does not depend on these layers.*: aside"):
            history = fit_gates(gated, batches(), steps=2)
        assert history.unreached == ("aside",)

    def test_a_bar_on_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted(batches())
            assert capsys.readouterr().err == ""
            fitted(batches(), show_progress=True)
            assert "gates" in capsys.readouterr().err
