"""A folder with what the pages' code expects to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.io.videos import encode, smooth


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a test, with ``clip.mp4``."""
    encode(tmp_path / "clip.mp4", smooth(40, 64, 96), "libx264")
    monkeypatch.chdir(tmp_path)
    return tmp_path
