"""Groups, rates and rules of the optimiser, against numbers computed by hand."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models
from models.training.optimiser import (
    Plateau,
    check_recipe,
    declined,
    freeze,
    learning_rate,
    make_optimizer,
    training_mode,
)
from models.training.recipes import RECIPES, Recipe

PLAIN = Recipe(data=lambda *_: None, data_note="", steps=100, batch_size=4, lr=0.5)  # type: ignore[arg-type]
SGD = replace(PLAIN, optimizer="sgd", momentum=0.5, weight_decay=0.0)
TEMPORAL = ("scale", "rotation", "translation_x", "translation_y")


class Net(nn.Module):
    """Two linear layers with a batch norm and dropout between, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.fc2 = nn.Linear(4, 2)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc2(self.fc1(x))
        return scores * self.gain


def names(model: nn.Module, group: dict[str, Any]) -> list[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(parameter)] for parameter in group["params"]]


def steps(model: nn.Module, recipe: Recipe, count: int = 3) -> dict[str, Tensor]:
    """Trains as the loop does and returns the state before."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = make_optimizer(model, recipe)
    for step in range(count):
        training_mode(model, recipe)
        for group in optimizer.param_groups:
            group["lr"] = group["lr_factor"] * learning_rate(recipe, step)
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
    return before


class TestGroups:
    @pytest.mark.parametrize("name", ["c3d_small", "lenet5_3t", "fusion_net_small", "resnet18_3t"])
    def test_without_layers_temporal_parameters_and_gates_are_apart(self, name: str) -> None:
        model = models.build(name)
        recipe = replace(RECIPES[name], temporal_lr=5.0, gate_lr=2.0)
        optimizer = make_optimizer(model, recipe)
        everything = [key for key, _ in model.named_parameters()]
        temporal = [k for k in everything if k.rpartition(".")[2] in TEMPORAL]
        gates = [k for k in everything if k.endswith("drop_logit")]
        others = [k for k in everything if k not in temporal + gates]
        expected = [("weights", others, 1.0, 1e-4), ("temporal parameters", temporal, 5.0, 0.0)]
        expected += [("gates", gates, 2.0, 0.0)]
        assert type(optimizer) is torch.optim.AdamW
        assert [
            (g["what"], names(model, g), g["lr_factor"], g["weight_decay"])
            for g in optimizer.param_groups
        ] == [row for row in expected if row[1]]
        assert all(g["lr"] == recipe.lr for g in optimizer.param_groups)
        assert (bool(temporal), bool(gates)) == ("3t" in name, "fusion" in name)

    def test_factors_multiply_and_the_longest_match_wins(self) -> None:
        model = models.build("lenet5_3t")
        rates = {"fc*": 3.0, "conv1": 0.5, "*": 0.25, "fc3": 10.0}
        groups = make_optimizer(model, replace(PLAIN, temporal_lr=4.0, layer_lr=rates)).param_groups
        found = {
            g["what"]: (g["lr_factor"], {n.partition(".")[0] for n in names(model, g)})
            for g in groups
        }
        assert found == {
            "fc*": (3.0, {"fc1", "fc2"}),
            "conv1": (0.5, {"conv1"}),
            "*": (0.25, {"conv2"}),
            "fc3": (10.0, {"fc3"}),
            "temporal parameters of conv1": (2.0, {"conv1"}),
            "temporal parameters of *": (1.0, {"conv2"}),
        }
        decays = [g["weight_decay"] for g in groups]
        assert decays == [1e-4] * 4 + [0.0] * 2
        assert len([p for g in groups for p in g["params"]]) == len(list(model.parameters()))

    @pytest.mark.parametrize(
        ("rates", "winner"),
        [
            ({"fc2": 7.0, "fc?": 2.0}, 7.0),
            ({"fc?": 2.0, "fc2": 7.0}, 7.0),
            ({"fc2*": 2.0, "fc2": 3.0}, 3.0),
            ({"fc2": 3.0, "fc[12]": 2.0}, 3.0),
        ],
    )
    def test_a_name_comes_before_a_pattern_of_as_many_letters(
        self, rates: dict[str, float], winner: float
    ) -> None:
        model: Any = nn.ModuleDict({name: nn.Linear(1, 1) for name in ("fc1", "fc2")})
        model["fc2more"] = nn.Linear(1, 1)
        groups = make_optimizer(model, replace(PLAIN, layer_lr=rates)).param_groups
        factor = {name: g["lr_factor"] for g in groups for name in names(model, g)}
        assert factor["fc2.weight"] == winner

    def test_frozen_parameters_are_left_out(self) -> None:
        model = Net()
        recipe = replace(PLAIN, freeze=("fc1",), layer_lr={"fc2": 2.0})
        freeze(model, recipe)
        groups = make_optimizer(model, recipe).param_groups
        assert [(g["what"], names(model, g)) for g in groups] == [
            ("weights", ["gain"]),
            ("fc2", ["fc2.weight", "fc2.bias"]),
        ]

    @pytest.mark.parametrize(
        ("optimizer", "kind"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
    )
    def test_other_optimisers(self, optimizer: str, kind: type) -> None:
        made = make_optimizer(Net(), replace(PLAIN, optimizer=optimizer, momentum=0.25))
        assert type(made) is kind
        assert made.defaults["lr"] == 0.5
        assert made.defaults["weight_decay"] == 1e-4
        assert made.defaults.get("momentum", 0.25) == 0.25

    def test_two_steps_of_sgd_by_hand(self) -> None:
        model = nn.Linear(1, 1, bias=False)
        weight = model.weight
        optimizer = make_optimizer(model, replace(SGD, weight_decay=0.25))
        with torch.no_grad():
            weight.fill_(4.0)
        # the gradient is 2 + w / 4; half of the velocity before is added: 3, then 2.625 + 1.5
        for expected in (2.5, 0.4375):
            weight.grad = torch.full((1, 1), 2.0)
            optimizer.step()
            assert float(weight.detach()) == expected

    def test_a_layers_rate_is_the_size_of_its_step(self) -> None:
        model = Net()
        recipe = replace(SGD, warmup=0.0, schedule="constant", layer_lr={"fc2": 4.0, "fc1.1": 0.5})
        before = steps(model, recipe, 1)
        for name, parameter in model.named_parameters():
            factor = {"fc2": 4.0, "fc1.1": 0.5}.get(name.rpartition(".")[0], 1.0)
            assert parameter.grad is not None
            moved = before[name] - parameter.detach()
            torch.testing.assert_close(moved, 0.5 * factor * parameter.grad)


class TestFreeze:
    def test_weights_and_statistics_stay_while_others_move(self) -> None:
        torch.manual_seed(0)
        model, recipe = Net(), replace(PLAIN, freeze=("fc1.?",), lr=0.01)
        freeze(model, recipe)
        before = steps(model, recipe)
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        assert changed == {"fc2.weight", "fc2.bias", "gain"}

    def test_all_moves_without_it(self) -> None:
        torch.manual_seed(0)
        model = Net()
        before = steps(model, replace(PLAIN, lr=0.01))
        assert not [k for k, v in model.state_dict().items() if torch.equal(v, before[k])]

    def test_training_mode_is_set_again_but_for_frozen_layers_and_their_children(self) -> None:
        model = Net().eval()
        training_mode(model, replace(PLAIN, freeze=("fc1",)))
        modes = {name: module.training for name, module in model.named_modules()}
        frozen = {"fc1", "fc1.0", "fc1.1", "fc1.2"}
        assert modes == {name: name not in frozen for name in modes}
        assert frozen < set(modes)
        training_mode(model, PLAIN)
        assert all(module.training for module in model.modules())

    def test_a_pattern_reaches_every_layer_of_a_stage(self) -> None:
        with torch.device("meta"):
            model = models.build("c3d")
        freeze(model, replace(PLAIN, freeze=("conv[1-4]*", "fc6")))
        trained = {n.partition(".")[0] for n, p in model.named_parameters() if p.requires_grad}
        assert trained == {"conv5a", "conv5b", "fc7", "fc8"}

    def test_a_shared_layer_is_found_by_either_name(self) -> None:
        layer = nn.Linear(2, 2)
        model = nn.ModuleDict({"one": layer, "two": layer, "rest": nn.Linear(2, 2)})
        freeze(model, replace(PLAIN, freeze=("two",)))
        assert not layer.weight.requires_grad


class TestRates:
    def rates(self, at: list[int], **changes: Any) -> list[float]:
        recipe = replace(PLAIN, **changes)
        return [learning_rate(recipe, step) for step in at]

    def test_cosine(self) -> None:
        # a rise over 10 of 100 steps, then 90 steps of half a cosine: at a third 3/4, at a half 1/2
        found = self.rates([0, 4, 9, 10, 40, 55, 70, 99])
        last = 0.25 * (1 + math.cos(math.pi * 89 / 90))
        assert found == pytest.approx([0.05, 0.25, 0.5, 0.5, 0.375, 0.25, 0.125, last], abs=1e-12)
        assert learning_rate(PLAIN, 55, 0.5) == pytest.approx(0.125)
        assert self.rates([0], warmup=0.0) == [0.5]
        assert self.rates([1], warmup=0.0)[0] == 0.5  # the rise takes at least the first step
        assert self.rates([50], steps=99, warmup=0.0)[0] == pytest.approx(0.25)

    def test_cosine_to_the_bit(self) -> None:
        # bundled weights are repeated by their card's command
        found = self.rates(list(range(10, 100)))
        assert found == [0.5 * 0.5 * (1 + math.cos(math.pi * step / 90)) for step in range(90)]

    @pytest.mark.parametrize("schedule", ["constant", "plateau"])
    def test_constant(self, schedule: str) -> None:
        assert self.rates([0, 9, 10, 99], schedule=schedule) == [0.05, 0.5, 0.5, 0.5]
        recipe = replace(PLAIN, schedule=schedule)
        assert [learning_rate(recipe, step, 0.25) for step in (1, 50)] == [0.025, 0.125]

    def test_step(self) -> None:
        found = self.rates([4, 9, 29, 30, 59, 60], schedule="step", decay=0.5, decay_every=30)
        assert found == [0.25, 0.5, 0.5, 0.25, 0.25, 0.125]
        # a rise that is longer than a decay's steps goes on below it
        assert self.rates([5], schedule="step", decay=0.5, decay_every=5) == [0.15]


class TestRules:
    def test_plateau(self) -> None:
        plateau = Plateau()
        losses = [3.0, 2.0, 2.0, 2.5, 2.0, 1.0, math.nan, 1.0, 9.0]
        assert [plateau.reached(loss, 2) for loss in losses] == [
            *(False, False, False, True, False, False, False, True, False),
        ]
        assert asdict(plateau) == {"best": 1.0, "stale": 1}
        assert Plateau(**asdict(plateau)).reached(1.5, 2)
        assert Plateau(1.0).reached(1.0, 1)

    @pytest.mark.parametrize(
        ("previous", "current", "stop"),
        [
            (None, (0.5, 1.0), False),
            ((0.5, 1.0), (0.4, 1.1), True),
            ((0.5, 1.0), (0.4, 0.9), False),
            ((0.5, 1.0), (0.6, 1.1), False),
            ((0.5, 1.0), (0.5, 1.1), False),
            ((0.5, 1.0), (0.4, 1.0), False),
        ],
    )
    def test_decline(
        self, previous: tuple[float, float] | None, current: tuple[float, float], stop: bool
    ) -> None:
        assert declined(previous, current) is stop


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"optimizer": "adamx"}, "no optimizer 'adamx'. Did you mean 'adam' or 'adamw'"),
            ({"schedule": "cosin"}, "no schedule 'cosin'. Did you mean 'cosine'"),
            ({"stopping": "x"}, "no stopping 'x'. Known: patience, decline"),
            ({"steps": 0}, "steps must be a positive whole number, got 0"),
            ({"plateau": 1.5}, "plateau must be a positive whole number, got 1.5"),
            ({"lr": -1.0}, "lr must be positive, got -1.0"),
            ({"lr": math.inf}, "lr must be positive, got inf"),
            ({"gate_lr": math.nan}, "gate_lr must be positive, got nan"),
            ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, got -0.1"),
            ({"tolerance": math.inf}, "tolerance must be at least 0 and finite, got inf"),
            ({"warmup": 1.0}, "warmup must be at least 0 and below 1, got 1.0"),
            ({"momentum": -0.1}, "momentum must be at least 0 and below 1, got -0.1"),
            ({"decay": 1.0}, "decay must be between 0 and 1, got 1.0"),
            ({"decay": 0.0}, "decay must be between 0 and 1, got 0.0"),
            ({"schedule": "step"}, "schedule 'step' needs decay_every"),
            ({"decay_every": -1}, "decay_every must be at least 0 and finite, got -1"),
            ({"layer_lr": {"fc1": 0.0}}, "layer_lr must be positive, got 0.0 for 'fc1'"),
            ({"layer_lr": {"fc3": 1.0}}, "layer_lr has no layer 'fc3'. Did you mean 'fc2' or"),
            ({"layer_lr": {"": 1.0}}, "layer_lr has no layer ''"),
            ({"layer_lr": {"fc1.2": 2.0}}, "nothing to train in 'fc1.2': it has no parameters"),
            ({"layer_lr": {"fc2": 2.0, "f?2": 3.0}}, r"nothing to train in 'f\?2'.*a longer name"),
        ],
    )
    def test_of_recipes(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make_optimizer(Net(), replace(PLAIN, **changes))

    def test_recipes_of_the_bundled_models_and_edges_are_valid(self) -> None:
        for recipe in RECIPES.values():
            check_recipe(recipe)
        check_recipe(replace(PLAIN, clip_norm=math.inf, weight_decay=0.0, momentum=0.0))
        check_recipe(replace(PLAIN, schedule="step", decay_every=1))

    def test_a_frozen_layer_has_no_rate(self) -> None:
        model, recipe = Net(), replace(PLAIN, freeze=("fc2",), layer_lr={"fc2": 2.0})
        freeze(model, recipe)
        with pytest.raises(ValueError, match="nothing to train in 'fc2'"):
            make_optimizer(model, recipe)

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            (("fc1", "fc3"), "freeze has no layer 'fc3'. Did you mean 'fc2' or 'fc1'"),
            (("conv*",), r"freeze has no layer 'conv\*'. Known: fc1, fc1.0"),
            (("*",), r"freeze '\*' leaves nothing to train"),
        ],
    )
    def test_of_freezing(self, layers: tuple[str, ...], message: str) -> None:
        model = Net()
        with pytest.raises(ValueError, match=message):
            freeze(model, replace(PLAIN, freeze=layers))
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_of_freezing_what_is_left(self) -> None:
        model = Net()
        model.gain.requires_grad_(False)
        with pytest.raises(ValueError, match="'fc1', 'fc2' leaves nothing to train"):
            freeze(model, replace(PLAIN, freeze=("fc1", "fc2")))

    def test_of_a_single_name(self) -> None:
        with pytest.raises(TypeError, match="freeze must be a sequence of names, got 'conv1'"):
            check_recipe(replace(PLAIN, freeze="conv1"))  # type: ignore[arg-type]
