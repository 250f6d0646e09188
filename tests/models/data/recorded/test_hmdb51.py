from __future__ import annotations

from pathlib import Path

import pytest

from models.data import HMDB51
from tests.models.data.recorded.trees import hmdb51_name, hmdb51_tree, write_list

WAVE = "{}_wave_u_nm_np1_fr_med_{}.avi"


def tree(root: Path, **lines: list[str]) -> Path:
    """Lists of classes as given, in fold 1, and all their videos, from which nothing is read."""
    for name, listed in lines.items():
        write_list(root / "testTrainMulti_7030_splits" / f"{name}_test_split1.txt", listed)
        folder = root / "hmdb51_org" / name
        folder.mkdir(parents=True, exist_ok=True)
        for line in listed:
            (folder / line.rsplit(maxsplit=1)[0]).touch()
    return root


def good(root: Path) -> Path:
    return tree(root, chew=["a.avi 1", "b.avi 2", "c.avi 0"], wave=["d.avi 1 ", "e.avi 2 "])


def wave_list(root: Path) -> Path:
    return root / "testTrainMulti_7030_splits" / "wave_test_split1.txt"


def named(data: HMDB51) -> list[tuple[str, int]]:
    """Names and labels, in order."""
    return [(path.name, data.labels(index)[0]) for index, path in enumerate(data.files)]


def films(data: HMDB51) -> list[int]:
    """The numbers of the source films in a tree."""
    return [int(path.name.split("#")[1].split("_")[0]) for path in data.files]


def test_the_folds(tmp_path: Path) -> None:
    root = hmdb51_tree(tmp_path, classes=2, train=2, test=2, unused=1, frames=2)
    expected = {1: ([1, 2], [3, 4]), 2: ([3, 4], [1, 5]), 3: ([1, 5], [2, 3])}
    for fold, (test, train) in expected.items():
        assert films(HMDB51(root, "official-test", fold)) == test * 2
        assert films(HMDB51(root, "train", fold)) == train * 2
        assert films(HMDB51(root, "validation", fold=fold)) == test[:1] * 2
        assert films(HMDB51(root, "test", fold=fold)) == test[1:] * 2
    data = HMDB51(root, "test", 2)
    assert named(data) == [
        (hmdb51_name("brush_hair", 4), 0),
        (hmdb51_name("cartwheel", 4), 1),
    ]
    assert data.files[0].parent == root / "hmdb51_org" / "brush_hair"
    assert (data.root, data.split, data.fold) == (root, "test", 2)
    assert data.classes == ("brush_hair", "cartwheel")


def test_classes_are_in_the_order_of_names_and_videos_in_that_of_lists(tmp_path: Path) -> None:
    strange = "#1_(Rad)Schlag & die_Bank!_[x]-;,'chew.avi"
    root = tree(
        tmp_path,
        wave=["w.avi 1 ", "v.avi 1\t", "u.avi 2 "],
        chew=["b.avi 0 ", f"{strange} 1  ", "a.avi 1", "c.avi 2"],
    )
    data = HMDB51(root)
    assert data.classes == ("chew", "wave")
    assert named(data) == [(strange, 0), ("a.avi", 0), ("w.avi", 1), ("v.avi", 1)]
    assert named(HMDB51(root, "official-test")) == [("c.avi", 0), ("u.avi", 1)]


def test_sources_stay_whole_in_halves_of_each_class(tmp_path: Path) -> None:
    # of six test videos three are from the first two sources; one of these is listed last
    wave = [WAVE.format(*pair) for pair in (("Film", 0), ("Two_wave", 4), ("C", 1), ("C", 2))]
    wave += [WAVE.format("Two_wave_u_nm", 0), WAVE.format("Film", 11)]
    chew = [f"{name}.avi" for name in "abcd"]  # no name tells a source
    root = tree(
        tmp_path,
        wave=["x.avi 1", *(f"{name} 2" for name in wave)],
        chew=["y.avi 1", *(f"{name} 2" for name in chew)],
    )
    assert named(HMDB51(root, "validation")) == [
        ("a.avi", 0),
        ("b.avi", 0),
        (wave[0], 1),
        (wave[1], 1),
        (wave[5], 1),
    ]
    assert [name for name, _ in named(HMDB51(root, "test"))] == [*chew[2:], *wave[2:5]]


def test_folds_that_are_none(tmp_path: Path) -> None:
    root = good(tmp_path)
    for fold in (0, 4, "1"):
        with pytest.raises(ValueError, match=f"fold must be one of 1, 2, 3, got {fold!r}"):
            HMDB51(root, fold=fold)  # type: ignore[arg-type]
    message = r"There is no .*CLASS_test_split2\.txt, the list of a class in HMDB51's fold 2\."
    with pytest.raises(FileNotFoundError, match=message):
        HMDB51(root, fold=2)


def test_lists_that_are_empty_or_not_utf8(tmp_path: Path) -> None:
    root = good(tmp_path)
    wave_list(root).write_bytes(b"\n")
    message = r"wave_test_split1\.txt, the list of wave in HMDB51's fold 1, is empty\."
    with pytest.raises(ValueError, match=message):
        HMDB51(root)
    wave_list(root).write_bytes(b"d.avi 1\nPflegef\xe4lle_wave.avi 1\n")
    with pytest.raises(ValueError, match=r"wave_.*, line 2: expected text in UTF-8, got byte 0xe4"):
        HMDB51(root)


@pytest.mark.parametrize("line", ["f.avi", "f.avi 3", "f.avi 1 2", "f 1", "chew/f.avi 1", "1"])
def test_lines_that_say_something_else(tmp_path: Path, line: str) -> None:
    root = good(tmp_path)
    with wave_list(root).open("a") as file:
        file.write(f"\n{line} \n")
    message = rf"wave_test_split1\.txt, line 4: expected a video and 0 .*, got '{line}'\."
    with pytest.raises(ValueError, match=message):
        HMDB51(root)


@pytest.mark.parametrize("use", [0, 1, 2])
def test_videos_that_are_listed_twice(tmp_path: Path, use: int) -> None:
    root = good(tmp_path)
    with wave_list(root).open("a") as file:
        file.write(f"e.avi {use}\n")
    with pytest.raises(ValueError, match=r"wave/e\.avi is listed already, in .*split1\.txt, line "):
        HMDB51(root)


def test_a_name_may_be_in_two_classes(tmp_path: Path) -> None:
    root = tree(tmp_path, chew=["a.avi 1", "b.avi 2"], wave=["a.avi 1", "c.avi 2"])
    assert [path.parent.name for path in HMDB51(root).files] == ["chew", "wave"]


def test_lists_and_folders_that_do_not_agree(tmp_path: Path) -> None:
    root = good(tmp_path)
    wave_list(root).rename(root / "wave.txt")
    message = r"folders of videos that are none of the 1 classes in .*\*_test_split1\.txt: wave\."
    with pytest.raises(ValueError, match=message):
        HMDB51(root)
    (root / "wave.txt").rename(wave_list(root))
    (root / "hmdb51_org" / "wave").rename(root / "hmdb51_org" / "Wave")
    message = r"1 of the 2 classes in .*\*_test_split1\.txt have no folder in .*hmdb51_org: wave\."
    with pytest.raises(FileNotFoundError, match=message):
        HMDB51(root)


def test_classes_without_training_or_test_videos(tmp_path: Path) -> None:
    root = good(tmp_path)
    write_list(wave_list(root), ["e.avi 2", "d.avi 0"])
    message = r"1 of the 2 classes in .*\*_test_split1\.txt have no training video: 'wave'\."
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=message):
            HMDB51(root, split)
    write_list(wave_list(root), ["d.avi 1", "e.avi 0"])
    assert named(HMDB51(root, "official-test")) == [("b.avi", 0)]
    write_list(wave_list(root).with_name("chew_test_split1.txt"), ["a.avi 1"])
    with pytest.raises(ValueError, match=r"None of the 0 videos in .* left for the official-test"):
        HMDB51(root, "official-test")
