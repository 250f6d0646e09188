from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from models.data.recorded._places import check_split, some
from tests.models.data.recorded.clips import Listed


def touched(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.avi" for number in range(count)]
    for path in paths:
        path.touch()
    return paths


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("frames", 0, "frames must be a positive integer, got 0"),
        ("frames", 2.0, r"frames must be a positive integer, got 2\.0"),
        ("frames", True, "frames must be a positive integer, got True"),
        ("stride", -1, "stride must be a positive integer, got -1"),
        ("stride", 2, "stride must be 1 for sampling='even'.*got 2: use sampling='window'"),
        ("size", (0, 4), r"size must be a height and a width in pixels, got \(0, 4\)"),
        ("size", (4,), r"size must be a height and a width in pixels, got \(4,\)"),
        ("size", "ab", "size must be a height and a width in pixels, got 'ab'"),
        ("resize", (24, 31), r"resize must be at least size \(24, 32\).*got \(24, 31\)"),
        ("resize", (23, 32), r"resize must be at least size \(24, 32\).*got \(23, 32\)"),
        ("resize", 0, "resize must be a height and a width in pixels, got 0"),
        ("fit", "cover", "fit must be one of 'squeeze', 'crop', got 'cover'"),
        ("sampling", "windw", "sampling must be one of 'even', 'window', got.*mean 'window'"),
        ("mirror", "no", "mirror must be one of False, True, got 'no'"),
        ("backend", "skvidoe", "backend must be one of 'pyav', 'skvideo', got.*mean 'skvideo'"),
        ("backend", 1, "backend must be one of 'pyav', 'skvideo', got 1"),
        ("on_error", "ignore", "on_error must be one of 'raise', 'skip', got 'ignore'"),
    ],
)
def test_options(tmp_path: Path, option: str, value: Any, text: str) -> None:
    items = [(touched(tmp_path, 1)[0], 0)]
    with pytest.raises(ValueError, match=text):
        Listed(items, **{option: value})


def test_one_number_is_a_square(tmp_path: Path) -> None:
    data = Listed([(touched(tmp_path, 1)[0], 0)], size=8, resize=9)
    assert (data.reading.size, data.reading.resize) == ((8, 8), (9, 9))


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    path = touched(tmp_path, 1)[0]
    with pytest.raises(NotADirectoryError, match=r"cache must be a folder, and .*0\.avi is a file"):
        Listed([(path, 0)], cache=path)


def test_no_clips() -> None:
    with pytest.raises(ValueError, match="There must be at least one clip, got none"):
        Listed([])


def test_labels_out_of_range(tmp_path: Path) -> None:
    a, b, c = touched(tmp_path, 3)
    text = f"Labels must be from 0 to 1, got 2 for {a}, -1 for {c}."
    with pytest.raises(ValueError, match=re.escape(text)):
        Listed([(a, 2), (b, 1), (c, -1)])


def test_clips_twice(tmp_path: Path) -> None:
    a, b = touched(tmp_path, 2)
    text = f"A clip must be there once, got more than once: {a}."
    with pytest.raises(ValueError, match=re.escape(text)):
        Listed([(a, 0), (b, 0), (a, 1)])


def test_classes_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Every class must be named once, got 'a' twice"):
        Listed([(touched(tmp_path, 1)[0], 0)], ["a", "b", "a"])


def test_missing_clips_are_told_at_once(tmp_path: Path) -> None:
    there = touched(tmp_path, 1)
    away = [tmp_path / f"away {number}.avi" for number in range(7)]
    text = f"7 of 8 clips are not there: {', '.join(map(str, away[:5]))} and 2 more."
    with pytest.raises(FileNotFoundError, match=re.escape(text)):
        Listed([(path, 0) for path in there + away])


def test_splits() -> None:
    with pytest.raises(ValueError, match=r"'validation', 'test', got 'valid'.*mean 'validation'"):
        check_split("valid")


def test_some() -> None:
    assert some("abcde") == "a, b, c, d, e"
    assert some("abcdefg", "; ") == "a; b; c; d; e and 2 more"
