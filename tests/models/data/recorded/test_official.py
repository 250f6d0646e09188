"""What holds for every reader of official lists."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.data import DataLoader

from captum_video.io import ClipError
from models.data import HMDB51, UCF101, Jester, Videos, VideoSample
from tests.models.data.recorded.trees import (
    frame_numbers,
    hmdb51_tree,
    jester_tree,
    ucf101_tree,
)

SMALL = {"frames": 4, "size": (24, 32)}


class Kind(NamedTuple):
    """A reader, its tree, the folders of videos and lists in it, and the whole held-out split."""

    reader: Callable[..., Videos]
    tree: Callable[..., Path]
    videos: str
    lists: str
    held_out: str

    def __call__(self, root: Path | str, split: str = "train", **options: Any) -> Videos:
        return self.reader(root, split, **{**SMALL, **options})


KINDS = {
    "ucf101": Kind(UCF101, ucf101_tree, "UCF-101", "ucfTrainTestlist", "official-test"),
    "hmdb51": Kind(
        HMDB51, hmdb51_tree, "hmdb51_org", "testTrainMulti_7030_splits", "official-test"
    ),
    "jester": Kind(Jester, jester_tree, "20bn-jester-v1", ".", "official-validation"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def actions(data: Videos) -> list[int]:
    return [data.labels(index)[0] for index in range(len(data))]


def empty(clip: Path) -> None:
    """What is left of a video when a disk was full: nothing."""
    if clip.is_dir():
        for image in clip.iterdir():
            image.unlink()
    else:
        clip.write_bytes(b"")


def cut(clip: Path) -> None:
    """What an interrupted download leaves."""
    file = sorted(clip.iterdir())[2] if clip.is_dir() else clip
    file.write_bytes(file.read_bytes()[: file.stat().st_size // (20 if clip.is_dir() else 2)])


def test_splits_share_nothing_and_have_all_classes(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path, classes=3, **{"train": 3})
    train, validation, test = (kind(root, split) for split in ("train", "validation", "test"))
    held_out = kind(root, kind.held_out)
    assert [len(data) for data in (train, validation, test, held_out)] == [9, 3, 3, 6]
    assert set(validation.files) | set(test.files) == set(held_out.files)
    assert not set(validation.files) & set(test.files)
    assert not set(train.files) & set(held_out.files)
    for data, count in ((train, 3), (validation, 1), (test, 1), (held_out, 2)):
        assert sorted(actions(data)) == sorted([0, 1, 2] * count)
        assert data.classes == train.classes
        assert data.groups == {"action": range(3)}


def test_a_sample_is_the_video_that_its_label_says(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path, classes=3, frames=10)
    data = kind(root)
    for index in range(len(data)):
        sample = data[index]
        assert isinstance(sample, VideoSample)
        assert (sample.action,) == data.labels(index)
        # class 0 is red, 1 is green, 2 is blue
        assert sample.clip[:, :, 0, 0].mean(1).argmax() == sample.action
        assert sample.clip.shape == (3, 4, 24, 32)
        assert sample.clip.dtype == torch.float32
        assert frame_numbers(sample.clip) == [1, 3, 6, 8]


def test_reading_options_are_those_of_videos(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path, frames=10)
    assert kind.reader(root)[0].clip.shape == (3, 16, 112, 112)
    assert frame_numbers(kind(root, frames=12)[0].clip) == [0, *range(10), 9]
    assert frame_numbers(kind(root, sampling="window")[0].clip) == [3, 4, 5, 6]
    cached = kind(root, cache=tmp_path / "cache")
    for _ in range(2):
        assert torch.equal(cached[1].clip, kind(root)[1].clip)
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 1
    with pytest.raises(ValueError, match="frames must be a positive integer, got 0"):
        kind(root, frames=0)
    with pytest.raises(TypeError, match="colour"):
        kind(root, colour="grey")


def test_data_travel_to_workers(kind: Kind, tmp_path: Path) -> None:
    data = kind(kind.tree(tmp_path))
    copy = pickle.loads(pickle.dumps(data))
    assert copy.files == data.files
    assert actions(copy) == actions(data)
    assert torch.equal(copy[2].clip, data[2].clip)
    batch = next(iter(DataLoader(data, batch_size=6)))
    assert batch.clip.shape == (6, 3, 4, 24, 32)
    assert batch.action.tolist() == actions(data)


def test_labels_need_no_decoding(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path)
    expected = actions(kind(root))
    for clip in kind(root).files:
        empty(clip)
    data = kind(root)
    assert actions(data) == expected
    with pytest.raises(ClipError, match=r"the file is empty|the folder holds no image") as error:
        data[1]
    assert error.value.path == data.files[1]
    for index in (-1, len(data)):
        with pytest.raises(IndexError, match=f"index must be from 0 to 5, got {index}"):
            data.labels(index)


def test_damaged_videos(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path, frames=10)
    files, labels = kind(root).files, actions(kind(root))
    empty(files[1])
    cut(files[4])
    data = kind(root, frames=10)
    for index in (1, 4):
        with pytest.raises(ClipError, match=files[index].name.split("(")[0]):
            data[index]
    with pytest.warns(UserWarning, match="2 of 6 clips cannot be read and are left out") as caught:
        data = kind.reader(root, frames=10, on_error="skip")
    assert caught[0].filename == __file__
    assert data.skipped == (files[1], files[4])
    assert data.files == (files[0], files[2], files[3], files[5])
    assert actions(data) == [labels[index] for index in (0, 2, 3, 5)]


def test_videos_and_lists_may_lie_elsewhere(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path / "data")
    usual = kind(root)
    direct = kind(root / kind.videos, annotations=root / kind.lists)
    assert direct.files == usual.files
    assert actions(direct) == actions(usual)
    for path in (root / kind.videos).iterdir():
        path.rename(root / path.name)
    (root / kind.videos).rmdir()
    assert [path.name for path in kind(str(root)).files] == [path.name for path in usual.files]


def test_folders_that_are_none(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root must be the folder of .*, got .*nowhere"):
        kind(tmp_path / "nowhere")
    file = tmp_path / "file.txt"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match=r"root must be a folder, and .*file\.txt is a"):
        kind(file)
    root = kind.tree(tmp_path / "data")
    with pytest.raises(
        FileNotFoundError, match=r"annotations must be the folder of .*'s lists, got"
    ):
        kind(root, annotations=root / "nowhere")
    with pytest.raises(NotADirectoryError, match="annotations must be a folder, and"):
        kind(root, annotations=file)


def test_splits_that_are_none(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path)
    expected = f"'train', 'validation', 'test', '{kind.held_out}', got 'val'"
    with pytest.raises(ValueError, match=f"split must be one of {expected}"):
        kind(root, "val")


def test_listed_videos_that_are_not_there(kind: Kind, tmp_path: Path) -> None:
    root = kind.tree(tmp_path, classes=3, train=3)
    gone = kind(root).files
    for clip in gone[:7]:
        shutil.rmtree(clip) if clip.is_dir() else clip.unlink()
    with pytest.raises(FileNotFoundError) as error:
        kind(root)
    text = str(error.value)
    assert f"names 7 of 9 videos that are not in {root / kind.videos}: " in text
    assert text.endswith(f"{gone[4].name} and 2 more.")
    assert all(clip.name in text for clip in gone[:5])
    assert not any(clip.name in text for clip in gone[5:])
    assert len(kind(root, "test")) == 3


def test_a_half_may_be_empty(kind: Kind, tmp_path: Path) -> None:
    held = "validation" if kind.reader is Jester else "test"
    root = kind.tree(tmp_path, classes=1, **{held: 1})
    assert len(kind(root, "test")) == 1
    with pytest.raises(ValueError, match=r"None of the 1 videos in .* is left for the validat"):
        kind(root, "validation")
