"""The recipes that come with the models: the papers' numbers, and that each of them runs."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from torch import nn

from models import cnn_lstm, inflated, odometry, train
from models.data.ntu import NTU_ACTIONS
from models.odometry import Odometry
from models.training.optimiser import check_recipe
from models.training.recipe_files import list_recipes, load_recipe
from models.training.recipes import Recipe
from models.training.sources import Source, open_source
from tests.io.skeletons import walk, write_skeleton
from tests.models.data.recorded.kitti_tree import write_still
from tests.models.data.recorded.trees import hmdb51_tree, jester_tree, ucf101_tree


@dataclass(frozen=True)
class Row:
    """A row of paper 1's table 3, typed from the paper, and the steps that its epochs are."""

    lr: float
    batch: int
    epochs: int
    training: float
    validation: float
    steps: int
    check: int


#: 118562 training clips in Jester and 9537 in UCF101: ceil(epochs * clips / batch), and every five
PAPER_1 = {
    "resnet18_3t-jester": Row(5e-5, 32, 24, 98.7, 74.5, 88922, 18525),
    "resnet18_3t-ucf101": Row(5e-5, 30, 46, 100, 61.1, 14624, 1590),
    "googlenet_3t-jester": Row(5e-5, 20, 29, 99.4, 84.9, 171915, 29640),
    "googlenet_3t-ucf101": Row(5e-5, 25, 13, 100, 63.7, 4960, 1907),
    "resnet18_3t-jester-scratch": Row(5e-5, 32, 28, 71.6, 44.4, 103742, 18525),
    "resnet18_3t-ucf101-scratch": Row(5e-5, 16, 37, 91.3, 31.0, 22055, 2980),
    "googlenet_3t-jester-scratch": Row(5e-5, 20, 34, 98.5, 74.1, 201556, 29640),
    "googlenet_3t-ucf101-scratch": Row(5e-5, 18, 29, 100, 33.4, 15366, 2649),
    "resnet18_3d-jester": Row(5e-6, 32, 46, 99.8, 81.6, 170433, 18525),
    "resnet18_3d-ucf101": Row(5e-6, 30, 41, 100, 56.1, 13034, 1590),
    "googlenet_3d-jester": Row(5e-6, 19, 26, 99.9, 89.9, 162243, 31201),
    "googlenet_3d-ucf101": Row(5e-6, 20, 55, 100, 58.7, 26227, 2384),
}
PAPER_4 = ("cnn_lstm-hmdb51", "cnn_lstm_attention-hmdb51")
#: accuracy in percent, table 1 of paper 5
PAPER_5 = {
    "res_tcn-ntu-cross-subject": 74.3,
    "res_tcn-ntu-cross-view": 83.1,
    "ms_res_tcn-ntu-cross-subject": 79.0,
    "ms_res_tcn-ntu-cross-view": 86.6,
}
ALL = sorted([*PAPER_1, *PAPER_4, *PAPER_5, "c3d-ucf101", "sfmlearner-kitti"])
#: clips of the official data sets
LENGTHS = {
    "jester": {"train": 118562, "validation": 7393, "test": 7394},
    "ucf101": {"train": 9537, "validation": 1890, "test": 1893},
    "hmdb51": {"train": 3570, "validation": 765, "test": 765},
    "ntu": {"train": 40320, "validation": 16560, "test": 16560},
    "kitti": {"train": 20000, "validation": 1197, "test": 1587},
}
#: options with which the nets are quick, where they are not narrow already
SMALL = {
    **dict.fromkeys(
        ("resnet18_3t", "resnet18_3d", "googlenet_3t", "googlenet_3d"),
        ("frames=9", "size=(42,56)"),
    ),
    **dict.fromkeys(("cnn_lstm", "cnn_lstm_attention"), ("frames=4", "size=(64,64)")),
    **dict.fromkeys(("res_tcn", "ms_res_tcn"), ("frames=40",)),
    "c3d": ("widths=((2,),(2,),(2,),(2,),(2,))", "hidden=(4,)", "size=(32,32)"),
    "odometry": ("size=(64,208)",),
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of each data set, in folders of their names."""
    root = tmp_path_factory.mktemp("trees")
    ucf101_tree(root / "ucf101")
    hmdb51_tree(root / "hmdb51")
    jester_tree(root / "jester")
    for number in range(11):
        write_still(root / "kitti", number, 6, (32, 104))
    for name in ("C001P001", "C002P002", "C003P003", "C001P006", "C002P001", "C003P002"):
        file = root / "ntu" / f"S001{name}R001A012.skeleton"
        write_skeleton(file, [{7: joints} for joints in walk(4)])
    return root


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The nets' frame with little in it; what their 2D nets were asked for is noted."""
    asked: list[tuple[str, Any]] = []

    def flat(name: str, classes: int, pretrained: bool = False) -> nn.Module:
        asked.append((name, pretrained))
        parts = OrderedDict(
            conv1=nn.Conv2d(3, 4, 7, stride=8, padding=3),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(4, classes),
        )
        return nn.Sequential(parts)

    def cnn(pretrained: bool = False) -> nn.Module:
        asked.append(("resnet18", pretrained))
        return nn.Sequential(OrderedDict(layer4=nn.Conv2d(3, 512, 3, stride=32)))

    for name in ("resnet18", "googlenet"):
        monkeypatch.setattr(inflated, name, partial(flat, name))
    monkeypatch.setattr(cnn_lstm, "resnet18", cnn)
    thin = (4,) * 7
    widths: dict[str, Any] = {"pose_widths": thin, "disp_widths": thin, "up_widths": thin}
    monkeypatch.setattr(odometry, "Odometry", partial(Odometry, **widths))
    return asked


def opened(name: str, trees: Path) -> Source:
    """The small copy of a recipe's data, which says that it is as long as the official one."""
    file = load_recipe(name)
    source = open_source(file.data, trees / file.data, file.data_options)
    return replace(source, lengths=LENGTHS[file.data])


def recipe_of(name: str, trees: Path) -> Recipe:
    source = opened(name, trees)
    file = load_recipe(name)
    small = {"widths": ((2,),) * 5, "hidden": (4,)} if file.model == "c3d" else {}
    recipe = file.recipe(source, file.build(source, small).info)
    check_recipe(recipe)
    return recipe


def test_every_recipe_is_here() -> None:
    assert list_recipes() == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_says_where_it_is_from(name: str) -> None:
    file = load_recipe(name)
    assert file.source.startswith("Paper ")
    assert file.title
    assert (file.start != "") == (name == "c3d-ucf101")


@pytest.mark.parametrize("name", PAPER_1)
def test_rows_of_paper_1(name: str, trees: Path, narrow: list[tuple[str, Any]]) -> None:
    row, file, recipe = PAPER_1[name], load_recipe(name), recipe_of(name, trees)
    net, data = name.split("-")[:2]
    assert (file.model, file.data) == (net, data)
    assert narrow == [(net[:-3], not name.endswith("-scratch"))]
    assert file.options["divide"] is net.endswith("3d")
    assert (file.frames, file.size) == (30, (150 if data == "jester" else 168, 224))
    assert recipe.data(1, 0, "validation")[0].clip.shape == (3, file.frames, *(file.size or ()))
    assert (recipe.optimizer, recipe.schedule, recipe.weight_decay) == ("adam", "constant", 0.0)
    assert (recipe.warmup, recipe.clip_norm, recipe.temporal_lr) == (0.0, math.inf, 1.0)
    assert (recipe.lr, recipe.batch_size) == (row.lr, row.batch)
    assert (recipe.steps, recipe.eval_every) == (row.steps, row.check)
    assert (recipe.stopping, recipe.score_split) == ("decline", "validation")
    weights = {"class_weights": "balanced"} if data == "jester" else {}
    assert recipe.task.settings() == weights
    assert file.reported == {
        "epochs": row.epochs,
        "training_accuracy": row.training,
        "validation_accuracy": row.validation,
    }
    assert file.data_options.get("fold") == (None if data == "jester" else 1)
    assert not file.data_options.get("mirror")


def test_the_c3d_of_paper_2(trees: Path) -> None:
    file, recipe = load_recipe("c3d-ucf101"), recipe_of("c3d-ucf101", trees)
    assert (file.model, file.data, file.frames, file.size) == ("c3d", "ucf101", 16, (112, 112))
    assert file.data_options == {
        "fold": 1,
        "sampling": "window",
        "stride": 4,
        "resize": [128, 171],
        "mirror": True,
    }
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (recipe.lr, recipe.layer_lr, recipe.batch_size) == (1e-3, {"fc8": 10.0}, 20)
    assert (recipe.schedule, recipe.decay) == ("step", 0.1)
    assert recipe.decay_every == 4768  # 10 epochs of 476.85 steps are 4768.5
    assert (recipe.steps, recipe.eval_every) == (47685, 477)
    assert (recipe.warmup, recipe.clip_norm) == (0.0, math.inf)
    assert file.reported == {"validation_accuracy": 75}


@pytest.mark.parametrize("name", PAPER_4)
def test_the_nets_of_paper_4(name: str, trees: Path, narrow: list[tuple[str, Any]]) -> None:
    file, recipe = load_recipe(name), recipe_of(name, trees)
    assert narrow == [("resnet18", True)]
    assert f"{file.model}-{file.data}" == name
    assert (file.frames, file.size) == (16, (224, 224))
    assert recipe.freeze == ()
    assert (recipe.optimizer, recipe.lr, recipe.batch_size) == ("adam", 1e-4, 16)
    assert (recipe.steps, recipe.eval_every) == (6694, 223)  # 30 * 3570 / 16 = 6693.75
    assert file.reported == {}


@pytest.mark.parametrize("name", PAPER_5)
def test_the_nets_of_paper_5(name: str, trees: Path) -> None:
    file, recipe = load_recipe(name), recipe_of(name, trees)
    assert name == f"{file.model}-{file.data}-{file.data_options['protocol']}"
    assert file.frames == 300
    assert (recipe.optimizer, recipe.momentum, recipe.lr) == ("sgd", 0.0, 0.01)
    assert (recipe.schedule, recipe.decay, recipe.plateau) == ("plateau", 0.1, 10)
    assert (recipe.batch_size, recipe.steps, recipe.eval_every) == (128, 63000, 315)
    assert recipe.task.settings() == {"l1": 1e-4}
    model = file.build(opened(name, trees))
    assert model.info.classes == NTU_ACTIONS
    dropouts = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert dropouts == {0.5}
    assert recipe.data(1, 0, "validation")[0].clip.shape == (150, 300)
    assert file.reported == {"validation_accuracy": PAPER_5[name]}


def test_the_odometry_of_paper_4(trees: Path, narrow: list[tuple[str, Any]]) -> None:
    file, recipe = load_recipe("sfmlearner-kitti"), recipe_of("sfmlearner-kitti", trees)
    assert (file.model, file.data, file.size) == ("odometry", "kitti", (128, 416))
    assert file.options == {"references": 4, "masks": True}
    assert recipe.data(1, 0, "test")[0].clip.shape == (3, 5, 128, 416)
    assert (recipe.optimizer, recipe.schedule, recipe.lr) == ("adam", "constant", 2e-4)
    assert (recipe.batch_size, recipe.steps, recipe.eval_every) == (4, 200000, 5000)
    loss: Any = recipe.task
    assert loss.view_synthesis.smooth_weight == 0.1
    assert loss.view_synthesis.mask_weight == 0.2
    assert file.reported == {"trajectory_error_09": 0.016, "trajectory_error_10": 0.013}


def arguments(name: str, trees: Path, *more: str) -> list[str]:
    file = load_recipe(name)
    given = ["--recipe", name, "--root", str(trees / file.data), "--output", "out", "--quiet"]
    given += ["--device", "cpu", "--workers", "0", "--no-tensorboard", "--batch-size", "2"]
    return [*given, "--steps", "3", *more]  # an epoch, in which all classes come


def check_output(name: str, trees: Path) -> None:
    """Weights with the data's classes, and a card that names the data, the command and the score."""
    (card,), (weights,) = Path("out").glob("*.md"), Path("out").glob("*.safetensors")
    text = " ".join(card.read_text().split())
    file = load_recipe(name)
    source = open_source(file.data, trees / file.data, file.data_options)
    assert source.note in text
    assert f"--recipe {name} --root DIR" in text
    assert str(trees) not in text
    with safe_open(weights, "pt") as kept:
        assert kept.metadata()["score"]


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_runs(
    name: str,
    trees: Path,
    narrow: list[tuple[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [part for option in SMALL[load_recipe(name).model] for part in ("--option", option)]
    assert train.main(arguments(name, trees, *small)) == 0
    check_output(name, trees)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_recipe_runs_with_its_net(
    name: str, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = load_recipe(name)
    scratch = ["--option", "pretrained=False"] if "pretrained" in file.options else []
    if file.start:  # without its published weights, C3D bears a lower rate alone
        scratch = ["--lr", "1e-7"]
    if file.data != "jester":
        scratch += ["--steps", "1"]
    assert train.main(arguments(name, trees, *scratch)) == 0
    check_output(name, trees)
