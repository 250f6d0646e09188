"""A recipe with a loss and scores of its own, and what the trainer makes of it."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import default_collate

from models import BundledModel, build, train
from models.data import Drives, Snippet
from models.data.drives import INTRINSICS
from models.odometry import Odometry
from models.training import command, loop, recipes
from models.training.odometry import (
    CONSTANT,
    MEAN,
    MODEL,
    ViewSynthesisTask,
    mean_poses,
    trajectory_errors,
)
from models.training.recipes import Recipe
from models.training.run import Run
from models.training.task import Evaluation
from models.trajectory import camera_path, repeated_motion, trajectory_error
from models.view_synthesis import ViewSynthesis

NAME = "odometry_small"


def narrow(name: str) -> BundledModel:
    """A net with the facts of ``name`` that trains faster."""
    thin = (4, 4, 8, 8, 8, 8, 8)
    net = Odometry(4, pose_widths=thin, disp_widths=thin, up_widths=thin)
    net.info = build(name).info
    return net


def few(length: int, seed: int, split: str) -> Drives:
    """Snippets of the first dozen drives, whatever the seed."""
    return Drives(length, 0, split)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """Four steps of two clips, in an empty folder."""
    recipe = replace(
        recipes.RECIPES[NAME],
        data=few,
        steps=4,
        batch_size=2,
        eval_every=2,
        eval_clips=3,
        score_clips=3,
    )
    monkeypatch.setitem(recipes.RECIPES, NAME, recipe)
    monkeypatch.setattr(command, "build", narrow)
    monkeypatch.chdir(tmp_path)
    return recipe


def run(*arguments: str) -> int:
    always = [NAME, "--workers", "0", "--quiet", "--device", "cpu", "--output", "out"]
    return train.main([*always, *arguments])


def test_the_card_has_the_errors_and_what_they_are(
    tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    with safe_open(f"out/{NAME}.safetensors", "pt") as file:
        score = json.loads(file.metadata()["score"])
    assert list(score) == [MODEL, MEAN, CONSTANT]
    card = Path(f"out/{NAME}.md").read_text()
    for name, error in score.items():
        assert f"| {name} | {error:.4f} |" in card
    flat = " ".join(card.split())
    for text in (
        "absolute trajectory error on 3 fresh clips of the validation split, each of 5 frames",
        "view synthesis (photometric + 0.2 mask + 0.1 smoothness",
        "without any true motion or depth",
        "the best by the trajectory error on validation drives",
        "may differ by up to 0.005 m",
    ):
        assert text in flat, text
    assert "right" not in card
    assert f"model {score[MODEL]:.4f} m, mean odometry" in capsys.readouterr().out
    log = [json.loads(line) for line in Path(f"runs/{NAME}/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4]
    assert all({MODEL, MEAN, CONSTANT} < set(line) for line in log)


def test_the_smallest_error_is_kept(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([0.5, 0.2, 0.4, 0.9])
    seen: list[dict[str, Tensor]] = []

    def fake(self: ViewSynthesisTask, model: BundledModel, _batches: Any) -> Evaluation:
        assert not model.training
        seen.append({key: value.clone() for key, value in model.state_dict().items()})
        return Evaluation({MODEL: next(errors), MEAN: 0.1, CONSTANT: 0.3}, 1.0)

    monkeypatch.setattr(ViewSynthesisTask, "evaluate", fake)
    assert run("--steps", "6") == 0
    kept = load_file(f"out/{NAME}.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in seen[1].items())
    assert any(not torch.equal(kept[key], value) for key, value in seen[2].items())


class Interrupting(Drives):
    """Presses Ctrl-C while the second training step's clips are drawn."""

    def __getitem__(self, index: int) -> Snippet:
        if self.split == "train" and index == 3:
            signal.raise_signal(signal.SIGINT)
        return super().__getitem__(index)


def test_an_interrupted_run_ends_with_the_same_weights(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--output", "whole") == 0
    interrupting = replace(tiny, data=lambda *given: Interrupting(given[0], 0, given[2]))
    monkeypatch.setitem(recipes.RECIPES, NAME, interrupting)
    assert run() == 130
    assert not Path("out").exists()
    monkeypatch.setitem(recipes.RECIPES, NAME, tiny)
    torch.manual_seed(7)
    assert run("--resume") == 0
    broken, whole = (load_file(f"{folder}/{NAME}.safetensors") for folder in ("out", "whole"))
    assert all(torch.equal(broken[key], whole[key]) for key in whole)


def test_the_loss_sees_no_truth_and_falls() -> None:
    recipe = replace(recipes.RECIPES[NAME], data=few)
    torch.manual_seed(0)
    model = build(NAME)
    task = recipe.task
    batch = default_collate([few(4, 0, "train")[index] for index in range(4)])
    clip = model.info.normalize(batch.clip)
    loss = task.loss(model, clip, None)
    assert isinstance(model, Odometry)
    expected = ViewSynthesis(INTRINSICS)(model.views(clip), clip).mean()
    torch.testing.assert_close(loss, expected)
    before = float(loss.detach())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss = task.loss(model, clip, None)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.8 * before


def test_the_three_errors() -> None:
    batch = default_collate([few(6, 0, "validation")[index] for index in range(6)])
    errors = trajectory_errors(batch.poses, batch)
    assert float(errors[MODEL].max()) < 1e-6
    # another unit of length is no error
    scaled = batch.poses * torch.tensor([0.1, 0.1, 0.1, 1, 1, 1])
    assert float(trajectory_errors(scaled, batch)[MODEL].max()) < 1e-6
    truth = camera_path(batch.poses.double())
    mean = camera_path(mean_poses()).expand_as(truth)
    torch.testing.assert_close(errors[MEAN], trajectory_error(mean, truth))
    # the mean camera goes straight ahead, at about 1.3 metres a frame
    assert mean_poses().shape == (4, 6)
    assert 1.2 < float(mean_poses()[1, 2]) < 1.4
    assert float(mean_poses()[:, [0, 1, 3, 4, 5]].abs().max()) < 0.02
    # the step into the snippet, again and again
    again = camera_path(repeated_motion(batch.before.double()))
    torch.testing.assert_close(errors[CONSTANT], trajectory_error(again, truth))
    assert float(errors[CONSTANT].min()) > 0


def test_evaluation_is_the_mean_over_all_clips(tmp_path: Path) -> None:
    recipe = replace(recipes.RECIPES[NAME], data=few, batch_size=2)
    torch.manual_seed(0)
    state = Run(narrow(NAME), recipe, 0, torch.device("cpu"), tmp_path / "c.pt", workers=0)
    found = loop.evaluate(state, 0, 5)
    batch = default_collate([few(5, 0, "validation")[index] for index in range(5)])
    model = state.model.eval()
    with torch.no_grad():
        expected = trajectory_errors(model(model.info.normalize(batch.clip)), batch)
        clip = model.info.normalize(batch.clip)
        assert isinstance(model, Odometry)
        losses = ViewSynthesis(INTRINSICS)(model.views(clip), clip)
    means = {name: pytest.approx(float(e.mean()), rel=1e-4) for name, e in expected.items()}
    assert means == found.scores
    assert found.loss == pytest.approx(float(losses.mean()), rel=1e-4)
