from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

from models import build
from models.c3d import C3D
from models.training import card
from models.training.curve import learning_curve
from models.training.odometry import CONSTANT, MEAN, MODEL, ViewSynthesisTask
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run

SCORE = {"motion": 0.75, "look": 0.5}
LINES = [
    {"step": 2, "loss": 2.0, "motion": 0.5, "look": 0.25, "lr": 0.001},
    {"step": 4, "loss": 1.0, "motion": 0.75, "look": 0.5, "lr": 0.0},
]


def finished(folder: Path, recipe: Recipe | None = None, lines: Any = LINES, **changes: Any) -> Run:
    """A run whose log has two lines and whose second validation was the best."""
    net = C3D(19, widths=((4,), (8,), (8,), (8,)), hidden=(32,), size=(64, 64), dropout=0.1)
    net.info = build("c3d_small").info
    recipe = dataclasses.replace(recipe or RECIPES["c3d_small"], **changes)
    run = Run(
        net, recipe, 0, torch.device("cpu"), folder / "run" / "checkpoint.pt", tensorboard=False
    )
    run.log.begin(0)
    for line in lines:
        run.log.write(line)
    run.progress.step, run.progress.best_step = 4, 4
    return run


def text_of(
    folder: Path, recipe: Recipe | None = None, stopped: bool = False, **changes: Any
) -> str:
    run = finished(folder, recipe, **changes)
    run.progress.stopped = stopped
    path = card.publish(run, folder / "out", "a command", SCORE)[1]
    return " ".join(path.read_text(encoding="utf-8").split())


def recipe_of(text: str) -> str:
    """The sentence on the recipe, up to what the loss is."""
    return text[text.index("Recipe: ") : text.index("; cross-entropy")]


def test_log_and_curve_lie_beside_weights_and_card(tmp_path: Path) -> None:
    run = finished(tmp_path)
    weights, path = card.publish(run, tmp_path / "out", "a command", SCORE)
    assert (weights.name, path.name) == ("c3d_small.safetensors", "c3d_small.md")
    names = ["c3d_small.curve.png", "c3d_small.log.jsonl", "c3d_small.md", "c3d_small.safetensors"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    log = (tmp_path / "out" / "c3d_small.log.jsonl").read_text()
    assert [json.loads(line) for line in log.splitlines()] == LINES
    assert log == run.log.path.read_text()
    flat = " ".join(path.read_text().split())
    assert "* Log: `c3d_small.log.jsonl`, drawn in `c3d_small.curve.png`. *" in flat


@pytest.mark.parametrize(
    ("best_step", "marked", "metres"), [(4, 4, False), (0, None, False), (2, 2, True)]
)
def test_the_curve_is_that_of_the_log(
    tmp_path: Path, best_step: int, marked: int | None, metres: bool
) -> None:
    run = finished(tmp_path)
    run.progress.best_step = best_step
    score = SCORE
    if metres:
        run.recipe = dataclasses.replace(run.recipe, task=ViewSynthesisTask())
        score = {MODEL: 0.1, MEAN: 0.2, CONSTANT: 0.3}
    card.publish(run, tmp_path / "out", "a command", score)
    expected = learning_curve(
        LINES, title="c3d_small", best_step=marked, unit="m" if metres else "%"
    )
    expected.savefig(tmp_path / "expected.png", dpi=130)
    drawn = matplotlib.image.imread(tmp_path / "out" / "c3d_small.curve.png")
    assert np.array_equal(drawn, matplotlib.image.imread(tmp_path / "expected.png"))


def test_a_lost_log_does_not_lose_the_weights(tmp_path: Path) -> None:
    run = finished(tmp_path)
    run.log.path.unlink()
    assert card.publish(run, tmp_path / "out", "a command", SCORE)[0].is_file()
    assert (tmp_path / "out" / "c3d_small.log.jsonl").read_text() == ""


@pytest.mark.parametrize("broken", ["draw_curve", "save_file", "as_text", "_card"])
def test_all_four_files_are_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(card, broken, fail)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c3d_small.md").write_text("older")
    with pytest.raises(OSError, match="disk full"):
        card.publish(finished(tmp_path), tmp_path / "out", "a command", SCORE)
    left = [(p.name, p.read_text()) for p in (tmp_path / "out").iterdir()]
    assert left == [("c3d_small.md", "older")]


def test_the_usual_recipe_reads_as_ever(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    assert (
        "* Recipe: AdamW, 2400 steps of 32 clips, learning rate 0.001 with linear warm-up and cosine "
        "decay, weight decay 0.0001, float32; cross-entropy summed over the questions. * The run "
        "ran to its end after 4 steps; the weights are those of step 4, the best by the lowest of "
        "the questions' validation accuracies. * Log:"
    ) in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"optimizer": "adam", "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0},
            "Adam, 2400 steps of 32 clips, learning rate 0.001 with no decay, weight decay 0, ",
        ),
        (
            {"optimizer": "sgd", "schedule": "step", "decay": 0.2, "decay_every": 500},
            "SGD with momentum 0.9, 2400 steps of 32 clips, learning rate 0.001 with linear warm-up "
            "and decay by a factor of 0.2 every 500 steps, weight decay 0.0001, ",
        ),
        (
            {"optimizer": "sgd", "momentum": 0.0, "schedule": "plateau", "plateau": 3},
            "SGD, 2400 steps of 32 clips, learning rate 0.001 with linear warm-up and decay by a "
            "factor of 0.1 after 3 validations without a lower loss, weight decay 0.0001, ",
        ),
        (
            {"epoch": 9600},
            "AdamW, 2400 steps of 32 clips (8 epochs of 9,600 clips), learning rate 0.001 with ",
        ),
        (
            {"layer_lr": {"fc8": 10.0, "fc*": 0.5}, "freeze": ("conv1", "conv2")},
            "cosine decay, weight decay 0.0001 (fc8: 10 times the learning rate) (fc*: 0.5 times "
            "the learning rate), frozen: `conv1`, `conv2`, float32",
        ),
    ],
)
def test_the_recipe_is_told_truly(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    assert sentence in recipe_of(text_of(tmp_path, **changes)) + ", "


@pytest.mark.parametrize(
    ("stopping", "stopped", "sentence"),
    [
        ("patience", True, "The run stopped early after 4 steps;"),
        (
            "decline",
            True,
            "The run stopped early, as the score fell and the validation loss rose, after 4 steps;",
        ),
        ("decline", False, "The run ran to its end after 4 steps;"),
    ],
)
def test_the_card_says_why_the_run_ended(
    tmp_path: Path, stopping: str, stopped: bool, sentence: str
) -> None:
    assert sentence in text_of(tmp_path, stopping=stopping, stopped=stopped)


def test_parameters_with_their_own_rate_are_named(tmp_path: Path) -> None:
    run = finished(tmp_path)
    first, *others = run.model.parameters()
    groups = [
        {"params": [first], "what": "temporal parameters", "lr_factor": 5.0, "weight_decay": 0.0},
        {"params": others, "what": "weights", "lr_factor": 1.0},
    ]
    run.optimiser = torch.optim.AdamW(groups, lr=1e-3, weight_decay=1e-4)
    path = card.publish(run, tmp_path / "out", "a command", SCORE)[1]
    assert (
        "weight decay 0.0001 (temporal parameters: 5 times the learning rate, no decay), float32;"
    ) in " ".join(path.read_text().split())
