"""Odometry learnt from sequences in KITTI's layout, whose cameras and motion are the data's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from models import build
from models.data import Drives, Epochs, KittiOdometry, MovingDigits, drives
from models.odometry import Odometry
from models.training import loop, odometry
from models.training.odometry import CONSTANT, MEAN, MODEL, ViewSynthesisTask, mean_poses
from models.training.recipes import RECIPES, Recipe
from models.training.run import Run
from models.trajectory import camera_path, repeated_motion, trajectory_error
from models.view_synthesis import ViewSynthesis
from tests.models.data.recorded.kitti_tree import write_drive, write_still
from tests.models.test_train_odometry import narrow

NAME = "odometry_small"
WRONG = (30.0, 90.0, 20.0, 20.0)  # no camera of the data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drives that train and one that is scored."""
    root = tmp_path_factory.mktemp("kitti")
    for number, drive in ((0, 0), (1, 1), (10, 2)):
        write_drive(root, number, 9, drive)
    return root


def read(root: Path, split: str) -> KittiOdometry:
    numbers = (0, 1) if split == "train" else (10,)
    return KittiOdometry(root, split, size=drives.SIZE, sequences=numbers)


def whole(data: KittiOdometry) -> Any:
    return default_collate([data[index] for index in range(len(data))])


@pytest.fixture
def recipe(root: Path) -> Recipe:
    def split(length: int, seed: int, name: str) -> Any:
        data = read(root, name)
        return Epochs(data, length, seed) if name == "train" else data

    task = ViewSynthesisTask(ViewSynthesis(WRONG))
    return replace(
        RECIPES[NAME], data=split, task=task, steps=20, batch_size=2, eval_every=10, warmup=0.0
    )


def test_training_on_a_street(recipe: Recipe, root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = Run(narrow(NAME), recipe, 0, torch.device("cpu"), tmp_path / "c.pt", workers=0)
    untrained = loop.evaluate(run, 0, 4)
    loop.fit(run, show_progress=False)
    assert loop.evaluate(run, 0, 4).loss < untrained.loss
    batch = whole(read(root, "validation"))
    truth = camera_path(batch.poses.double())
    train = read(root, "train")
    mean = torch.stack([train[index].poses for index in range(len(train))]).double().mean(0)
    assert isinstance(run.model, Odometry)
    model = run.model.eval()
    with torch.no_grad():
        clip = model.info.normalize(batch.clip)
        estimates = {
            MODEL: model(clip).double(),
            MEAN: mean.expand(4, 4, 6),
            CONSTANT: repeated_motion(batch.before.double()),
        }
        losses = [
            ViewSynthesis(drives.INTRINSICS)(model.views(one[None]), one[None]) for one in clip
        ]
    found = loop.evaluate(run, 0, 4)
    for name, estimate in estimates.items():
        error = float(trajectory_error(camera_path(estimate), truth).mean())
        # training goes through 40 snippets, of which 8 are different
        assert found.scores[name] == pytest.approx(error, rel=0.05 if name == MEAN else 1e-4)
    assert found.loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-4)
    assert list(found.scores) == [MODEL, MEAN, CONSTANT]


def test_a_batch_with_cameras_of_its_own(root: Path) -> None:
    torch.manual_seed(0)
    model = build(NAME)
    assert isinstance(model, Odometry)
    batch = whole(read(root, "validation"))
    clip = model.info.normalize(batch.clip)
    task = ViewSynthesisTask(ViewSynthesis(WRONG, mask_weight=0.3, smooth_weight=0.5))
    others = batch._replace(
        intrinsics=batch.intrinsics * torch.tensor([[1.0], [1.1], [1.2], [0.9]])
    )
    for given in (batch, others):
        views = model.views(clip)
        losses = ViewSynthesis(given.intrinsics, mask_weight=0.3, smooth_weight=0.5)(views, clip)
        torch.testing.assert_close(task.loss(model, clip, given), losses.mean())
    own, other = (task.loss(model, clip, given).detach() for given in (batch, others))
    assert abs(float(own - other)) > 1e-4
    # without any, those of the task
    fixed = ViewSynthesis(WRONG, mask_weight=0.3, smooth_weight=0.5)(model.views(clip), clip).mean()
    torch.testing.assert_close(task.loss(model, clip, None), fixed)
    assert task.settings() == {"mask_weight": 0.3, "smooth_weight": 0.5}
    assert task.loss_note.startswith("view synthesis (photometric + 0.3 mask + 0.5 smoothness at")


def test_the_mean_motion_is_that_of_the_data(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = read(root, "train")
    every = torch.stack([train.poses(index) for index in range(8)]).double()
    torch.testing.assert_close(mean_poses(train), every.mean(0))
    # three epochs are the same mean, and a part of one that of the snippets in it
    torch.testing.assert_close(mean_poses(Epochs(train, 24, 5)), every.mean(0))
    stream = Epochs(train, 3, 5)
    own = torch.stack([stream[index].poses for index in range(3)]).double()
    torch.testing.assert_close(mean_poses(stream), own.mean(0))
    assert float((own.mean(0) - every.mean(0)).abs().max()) > 1e-3
    drawn = torch.stack([Drives(7).poses(index) for index in range(7)]).double()
    torch.testing.assert_close(mean_poses(Drives(7)), drawn.mean(0))
    monkeypatch.setattr(odometry, "_MEAN_OVER", 5)
    torch.testing.assert_close(mean_poses(Drives(7)), drawn[:5].mean(0))
    with pytest.raises(
        ValueError, match=r"must tell the true poses\(index\).*MovingDigits does no"
    ):
        mean_poses(Epochs(MovingDigits(2), 2))
    # two references, at one metre a frame
    write_still(tmp_path, 0, 5)
    data = KittiOdometry(tmp_path, sequences=[0], size=(8, 12), references=2)
    mean = mean_poses(data)
    assert mean[:, 2].tolist() == pytest.approx([1, -1])
    batch = default_collate([data[0], data[1]])
    errors = odometry.trajectory_errors(batch.poses, batch, mean)
    assert {name: error.shape for name, error in errors.items()} == dict.fromkeys(errors, (2,))
    assert max(float(error.max()) for error in errors.values()) < 1e-6


def test_the_mean_is_taken_at_the_first_validation(recipe: Recipe, root: Path) -> None:
    asked = []

    def training() -> Any:
        asked.append(1)
        return read(root, "train")

    torch.manual_seed(0)
    model = build(NAME).eval()
    task = ViewSynthesisTask().prepared(model.info, training)
    assert not asked
    batch = whole(read(root, "validation"))
    with torch.no_grad():
        first = task.evaluate(model, [(model.info.normalize(batch.clip), batch)])
        again = task.evaluate(model, [(model.info.normalize(batch.clip), batch)])
        unprepared = ViewSynthesisTask().evaluate(
            model, [(model.info.normalize(batch.clip), batch)]
        )
    assert asked == [1]
    assert first == again
    truth = camera_path(batch.poses.double())
    for found, mean in ((first, mean_poses(read(root, "train"))), (unprepared, mean_poses())):
        error = trajectory_error(camera_path(mean.expand(4, 4, 6)), truth).mean()
        assert found.scores[MEAN] == pytest.approx(float(error))


def test_processes_share_a_validation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = build(NAME).eval()
    task = ViewSynthesisTask().prepared(model.info, lambda: read(root, "train"))
    batch = whole(read(root, "validation"))
    clip = model.info.normalize(batch.clip)

    def part(clips: slice) -> tuple[Tensor, Any]:
        return clip[clips], type(batch)(*(field[clips] for field in batch))

    with torch.no_grad():
        expected = task.evaluate(model, [part(slice(0, 4))])
        sums: list[Tensor] = []

        def kept(own: Tensor) -> Tensor:
            sums.append(own.clone())
            return own

        monkeypatch.setattr(odometry, "all_sum", kept)
        task.evaluate(model, [part(slice(0, 1))])
        task.evaluate(model, [part(slice(1, 3)), part(slice(3, 4))])
        monkeypatch.setattr(odometry, "all_sum", lambda own: own + sums[0] + sums[1])
        found = task.evaluate(model, [])  # a third process without a clip
    assert found.scores == pytest.approx(expected.scores, rel=1e-5)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    # and the loss of a step goes through the mean over the whole batch
    monkeypatch.setattr(odometry, "batch_mean", lambda values: values.sum())
    total = ViewSynthesisTask().loss(model, *part(slice(0, 4)))
    own = [ViewSynthesisTask().loss(model, *part(slice(i, i + 1))) for i in range(4)]
    torch.testing.assert_close(total, torch.stack(own).sum())
