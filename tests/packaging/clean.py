"""The wheel, and an environment where nothing but it and its core dependencies can be imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it sees nothing of this process's paths."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))
    }
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build(kind: str, folder: Path) -> Path:
    """The wheel or the sdist of this checkout, made by its build backend."""
    code = f"import hatchling.build as b, sys; sys.stdout.write(b.build_{kind}(sys.argv[1]))"
    name = run(sys.executable, "-c", code, folder, cwd=ROOT).splitlines()[-1]
    return folder / name


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that requirements bring, with what those require, and so on."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found.setdefault(name, distribution(name))
        except PackageNotFoundError:  # this platform does without, or the package is vendored
            continue
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


def link(chosen: dict[str, Distribution], site: Path) -> None:
    """Makes distributions importable in another environment: links to folders that are theirs alone."""
    foreign = {
        parts[0]
        for one in distributions()
        if canonicalize_name(one.metadata["Name"]) not in chosen
        for parts in _files(one)
    }
    for one in chosen.values():
        for parts in _files(one):
            path = Path(*(parts if parts[0] in foreign else parts[:1]))
            target = site / path
            if not target.exists() and not target.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(Path(str(one.locate_file(path))).resolve())


def _files(one: Distribution) -> list[tuple[str, ...]]:
    every = [path.parts for path in one.files or ()]
    return [parts for parts in every if parts[0] not in ("..", "__pycache__")]


def environment(folder: Path, wheel: Path, requirements: Iterable[str]) -> Path:
    """A virtual environment with the wheel installed and only what it requires beside it.

    Returns:
        Its folder of programs.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code, cwd=folder).strip())
    link(closure(requirements), site)
    install = (
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
        wheel,
    )
    run(sys.executable, *install, cwd=folder)
    return programs


def core_requirements() -> list[str]:
    """What ``pyproject.toml`` lists as dependencies."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("\ndependencies = [")[1].split("]")[0]
    return re.findall(r'"([^"]+)"', block)
