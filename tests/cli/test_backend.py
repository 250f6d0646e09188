"""Which reader the command takes."""

from pathlib import Path
from typing import Any

import pytest

from captum_video.cli import _video
from captum_video.io import ClipError, read_clip
from tests.cli.workplace import SMALL, explain

NET = ("--model", "tinynets:net", *SMALL)


@pytest.mark.parametrize(
    ("options", "asked"), [((), "pyav"), (("--backend", "skvideo"), "skvideo")]
)
def test_the_reader_that_was_asked_for(
    options: tuple[str, ...], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def read(path: Path, *, backend: str, **window: Any) -> Any:
        seen.append(backend)
        return read_clip(path, **window)

    monkeypatch.setattr(_video, "read_clip", read)
    assert explain("walk.mp4", *NET, *options) == 0
    assert seen == [asked]


def test_without_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(path: Path, **options: Any) -> Any:
        raise FileNotFoundError("it runs the program ffmpeg: install FFmpeg")

    monkeypatch.setattr(_video, "read_clip", read)
    assert explain("walk.mp4", *NET, "--backend", "skvideo") == 1
    assert "error: walk.mp4: it runs the program ffmpeg: install" in capsys.readouterr().err


def test_the_way_out_is_named_as_an_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(path: Path, **options: Any) -> Any:
        raise ClipError(path, "the frames part", "Read with backend='pyav'")

    monkeypatch.setattr(_video, "read_clip", read)
    assert explain("walk.mp4", *NET, "--backend", "skvideo") == 1
    assert "walk.mp4: the frames part. Read with --backend pyav" in capsys.readouterr().err


def test_it_is_for_videos_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ("--model", "nomodule:none", "--method", "feature-map-decoder")
    assert explain("dance.skeleton", *nowhere, "--backend", "skvideo") == 2
    assert "--backend is for videos, not for skeletons" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        explain("walk.mp4", *NET, "--backend", "skvidoe")
    assert "invalid choice: 'skvidoe'" in capsys.readouterr().err
