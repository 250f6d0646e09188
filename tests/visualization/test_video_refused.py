"""What save_video and show_video refuse, and that they do so before they draw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from captum_video.io import ClipError, _write
from captum_video.visualization import _video, save_video, show_video
from tests.io.test_write import largest_file
from tests.io.videos import noise, smooth

FRAMES = smooth(3, 32, 40)
MAP = torch.linspace(-1, 1, 3 * 32 * 40).view(3, 32, 40)
NAN = MAP.clone()
NAN[1, 2, :4] = float("nan")


@pytest.fixture
def never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(scene: object) -> None:
        raise AssertionError("it was drawn")

    monkeypatch.setattr(_video._Scene, "drawn", drawn)


@pytest.mark.usefixtures("never_drawn")
@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"maps": MAP[:2]}, ValueError, r"maps has .* = \(2, 32, 40\) .* frames have \(3, 32, 40"),
        ({"maps": {"a": MAP[..., 1:]}}, ValueError, r"maps\['a'\] has .*\(3, 32, 39\).*\(3, 32, 4"),
        ({"maps": NAN}, ValueError, r"maps has 4 values that are not finite \(NaN"),
        (
            {"maps": {"a": MAP, "b": NAN}, "layout": "side_by_side"},
            ValueError,
            r"maps\['b'\] has 4",
        ),
        ({"maps": MAP[0]}, ValueError, r"maps must have shape \(T, H, W\), .* got \(32, 40\)"),
        (
            {"maps": {"total": MAP, "motion": MAP}},
            ValueError,
            r"shows one map, got 2 \(total, motion\): use layout='side_by_side', or .*maps\['total'",
        ),
        ({"maps": {}}, ValueError, "maps is an empty dict"),
        ({"maps": [MAP]}, TypeError, "maps must be a map or a dict of maps by name, got list"),
        ({"maps": {"frames": MAP}}, ValueError, "must not be named 'frames'"),
        ({"layout": "grid"}, ValueError, "layout must be 'overlay' or 'side_by_side', got 'grid'"),
        ({"enlarge": -1}, ValueError, "enlarge must be a number of pixels or 0, got -1"),
        ({"enlarge": 100.5}, ValueError, r"enlarge must be a number of pixels or 0, got 100\.5"),
        (
            {"captions": ["a", "b", 3]},
            TypeError,
            r"captions must be lines of text, got 3 for frame 2: use str\(\)",
        ),
        ({"maps": MAP, "alpha": "0.5"}, ValueError, r"alpha must lie in 0\.\.1, got 0\.5"),
        ({"maps": MAP, "scale": "1"}, ValueError, "scale must be a number >= 0, got 1"),
        (
            {"maps": MAP, "outlier_perc": None},
            ValueError,
            r"outlier_perc must lie in \[0, 100\), got None",
        ),
        ({"captions": ["a"]}, ValueError, r"captions must be one per frame \(3\), got 1"),
        (
            {"captions": "abc"},
            TypeError,
            "captions must be a list of lines, one per frame, got 'abc",
        ),
        ({"maps": MAP, "alhpa": 1}, TypeError, r"no option 'alhpa'\. Did you mean 'alpha'"),
        ({"maps": MAP, "alpha": 2}, ValueError, r"alpha must lie in 0\.\.1, got 2"),
        ({"maps": MAP, "outlier_perc": 100}, ValueError, r"outlier_perc must lie in \[0, 100\)"),
        ({"maps": MAP, "scale": float("nan")}, ValueError, "scale must be a number >= 0, got nan"),
        ({"maps": MAP, "scale": float("inf")}, ValueError, "scale must be a number >= 0, got inf"),
        ({"maps": MAP, "scale": 0}, ValueError, "scale is 0 but the maps are not"),
        ({"maps": MAP, "cmap": "colourblind"}, ValueError, "'colourblind' is no colour map"),
        ({"frames": FRAMES.float()}, ValueError, "frames must be uint8"),
        ({"fps": 0}, ValueError, "fps must be a positive number, got 0"),
        ({"crf": 99}, ValueError, r"crf must lie in 0\.\.51, got 99"),
    ],
)
def test_refused_by_both(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], told: str
) -> None:
    arguments: dict[str, Any] = {"frames": FRAMES, "fps": 8} | given
    with pytest.raises(error, match=told):
        save_video(tmp_path / "c.mp4", **arguments)
    with pytest.raises(error, match=told):
        show_video(**arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("never_drawn")
def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"video format from 'c\.avi': use \.mp4, .*\.gif"):
        save_video(tmp_path / "c.avi", FRAMES, MAP, fps=8)
    with pytest.raises(ValueError, match="from 1/655 to 50 frames per second, got 60"):
        save_video(tmp_path / "c.gif", FRAMES, MAP, fps=60)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"no file can be written there \(.*file.c\.mp4"):
        save_video(tmp_path / "file" / "c.mp4", FRAMES, MAP, fps=8)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a folder is where .*folder\.mp4"):
        save_video(tmp_path / "folder.mp4", FRAMES, MAP, fps=8)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4"]


@pytest.mark.usefixtures("never_drawn")
def test_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", "a name nobody chose")

    monkeypatch.setattr("tempfile.mkdtemp", refused)
    with pytest.raises(
        PermissionError, match=r"no file can be written there \(Permission denied\): .*c\.mp4"
    ):
        save_video(tmp_path / "c.mp4", FRAMES, MAP, fps=8)


@pytest.mark.usefixtures("never_drawn")
def test_a_missing_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_write, "_has_encoder", lambda name: name == "gif")
    with pytest.raises(ClipError, match=r"no H\.264 encoder .*can write \.gif"):
        save_video(tmp_path / "c.mp4", FRAMES, MAP, fps=8)
    monkeypatch.setattr(_write, "_has_encoder", lambda name: False)
    with pytest.raises(ClipError, match=r"no H\.264 encoder .*can write no video"):
        show_video(FRAMES, MAP)


@pytest.mark.parametrize("name", ["c.mp4", "c.webm", "c.gif"])
def test_a_full_disk_keeps_the_older_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("older")
    frames = noise()
    with largest_file(4096), pytest.raises(OSError, match="File too large"):
        save_video(path, frames, torch.randn(30, 48, 64), fps=10)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [name]


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_video, "blended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_video(tmp_path / "c.mp4", FRAMES, MAP, fps=8)
    assert os.listdir(tmp_path) == []


def test_width_of_a_player() -> None:
    with pytest.raises(ValueError, match="width must be a positive number of pixels, got 0"):
        show_video(FRAMES, MAP, width=0)
