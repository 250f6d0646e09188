from __future__ import annotations

from pathlib import Path

import pytest

from models.data import Jester
from tests.models.data.recorded.trees import (
    frame_numbers,
    jester_tree,
    picture,
    write_jpegs,
    write_list,
)

LABELS = ["Swiping Left", "Thumb Up", "No gesture"]


def tree(root: Path, train: list[str], validation: list[str]) -> Path:
    """Lists as given and folders for their videos, without images."""
    write_list(root / "jester-v1-labels.csv", LABELS)
    write_list(root / "jester-v1-train.csv", train)
    write_list(root / "jester-v1-validation.csv", validation)
    for line in (*train, *validation):
        (root / "20bn-jester-v1" / line.split(";")[0]).mkdir(parents=True, exist_ok=True)
    return root


def good(root: Path) -> Path:
    train = ["9;Thumb Up", "10;No gesture", "7;Swiping Left", "34870;Thumb Up"]
    validation = ["1;No gesture", "2;Thumb Up", "3;No gesture", "4;Thumb Up", "5;Thumb Up"]
    return tree(root, train, validation)


def named(data: Jester) -> list[tuple[str, int]]:
    """Names and labels, in order."""
    return [(path.name, data.labels(index)[0]) for index, path in enumerate(data.files)]


def test_samples_are_in_the_order_of_the_list_with_the_labels_of_the_classes(
    tmp_path: Path,
) -> None:
    root = good(tmp_path)
    data = Jester(root)
    assert data.classes == ("Swiping Left", "Thumb Up", "No gesture")
    assert named(data) == [("9", 1), ("10", 2), ("7", 0), ("34870", 1)]
    assert data.files[3] == root / "20bn-jester-v1" / "34870"
    assert (data.root, data.split) == (root, "train")


def test_the_validation_list_is_halved_in_each_class(tmp_path: Path) -> None:
    root = good(tmp_path)
    assert named(Jester(root, "official-validation")) == [
        ("1", 2),
        ("2", 1),
        ("3", 2),
        ("4", 1),
        ("5", 1),
    ]
    assert named(Jester(root, "validation")) == [("1", 2), ("2", 1)]
    assert named(Jester(root, "test")) == [("3", 2), ("4", 1), ("5", 1)]


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    root = good(tmp_path)
    folder = write_jpegs(tmp_path / "20bn-jester-v1" / "9", picture(0, 3, 0, 12, (24, 32)))
    assert sorted(path.name for path in folder.iterdir())[::11] == ["00001.jpg", "00012.jpg"]
    data = Jester(root, frames=12, size=(24, 32))
    assert frame_numbers(data[0].clip) == list(range(12))
    (folder / "00003.jpg").rename(folder / "00100.jpg")
    assert frame_numbers(data[0].clip) == [0, 1, *range(3, 12), 2]


def test_the_test_list_has_no_labels(tmp_path: Path) -> None:
    root = jester_tree(tmp_path, frames=2)
    assert (root / "jester-v1-test.csv").read_text() == "114\n107\n100\n"
    with pytest.raises(ValueError, match="Jester's official test list has none, got 'official-t"):
        Jester(root, "official-test")
    (root / "jester-v1-test.csv").unlink()
    assert len(Jester(root, "test")) == 3


@pytest.mark.parametrize(
    ("name", "what"),
    [("labels", "classes"), ("train", "training videos"), ("validation", "validation videos")],
)
def test_lists_that_are_missing_empty_or_not_utf8(tmp_path: Path, name: str, what: str) -> None:
    root = good(tmp_path)
    file = root / f"jester-v1-{name}.csv"
    file.write_bytes(b"\n")
    with pytest.raises(ValueError, match=rf"v1-{name}\.csv, the list of Jester's {what}, is empty"):
        Jester(root)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=rf"{name}\.csv, line 1: expected text in UTF-8, got byte"):
        Jester(root)
    file.unlink()
    message = rf"There is no .*jester-v1-{name}\.csv, the list of Jester's {what}\."
    with pytest.raises(FileNotFoundError, match=message):
        Jester(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("11", "expected a video's number and its class, as in '34870;Drumming Fingers', got '11'"),
        ("11,Thumb Up", "expected a video's number and its class"),
        ("11;", "expected a video's number and its class"),
        ("v11;Thumb Up", "expected a video's number and its class"),
        ("11;Thumb up", r"expected a class of .*labels\.csv \(Did you mean 'Thumb Up'\?\), got"),
        ("9;Thumb Up", r"9 is listed already, in .*train\.csv, line 1\."),
        ("9;No gesture", r"9 is listed already, in .*train\.csv, line 1\."),
    ],
)
def test_lines_that_say_something_else(tmp_path: Path, line: str, message: str) -> None:
    root = good(tmp_path)
    for name, place in (("train", 5), ("validation", 6)):
        file = root / f"jester-v1-{name}.csv"
        before = file.read_text()
        file.write_text(f"{before}{line}\n")
        with pytest.raises(ValueError, match=rf"v1-{name}\.csv, line {place}: {message}"):
            Jester(root, "train" if name == "validation" else "test")
        file.write_text(before)


@pytest.mark.parametrize("line", ["Thumb Up", "Thumb; Down"])
def test_classes_that_are_listed_wrongly(tmp_path: Path, line: str) -> None:
    root = good(tmp_path)
    write_list(root / "jester-v1-labels.csv", [*LABELS, line])
    message = rf"labels\.csv, line 4: expected the name of a class that is new, got '{line}'\."
    with pytest.raises(ValueError, match=message):
        Jester(root)


def test_classes_without_a_training_video(tmp_path: Path) -> None:
    root = good(tmp_path)
    write_list(root / "jester-v1-labels.csv", [*LABELS, "Shaking Hand"])
    message = r"1 of the 4 classes in .*labels\.csv have no training video: 'Shaking Hand'\."
    with pytest.raises(ValueError, match=message):
        Jester(root, "test")
