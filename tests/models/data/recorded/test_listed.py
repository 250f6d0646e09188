from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.data import ListedVideos
from tests.models.data.recorded.clips import images, numbers, video


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with seven empty videos."""
    (tmp_path / "v").mkdir()
    for name in "abcdefg":
        (tmp_path / "v" / f"{name}.avi").touch()
    return tmp_path


def listed(folder: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "clips.csv"
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


def found(data: ListedVideos) -> list[tuple[str, str]]:
    """Name and class of each clip."""
    return [
        (path.stem, data.classes[data.labels(index)[0]]) for index, path in enumerate(data.files)
    ]


def refused(path: Path, text: str, **options: object) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        ListedVideos(path, **options)  # type: ignore[arg-type]


def test_clips_and_labels(tmp_path: Path) -> None:
    video(tmp_path / "videos" / "one.avi")
    images(tmp_path / "two")
    path = listed(tmp_path, "path,label", "videos/one.avi,wave", "two,clap")
    data = ListedVideos(str(path), frames=4, size=(24, 32))
    assert data.classes == ("clap", "wave")
    assert data.groups == {"action": range(2)}
    assert found(data) == [("one", "wave"), ("two", "clap")]
    assert [data[i].action for i in range(2)] == [1, 0]
    assert [numbers(data[i].clip) for i in range(2)] == [[1, 3, 6, 8]] * 2


def test_root_and_absolute_paths(place: Path, tmp_path: Path) -> None:
    (place / "lists").mkdir()
    path = listed(place / "lists", "path,label", "a.avi,x", f"{place / 'v' / 'b.avi'},y")
    assert found(ListedVideos(path, place / "v")) == [("a", "x"), ("b", "y")]
    refused(path, f"line 2: there is no {place / 'lists' / 'a.avi'}")
    with pytest.raises(
        FileNotFoundError, match=r"root must be the folder of the videos, got .*away"
    ):
        ListedVideos(path, place / "away")


ROWS = ["path,label,split", "v/a.avi,z,train", "v/b.avi,y,val", "v/c.avi,x,validation"]


def test_splits(place: Path) -> None:
    path = listed(place, *ROWS, "v/d.avi,z,test", "v/e.avi,y,train", "v/missing.avi,w,test")
    assert found(ListedVideos(path, split="train")) == [("a", "z"), ("e", "y")]
    assert found(ListedVideos(path, split="validation")) == [("b", "y"), ("c", "x")]
    assert ListedVideos(path, split="train").classes == ("w", "x", "y", "z")
    # of other splits the clips need not be there
    refused(path, "1 row cannot be used: line 7: there is no", split="test")
    refused(path, "1 row cannot be used: line 7: there is no")
    assert found(ListedVideos(listed(place, *ROWS))) == [("a", "z"), ("b", "y"), ("c", "x")]


def test_labels_that_are_numbers(place: Path) -> None:
    rows = [f"v/{name}.avi,{label}" for name, label in zip("abcd", (10, 9, 2, -1), strict=True)]
    assert ListedVideos(listed(place, "path,label", *rows)).classes == ("-1", "2", "9", "10")
    rows.append("v/e.avi,n9")
    classes = ListedVideos(listed(place, "path,label", *rows)).classes
    assert classes == ("-1", "10", "2", "9", "n9")


def test_classes_given(place: Path) -> None:
    path = listed(place, "path,label", "v/a.avi,wave", "v/b.avi,clap")
    data = ListedVideos(path, classes=["wave", "jump", "clap"])
    assert [data.labels(index) for index in range(2)] == [(0,), (2,)]
    assert data.classes == ("wave", "jump", "clap")
    text = "line 2: 'wave' is none of the classes. Did you mean 'waves'?"
    refused(path, text, classes=["waves", "clap"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_dialects(place: Path, encoding: str, end: str, delimiter: str) -> None:
    rows = ["label{0}note{0}path", "grün{0}1{0}v/a.avi", "", '"x{0} y"{0} 2{0}"v/b.avi"', "  "]
    rows = [row.format(delimiter) for row in rows]
    path = listed(place, *rows, end=end, encoding=encoding)
    assert found(ListedVideos(path)) == [("a", "grün"), ("b", f"x{delimiter} y")]


def test_a_semicolon_in_a_label_is_no_delimiter(place: Path) -> None:
    assert found(ListedVideos(listed(place, "path,label", "v/a.avi,x;y"))) == [("a", "x;y")]


def test_quotes_behind_a_blank(place: Path) -> None:
    assert found(ListedVideos(listed(place, "path, label", 'v/a.avi, "x, y"'))) == [("a", "x, y")]


def test_only_line_ends_end_lines(place: Path) -> None:
    path = listed(place, "path,label", "v/a.avi,x\u2028y\x0bz", "v/0.avi,x")
    refused(path, "line 3: there is no")


def test_header_with_quotes_blanks_and_capitals(place: Path) -> None:
    path = listed(place, "", '"Path", "Label" ', " v/a.avi , x ")
    assert found(ListedVideos(path)) == [("a", "x")]


@pytest.mark.parametrize("header", ["v/a.avi,x", "file,label", "path label", "path,name"])
def test_no_header(place: Path, header: str) -> None:
    path = listed(place, header, "v/b.avi,y")
    refused(path, f"{path}, line 1: the header must be path,label (and split, if wanted), got ")
    refused(path, repr(header))


def test_nothing_listed(place: Path) -> None:
    refused(listed(place), "is empty: its first line must be path,label")
    refused(listed(place, " ", ""), "is empty: its first line must be path,label")
    refused(listed(place, "path,label"), "must list at least one clip, and lists none")
    text = "one clip of the split 'test', and lists 1 of 'train', 2 of 'validation'"
    refused(listed(place, *ROWS), text, split="test")


def test_splits_refused(place: Path) -> None:
    path = listed(place, "path,label", "v/a.avi,x")
    refused(path, "line 1: split='test' needs a column 'split', got path, label", split="test")
    refused(path, "split must be one of 'train', 'validation', 'test', got 'val'", split="val")


def test_a_column_twice(place: Path) -> None:
    refused(listed(place, "path,label,label"), "line 1: every column must be named once, got label")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("v/b.avi", "it has 1 columns where the header has 3 columns (path, label, split)"),
        ("v/b.avi,x", "it has 2 columns where the header has 3"),
        ("v/b.avi,x,train,", "it has 4 columns where the header has 3"),
        ("v/b.avi,,train", "its label is empty"),
        ("v/b.avi, ,train", "its label is empty"),
        (",x,train", "its path is empty"),
        ("v/b.avi,x,dev", "its split is 'dev', not one of train, val, validation, test"),
        ("v/b.avi,x,", "its split is '', not one of train, "),
        ("v/z.avi,x,train", "there is no "),
        ("v/a.avi,y,test", "v/a.avi is on line 2 already"),
        ("v/../v/./a.avi,y,test", "v/../v/./a.avi is on line 2 already"),
        ('v/b.avi,"x"y,train', "its quoting cannot be read ("),
        ('v/b.avi,"x,train', "its quoting cannot be read ("),
    ],
)
def test_bad_rows(place: Path, row: str, text: str) -> None:
    path = listed(place, "path,label,split", "v/a.avi,x,train", row, "v/c.avi,x,train")
    refused(path, f"{path}: 1 row cannot be used: line 3: {text}")


def test_the_first_bad_rows_and_a_count(place: Path) -> None:
    rows = [f"v/{name}.avi,x" for name in ("a", "0", "b", "1", "2", "3", "4", "5", "6")]
    path = listed(place, "path,label", *rows, "v/c.avi", 'v/d.avi,"x"y', "v/7.avi,x")
    shown = "; ".join(
        f"line {line}: there is no {place / 'v' / name}.avi"
        for line, name in ((3, "0"), (5, "1"), (6, "2"), (7, "3"), (8, "4"))
    )
    refused(path, f"{path}: 9 rows cannot be used: {shown} and 4 more.")


def test_lines_are_counted_through_quoted_ends(place: Path) -> None:
    path = listed(place, "path,label", 'v/a.avi,"x', 'y"', "", "v/0.avi,z")
    refused(path, "line 5: there is no")
    path = listed(place, "path,label", 'v/a.avi,"x', 'y"', 'v/0.avi,"x', 'y"')
    refused(path, "line 4: there is no")


def test_a_zero_byte(place: Path) -> None:
    refused(listed(place, "path,label", "v/\0a.avi,x"), "line 2: it")


def test_wrong_encoding(place: Path) -> None:
    path = listed(place, "path,label", "v/a.avi,x", "v/b.avi,grün", end="\r", encoding="latin-1")
    refused(path, f"{path}, line 3: the text must be UTF-8, got the byte 0xfc: save it as UTF-8.")
    path = listed(place, "path,label", encoding="utf-16")
    refused(path, f"{path}, line 1: the text must be UTF-8, got the byte 0xff")


def test_no_file(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"path must be a CSV file .*, got .*away\.csv"):
        ListedVideos(place / "away.csv")
    with pytest.raises(IsADirectoryError, match=r"path must be a CSV file, and .*v is a folder"):
        ListedVideos(place / "v")
