from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models.data import ntu
from models.data.ntu import NTU_ACTIONS
from models.data.recorded import UCF101, Epochs
from models.info import ModelInfo
from models.training.sources import SOURCES, open_source
from tests.io.skeletons import pose, walk, write_skeleton
from tests.models.data.recorded.kitti_tree import write_still
from tests.models.data.recorded.trees import (
    HMDB51_CLASSES,
    JESTER_CLASSES,
    UCF101_CLASSES,
    hmdb51_tree,
    jester_tree,
    picture,
    ucf101_tree,
    write_avi,
)

SIZE, FRAMES = (18, 28), 4


def facts(
    classes: Sequence[str] | int,
    frames: int = FRAMES,
    size: tuple[int, ...] = SIZE,
    group: str = "action",
) -> ModelInfo:
    names = [f"class {k}" for k in range(classes)] if isinstance(classes, int) else classes
    channels = (0.0,) * (3 if size else 1)
    return ModelInfo(
        "some_net", tuple(names), {group: range(len(names))}, frames, size, channels, channels, "x"
    )


@pytest.fixture(scope="module")
def ucf101(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, each with two training groups, one for validation and one for test."""
    return ucf101_tree(tmp_path_factory.mktemp("ucf101"), train=2, test=2)


def class_folders(root: Path, clips: dict[str, dict[str, int]]) -> Path:
    """Numbers of clips by class by split."""
    for split, classes in clips.items():
        for number, (name, count) in enumerate(classes.items()):
            for clip in range(count):
                video = picture(number, len(classes), clip, 5, (24, 32))
                write_avi(root / split / name / f"{clip}.avi", video)
    return root


def with_table(root: Path, table: str, name: str = "clips.csv") -> Path:
    (root / name).write_text(table)
    return root


def test_a_data_set_tells_its_classes_and_counts(ucf101: Path) -> None:
    source = open_source("ucf101", ucf101, {"fold": 2, "cache": ucf101 / "cache", "mirror": True})
    assert source.name == "ucf101"
    assert source.classes == UCF101_CLASSES[:3]
    assert source.lengths == {"train": 6, "validation": 3, "test": 3}
    assert source.train_length == 6
    assert source.note == (
        "UCF101 (Soomro et al. 2012), clips in 3 classes: 6 for training, 3 for validation, "
        "3 for test (fold 2, mirror True)."
    )
    assert not (ucf101 / "cache").exists()


def test_training_goes_through_the_clips_in_epochs(ucf101: Path) -> None:
    options: dict[str, Any] = {"sampling": "window", "resize": (22, 36), "mirror": True}
    make = open_source("ucf101", ucf101, options).factory(facts(3))
    stream = make(20, 7, "train")
    assert isinstance(stream, Epochs)
    assert (len(stream), stream.seed, stream.epoch_length) == (20, 7, 6)
    reader = UCF101(ucf101, "train", frames=FRAMES, size=SIZE, **options)
    twin = Epochs(reader, 20, 7)
    still = 0
    for index in range(20):
        assert torch.equal(stream[index].clip, twin[index].clip)
        assert stream[index].action == twin[index].action
        still += torch.equal(stream[index].clip, reader[twin.item(index)].clip)
    assert stream[0].clip.shape == (3, FRAMES, *SIZE)
    assert still < 5  # the others are varied


@pytest.mark.parametrize("split", ["validation", "test"])
def test_other_splits_are_whole_and_as_they_are(ucf101: Path, split: str) -> None:
    options: dict[str, Any] = {"sampling": "window", "resize": (22, 36), "mirror": True}
    options["fold"] = 3
    make = open_source("ucf101", ucf101, options).factory(facts(3))
    data: Any = pickle.loads(pickle.dumps(make))(1, 99, split)
    expected = UCF101(ucf101, split, frames=FRAMES, size=SIZE, **options)
    assert data.files == expected.files
    assert len(data) == 3
    for index in range(3):
        assert torch.equal(data[index].clip, expected[index].clip)
        assert data[index].action == expected[index].action == index


def test_two_models_do_not_disturb_each_other(ucf101: Path) -> None:
    source = open_source("ucf101", ucf101)
    small, large = source.factory(facts(3)), source.factory(facts(3, 6, (24, 32)))
    assert small(1, 0, "test")[0].clip.shape == (3, FRAMES, *SIZE)
    assert large(1, 0, "test")[0].clip.shape == (3, 6, 24, 32)


def test_a_cache_is_filled_at_the_models_size(ucf101: Path, tmp_path: Path) -> None:
    options = {"cache": str(tmp_path / "cache"), "on_error": "skip"}
    source = open_source("ucf101", ucf101, options)
    assert not (tmp_path / "cache").exists()
    data: Any = source.factory(facts(3))(1, 0, "validation")
    for index in range(3):
        assert data[index].clip.shape == (3, FRAMES, *SIZE)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 3
    assert all(3 * FRAMES * 18 * 28 <= path.stat().st_size < 8192 for path in kept)


def test_clips_that_cannot_be_read_are_looked_for_once(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"train": {"a": 2, "b": 1}, "val": {"a": 1}})
    (root / "train/a/0.avi").write_bytes(b"no video")
    with pytest.warns(UserWarning, match="1 of 3 clips cannot be read"):
        source = open_source("folders", root, {"on_error": "skip"})
    assert source.lengths == {"train": 2, "validation": 1}
    assert source.note == (
        "videos in a folder for each class, clips in 2 classes: 2 for training, 1 for validation "
        "(on_error 'skip'); 1 that cannot be read are left out."
    )
    data = source.factory(facts(2))(2, 0, "train")
    assert {data[index].action for index in range(2)} == {0, 1}


def test_gestures_and_film_clips_are_opened_by_their_lists(tmp_path: Path) -> None:
    jester = open_source("jester", jester_tree(tmp_path / "jester"))
    assert jester.classes == JESTER_CLASSES[:3]
    assert jester.lengths == {"train": 6, "validation": 3, "test": 3}
    hmdb51 = open_source("hmdb51", hmdb51_tree(tmp_path / "hmdb51"))
    assert hmdb51.classes == HMDB51_CLASSES[:3]
    assert hmdb51.lengths == {"train": 6, "validation": 3, "test": 3}


def test_folders_may_have_a_test_split(tmp_path: Path) -> None:
    clips = {"train": {"a": 1, "b": 2}, "val": {"b": 1}}
    source = open_source("folders", class_folders(tmp_path, clips))
    assert source.classes == ("a", "b")
    assert source.lengths == {"train": 3, "validation": 1}
    make = source.factory(facts(2))
    assert make(1, 0, "validation")[0].action == 1
    with pytest.raises(ValueError, match="no split 'test', only 'train', 'validation'"):
        make(1, 0, "test")
    source = open_source("folders", class_folders(tmp_path, {"test": {"a": 2}}))
    assert source.lengths == {"train": 3, "validation": 1, "test": 2}


@pytest.mark.parametrize("test", [True, False])
def test_a_table_may_hold_all_splits(tmp_path: Path, test: bool) -> None:
    class_folders(tmp_path, {"x": {"a": 2, "b": 1}})
    rows = ["path,label,split", "x/a/0.avi,jump,train", "x/b/0.avi,run,validation"]
    rows += ["x/a/1.avi,run,test"] * test
    source = open_source("csv", with_table(tmp_path, "\n".join(rows)), {"table": "clips.csv"})
    assert source.classes == ("jump", "run")
    assert source.lengths == {"train": 1, "validation": 1, **({"test": 1} if test else {})}
    assert source.factory(facts(2))(1, 0, "validation")[0].action == 1
    assert "clips.csv" not in source.note


def test_each_split_may_have_a_table(tmp_path: Path) -> None:
    class_folders(tmp_path, {"x": {"a": 2, "b": 1}})
    (tmp_path / "lists").mkdir()
    with_table(tmp_path, "path,label\nx/a/0.avi,run\nx/b/0.avi,jump\n", "lists/train.csv")
    with_table(tmp_path, "path,label\nx/a/1.avi,run\n", "lists/val.csv")
    options = {"validation": "lists/val.csv", "train": "lists/train.csv"}
    source = open_source("csv", tmp_path, options)
    assert source.classes == ("jump", "run")
    assert source.lengths == {"train": 2, "validation": 1}
    assert source.factory(facts(2))(1, 0, "validation")[0].action == 1


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({}, "none of them"),
        ({"train": "a.csv"}, "train"),
        ({"table": "a.csv", "validation": "b.csv"}, "table, validation"),
    ],
)
def test_tables_must_be_named(tmp_path: Path, options: dict[str, str], got: str) -> None:
    message = f"csv needs the option table.*or the options train and validation.*got {got}\\."
    with pytest.raises(ValueError, match=message):
        open_source("csv", tmp_path, options)


def test_an_error_of_a_test_split_is_told(tmp_path: Path) -> None:
    class_folders(tmp_path, {"x": {"a": 2, "b": 1}})
    (tmp_path / "x/a/1.avi").write_bytes(b"no video")
    rows = ["path,label,split", "x/a/0.avi,a,train", "x/b/0.avi,b,val", "x/a/1.avi,a,test"]
    options = {"table": "clips.csv", "on_error": "skip"}
    with pytest.raises(ValueError, match="None of the 1 clips can be read"):
        open_source("csv", with_table(tmp_path, "\n".join(rows)), options)


@pytest.fixture
def skeletons(tmp_path: Path) -> Path:
    """Three of a training subject and one of subject 3, by three cameras."""
    for name in ("S001C001P001R001A001", "S001C002P001R001A060", "S001C003P001R001A002"):
        write_skeleton(tmp_path / f"{name}.skeleton", [{7: p} for p in walk(3)])
    write_skeleton(tmp_path / "S001C001P003R001A004.skeleton", [{7: pose(0)}] * 2)
    return tmp_path


def test_skeletons_are_as_long_as_the_model_wants(skeletons: Path) -> None:
    source = open_source("ntu", skeletons, {"protocol": "cross-subject"})
    assert source.classes == NTU_ACTIONS
    assert source.lengths == {"train": 3, "validation": 1, "test": 1}
    make = source.factory(facts(NTU_ACTIONS, 12, ()))
    assert make(1, 0, "validation")[0].clip.shape == (150, 12)
    assert make(1, 0, "validation")[0].action == 3
    assert {make(3, 0, "train")[i].action for i in range(3)} == {0, 59, 1}
    by_view = open_source("ntu", skeletons, {"protocol": "cross-view"})
    assert by_view.lengths == {"train": 2, "validation": 2, "test": 2}


def test_damaged_skeletons_are_looked_for_once(
    skeletons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (skeletons / "S001C001P001R001A001.skeleton").write_text("1")
    with pytest.warns(UserWarning, match="1 of 3 samples cannot be read"):
        source = open_source("ntu", skeletons, {"on_error": "skip"})
    monkeypatch.setattr(ntu, "read_skeleton", None)
    make = source.factory(facts(NTU_ACTIONS, 12, ()))
    validation: Any = make(1, 0, "validation")
    assert len(validation) == 1
    assert source.lengths["train"] == 2


@pytest.fixture(scope="module")
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven sequences, of 7 frames each but number 9, which has 9."""
    root = tmp_path_factory.mktemp("kitti")
    for number in range(11):
        write_still(root, number, 9 if number == 9 else 7)
    return root


def test_drives_are_snippets_with_true_motion(kitti: Path, tmp_path: Path) -> None:
    source = open_source("kitti", kitti, {"step": 1, "cache": tmp_path / "cache"})
    assert source.classes == ()
    assert source.lengths == {"train": 9 * 2, "validation": 2, "test": 4}
    assert source.note == (
        "KITTI odometry (Geiger et al. 2012), snippets: 18 for training, 2 for validation, "
        "4 for test (step 1)."
    )
    make = pickle.loads(pickle.dumps(source.factory(facts(24, 5, (16, 24), "pose"))))
    assert not (tmp_path / "cache").exists()
    sample = make(1, 0, "test")[0]
    assert sample.clip.shape == (3, 5, 16, 24)
    assert sample.poses.shape == (4, 6)
    assert isinstance(make(40, 0, "train"), Epochs)
    assert make(40, 0, "train")[39].clip.shape == (3, 5, 16, 24)
    assert (tmp_path / "cache").is_dir()


def test_a_net_must_take_the_snippets(kitti: Path) -> None:
    five = open_source("kitti", kitti)
    with pytest.raises(ValueError, match="some_net takes 3 frames, and kitti was opened for 5"):
        five.check(facts(12, 3, (16, 24), "pose"))
    three = open_source("kitti", kitti, {"references": 2})
    three.check(facts(12, 3, (16, 24), "pose"))
    assert three.lengths == {"train": 9 * 4, "validation": 4, "test": 6}
    with pytest.raises(ValueError, match="some_net is to tell action, and kitti tells pose"):
        five.check(facts(12, 5, (16, 24)))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (facts(4), "some_net has 4 classes, and ucf101 has 3"),
        (facts(UCF101_CLASSES[2::-1]), "some_net has the classes of ucf101 in another order"),
        (facts(3, size=()), "some_net takes sequences, and ucf101 does not have such"),
        (facts(3, group="pose"), "some_net is to tell pose, and ucf101 tells action"),
    ],
)
def test_a_model_must_fit(ucf101: Path, info: ModelInfo, message: str) -> None:
    source = open_source("ucf101", ucf101)
    with pytest.raises(ValueError, match=message):
        source.check(info)
    with pytest.raises(ValueError, match=message):
        source.factory(info)
    source.check(facts(3))
    source.check(facts(UCF101_CLASSES[:3]))


def test_skeletons_are_no_clips(skeletons: Path) -> None:
    source = open_source("ntu", skeletons)
    with pytest.raises(ValueError, match="some_net takes clips, and ntu does not have such"):
        source.check(facts(NTU_ACTIONS))
    source.check(facts(NTU_ACTIONS, size=()))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ucf11", {}, "There is no data set 'ucf11'. Did you mean 'ucf101'"),
        ("ucf101", {"folds": 1}, "ucf101 has no option 'folds'. Did you mean 'fold'"),
        ("ucf101", {"miror": 1}, "ucf101 has no option 'miror'. Did you mean 'mirror'"),
        ("ucf101", {"protocol": "cross-view"}, "ucf101 has no option 'protocol'."),
        ("ucf101", {"root": "x"}, "ucf101 has no option 'root'."),
        ("ucf101", {"split": "train"}, "ucf101 has no option 'split'."),
        ("ucf101", {"frames": 8}, "frames is the model's: no option of ucf101"),
        ("ntu", {"frames": 8}, "frames is the model's: no option of ntu"),
        ("ntu", {"mirror": True}, "ntu has no option 'mirror'."),
        ("csv", {"tables": "a.csv"}, "csv has no option 'tables'. Did you mean 'table'"),
        ("kitti", {"sequences": [1]}, "kitti has no option 'sequences'"),
        ("csv", {"classes": ["a"]}, "csv has no option 'classes'"),
        ("ucf101", {"fold": 4}, "fold must be"),
        ("ucf101", {"cache": 3}, "An option of ucf101 has a wrong type"),
    ],
)
def test_wrong_options_are_told(
    ucf101: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(name, ucf101, options)


def test_every_data_set_has_a_name() -> None:
    assert SOURCES == ("ucf101", "hmdb51", "jester", "folders", "csv", "kitti", "ntu")
