from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.data import ClassFolders
from tests.models.data.recorded.clips import images, numbers, video


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(data: ClassFolders) -> list[tuple[str, str]]:
    """Clip and class of each, as they lie under the root."""
    return [
        (path.relative_to(data.root).as_posix(), data.classes[data.labels(index)[0]])
        for index, path in enumerate(data.files)
    ]


def test_classes_in_the_root(tmp_path: Path) -> None:
    video(tmp_path / "wave" / "1.avi")
    images(tmp_path / "clap" / "frames")
    video(tmp_path / "clap" / "2.mp4", 4)
    data = ClassFolders(str(tmp_path), frames=4, size=(24, 32))
    assert data.classes == ("clap", "wave")
    assert found(data) == [("clap/2.mp4", "clap"), ("clap/frames", "clap"), ("wave/1.avi", "wave")]
    assert [numbers(data[i].clip) for i in range(3)] == [[0, 1, 2, 3], [1, 3, 6, 8], [1, 3, 6, 8]]
    assert [data[i].action for i in range(3)] == [0, 0, 1]


def test_what_a_clip_is(tmp_path: Path) -> None:
    suffixes = "3gp avi flv gif m4v mkv mov MP4 mpeg mpg mts ogv ts webm wmv".split()
    touched(tmp_path, *(f"a/clip.{suffix}" for suffix in suffixes))
    touched(tmp_path, "a/readme.txt", "a/frame.png", "a/.hidden.avi", "a/._1.avi", ".git/1.avi")
    touched(tmp_path, "a/notes/x.txt", "a/deep/deeper/1.avi", "a/.frames/1.png", "list.csv")
    touched(tmp_path, "a/frames/1.JPG", "a/frames/x.txt", "a/thumbs/.1.png")
    data = ClassFolders(tmp_path)
    assert data.classes == ("a",)
    assert [path.name for path in data.files] == sorted(
        [f"clip.{suffix}" for suffix in suffixes] + ["frames"]
    )


@pytest.mark.parametrize("folder", ["val", "validation"])
def test_splits(tmp_path: Path, folder: str) -> None:
    touched(tmp_path, "train/b/1.avi", "train/a/2.avi", "train/c/3.avi")
    touched(tmp_path, f"{folder}/b/4.avi", f"{folder}/c/5.avi", "test/c/6.avi")
    splits = {split: ClassFolders(tmp_path, split) for split in ("train", "validation", "test")}
    assert found(splits["train"]) == [
        ("train/a/2.avi", "a"),
        ("train/b/1.avi", "b"),
        ("train/c/3.avi", "c"),
    ]
    assert found(splits["validation"]) == [(f"{folder}/b/4.avi", "b"), (f"{folder}/c/5.avi", "c")]
    assert found(splits["test"]) == [("test/c/6.avi", "c")]
    assert {data.classes for data in splits.values()} == {("a", "b", "c")}
    assert splits["test"].groups == {"action": range(3)}


def test_a_split_without_training(tmp_path: Path) -> None:
    touched(tmp_path, "val/b/1.avi", "val/c/2.avi")
    assert ClassFolders(tmp_path, "validation").classes == ("b", "c")


def test_no_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root must be the folder of the videos .*away"):
        ClassFolders(tmp_path / "away")
    touched(tmp_path, "file")
    with pytest.raises(NotADirectoryError, match=r"root must be a folder, and .*file is a file"):
        ClassFolders(tmp_path / "file")


def test_no_classes(tmp_path: Path) -> None:
    touched(tmp_path, "1.avi", ".hidden/1.avi")
    with pytest.raises(ValueError, match=r"must hold one folder per class .*and holds none"):
        ClassFolders(tmp_path)


def test_classes_without_clips(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.avi", "b/1.txt", "c/.1.avi", "d/1.png")
    text = f"3 of the 4 classes in {tmp_path} have no clip: b, c, d. A clip is a file that ends in "
    with pytest.raises(ValueError, match=re.escape(text)):
        ClassFolders(tmp_path)
    with pytest.raises(ValueError, match="or a folder of images"):
        ClassFolders(tmp_path)


def test_a_split_class_without_clips(tmp_path: Path) -> None:
    touched(tmp_path, "train/a/1.avi", "val/a/notes.txt")
    with pytest.raises(ValueError, match=r"1 of the 1 classes in .*val have no clip: a"):
        ClassFolders(tmp_path, "validation")
    touched(tmp_path, "train/val/notes.txt")
    with pytest.raises(ValueError, match=r"have no clip: val\. A clip is a file"):
        ClassFolders(tmp_path, "train")


def test_forgotten_split(tmp_path: Path) -> None:
    touched(tmp_path, "train/a/1.avi", "val/a/1.avi")
    with pytest.raises(ValueError, match=r"'train', 'val' may be splits: .* split='train'"):
        ClassFolders(tmp_path)


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split must be one of 'train', .* got 'vall'"):
        ClassFolders(tmp_path, "vall")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    touched(tmp_path, "train/a/1.avi", "valid/a/1.avi")
    text = "split 'validation' needs a folder val or validation in .*holds 'train', 'valid'; split=None"
    with pytest.raises(FileNotFoundError, match=text):
        ClassFolders(tmp_path, "validation")
    with pytest.raises(FileNotFoundError, match="which holds no folder"):
        ClassFolders(tmp_path / "train" / "a", "test")


def test_a_split_that_is_there_twice(tmp_path: Path) -> None:
    touched(tmp_path, "val/a/1.avi", "validation/a/1.avi")
    with pytest.raises(ValueError, match=r"split 'validation' must have one folder, got .*val, "):
        ClassFolders(tmp_path, "validation")


def test_classes_that_training_lacks(tmp_path: Path) -> None:
    touched(tmp_path, "train/a/1.avi", "val/a/1.avi", "val/b/1.avi", "val/c/1.avi")
    text = "classes of .*val must be in .*train too, which lacks b, c"
    with pytest.raises(ValueError, match=text):
        ClassFolders(tmp_path, "validation")


def test_options_go_through(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.avi")
    assert ClassFolders(tmp_path, frames=30, stride=2, sampling="window").reading.stride == 2
    with pytest.raises(TypeError, match="frame"):
        ClassFolders(tmp_path, frame=3)
