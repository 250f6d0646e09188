"""Where clips and their cache lie: moved working directories, links, names that meet."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.data.recorded import HMDB51, ClassFolders, KittiOdometry, ListedVideos
from models.info import ModelInfo
from models.training.sources import open_source
from tests.io.videos import encode
from tests.models.data.recorded.clips import Listed, images, numbers, stairs, video
from tests.models.data.recorded.kitti_tree import write_still
from tests.models.data.recorded.trees import hmdb51_tree

SMALL: dict[str, Any] = {"frames": 4, "size": (24, 32)}


def test_relative_places_outlive_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "videos" / "a" / "clip.avi")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    plain = ClassFolders("videos", **SMALL)
    cached = ClassFolders(Path("videos"), cache="kept", **SMALL)
    monkeypatch.chdir("elsewhere")
    assert torch.equal(plain[0].clip, cached[0].clip)
    assert numbers(plain[0].clip) == [1, 3, 6, 8]
    assert not list(Path().iterdir())
    assert len(list((tmp_path / "kept").rglob("*.npy"))) == 1


def test_relative_drives_outlive_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_still(tmp_path / "drives", 9, 4, (8, 12))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    kept = [
        KittiOdometry("drives", "test", references=2, size=(8, 12), cache=cache)
        for cache in (None, "kept")
    ]
    monkeypatch.chdir("elsewhere")
    for data in kept:
        assert (255 * data[0].clip.mean((0, 2, 3))).round().tolist() == [91, 92, 93]
    assert not list(Path().iterdir())
    assert len(list((tmp_path / "kept").rglob("*.npy"))) == 3


def test_the_trainer_names_clips_in_the_cache_as_others_do(tmp_path: Path) -> None:
    for split in ("train", "val"):
        video(tmp_path / "videos" / split / "a" / "clip.avi")
    source = open_source("folders", str(tmp_path / "videos"), {"cache": tmp_path / "cache"})
    info = ModelInfo("n", ("a",), {"action": range(1)}, 4, (24, 32), (0.0,) * 3, (1.0,) * 3, "")
    factory = source.factory(info)
    for split in ("train", "validation"):
        factory(1, 0, split)[0]
    kept = {path.relative_to(tmp_path / "cache").parent for path in tmp_path.rglob("*.npy")}
    assert kept == {Path("train/a"), Path("val/a")}


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    video(tmp_path / "a" / "clip.avi")
    os.symlink(tmp_path / "nowhere", tmp_path / "a" / "gone.avi")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 clips are not there: .*gone\.avi"):
        ClassFolders(tmp_path)
    with pytest.warns(
        UserWarning, match=r"1 of 2 clips .* left out: .*gone\.avi: there is no such"
    ):
        data = ClassFolders(tmp_path, on_error="skip")
    assert data.skipped == (tmp_path / "a" / "gone.avi",)
    assert data.files == (tmp_path / "a" / "clip.avi",)


def test_clips_of_one_name(tmp_path: Path) -> None:
    paths = [
        video(tmp_path / folder / "clip.avi", stairs(4, base=base))
        for folder, base in (("x", 16), ("y", 40))
    ]
    for path in paths:
        os.utime(path, ns=(0, 0))
    data = Listed([(path, 0) for path in paths], cache=tmp_path / "cache")
    for _ in range(2):
        assert numbers(data[0].clip) == [0, 1, 2, 3]
        assert numbers(data[1].clip) == [3, 4, 5, 6]
    assert sorted(p.parent.name for p in (tmp_path / "cache").rglob("*.npy")) == ["x", "y"]


def test_long_names(tmp_path: Path) -> None:
    paths = [
        video(tmp_path / f"{'ü' * 110}{n}.avi", stairs(4, base=base))
        for n, base in ((1, 16), (2, 40))
    ]
    for path in paths:
        os.utime(path, ns=(0, 0))
    assert paths[0].stat().st_size == paths[1].stat().st_size
    data = Listed([(path, 0) for path in paths], cache=tmp_path / "cache")
    for _ in range(2):
        assert numbers(data[0].clip) == [0, 1, 2, 3]
        assert numbers(data[1].clip) == [3, 4, 5, 6]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_splits_with_files_of_one_name_do_not_meet_in_the_cache(tmp_path: Path) -> None:
    for split, base in (("train", 16), ("val", 100)):
        path = tmp_path / split / "wave" / "1.avi"
        path.parent.mkdir(parents=True)
        encode(path, stairs(4, base=base), "rawvideo", pix_fmt="rgb24")
        os.utime(path, (1e9, 1e9))  # as some archives have it: all files of one time
    for split, base in (("train", 16), ("validation", 100)):
        data = ClassFolders(tmp_path, split, cache=tmp_path / "cache", **SMALL)
        assert numbers(data[0].clip, base) == [0, 1, 2, 3]


def test_part_of_a_data_set_finds_what_the_whole_has_kept(tmp_path: Path) -> None:
    for name in ("a/1.avi", "b/2.avi"):
        video(tmp_path / "videos" / name)
    kept = []
    for rows in ("a/1.avi,x\nb/2.avi,y", "a/1.avi,x"):
        (tmp_path / "clips.csv").write_text(f"path,label\n{rows}\n")
        data = ListedVideos(
            tmp_path / "clips.csv", tmp_path / "videos", cache=tmp_path / "cache", **SMALL
        )
        for index in range(len(data)):
            data[index]
        kept.append(sorted(path.parent.name for path in (tmp_path / "cache").rglob("*.npy")))
    assert kept == [["a", "b"], ["a", "b"]]


def test_a_clip_outside_the_root_is_kept_too(tmp_path: Path) -> None:
    path = video(tmp_path / "elsewhere" / "clip.avi")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "clips.csv").write_text(f"path,label\n{path},x\n")
    data = ListedVideos(tmp_path / "root" / "clips.csv", cache=tmp_path / "cache", **SMALL)
    assert numbers(data[0].clip) == [1, 3, 6, 8]
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    assert kept.parent == tmp_path / "cache" / "elsewhere"


def test_a_changed_image_beside_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    folder = images(tmp_path / "clip", 4)
    os.symlink(tmp_path / "nowhere", folder / ".#lock")
    data = Listed([(folder, 0)], cache=tmp_path / "cache")
    before = data[0].clip
    Image.new("RGB", (32, 24), (255, 255, 255)).save(folder / "2.png")
    assert data[0].clip[:, 1].min() == 1 > before[:, 1].max()


def test_the_other_half_of_a_mac_s_files_is_passed_over(tmp_path: Path) -> None:
    """An archive unpacked or copied there has a hidden ._NAME beside each NAME."""
    hmdb51_tree(tmp_path)
    lists = tmp_path / "testTrainMulti_7030_splits"
    for path in list(lists.iterdir()):
        (lists / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert HMDB51(tmp_path).classes == ("brush_hair", "cartwheel", "catch")


def test_a_row_with_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(f"path,label\n{'a' * 300}.avi,x\n")
    with pytest.raises(ValueError, match=r"clips\.csv: 1 row .* line 2: there is no .*aaa\.avi\.$"):
        ListedVideos(tmp_path / "clips.csv")


def test_numbers_may_be_numpy_s(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.avi")
    given = Listed(
        [(path, np.int64(1))],
        frames=np.int64(2),
        size=(np.int32(12), np.int16(16)),
        resize=np.int64(20),
        sampling="window",
        stride=np.uint8(3),
        cache=tmp_path / "cache",
    )
    plain = Listed(
        [(path, 1)], frames=2, size=(12, 16), resize=(20, 20), sampling="window", stride=3
    )
    assert torch.equal(given[np.int64(0)].clip, plain[0].clip)
    assert (given.reading.size, given.reading.resize) == ((12, 16), (20, 20))
