"""The command lines of the pages are ones that the command understands."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from captum_video.cli._errors import UsageError
from captum_video.cli._kinds import check_options, kind_of
from captum_video.cli._methods import METHODS, method_of
from captum_video.cli._parser import build_parser
from tests.docs.pages import ROOT, Block, blocks, commands, name_of, pages

SHELL = ("shell", "console", "")
OPTIONAL = re.compile(r"\[.*?\]")  # [--option VALUE], in an overview of the command


def lines_of(page: Path, program: str) -> list[list[str]]:
    found = [block for block in blocks(page.read_text()) if block.language in SHELL]
    plain = [block._replace(code=OPTIONAL.sub("", block.code)) for block in found]
    return [words for block in plain for words in commands(block) if words[0] == program]


COMMANDS = [(page, words) for page in pages() for words in lines_of(page, "captum-video")]
MODULES = [
    (page, words)
    for page in pages()
    for words in lines_of(page, "python")
    if words[1:2] == ["-m"] and words[2].split(".")[0] in ("models", "tests")
]


def test_pages_have_commands() -> None:
    assert len(COMMANDS) >= 10
    assert len(MODULES) >= 5


def check(words: list[str]) -> None:
    """As the command does before it loads a model: the words, the method, options of no use to it."""
    options = build_parser(METHODS).parse_args(words)
    if options.command == "explain":
        check_options(options, kind_of(options, method_of(options)))


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=lambda x: name_of(x) if isinstance(x, Path) else x[1]
)
def test_commands_are_understood(page: Path, words: list[str]) -> None:
    try:
        check(words[1:])
    except (SystemExit, UsageError) as error:
        pytest.fail(f"{name_of(page)}: {' '.join(words)} is refused: {error}")


@pytest.mark.parametrize(
    "more", ["--no-such 3", "--method attention", "--method deep-taylor --layer conv1"]
)
def test_wrong_commands_are_found(more: str) -> None:
    check(["explain", "clip.mp4", "--model", "m:f"])
    with pytest.raises((SystemExit, UsageError)):
        check(["explain", "clip.mp4", "--model", "m:f", *more.split()])


def parser_of(subcommand: str) -> argparse.ArgumentParser:
    parser = build_parser(METHODS)
    groups = (action for action in parser._actions if isinstance(action.choices, dict))
    found = next(groups).choices
    assert isinstance(found, dict)
    chosen = found[subcommand]
    assert isinstance(chosen, argparse.ArgumentParser)
    return chosen


def test_options_in_prose_exist() -> None:
    page = ROOT / "docs/command-line.md"
    known = {
        option
        for name in ("explain", "layers")
        for action in parser_of(name)._actions
        for option in action.option_strings
    }
    named = set(re.findall(r"`(--[a-z][a-z-]*)", page.read_text()))
    assert len(named) >= 15
    assert named <= known, sorted(named - known)


@pytest.mark.parametrize(
    ("page", "words"), MODULES, ids=lambda x: name_of(x) if isinstance(x, Path) else x[2]
)
def test_modules_exist(page: Path, words: list[str]) -> None:
    module = importlib.util.find_spec(words[2])
    assert module is not None, f"{name_of(page)}: no module {words[2]}"


def test_lines_are_joined_and_comments_left_out() -> None:
    block = Block(1, "shell", "a b \\\n  --c 'd e'  # f\n\n# g\n", "")
    assert commands(block) == [["a", "b", "--c", "d e"]]
    block = Block(1, "console", "$ a b\nanswer\n", "")
    assert commands(block) == [["a", "b"]]
