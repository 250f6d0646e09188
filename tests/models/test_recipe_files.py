from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.training.classification import Classification
from models.training.fusion import FusionClassification
from models.training.odometry import ViewSynthesisTask
from models.training.optimiser import check_recipe
from models.training.recipe_files import RecipeFile, list_recipes, load_recipe
from models.training.sequences import SequenceClassification
from models.training.sources import Source, open_source
from tests.models.data.recorded.trees import UCF101_CLASSES, ucf101_tree

TEXT = """
title = "A small net on UCF101"
source = '''
From nowhere,
and left open.
'''

[model]
name = "c3d"
frames = 8
size = [16, 24]
start = "weights of one's own"
options = { widths = [[2], [3]], hidden = [5] }

[data]
name = "ucf101"
options = { fold = 2, mirror = true }

[training]
epochs = 46
batch_size = 30
optimizer = "sgd"
momentum = 0.8
lr = 2e-3
layer_lr = { fc8 = 10 }
freeze = ["conv1"]
schedule = "step"
decay = 0.2
decay_every_epochs = 10
stopping = "patience"
patience = 3
eval_every_epochs = 5
score_split = "test"

[task]
class_weights = "balanced"

[reported]
validation_accuracy = 61.1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Three classes, whose splits are said to be of other lengths than they are."""
    found = open_source("ucf101", ucf101_tree(tmp_path_factory.mktemp("ucf101")))
    return replace(found, lengths={"train": 9537, "validation": 1890, "test": 1893})


def test_a_file_is_read(path: Path) -> None:
    assert load_recipe(path) == load_recipe(str(path))
    file = load_recipe(path)
    assert (file.name, file.title) == ("small", "A small net on UCF101")
    assert file.source == "From nowhere, and left open."
    assert (file.model, file.frames, file.size) == ("c3d", 8, (16, 24))
    assert file.options == {"widths": [[2], [3]], "hidden": [5]}
    assert file.start == "weights of one's own"
    assert (file.data, file.data_options) == ("ucf101", {"fold": 2, "mirror": True})
    assert (file.training["lr"], file.training["layer_lr"]) == (2e-3, {"fc8": 10})
    assert file.task == {"class_weights": "balanced"}
    assert file.reported == {"validation_accuracy": 61.1}


def test_epochs_become_steps(path: Path, source: Source) -> None:
    file = load_recipe(path)
    recipe = file.recipe(source, file.build(source).info)
    assert recipe.steps == 14624  # 46 * 9537 / 30 = 14623.4
    assert recipe.eval_every == 1590  # 5 * 9537 / 30 = 1589.5
    assert recipe.decay_every == 3179  # 10 * 9537 / 30
    assert recipe.epoch == 9537
    assert (recipe.eval_clips, recipe.score_clips) == (1890, 1893)
    assert (recipe.optimizer, recipe.momentum, recipe.lr) == ("sgd", 0.8, 2e-3)
    assert (recipe.schedule, recipe.decay) == ("step", 0.2)
    assert (recipe.layer_lr, recipe.freeze) == ({"fc8": 10}, ("conv1",))
    assert (recipe.stopping, recipe.patience, recipe.score_split) == ("patience", 3, "test")
    assert recipe.data_note == source.note
    assert recipe.task.settings() == {"class_weights": "balanced"}
    sample = recipe.data(1, 0, "train")[0]
    assert sample.clip.shape == (3, 8, 16, 24)
    check_recipe(recipe)


def test_what_is_not_said_is_not_done(path: Path, source: Source) -> None:
    file = load_recipe(path)
    recipe = file.recipe(source, file.build(source).info)
    assert (recipe.warmup, recipe.weight_decay, recipe.clip_norm) == (0.0, 0.0, math.inf)
    assert (recipe.temporal_lr, recipe.gate_lr) == (1.0, 1.0)
    said = {"warmup": 0.25, "weight_decay": 0.5, "clip_norm": 2.0}
    recipe = file.recipe(source, file.build(source).info, said)
    assert (recipe.warmup, recipe.weight_decay, recipe.clip_norm) == (0.25, 0.5, 2.0)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"epochs": 1.5}, {"steps": 477, "eval_every": 1590}),  # 1.5 * 9537 / 30 = 476.85
        ({"epochs": None, "lr": None}, {"steps": 14624, "lr": 2e-3}),
        ({"steps": 7}, {"steps": 7, "eval_every": 1590}),
        ({"batch_size": 9537}, {"steps": 46, "eval_every": 5, "decay_every": 10}),
        ({"batch_size": 1000000}, {"steps": 1, "eval_every": 1, "decay_every": 1}),
        ({"eval_every_epochs": 0.5}, {"steps": 14624, "eval_every": 159}),  # 158.95
        ({"decay_every_epochs": 1}, {"decay_every": 318}),  # 317.9
        ({"lr": 0.5, "patience": 9}, {"lr": 0.5, "patience": 9}),
        ({"schedule": "constant"}, {"schedule": "constant", "decay_every": 0}),
        ({"stopping": "decline"}, {"stopping": "decline"}),
        ({"optimizer": "adam"}, {"optimizer": "adam"}),
        (
            {"schedule": "plateau", "plateau": 4},
            {"schedule": "plateau", "plateau": 4, "decay": 0.2},
        ),
        ({"freeze": ("conv*",), "layer_lr": {"fc*": 2.0}}, {"freeze": ("conv*",)}),
    ],
)
def test_a_caller_may_change_numbers(
    path: Path, source: Source, overrides: dict[str, Any], expected: dict[str, Any]
) -> None:
    file = load_recipe(path)
    recipe = file.recipe(source, file.build(source).info, overrides)
    assert {key: getattr(recipe, key) for key in expected} == expected


def test_epochs_are_exact_in_decimals(path: Path, source: Source) -> None:
    file = load_recipe(path)
    hundred = replace(source, lengths={**source.lengths, "train": 100})
    recipe = file.recipe(hundred, file.build(source).info, {"epochs": 1.1, "batch_size": 1})
    assert 1.1 * 100 > 110
    assert recipe.steps == 110


def test_steps_may_be_said_in_the_file(path: Path, source: Source) -> None:
    path.write_text(TEXT.replace("epochs = 46", "steps = 500"))
    file = load_recipe(path)
    info = file.build(source).info
    assert file.recipe(source, info).steps == 500
    assert file.recipe(source, info, {"epochs": 2}).steps == 636  # 2 * 9537 / 30 = 635.8


def test_the_score_is_of_the_test_split_where_there_is_one(path: Path, source: Source) -> None:
    file = load_recipe(path)
    info = file.build(source).info
    path.write_text(TEXT.replace('score_split = "test"', ""))
    silent = load_recipe(path)
    bare = replace(source, lengths={"train": 10, "validation": 4})
    assert silent.recipe(source, info).score_split == "test"
    recipe = silent.recipe(bare, info)
    assert (recipe.score_split, recipe.score_clips) == ("validation", 4)
    with pytest.raises(ValueError, match="small: ucf101 has no test split to score on"):
        file.recipe(bare, info)


def test_tasks(path: Path, source: Source) -> None:
    file = load_recipe(path)
    info = file.build(source).info

    def task(**settings: Any) -> Any:
        return replace(file, task=settings).recipe(source, info).task

    plain = task()
    assert type(plain) is Classification
    assert plain.class_weights is None
    sequences = task(kind="sequences", l1=0.5, class_weights="balanced")
    assert isinstance(sequences, SequenceClassification)
    assert sequences.settings() == {"class_weights": "balanced", "l1": 0.5}
    odometry = task(kind="odometry", smoothness=0.25, mask=0.75)
    assert isinstance(odometry, ViewSynthesisTask)
    assert odometry.view_synthesis.smooth_weight == 0.25
    assert odometry.view_synthesis.mask_weight == 0.75
    assert not isinstance(plain, FusionClassification)


def test_a_model_is_built_for_the_data(path: Path, source: Source) -> None:
    model: Any = load_recipe(path).build(source)
    assert model.info.classes == UCF101_CLASSES[:3]
    assert (model.info.frames, model.info.size) == (8, (16, 24))
    assert model.conv2.weight.shape[:2] == (3, 2)
    assert model.fc6.weight.shape == (5, 3 * 4 * 5 * 7)
    changed: Any = load_recipe(path).build(source, {"size": (24, 16), "hidden": (7,)})
    assert changed.info.size == (24, 16)
    assert changed.fc6.out_features == 7


def test_frames_and_size_are_facts_where_the_builder_takes_none(source: Source) -> None:
    file = replace(load_recipe("cnn_lstm-hmdb51"), frames=5, size=(20, 30))
    model = file.build(source, {"pretrained": False})
    assert (model.info.frames, model.info.size) == (5, (20, 30))
    assert len(model.info.classes) == 3
    model = file.build(source, {"pretrained": False, "frames": 6, "size": [40, 50]})
    assert (model.info.frames, model.info.size) == (6, (40, 50))


def test_models_that_cannot_be_built_are_told(path: Path, source: Source) -> None:
    file = load_recipe(path)
    with pytest.raises(ValueError, match=r"small: c3d cannot be built: .*'width'"):
        file.build(source, {"width": 3})
    with pytest.raises(ValueError, match="c3d has 4 classes, and ucf101 has 3"):
        file.build(source, {"classes": 4})
    sequences = load_recipe("res_tcn-ntu-cross-view")
    with pytest.raises(ValueError, match="res_tcn takes sequences, which have no size"):
        sequences.build(source, {"size": (2, 3)})
    with pytest.raises(ValueError, match="res_tcn takes sequences, and ucf101 does not"):
        sequences.build(source)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[model]", "[model", "is no TOML"),
        ("title =", "titel =", "there is no key 'titel'. Did you mean 'title'"),
        ("source =", "# ", "is no TOML"),
        ('title = "A small net on UCF101"', "", "title is missing, a text"),
        ('title = "A small net on UCF101"', "title = 3", "title must be a text, got 3"),
        ("[reported]", "[report]", "there is no key 'report'. Did you mean 'reported'"),
        ("frames = 8", "frames = 0", "model.frames must be a positive whole number, got 0"),
        ("frames = 8", "frames = 8.0", "model.frames must be a positive whole number, got 8.0"),
        ("[16, 24]", "[16]", r"model.size must be a height and a width.*got \[16\]"),
        ("[16, 24]", "[16, true]", r"model.size must be a height and a width.*got \[16, True\]"),
        ('"c3d"', '"c3dd"', "model.name: there is no 'c3dd'. Did you mean 'c3d'"),
        ('name = "c3d"', "", "model.name is missing, a text"),
        ("{ fold = 2, mirror = true }", "3", "data.options must be a table, got 3"),
        ('"ucf101"', '"ucf102"', "data.name: there is no 'ucf102'. Did you mean 'ucf101'"),
        ("lr = 2e-3", "rate = 2e-3", "there is no key 'training.rate'"),
        ("momentum = 0.8", "moment = 0.8", "Did you mean 'training.momentum'"),
        ("lr = 2e-3", "lr = '2e-3'", "training.lr must be a positive, finite number, got '2e-3'"),
        ("lr = 2e-3", "lr = 0", "training.lr must be a positive, finite number, got 0"),
        ("lr = 2e-3", "lr = nan", "training.lr must be a positive, finite number, got nan"),
        ("lr = 2e-3", "lr = inf", "training.lr must be a positive, finite number, got inf"),
        ("lr = 2e-3", "lr = true", "training.lr must be a positive, finite number, got True"),
        ("lr = 2e-3", "", "training.lr is missing, a positive, finite number"),
        ('"sgd"', '"sdg"', "training.optimizer must be one of 'adamw', 'adam', 'sgd', got 'sdg'"),
        ("momentum = 0.8", "momentum = 1.0", "training.momentum must be a number from 0 up to"),
        ("{ fc8 = 10 }", "{ fc8 = 0 }", "training.layer_lr must be a table with a positive"),
        ('["conv1"]', '"conv1"', "training.freeze must be a list of layers' names, got 'conv1'"),
        ("decay = 0.2", "decay = 1.0", "training.decay must be a number between 0 and 1"),
        ("epochs = 46", "", "training must have one of epochs and steps"),
        ("epochs = 46", "epochs = 46\nsteps = 3", "training must have one of epochs and steps"),
        ("decay_every_epochs = 10", "", "training.decay_every_epochs is missing, for schedule"),
        ('"step"', '"cosine"', "training.decay.* is for schedule 'step'.*, got 'cosine'"),
        ('"sgd"', '"adam"', "training.momentum is for optimizer 'sgd', got 'adam'"),
        ('"patience"', '"decline"', "training.patience is for stopping 'patience', got 'decline'"),
        ("eval_every_epochs = 5", "", "training.eval_every_epochs is missing"),
        ('score_split = "test"', 'score_split = "train"', "training.score_split must be one of"),
        ('"balanced"', '"even"', "task.class_weights must be one of 'balanced', got 'even'"),
        ('class_weights = "balanced"', "l1 = 1", "task.l1 is not for the kind 'classification'"),
        ('class_weights = "balanced"', "kind = 'x'", "task.kind must be one of 'classification'"),
        ("validation_accuracy = 61.1", "a = '61'", "reported.a must be a number, got '61'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(str(path))


def test_no_key_beside_the_letters_of_a_text(path: Path) -> None:
    path.write_bytes(b'title = "\xff"')
    with pytest.raises(ValueError, match=r"small\.toml is no TOML: .*0xff"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning_rate": 1}, "small: there is no key 'training.learning_rate'"),
        ({"lr": "1"}, "small: training.lr must be a positive, finite number, got '1'"),
        ({"epochs": 1, "steps": 2}, "small: training must have one of epochs and steps"),
        ({"stopping": "decline", "patience": 2}, "training.patience is for stopping 'patience'"),
        ({"optimizer": "adamw", "momentum": 0.5}, "training.momentum is for optimizer 'sgd'"),
        ({"batch_size": 0}, "small: training.batch_size must be a positive whole number, got 0"),
    ],
)
def test_wrong_changes_are_told(
    path: Path, source: Source, overrides: dict[str, Any], message: str
) -> None:
    file = load_recipe(path)
    with pytest.raises(ValueError, match=message):
        file.recipe(source, file.build(source).info, overrides)


def test_recipes_are_found_by_name(tmp_path: Path) -> None:
    names = list_recipes()
    assert names == sorted(names)
    assert "c3d-ucf101" in names
    assert isinstance(load_recipe("c3d-ucf101"), RecipeFile)
    with pytest.raises(ValueError, match=r"no recipe 'c3d-ucf10'\. Did you mean 'c3d-ucf101'"):
        load_recipe("c3d-ucf10")
    with pytest.raises(FileNotFoundError, match=r"There is no recipe at .*none\.toml"):
        load_recipe(tmp_path / "none.toml")


def test_older_pythons_read_toml_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_recipe(path)
    reader = sys.modules.get("tomllib") or sys.modules["tomli"]
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", reader)
    assert load_recipe(path) == expected
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(ImportError, match=r"A recipe on Python 3.10 needs tomli.*\[models\]"):
        load_recipe(path)
