from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import BundledModel, ModelInfo, build, train
from models.data.video_mnist import VideoMNIST
from models.training import recipes
from models.training.class_weights import balanced_weights
from models.training.classification import Classification
from models.training.recipes import Recipe
from models.training.run import Run

INFO = ModelInfo(
    name="net",
    classes=("a", "b", "c", "x", "y"),
    groups={"letter": range(3), "end": range(3, 5)},
    frames=1,
    size=(1, 1),
    mean=(0.0,),
    std=(1.0,),
    layer="",
)


class Batch(NamedTuple):
    letter: Tensor
    end: Tensor


class Skewed:
    """Four clips of a, two of b and c; six of y, two of x. Its groups come in another order."""

    groups: ClassVar = {"colour": range(1), "end": range(1, 3), "letter": range(3, 6)}

    def __init__(self, letters: str = "aaaabbcc", ends: str = "yyyyyyxx") -> None:
        self.rows = [(0, "xy".index(y), "abc".index(x)) for x, y in zip(letters, ends, strict=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self, index: int) -> tuple[int, int, int]:
        return self.rows[index]


class Scores(BundledModel):
    """Answers with what it is given."""

    info = INFO

    def forward(self, clip: Tensor) -> Tensor:
        return clip


def nothing() -> Any:
    raise AssertionError("the data are not asked for")


def test_balanced_weights_by_hand() -> None:
    # 8 / (3 * 4), 8 / (3 * 2); 8 / (2 * 2), 8 / (2 * 6)
    found = balanced_weights(INFO, Skewed())
    assert found == {"letter": [2 / 3, 4 / 3, 4 / 3], "end": [2, 2 / 3]}


def test_weights_of_uniform_labels_are_one() -> None:
    assert balanced_weights(INFO, Skewed("abcabc", "xyxyxy")) == {
        "letter": [1, 1, 1],
        "end": [1, 1],
    }


def test_scikit_learn_has_the_same_weights() -> None:
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    data = VideoMNIST(500, seed=4, decoupled=True, digits="sklearn")
    info = replace(INFO, classes=data.classes, groups=data.groups)
    labels = torch.tensor([data.labels(index) for index in range(500)]).numpy()
    found = balanced_weights(info, data)
    for column, group in enumerate(("motion", "digit")):
        expected = sklearn.compute_class_weight(
            "balanced", classes=np.arange(10), y=labels[:, column]
        )
        assert found[group] == pytest.approx(expected.tolist(), rel=1e-14)


@pytest.mark.parametrize("given", ["balanced", {"letter": [0.5, 2, 3]}, None])
def test_the_loss_is_torchs_weighted_one(given: Any) -> None:
    data = Skewed if given == "balanced" else nothing
    task = Classification(given).prepared(INFO, data)
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.tensor([0, 1, 2, 0, 0, 1]), torch.tensor([1, 1, 0, 1, 1, 1]))
    weights: dict[str, Tensor | None] = {"letter": None, "end": None}
    if given == "balanced":
        weights = {"letter": torch.tensor([2, 4, 4]) / 3, "end": torch.tensor([6, 2]) / 3}
    elif given:
        weights["letter"] = torch.tensor([0.5, 2, 3])
    expected = F.cross_entropy(scores[:, :3], batch.letter, weight=weights["letter"])
    expected += F.cross_entropy(scores[:, 3:], batch.end, weight=weights["end"])
    torch.testing.assert_close(task.loss(Scores(), scores, batch), expected)


def test_a_weighted_loss_by_hand() -> None:
    # scores 0 give each of two classes a half; x weighs 3, y 1: still log 2. With a score of log 3
    # for y, a clip of x costs log 4 and one of y log 4/3: (3 log 4 + log 4/3) / 4
    task = Classification({"end": [3, 1]}).prepared(INFO, nothing)
    scores = torch.zeros(2, 5)
    scores[:, 4] = torch.log(torch.tensor(3.0))
    batch = Batch(torch.tensor([0, 1]), torch.tensor([0, 1]))
    four, third = torch.log(torch.tensor(4.0)), torch.log(torch.tensor(4 / 3))
    expected = (3 * four + third) / 4 + torch.log(torch.tensor(3.0))
    torch.testing.assert_close(task.loss(Scores(), scores, batch), expected)


def test_an_unweighted_task_is_left_alone() -> None:
    task = Classification()
    assert task.prepared(INFO, nothing) is task
    assert task.settings() == {}
    assert Classification({"end": (1, 2)}).settings() == {"class_weights": {"end": [1, 2]}}


def test_weights_are_not_forgotten() -> None:
    batch = Batch(torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(RuntimeError, match=r"not computed: call prepared\(\) first"):
        Classification("balanced").loss(Scores(), torch.zeros(1, 5), batch)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"colour": [1]}, "names 'colour', and the model's groups are 'letter', 'end'"),
        ({"letter": [1, 2]}, "must have 3 weights for 'letter', got 2"),
        ({"end": [1, 0]}, "must be positive and finite, got 0 for 'end'"),
        ({"end": [1, -1.5]}, "must be positive and finite, got -1.5 for 'end'"),
        ({"end": [float("nan"), 1]}, "must be positive and finite, got nan for 'end'"),
    ],
)
def test_bad_weights(weights: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Classification(weights).prepared(INFO, nothing)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Skewed("aaaabbbb"), "of 8 training clips none is of letter 'c'."),
        (lambda: Skewed("bbbbbbbb"), "of 8 training clips none is of letter 'a', 'c'."),
        (lambda: [1, 2], "need a data set with labels(index), and list has none"),
    ],
)
def test_what_cannot_be_balanced(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Classification("balanced").prepared(INFO, make)


def test_an_unknown_word() -> None:
    with pytest.raises(ValueError, match=r"'balanced' or weights by group, got 'even'\."):
        Classification("even")  # type: ignore[arg-type]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """Two steps of sixty clips, in an empty folder."""
    recipe = replace(
        recipes.RECIPES["lenet5_3d"],
        steps=2,
        batch_size=60,
        eval_every=2,
        eval_clips=3,
        score_clips=3,
    )
    monkeypatch.setitem(recipes.RECIPES, "lenet5_3d", recipe)
    monkeypatch.chdir(tmp_path)
    return recipe


def run(*arguments: str) -> int:
    quiet = ("--workers", "0", "--quiet", "--device", "cpu", "--output", "out")
    return train.main(["lenet5_3d", *quiet, *arguments])


def test_the_command_weights_the_classes_and_the_card_says_so(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--class-weights", "balanced") == 0
    card = " ".join(Path("out/lenet5_3d.md").read_text().split())
    assert "python -m models.train lenet5_3d --seed 0 --class-weights balanced" in card
    data = tiny.data(120, 0, "train")
    first = sum(data.labels(index)[0] == 0 for index in range(120))  # type: ignore[attr-defined]
    start = f"classes weighted (N / (K n_k) of the training clips, motion {12 / first:.4g}, "
    assert start in card
    assert run("--resume") == 2
    assert "class_weights was 'balanced', now None" in capsys.readouterr().err


def test_weights_of_a_run_belong_to_its_plan(tiny: Recipe, tmp_path: Path) -> None:
    given = replace(tiny, task=Classification({"motion": [*[1.0] * 9, 2.0]}))
    model = build("lenet5_3d")
    first = Run(model, given, 0, torch.device("cpu"), tmp_path / "c.pt")
    assert first.plan()["class_weights"] == {"motion": [1.0] * 9 + [2.0]}
    first.save()
    Run(model, given, 0, torch.device("cpu"), tmp_path / "c.pt").resume()
    other = Run(model, tiny, 0, torch.device("cpu"), tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"class_weights was .*, now None\."):
        other.resume()


def test_a_model_without_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["odometry_small", "--class-weights", "balanced"]) == 2
    expected = "--class-weights is for models that tell classes, and odometry_small does not"
    assert expected in capsys.readouterr().err


class WithHeads(BundledModel):
    """A model that in training returns two auxiliary heads' scores after its own."""

    info = INFO

    def forward(self, clip: Tensor) -> Any:
        heads = clip.flatten(1).split(5, 1)
        return heads if self.training else heads[0]


def test_auxiliary_heads_count_three_tenths() -> None:
    scores = torch.randn(4, 15, generator=torch.Generator().manual_seed(0))
    batch = Batch(letter=torch.tensor([0, 1, 2, 1]), end=torch.tensor([0, 1, 1, 1]))
    own, first, second = (
        F.cross_entropy(head[:, :3], batch.letter) + F.cross_entropy(head[:, 3:], batch.end)
        for head in scores.split(5, 1)
    )
    model = WithHeads()
    loss = Classification().loss(model, scores, batch)
    torch.testing.assert_close(loss, own + 0.3 * (first + second))
    found = Classification().evaluate(model.eval(), [(scores, batch)])
    assert found.loss == pytest.approx(float(own), rel=1e-6)
