"""The examples in docstrings run and print what they say; every public entry has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import captum_video

ANSWERS = (tuple, Exception)  # what methods return and raise is shown where it comes from
FINDER = doctest.DocTestFinder(exclude_empty=True)


def module_names() -> list[str]:
    """The package and all its modules, by dotted name."""
    found = pkgutil.walk_packages(captum_video.__path__, "captum_video.")
    return ["captum_video", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


def examples() -> Iterator[doctest.DocTest]:
    """Every docstring with examples, where it is defined."""
    for name in module_names():
        for test in FINDER.find(importlib.import_module(name)):
            if test.examples:
                yield test


EXAMPLES = {test.name: test for test in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
        said: list[str] = []
        runner.run(EXAMPLES[name], out=said.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", captum_video.__all__)
def test_entries_have_an_example(name: str) -> None:
    entry = getattr(captum_video, name)
    assert inspect.isclass(entry) or inspect.isfunction(entry)
    if inspect.isclass(entry) and issubclass(entry, ANSWERS):
        return
    assert f"{entry.__module__}.{entry.__qualname__}" in EXAMPLES


def test_a_wrong_example_is_found() -> None:
    parser, said = doctest.DocTestParser(), list[str]()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(wrong, out=said.append)
    assert runner.summarize(verbose=False).failed == 1
