import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from captum_video.io import ClipError, _write, read_clip, write_video
from tests.io.videos import noise, psnr, smooth


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk on which no file can grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "quality"),
    [("c.mp4", 37), ("c.mov", 37), ("c.mkv", 37), ("c.webm", 37), ("c.gif", 25)],
)
@pytest.mark.parametrize("fps", [8, 30000 / 1001])
def test_round_trip(tmp_path: Path, name: str, quality: float, fps: float) -> None:
    frames = smooth()
    clip = read_clip(write_video(tmp_path / name, frames, fps))
    assert clip.frames.shape == frames.shape
    assert clip.fps == pytest.approx(fps, rel=0.01 if name == "c.gif" else 1e-6)
    assert psnr(clip.frames, frames) > quality
    assert os.listdir(tmp_path) == [name]


def test_what_players_expect_of_an_mp4(tmp_path: Path) -> None:
    with av.open(str(write_video(tmp_path / "c.mp4", smooth(3), 10))) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited range


def test_colours_survive(tmp_path: Path) -> None:
    red_and_blue = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    red_and_blue[:, 0, :, :16] = 208
    red_and_blue[:, 2, :, 16:] = 200
    for name in ("c.mp4", "c.webm", "c.gif"):
        back = read_clip(write_video(tmp_path / name, red_and_blue, 10)).frames
        inner = torch.cat([back[..., 4:12], back[..., 20:28]], -1).float()
        wanted = torch.cat([red_and_blue[..., 4:12], red_and_blue[..., 20:28]], -1).float()
        assert (inner - wanted).abs().max() <= 8, name


@pytest.mark.parametrize(("height", "width"), [(33, 64), (32, 65), (33, 65), (1, 1)])
def test_odd_sizes_repeat_the_edge(tmp_path: Path, height: int, width: int) -> None:
    frames = smooth(4, height, width)
    back = read_clip(write_video(tmp_path / "c.mp4", frames, 10)).frames
    assert back.shape == (4, 3, height + height % 2, width + width % 2)
    assert psnr(back[:, :, :height, :width], frames) > 30
    # a GIF takes any size as it is
    assert read_clip(write_video(tmp_path / "c.gif", frames, 10)).frames.shape == frames.shape


def test_layouts_and_grey(tmp_path: Path) -> None:
    frames = smooth(3, 16, 16)
    first = read_clip(write_video(tmp_path / "a.mp4", frames, 10)).frames
    last = read_clip(write_video(tmp_path / "b.mp4", frames.permute(0, 2, 3, 1).numpy(), 10)).frames
    assert torch.equal(first, last)
    grey = read_clip(write_video(tmp_path / "c.mp4", frames[:, :1], 10)).frames
    assert psnr(grey, frames[:, :1].expand(-1, 3, -1, -1)) > 36


def test_one_frame_and_a_still_clip(tmp_path: Path) -> None:
    for name in ("c.mp4", "c.gif", "c.webm"):
        assert len(read_clip(write_video(tmp_path / name, smooth(1), 10))) == 1
        still = smooth(1).expand(6, -1, -1, -1)
        assert len(read_clip(write_video(tmp_path / name, still, 10))) == 6


@pytest.mark.parametrize("name", ["c.mp4", "c.webm", "c.gif", "c.mkv"])
def test_a_full_disk_keeps_the_older_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("older")
    with largest_file(4096), pytest.raises(OSError, match="File too large"):
        write_video(path, noise(), 10)
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == [name]


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_write, "_encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "c.mp4", smooth(3), 10)
    assert os.listdir(tmp_path) == []


def test_a_missing_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_write, "_has_encoder", lambda name: name == "gif")
    with pytest.raises(
        ClipError, match=r"c\.mp4: this FFmpeg has no H\.264 encoder \(libx264 or .*can write \.gif"
    ):
        write_video(tmp_path / "c.mp4", smooth(3), 10)
    assert not _write._has_encoder("no-such-codec")
    assert os.listdir(tmp_path) == []


def test_whether_an_encoder_is_there() -> None:
    assert _write._has_encoder("gif")
    assert not _write._has_encoder("no-such-codec")


@pytest.mark.parametrize("name", ["c.mp4", "c.webm", "c.gif"])
def test_rates_of_other_types(tmp_path: Path, name: str) -> None:
    for fps in (np.float32(5), np.float64(5), np.int64(5), Fraction(5)):
        clip = read_clip(write_video(tmp_path / name, smooth(3), fps))  # type: ignore[arg-type]
        assert clip.times == pytest.approx((0, 0.2, 0.4), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "fps", "told"),
    [
        ("c.mp4", 1e-9, "a .mp4 file shows from 1/10000 to 1000000 frames per second, got 1e-09"),
        ("c.mp4", 1e12, "from 1/10000 to 1000000 frames"),
        ("c.webm", 1e-9, "from 1/10000 to 1000 frames"),
        ("c.webm", 1001, "from 1/10000 to 1000 frames"),
        ("c.gif", 1e-9, "from 1/655 to 50 frames"),
        ("c.gif", 1 / 656, "from 1/655 to 50 frames"),
    ],
)
def test_rates_that_no_file_holds(tmp_path: Path, name: str, fps: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        write_video(tmp_path / name, smooth(3), fps)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "fps"), [("c.mp4", 1 / 10000), ("c.mkv", 1000), ("c.webm", 0.001), ("c.gif", 1 / 655)]
)
def test_rates_at_the_limit(tmp_path: Path, name: str, fps: float) -> None:
    with av.open(str(write_video(tmp_path / name, smooth(3), fps))) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([0, 1 / fps, 2 / fps])


def test_arguments_are_checked(tmp_path: Path) -> None:
    frames = smooth(2)
    with pytest.raises(ValueError, match=r"cannot tell a video format from 'c\.txt': use \.mp4"):
        write_video(tmp_path / "c.txt", frames, 10)
    with pytest.raises(ValueError, match="fps must be a positive number, got nan"):
        write_video(tmp_path / "c.mp4", frames, float("nan"))
    with pytest.raises(ValueError, match="from 1/655 to 50 frames per second, got 60"):
        write_video(tmp_path / "c.gif", frames, 60)
    with pytest.raises(ValueError, match=r"crf must lie in 0\.\.51, got 99"):
        write_video(tmp_path / "c.mp4", frames, 10, crf=99)
    with pytest.raises(ValueError, match="frames must be uint8"):
        write_video(tmp_path / "c.mp4", frames.float(), 10)
    assert os.listdir(tmp_path) == []
