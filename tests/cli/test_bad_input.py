"""Clips and models that cannot be explained, one clip at a time."""

import os
import warnings
from pathlib import Path

import pytest

from captum_video.cli import _main
from captum_video.io import write_video
from tests.cli.workplace import SMALL, explain, moving


def test_what_no_rule_covers_is_said_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("walk.mp4", "--model", "tinynets:softmaxed", *SMALL) == 1
    err = capsys.readouterr().err
    assert "walk.mp4: UnsupportedOperationError: no relevance rule covers" in err
    assert "softmax" in err
    assert "(--traceback shows where)" in err


def test_clips_that_cannot_be_read_do_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("torn.mp4").write_bytes(Path("walk.mp4").read_bytes()[:500])
    Path("other").mkdir()
    write_video("other/walk.mp4", moving(), 10)
    clips = ("missing.mp4", "walk.mp4", "torn.mp4", "other/walk.mp4")
    options = ("--model", "tinynets:net", "--method", "deep-taylor")
    assert explain(*clips, *options, *SMALL) == 1
    assert sorted(os.listdir("explanations")) == ["walk", "walk-2"]
    out, err = capsys.readouterr()
    assert "captum-video: error: missing.mp4: there is no such file or folder" in err
    assert "captum-video: error: torn.mp4: it cannot be opened as a video" in err
    assert "2 of 4 clips could not be explained" in err
    assert "Traceback" not in err
    assert "wrote explanations/walk:" in out
    assert "wrote explanations/walk-2:" in out


def test_warnings_are_reported_once_per_clip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(*_: object) -> bool:
        for _repeat in range(2):
            warnings.warn("the sky is low", stacklevel=1)
        return True

    monkeypatch.setattr(_main, "_one", one)
    assert explain("walk.mp4", "--model", "tinynets:net", *SMALL) == 0
    assert capsys.readouterr().err == "captum-video: warning: walk.mp4: the sky is low\n"


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("net", "the model failed on an input of shape (1, 1, 4, 16, 16)"),
        ("nan", "answers NaN or infinity"),
        ("listing", "must answer a tensor (N, classes), got (1, 3, 4, 16, 16)"),
    ],
)
def test_models_that_cannot_take_the_clip(
    factory: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = ("--grey",) if factory == "net" else ()
    assert explain("walk.mp4", "--model", f"tinynets:{factory}", *grey, *SMALL) == 1
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not Path("explanations").exists()
