"""Gates that are learnt after training: planted patterns come back; nothing else changes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_video.attr._posterior_fit import FitHistory, fit_gates, gated_copy
from captum_video.nn.gates import forced_gates
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
        fit_gates(gated, lights(64, 0))
        assert list(gates_of(gated)) == ["layers.1", "layers.2"]
        keep = [one.keep_probability()[1].item() for one in gates_of(gated).values()]
        assert keep[0] > 0.9
        assert keep[1] < 0.1
        assert list(gates_of(gated_copy(model, "layers.1"))) == ["layers.1"]
        with pytest.raises(
            ValueError, match=r"layers 'layers.7': the model has no such layer. Did"
        ):
            gated_copy(model, "layers.7")


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
    history = fit_gates(gated, data, **{"sweeps": 2, **options})
    return history, torch.cat([one.drop_logit.detach() for one in gates_of(gated).values()])


class TestNoTrace:
    def test_the_given_model(self) -> None:
        net = small().train()
        before = state(net)
        gated = gated_copy(net)
        fit_gates(gated, batches(), sweeps=2)
        assert_same(before, state(net))

    @pytest.mark.parametrize("training", [True, False])
    def test_nothing_but_the_logits(self, training: bool) -> None:
        gated = gated_copy(small()).train(training)
        before = state(gated)
        fit_gates(gated, batches(), sweeps=2)
        after = state(gated)
        key = "0.gates.drop_logit"
        assert not torch.equal(before["tensors"].pop(key)[1], after["tensors"].pop(key)[1])
        assert_same(before, after)

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
            fit_gates(gated, batches(), loss=loss, sweeps=9)
        assert_same(before, state(gated))

    def test_a_seed_says_all(self) -> None:
        clips, truth = (torch.cat(parts) for parts in zip(*batches(4), strict=True))
        loader = DataLoader(TensorDataset(clips, truth), batch_size=3, shuffle=True)
        history, logits = fitted(loader, seed=5, price=0.1)
        torch.manual_seed(123)
        again, same = fitted(loader, seed=5, price=0.1)
        assert torch.equal(logits, same)
        assert history == again
        _, other = fitted(loader, seed=6, price=0.1)
        assert not torch.equal(logits, other)
