from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.recorded._halves import first_halves
from models.data.recorded._lists import Line, locate, read_lines
from models.data.recorded._places import one_of


def chosen(labels: list[int], sources: str) -> str:
    """V for validation, t for test."""
    return "".join("V" if first else "t" for first in first_halves(labels, sources))


@pytest.mark.parametrize(
    ("sources", "halves"),
    [
        ("abcd", "VVtt"),
        ("abc", "Vtt"),
        ("aaabccdd", "VVVVtttt"),  # 3 + 1 of 8
        ("aabbcc", "VVtttt"),  # 2 and 4 of 6 are equally near
        ("aaaaab", "VVVVVt"),  # neither half is empty
        ("abbbbb", "Vttttt"),
        ("abab", "VtVt"),  # recordings stay whole wherever they are listed
        ("bbaa", "VVtt"),  # the first in the list, not by name
        ("aaaa", "VVtt"),  # one recording
        ("aaa", "Vtt"),
        ("a", "t"),
    ],
)
def test_one_class_is_halved(sources: str, halves: str) -> None:
    assert chosen([0] * len(sources), sources) == halves


def test_each_class_is_halved() -> None:
    assert chosen([0, 0, 0, 0, 7, 7, 1, 1], "abcdabab") == "VVttVtVt"
    assert chosen([1, 0, 1, 0, 1, 0, 1, 0], "aabbccdd") == "VVVVtttt"
    assert chosen([0, 1, 1, 0], "aaaa") == "VVtt"  # the a of one class is not that of another


def test_odd_clips_go_to_test_and_validation_in_turn() -> None:
    assert chosen([0] * 5 + [1] * 5 + [2] * 5, "abcde" * 3) == "VVtttVVVttVVttt"
    assert chosen([0, 1, 2, 3], "aaaa") == "tVtV"
    assert chosen([0, 1, 1, 2], "aabb") == "tVtV"  # an even class in between does not count
    assert chosen([0] * 6 + [1] * 6, "aabbcc" * 2) == "VVttttVVVVtt"


def test_halves_against_trying_all_cuts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 40))
        labels = rng.integers(0, 4, n).tolist()
        sources = rng.integers(0, 6, n).tolist()
        halves = first_halves(labels, sources)
        for label in set(labels):
            of_class = [i for i in range(n) if labels[i] == label]
            order = list(dict.fromkeys(sources[i] for i in of_class))
            got = sum(halves[i] for i in of_class)
            if len(order) == 1:
                assert abs(2 * got - len(of_class)) <= 1
                continue
            possible = [
                [i for i in of_class if sources[i] in order[:cut]] for cut in range(1, len(order))
            ]
            assert [i for i in of_class if halves[i]] in possible
            assert abs(2 * got - len(of_class)) == min(
                abs(2 * len(part) - len(of_class)) for part in possible
            )
        assert sum(first_halves(labels, range(n))) == n // 2


def test_the_counts_of_jester_in_the_paper() -> None:
    labels = np.random.default_rng(1).integers(0, 27, 14787).tolist()
    halves = first_halves(labels, range(14787))
    assert (halves.count(True), halves.count(False)) == (7393, 7394)


def test_lines_are_those_with_something_on_them(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeffa b \r\n\r\n \t\nc\x0bd\u2028\nlast".encode())
    lines = read_lines(file, "a list")
    assert lines == [(file, 1, "a b"), (file, 4, "c\x0bd"), (file, 5, "last")]
    assert lines[1].place == f"{file}, line 4"
    assert str(Line(file, 4, "c'd").wrong("a number")) == (
        f'{file}, line 4: expected a number, got "c\'d".'
    )


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    with pytest.raises(FileNotFoundError, match=r"There is no .*list\.txt, a list of fold 3\."):
        read_lines(file, "a list of fold 3")
    file.write_text("\n \r\n")
    with pytest.raises(ValueError, match=r"list\.txt, a list, is empty\."):
        read_lines(file, "a list")
    file.write_bytes(b"one\ntwo\nPflegef\xe4lle 1\n")
    message = r"list\.txt, line 3: expected text in UTF-8, got byte 0xe4\."
    with pytest.raises(ValueError, match=message):
        read_lines(file, "a list")
    file.write_bytes("one\n".encode("utf-16"))
    with pytest.raises(ValueError, match="line 1: expected text in UTF-8, got byte 0xff"):
        read_lines(file, "a list")


def test_known_values() -> None:
    one_of("fold", 2, (1, 2))
    with pytest.raises(ValueError, match=r"^fold must be one of 1, 2, got '1'\.$"):
        one_of("fold", "1", (1, 2))
    with pytest.raises(ValueError, match=r"^split must be one of 'abc', got None\.$"):
        one_of("split", None, ("abc",))


def test_names_are_found_as_they_are_spelled_on_disk(tmp_path: Path) -> None:
    for name in ("One/ab", "One/AB", "two/cd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if len(list((tmp_path / "One").iterdir())) < 2:
        pytest.skip("small and capital letters are the same here")
    listed = tmp_path / "list.txt"
    names = ["One/AB", "One/ab", "Two/CD"]
    found = locate(tmp_path, names, listed, any_case=True)
    assert found == [tmp_path / name for name in ("One/AB", "One/ab", "two/cd")]
    assert locate(tmp_path, ["two"], listed) == [tmp_path / "two"]
    message = r"list\.txt names 2 of 3 videos that are not in .*: Two/CD, one/ab\.$"
    with pytest.raises(FileNotFoundError, match=message):
        locate(tmp_path, ["One/ab", "Two/CD", "one/ab"], listed)
