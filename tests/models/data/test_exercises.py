from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.data import Exercise, Exercises, exercises

COUNT = 300


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    """The file as seglearn's own loader reads it."""
    found = importlib.util.find_spec("seglearn")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "data" / "watch_dataset.npy"
    content: dict[str, Any] = np.load(path, allow_pickle=True).item()
    return content


def draw(split: str, **options: Any) -> list[Exercise]:
    data = Exercises(COUNT, seed=5, split=split, **options)
    return [data[index] for index in range(COUNT)]


def test_windows_are_slices_of_the_recordings(raw: dict[str, Any]) -> None:
    for sample in draw("train", frames=37) + draw("validation"):
        length = sample.clip.shape[1]
        window = raw["X"][sample.recording][sample.start : sample.start + length]
        assert sample.clip.dtype == torch.float32
        assert sample.clip.is_contiguous()
        np.testing.assert_array_equal(sample.clip.numpy(), window.T.astype(np.float32))
        assert sample.exercise == raw["y"][sample.recording]
        assert sample.subject == raw["subject"][sample.recording]


def test_no_subject_is_in_both_splits() -> None:
    train, validation = draw("train"), draw("validation")
    assert {sample.subject for sample in train} == set(range(1, 8))
    assert {sample.subject for sample in validation} == {8, 9, 10}


def test_all_recordings_are_drawn_and_the_exercises_alike() -> None:
    samples = draw("validation")
    assert len({sample.recording for sample in samples}) == 42  # 3 subjects, 7 exercises, 2 arms
    counts = np.bincount([sample.exercise for sample in samples])
    assert len(counts) == 7
    assert counts.min() > 25  # 43 expected, standard deviation 6


def test_both_ends_of_a_recording_are_drawn(planted: Path) -> None:
    data = Exercises(60, frames=4)
    assert {data[index].start for index in range(60)} == {0, 1}


def test_a_sample_depends_on_seed_index_and_split_alone() -> None:
    first = Exercises(9, seed=3)[7]
    torch.manual_seed(5)
    other = Exercises(1000, seed=3)
    other[4]
    again = pickle.loads(pickle.dumps(other))[7]
    assert again[1:] == first[1:]
    assert torch.equal(again.clip, first.clip)
    again.clip.zero_()
    assert torch.equal(other[7].clip, first.clip)
    assert Exercises(9, seed=4)[7][3:] != first[3:]
    assert other[6][3:] != first[3:]
    assert other.labels(7) == (first.exercise,)
    assert all(other.labels(index) == (other[index].exercise,) for index in range(50))


def test_classes(raw: dict[str, Any]) -> None:
    assert dict(zip(raw["y_labels"], Exercises.classes, strict=True)) == {
        "PEN": "pendulum",
        "ABD": "abduction",
        "FEL": "forward elevation",
        "IR": "internal rotation",
        "ER": "external rotation",
        "TRAP": "trapezius extension",
        "ROW": "upright row",
    }
    assert Exercises.groups == {"exercise": range(7)}


def test_a_watch_at_rest_shows_one_g(raw: dict[str, Any]) -> None:
    windows = [x[s : s + 50] for x in raw["X"] for s in range(0, len(x) - 50, 25)]
    calm = min(windows, key=lambda window: float(window[:, 3:].std()))
    assert np.linalg.norm(calm[:, :3], axis=1).mean() == pytest.approx(1, abs=0.01)


def test_wrong_arguments() -> None:
    for frames in (0, 948):
        with pytest.raises(ValueError, match=f"frames must be from 1 to 947, got {frames}"):
            Exercises(3, frames=frames)
    assert Exercises(3, frames=947)[0].clip.shape == (6, 947)
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', got 'test'"):
        Exercises(3, split="test")
    with pytest.raises(IndexError, match="index must be from 0 to 2, got 3"):
        Exercises(3)[3]
    with pytest.raises(IndexError, match="index must be from 0 to 2, got -1"):
        Exercises(3).labels(-1)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A seglearn that cannot be imported, with two recordings of five samples."""
    package = tmp_path / "seglearn"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    path = package / "data" / "watch_dataset.npy"
    plant(path)
    monkeypatch.delitem(sys.modules, "seglearn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    exercises.recordings.cache_clear()
    yield path
    exercises.recordings.cache_clear()


def plant(path: Path, **changes: Any) -> None:
    content: dict[str, Any] = {
        "X": [np.arange(30.0).reshape(5, 6), -np.arange(30.0).reshape(5, 6)],
        "y": np.array([4, 6]),
        "subject": np.array([7, 8]),
        "X_labels": list(exercises.CHANNELS),
        "y_labels": list(exercises.CODES),
    }
    np.save(path, np.array(content | changes, dtype=object), allow_pickle=True)


def test_seglearn_is_not_imported(planted: Path) -> None:
    train, validation = Exercises(1, frames=5)[0], Exercises(1, split="validation", frames=5)[0]
    assert train.clip.tolist() == np.arange(30.0).reshape(5, 6).T.tolist()
    assert validation.clip.tolist() == (-train.clip).tolist()
    assert train[1:] == (4, 7, 0, 0)
    assert validation[1:] == (6, 8, 1, 0)


def test_another_file(planted: Path) -> None:
    plant(planted, y_labels=["PEN", "ROW"])
    with pytest.raises(
        ValueError, match=r"must have y_labels \('PEN', 'ABD', .*, got \('PEN', 'ROW'\)"
    ):
        Exercises(3)
    plant(planted, X_labels=["ax"])
    with pytest.raises(ValueError, match=r"must have X_labels \('ax', 'ay', .*, got \('ax',\)"):
        Exercises(3)


def test_without_the_file(planted: Path) -> None:
    planted.unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"watch_dataset\.npy of seglearn >= 1\.2, and .*watch_dataset\.npy is missing",
    ):
        Exercises(3)


def test_without_seglearn(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"seglearn.*pip install 'captum-video\[models\]'"):
        Exercises(3)
