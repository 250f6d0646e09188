"""What the command writes, and that it is written whole."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from captum_video.cli import _output
from captum_video.io import frames_last, read_clip, resize
from captum_video.visualization import overlay, robust_maximum, side_by_side
from tests.cli.workplace import SMALL, explain, summary


def test_the_video_and_the_strip_show_all_parts() -> None:
    assert explain("walk.mp4", "--model", "tinynets:net", "--fps", "3", *SMALL) == 0
    video = read_clip("explanations/walk/overlay.mp4")
    assert len(video) == 4
    assert video.fps == pytest.approx(3)
    assert video.frames.shape[3] > 4 * 224
    strip = read_clip("explanations/walk/strip.png").frames[0].float()
    assert ((strip[0] - strip[2]) > 100).any()  # red
    assert summary()["overlay_fps"] == 3


def test_a_panel_is_the_overlay_of_its_map() -> None:
    options = ("--method", "video-grad-cam", "--layer", "body.0", *SMALL)
    assert explain("walk.mp4", "--model", "tinynets:net", *options) == 0
    arrays = load_file("explanations/walk/relevance.safetensors")
    pictures = arrays.pop("frames")
    (name,) = (key for key, values in arrays.items() if values.dim() == 4)
    relevance = arrays[name].double().sum(0)
    factor = -(-224 // max(pictures.shape[1:3]))
    size = (factor * pictures.shape[1], factor * pictures.shape[2])
    large = resize(relevance[:, None], size, fit="squeeze")[:, 0]
    frames = resize(pictures.permute(0, 3, 1, 2), size, fit="squeeze")
    exact = overlay(frames, large, scale=robust_maximum(relevance.numpy()))
    sheet = side_by_side({"frames": frames, name: exact}).astype(int)
    shown = read_clip("explanations/walk/overlay.mp4").frames.permute(0, 2, 3, 1).numpy()
    top, left = sheet.shape[1] - size[0], sheet.shape[2] - size[1]
    panel = shown[:, top : top + size[0], left : left + size[1]]
    assert np.abs(panel - exact.astype(int)).mean() < 3
    assert np.abs(exact.astype(int) - frames_last(frames)).mean() > 15  # relevance is seen


def test_folder_names_never_meet(tmp_path: Path) -> None:
    clips = [Path(name) for name in ("a/walk.mp4", "b/WALK.avi", "walk-2.gif", "c/walk.webm")]
    assert _output.folder_names(clips) == ["walk", "WALK-2", "walk-2-2", "walk-3"]


def test_older_explanations_are_kept_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "tinynets:net", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", *options) == 0
    before = Path("explanations/walk/summary.json").stat().st_mtime_ns
    assert explain("walk.mp4", *options) == 1
    assert "explanations/walk exists: give --overwrite" in capsys.readouterr().err
    assert Path("explanations/walk/summary.json").stat().st_mtime_ns == before
    Path("explanations/walk/summary.json").write_text("old")
    assert explain("walk.mp4", *options, "--overwrite") == 0
    assert summary()["method"] == "deep-taylor"
    Path("explanations/walk/thesis.tex").write_text("mine")
    assert explain("walk.mp4", *options, "--overwrite") == 1
    assert "holds files that are no explanation (thesis.tex)" in capsys.readouterr().err
    assert Path("explanations/walk/thesis.tex").read_text() == "mine"


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [(full_disk, 1, "walk.mp4: [Errno 28] No space left"), (interrupted, 130, "interrupted")],
)
@pytest.mark.parametrize("method", ["deep-taylor", "video-grad-cam --layer body.0"])
def test_an_explanation_appears_whole_or_not_at_all(
    failure: Any,
    status: int,
    text: str,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--model", "tinynets:net", "--method", *method.split(), *SMALL)
    monkeypatch.setattr(_output, "save", failure)  # after the video and the strip
    assert explain("walk.mp4", *options) == status
    assert text in capsys.readouterr().err
    assert os.listdir("explanations") == []


def test_a_polite_kill_cleans_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def killed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("still running")

    monkeypatch.setattr(_output, "save", killed)
    options = ("--model", "tinynets:net", "--method", "deep-taylor", *SMALL)
    assert explain("walk.mp4", *options) == 130
    assert os.listdir("explanations") == []
    assert signal.getsignal(signal.SIGTERM) is before
