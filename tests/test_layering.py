"""Rooms import only what stands behind them, no cycles, no extras at import time."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "captum_video"

ALLOWED = {
    "_core": set(),
    "nn": {"_core"},
    "relevance": {"_core"},
    "layers": {"_core"},
    "metrics": {"_core"},
    "io": {"_core"},
    "attr": {"_core", "nn", "relevance", "layers"},
    "visualization": {"_core", "io"},
    "cli": {"_core", "nn", "relevance", "layers", "metrics", "io", "attr", "visualization", ""},
    "": {"attr", "nn", "relevance"},
}
EXTRAS = {
    "torchvision",
    "skvideo",
    "sklearn",
    "seglearn",
    "pandas",
    "zennit",
    "transformers",
    "imageio_ffmpeg",
}


def modules() -> dict[str, Path]:
    """Every module of the package by dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The dotted names that a module imports; names from a package may be its modules."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room(name: str) -> str:
    """The room of a dotted name: the part after ``captum_video``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("name", sorted(modules()))
def test_rooms_look_down_only(name: str) -> None:
    known, mine = modules(), room(name)
    assert mine in ALLOWED, f"{name}: a room that the layout does not have"
    for other in imported(known[name]):
        assert other.split(".")[0] != "models", f"{name} imports {other}"
        assert other.split(".")[0] != "tests", f"{name} imports {other}"
        if other in known and room(other) != mine:
            assert room(other) in ALLOWED[mine], f"{name} must not import {other}"


def test_no_cycles() -> None:
    known = modules()
    graph = {}
    for name, path in known.items():
        others = {other for other in imported(path) if other in known and other != name}
        # a module's own packages are imported before it in any case
        graph[name] = {o for o in others if not f"{name}.".startswith(f"{o}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_importing_needs_no_extra() -> None:
    code = (
        "import sys, captum_video, captum_video.io, captum_video.visualization, captum_video.metrics,"
        "captum_video.cli\n"
        f"print(sorted({EXTRAS!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"


def test_the_wheel_holds_the_package_only() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    wheel = text.split("[tool.hatch.build.targets.wheel]")[1].split("[")[1]
    assert wheel.startswith('"captum_video"]')
