from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from captum_video.nn import Conv3T
from models.data import video_mnist
from models.lenet5 import LeNet5
from models.training import loop
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run

NAMES = ("lenet5_3d", "lenet5_3t")
TEMPORAL = ("scale", "rotation", "translation_x", "translation_y")


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    """The shape that every layer gives for a batch of two."""
    seen: dict[str, torch.Size] = {}
    for name, module in model.named_children():
        module.register_forward_hook(
            lambda _module, _args, output, name=name: seen.update({name: output.shape[1:]})
        )
    model(torch.empty(2, 1, 30, 28, 28))
    return seen


@pytest.mark.parametrize(("name", "parameters"), [("lenet5_3d", 263_906), ("lenet5_3t", 254_058)])
def test_the_nets_have_the_papers_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in models.build(name).parameters()) == parameters


@pytest.mark.parametrize(("name", "parameters"), [("lenet5_3d", 12_772), ("lenet5_3t", 2_924)])
def test_the_output_layer_counts_too(name: str, parameters: int) -> None:
    # 10 x 16 x 25 taps, 10 biases, 4 x 4 x 10 temporal parameters
    model = models.build(name, head="conv3t")
    assert sum(p.numel() for p in model.parameters()) == parameters + 4000 + 10 + 160


def test_layers_and_shapes() -> None:
    seen = shapes(LeNet5(nn.Conv3d))
    other = shapes(LeNet5(Conv3T, 7, head="conv3t"))
    first = {
        "conv1": (6, 30, 28, 28),
        "relu1": (6, 30, 28, 28),
        "pool1": (6, 15, 14, 14),
        "conv2": (16, 11, 10, 10),
        "relu2": (16, 11, 10, 10),
    }
    linear = {"fc1": (120,), "relu3": (120,), "fc2": (84,), "relu4": (84,), "fc3": (10,)}
    assert seen == {**first, "pool2": (16, 5, 5, 5), "flatten": (2000,), **linear}
    ending = {"output": (7, 11, 10, 10), "relu3": (7, 11, 10, 10), "average": (7, 1, 1, 1)}
    assert other == {**first, **ending, "flatten": (7,)}


@pytest.mark.parametrize("name", NAMES)
def test_the_forward_is_the_plain_chain(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name).double().eval()
    state = model.state_dict()
    clip = torch.randn(2, 1, 30, 28, 28, dtype=torch.double)

    def kernel(layer: str) -> Tensor:
        if name == "lenet5_3d":
            return state[f"{layer}.weight"]
        # untrained: all slices are the first
        return state[f"{layer}.first_slice"][:, :, None].repeat(1, 1, 5, 1, 1)

    x = F.conv3d(clip, kernel("conv1"), state["conv1.bias"], padding=2)
    x = F.max_pool3d(x.relu(), 2)
    x = F.max_pool3d(F.conv3d(x, kernel("conv2"), state["conv2.bias"]).relu(), 2).flatten(1)
    for layer in ("fc1", "fc2"):
        x = F.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"]).relu()
    x = F.linear(x, state["fc3.weight"], state["fc3.bias"])
    torch.testing.assert_close(model(clip), x, rtol=1e-12, atol=1e-12)


def test_the_output_layers_scores_are_its_rectified_mean() -> None:
    torch.manual_seed(0)
    model = models.build("lenet5_3t", head="conv3t").double().eval()
    output = model.get_submodule("output")
    assert isinstance(output, Conv3T)
    with torch.no_grad():
        output.translation_x.fill_(0.5)
        features = torch.randn(2, 16, 11, 10, 10, dtype=torch.double)
        maps = F.conv3d(features, output.kernel(), output.bias, padding=2)
        expected = maps.clamp_min(0).sum((2, 3, 4)) / 1100
        found = features
        for name in ("output", "relu3", "average", "flatten"):
            found = model.get_submodule(name)(found)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_facts_fit_the_data(name: str) -> None:
    info = models.build(name).info
    sample = video_mnist.VideoMNIST(1, digits="sklearn")[0]
    assert sample.clip.shape == (1, info.frames, *info.size)
    assert info.classes == video_mnist.MOTIONS
    assert info.groups == {"motion": range(10)}
    assert models.build(name).get_submodule(info.layer) is not None
    asked = models.build(name, question="digit", head="conv3t").info
    assert asked.groups == {"digit": range(10)}
    assert asked.classes == tuple(f"digit {digit}" for digit in range(10))


def test_mean_and_deviation_are_those_of_the_clips() -> None:
    data = video_mnist.VideoMNIST(200, seed=9, decoupled=True, digits="sklearn")
    clips = torch.stack([data[index].clip for index in range(200)])
    clips = models.build("lenet5_3t").info.normalize(clips)
    assert abs(float(clips.mean())) < 0.03
    assert abs(float(clips.std()) - 1) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "lstm"}, "head must be 'linear' or 'conv3t', got 'lstm'"),
        ({"question": "colour"}, "question must be 'motion' or 'digit', got 'colour'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build("lenet5_3t", **options)


def trained(recipe: Recipe, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state of a fresh net, and after two steps."""
    torch.manual_seed(3)
    model = models.build("lenet5_3t")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    few = replace(recipe, steps=2, batch_size=4, warmup=1e-9, eval_every=2, eval_clips=2)
    run = Run(model, few, 0, torch.device("cpu"), folder / "c.pt", workers=0)
    loop.fit(run, show_progress=False)
    return before, model.state_dict()


def test_temporal_parameters_have_a_learning_rate_of_their_own(tmp_path: Path) -> None:
    recipe = RECIPES["lenet5_3t"]
    moved = {}
    for factor in (1.0, 4.0):
        before, after = trained(replace(recipe, temporal_lr=factor), tmp_path)
        for key in before:
            assert not torch.equal(before[key], after[key]), key
        moved[factor] = {key: after[key] - before[key] for key in before}
    for layer in ("conv1", "conv2"):
        for name in TEMPORAL:
            ratio = moved[4.0][f"{layer}.{name}"].abs() / moved[1.0][f"{layer}.{name}"].abs()
            # Adam's steps hardly depend on the gradient's size, only on its sign
            assert 3.5 < float(ratio.median()) < 4.5


def test_weight_decay_leaves_temporal_parameters_alone(tmp_path: Path) -> None:
    decayed = replace(RECIPES["lenet5_3t"], temporal_lr=0.5, lr=1e-3, weight_decay=100.0)
    run = Run(models.build("lenet5_3t"), decayed, 0, torch.device("cpu"), tmp_path / "c.pt")
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    groups = {
        (group["weight_decay"], group["lr_factor"]): {names[p] for p in group["params"]}
        for group in run.optimiser.param_groups
    }
    temporal = {f"{layer}.{name}" for layer in ("conv1", "conv2") for name in TEMPORAL}
    assert groups == {(0.0, 0.5): temporal, (100.0, 1.0): set(names.values()) - temporal}


def test_weight_decay_pulls_the_other_weights(tmp_path: Path) -> None:
    decayed = replace(RECIPES["lenet5_3t"], temporal_lr=1.0, lr=1e-3, weight_decay=100.0)
    before, after = trained(decayed, tmp_path)
    # a step of Adam goes at most by lr; decay would take a tenth in each
    assert float((after["conv1.scale"] - before["conv1.scale"]).abs().max()) < 0.01
    # the cosine begins at the second step: (1 - 1e-3 * 100) twice
    ratio = after["fc1.weight"].norm() / before["fc1.weight"].norm()
    assert float(ratio) == pytest.approx(0.9 * 0.9, rel=0.01)


class Unsaved(Run):
    """A run whose checkpoint would take a while to write."""

    def save(self) -> None:
        pass


@pytest.mark.parametrize("name", ["resnet18_3t", "resnet18_3d"])
def test_resnet18_takes_a_training_step(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.build(name)
    few = replace(RECIPES[name], steps=1, batch_size=2, eval_every=1, eval_clips=1)
    before = {key: value.clone() for key, value in model.named_parameters()}
    run = Unsaved(model, few, 0, torch.device("cpu"), tmp_path / "c.pt", workers=0)
    loop.fit(run, show_progress=False)
    assert run.progress.step == 1
    still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert still == []
    assert len(run.log.lines()) == 1
