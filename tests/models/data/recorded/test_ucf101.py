from __future__ import annotations

from pathlib import Path

import pytest

from models.data import UCF101
from tests.models.data.recorded.trees import UCF101_CLASSES, ucf101_name, ucf101_tree, write_list

EYES, HANDS, LIPS = UCF101_CLASSES[:3]


def touch(root: Path, *names: str) -> None:
    """Videos that nothing is ever read from."""
    for name in names:
        path = root / "UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def tree(
    root: Path,
    train: list[str],
    test: list[str],
    classes: tuple[str, ...] = ("1 ApplyEyeMakeup", "2 Archery"),
) -> Path:
    """Lists as given, in fold 1, and all their videos."""
    touch(root, *(line.split()[0] for line in (*train, *test)))
    lists = root / "ucfTrainTestlist"
    write_list(lists / "classInd.txt", classes, "\r\n")
    write_list(lists / "trainlist01.txt", train, "\r\n")
    write_list(lists / "testlist01.txt", test, "\r\n")
    return root


def eye(group: int, clip: int = 1) -> str:
    return ucf101_name(EYES, group, clip)


def archery(group: int, clip: int = 1) -> str:
    return ucf101_name("Archery", group, clip)


def good(root: Path) -> Path:
    train = [f"{eye(8)} 1", f"{eye(9)} 1", f"{archery(8)} 2"]
    return tree(root, train, [eye(1), eye(2), archery(1), archery(1, 2)])


def named(data: UCF101) -> list[tuple[str, int]]:
    """Names and labels, in order."""
    return [(path.stem, data.labels(index)[0]) for index, path in enumerate(data.files)]


def test_the_folds(tmp_path: Path) -> None:
    root = ucf101_tree(tmp_path, classes=2, train=2, test=2, frames=2)
    assert UCF101(root).classes == ("ApplyEyeMakeup", "HandstandPushups")
    tested = {1: (1, 2), 2: (3, 4), 3: (1, 2)}
    for fold, groups in tested.items():
        expected = [(Path(ucf101_name(EYES, group)).stem, 0) for group in groups]
        expected += [(Path(ucf101_name(HANDS, group)).stem, 1) for group in groups]
        assert named(UCF101(root, "official-test", fold)) == expected
        assert named(UCF101(root, "validation", fold)) == expected[::2]
        assert named(UCF101(root, "test", fold=fold)) == expected[1::2]
        trained = {name for name, _ in named(UCF101(root, "train", fold))}
        assert len(trained) == 4
        assert not trained & {name for name, _ in expected}
    data = UCF101(root, "validation", 2)
    assert (data.root, data.split, data.fold) == (root, "validation", 2)


def test_samples_are_in_the_order_of_the_list_with_the_labels_of_the_classes(
    tmp_path: Path,
) -> None:
    train = [f"{archery(9)} 2", f"{eye(8)} 1", f"{archery(8, 3)} 2"]
    data = UCF101(tree(tmp_path, train, [eye(1)]))
    assert named(data) == [
        ("v_Archery_g09_c01", 1),
        ("v_ApplyEyeMakeup_g08_c01", 0),
        ("v_Archery_g08_c03", 1),
    ]
    assert data.classes == ("ApplyEyeMakeup", "Archery")
    assert data.files[0] == tmp_path / "UCF-101" / "Archery" / "v_Archery_g09_c01.avi"


def test_groups_stay_whole_in_halves_of_each_class(tmp_path: Path) -> None:
    clips = {1: 4, 2: 3, 3: 1, 4: 2}  # of 10; 4 are nearer to half of them than 7
    test = [eye(group, c + 1) for group, count in clips.items() for c in range(count)]
    test += [archery(group) for group in range(1, 8)]  # 3 and 4 of 7
    root = tree(tmp_path, [f"{eye(8)} 1", f"{archery(8)} 2"], test)
    validation = [name.split("_", 2)[2] for name, _ in named(UCF101(root, "validation"))]
    eyes = ["g01_c01", "g01_c02", "g01_c03", "g01_c04"]
    assert validation == [*eyes, "g01_c01", "g02_c01", "g03_c01"]
    rest = [name.split("_", 2)[2] for name, _ in named(UCF101(root, "test"))]
    eyes = ["g02_c01", "g02_c02", "g02_c03", "g03_c01", "g04_c01", "g04_c02"]
    assert rest == [*eyes, "g04_c01", "g05_c01", "g06_c01", "g07_c01"]
    assert [name for name, _ in named(UCF101(root, "official-test"))] == [
        Path(name).stem for name in test
    ]


def test_capital_letters_of_the_handstands(tmp_path: Path) -> None:
    root = ucf101_tree(tmp_path, classes=2, frames=2)
    expected = UCF101(root).files[2]
    assert expected.parts[-2:] == ("HandstandPushups", "v_HandStandPushups_g03_c01.avi")
    expected.rename(expected.with_name("v_HandstandPushups_g03_c01.avi"))
    other = expected.parent.with_name("HandStandPushups")
    expected.parent.rename(other)
    assert UCF101(root).files[2] == other / "v_HandstandPushups_g03_c01.avi"
    assert UCF101(root).classes[1] == "HandstandPushups"


def test_copies_of_test_lists_may_have_labels(tmp_path: Path) -> None:
    train, test = [f"{eye(8)} 1", f"{archery(8)} 2"], [f"{eye(1)} 1", f"{archery(1)} 2"]
    assert [label for _, label in named(UCF101(tree(tmp_path, train, test), "official-test"))] == [
        0,
        1,
    ]
    write_list(tmp_path / "ucfTrainTestlist" / "testlist01.txt", [f"{archery(1)} 1"])
    with pytest.raises(ValueError, match=r"testlist01\.txt, line 1: expected the label 2 of Arch"):
        UCF101(tmp_path, "test")


def test_folds_that_are_none(tmp_path: Path) -> None:
    root = good(tmp_path)
    for fold in (0, 4, "1"):
        with pytest.raises(ValueError, match=f"fold must be one of 1, 2, 3, got {fold!r}"):
            UCF101(root, fold=fold)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classInd.txt", r"There is no .*classInd\.txt, the list of UCF101's classes\."),
        ("trainlist01.txt", r"no .*trainlist01\.txt, the list of training videos of .* fold 1\."),
        ("testlist01.txt", r"no .*testlist01\.txt, the list of test videos of UCF101's fold 1\."),
    ],
)
def test_lists_that_are_missing_empty_or_not_utf8(tmp_path: Path, name: str, message: str) -> None:
    root = good(tmp_path)
    file = root / "ucfTrainTestlist" / name
    file.write_bytes(b"\r\n")
    with pytest.raises(ValueError, match=rf"{name}, the list of .* is empty\."):
        UCF101(root)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=rf"{name}, line 1: expected text in UTF-8, got byte 0xff"):
        UCF101(root)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        UCF101(root)


def test_lists_of_another_fold_are_missing(tmp_path: Path) -> None:
    root = good(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"trainlist02\.txt, .* of UCF101's fold 2\."):
        UCF101(root, fold=2)
    for file in (root / "ucfTrainTestlist").iterdir():
        file.unlink()
    (root / "ucfTrainTestlist").rmdir()
    message = r"There is no folder .*ucfTrainTestlist of UCF101's lists: give .* as annotations\."
    with pytest.raises(FileNotFoundError, match=message):
        UCF101(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi", "expected a video and its label, as in"),
        ("v_ApplyEyeMakeup_g08_c02.avi 1", "expected a video and its label, as in"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.mp4 1", "expected a video and its label"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1 1", "expected a video and its label"),
        ("Archer/v_Archer_g08_c02.avi 1", r"expected a class of .*classInd\.txt, got 'Archer/v_"),
        ("ApplyEyeMakeup/v_Archery_g08_c02.avi 1", "expected a video of ApplyEyeMakeup, got"),
        (
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 2",
            "expected the label 1 of ApplyEyeMakeup, got",
        ),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi one", "expected the label 1 of ApplyEye"),
        (f"{eye(8)} 1", r"g08_c01\.avi is listed already, in .*trainlist01\.txt, line 1\."),
    ],
)
def test_lines_that_say_something_else(tmp_path: Path, line: str, message: str) -> None:
    root = good(tmp_path)
    train = root / "ucfTrainTestlist" / "trainlist01.txt"
    with train.open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ValueError, match=rf"trainlist01\.txt, line 5: .*{message}"):
        UCF101(root)


def test_a_test_line_that_says_something_else(tmp_path: Path) -> None:
    root = good(tmp_path)
    (root / "ucfTrainTestlist" / "testlist01.txt").write_text("Archery/g01.avi")
    message = r"testlist01\.txt, line 1: expected a video, as in 'ApplyEyeMakeup/.*avi', got 'Arch"
    with pytest.raises(ValueError, match=message):
        UCF101(root)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("ApplyEyeMakeup", "Archery"), "line 1: expected the number and name of class 1, as in"),
        (("1 ApplyEyeMakeup", "3 Archery"), "line 2: expected the number and name of class 2"),
        (("0 ApplyEyeMakeup", "1 Archery"), "line 1: expected the number and name of class 1"),
        (("1 Archery", "2 Archery"), r"line 2: .* of a name that is new, got '2 Archery'\."),
    ],
)
def test_classes_that_are_listed_wrongly(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    root = good(tmp_path)
    write_list(root / "ucfTrainTestlist" / "classInd.txt", lines)
    with pytest.raises(ValueError, match=rf"classInd\.txt, {message}"):
        UCF101(root)


def test_a_video_that_trains_and_tests(tmp_path: Path) -> None:
    root = tree(tmp_path, [f"{eye(8)} 1", f"{archery(8)} 2"], [eye(1), eye(8)])
    message = rf"testlist01\.txt, line 2: {eye(8)} is listed already, in .*trainlist01\.txt, line 1"
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=message):
            UCF101(root, split)


def test_classes_and_folders_that_do_not_agree(tmp_path: Path) -> None:
    root = good(tmp_path)
    (root / "UCF-101" / "notes").mkdir()
    (root / "UCF-101" / ".hidden").mkdir()
    (root / "UCF-101" / ".hidden" / "a.avi").touch()
    assert len(UCF101(root)) == 3
    touch(root, "notes/A.AVI")
    message = r"UCF-101 has folders of videos that are none of the 2 classes in .*Ind\.txt: notes\."
    with pytest.raises(ValueError, match=message):
        UCF101(root)
    write_list(
        root / "ucfTrainTestlist" / "classInd.txt", ["1 ApplyEyeMakeup", "2 Archery", "3 Surf"]
    )
    message = r"1 of the 3 classes in .*classInd\.txt have no folder in .*UCF-101: Surf\."
    with pytest.raises(FileNotFoundError, match=message):
        UCF101(root)
    touch(root, "Surf/v_Surf_g01_c01.avi")
    (root / "UCF-101" / "notes" / "A.AVI").unlink()
    message = r"1 of the 3 classes in .*classInd\.txt have no training video: 'Surf'\."
    with pytest.raises(ValueError, match=message):
        UCF101(root)
