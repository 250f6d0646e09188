from __future__ import annotations

import os
from pathlib import Path

import pytest

from captum_video._core.files import written_whole


def test_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clip.mp4"
    with written_whole(target) as part:
        assert part.suffix == ".mp4"
        assert not target.exists()
        part.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert os.listdir(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
def test_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"older")

    def write() -> None:
        with written_whole(target) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert target.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    def write() -> None:
        with written_whole(tmp_path / "clip.mp4"):
            pass

    with pytest.raises(FileNotFoundError):
        write()
    assert os.listdir(tmp_path) == []
