"""A folder of its own for each test of the command."""

import shutil
import sys
from pathlib import Path

import pytest

from captum_video.io import write_video
from tests.cli.workplace import moving


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip and modules of models, which is also where the command runs."""
    for module in ("tinynets", "tinyposes", "tinyskeletons"):
        shutil.copy(Path(__file__).with_name(f"{module}.py"), tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "brokenmodule.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_video("walk.mp4", moving(), 10)
    return tmp_path
