from pathlib import Path

import av
import pytest
import torch

from captum_video.io import ClipError, read_clip, write_frames
from tests.io.videos import cut, cut_noise, encode, noise, psnr, smooth

FASTSTART = {"movflags": "faststart"}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "quality"),
    [
        ("clip.mp4", "libx264", "yuv420p", 36),
        ("clip.mkv", "libx264", "yuv420p", 36),
        ("clip.avi", "mpeg4", "yuv420p", 24),
        ("clip.webm", "libvpx-vp9", "yuv420p", 36),
        ("clip.gif", "gif", "rgb8", 14),
    ],
)
def test_reads_each_format(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, quality: float
) -> None:
    frames = smooth()
    clip = read_clip(encode(tmp_path / name, frames, codec, pix_fmt=pix_fmt))
    assert clip.frames.shape == frames.shape
    assert clip.frames.dtype == torch.uint8
    assert clip.fps == pytest.approx(25)
    assert clip.path == tmp_path / name
    assert clip.times == pytest.approx([t / 25 for t in range(20)])
    assert psnr(clip.frames, frames) > quality
    brightness = clip.frames.float().mean((1, 2, 3))
    assert (brightness.diff() > 0).all(), "frames are out of order"


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_turns_frames_as_the_file_asks(tmp_path: Path, rotation: int) -> None:
    frames = smooth(3)
    clip = read_clip(encode(tmp_path / "clip.mp4", frames, "libx264", rotation=rotation))
    upright = torch.rot90(frames, rotation // 90, (2, 3))  # counter-clockwise
    assert clip.frames.shape == upright.shape
    assert psnr(clip.frames, upright) > 36


@pytest.mark.parametrize(("start", "end"), [(0.2, 0.6), (2.52, None), (3.01, 3.4), (None, 0.1)])
@pytest.mark.parametrize(("name", "codec"), [("c.mp4", "libx264"), ("c.gif", "gif")])
def test_a_window_is_the_same_part_of_the_whole(
    tmp_path: Path, name: str, codec: str, start: float | None, end: float | None
) -> None:
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    options = {} if codec == "gif" else {"g": "12"}
    frames = smooth(90, 16, 16)
    path = encode(tmp_path / name, frames, codec, pix_fmt=pix_fmt, options=options)
    part, expected = read_clip(path, start=start, end=end), read_clip(path).between(start, end)
    assert torch.equal(part.frames, expected.frames)
    assert part.times == pytest.approx(expected.times)


def test_frames_can_be_chosen_without_holding_all(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(30), "libx264")
    whole = read_clip(path)
    asked = []

    def keep(total: int) -> list[int]:
        asked.append(total)
        return [12, 3, 3]

    part = read_clip(path, start=0.2, end=1.0, keep=keep, max_bytes=3 * 3 * 48 * 64)
    assert asked == [20]  # frames 5 to 24 lie in the window
    assert torch.equal(part.frames, whole.frames[[17, 8, 8]])
    assert part.times == pytest.approx((17 / 25, 8 / 25, 8 / 25))
    assert part.fps == 25
    with pytest.raises(ValueError, match=r"keep must choose frames from 0 to 29, got \[30\]"):
        read_clip(path, keep=lambda total: [total])


def test_the_rate_can_be_given(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(30), "libx264")
    clip = read_clip(path, fps=10, start=2.1)
    assert clip.fps == 10
    assert clip.times == pytest.approx([t / 10 for t in range(21, 30)])


def test_a_gif_s_rate_comes_from_its_delays(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.gif", smooth(31, 16, 16), "gif", rate=30, pix_fmt="rgb8")
    assert read_clip(path).fps == pytest.approx(30, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "container", "share"),
    [
        ("c.mp4", "libx264", {}, 0.5),  # the index stands at the end: nothing can be read
        ("c.mp4", "libx264", FASTSTART, 0.5),
        ("c.mp4", "libx264", FASTSTART, 0.97),
        ("c.avi", "mpeg4", {}, 0.5),
        ("c.webm", "libvpx-vp9", {}, 0.6),
        ("c.webm", "libvpx-vp9", {}, 0.97),
        ("c.mkv", "libx264", {}, 0.5),
        ("c.gif", "gif", {}, 0.5),
        ("c.gif", "gif", {}, 0.99),
    ],
)
def test_a_cut_file_is_an_error_or_asked_for(
    tmp_path: Path, name: str, codec: str, container: dict[str, str], share: float
) -> None:
    whole, path = cut_noise(tmp_path / name, codec, container, share)
    reference = read_clip(whole).frames
    with pytest.raises(ClipError, match=f"cut-{name}: ") as caught:
        read_clip(path)
    assert caught.value.path == path
    if name == "c.mp4" and not container:
        with pytest.raises(ClipError, match="cannot be opened as a video"):
            read_clip(path, allow_truncated=True)
        return
    assert "cut off or damaged" in str(caught.value)
    assert "allow_truncated=True" in str(caught.value)
    assert name != "c.avi" or "a packet is incomplete" in str(caught.value)
    rest = read_clip(path, allow_truncated=True).frames
    assert 0.1 * len(reference) < len(rest) <= len(reference)
    assert torch.equal(read_clip(path, allow_truncated=True).frames, rest)
    sound = len(rest) // 2
    assert torch.equal(rest[:sound], reference[:sound])


def test_damage_in_the_middle_is_found(tmp_path: Path) -> None:
    for name, codec, pix_fmt in (
        ("c.gif", "gif", "rgb8"),
        ("c.mkv", "libx264", "yuv420p"),
        ("c.mp4", "libx264", "yuv420p"),
    ):
        path = encode(tmp_path / name, noise(), codec, pix_fmt=pix_fmt)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 3000] = bytes(byte ^ 0x5A for byte in data[middle : middle + 3000])
        path.write_bytes(data)
        with pytest.raises(ClipError, match="cut off or damaged"):
            read_clip(path)


def test_a_window_before_the_damage_can_be_read(tmp_path: Path) -> None:
    whole = encode(tmp_path / "c.mp4", noise(), "libx264", container_options=dict(FASTSTART))
    assert len(read_clip(cut(whole, 0.8), end=0.2)) == 5


def test_files_that_are_no_video(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    with pytest.raises(ClipError, match=r"missing\.mp4: there is no such file or folder"):
        read_clip(missing)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ClipError, match=r"empty\.mp4: the file is empty \(0 bytes\)"):
        read_clip(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video " * 100)
    with pytest.raises(ClipError, match=r"text\.mp4: it cannot be opened as a video \(Invalid"):
        read_clip(tmp_path / "text.mp4")


def test_a_file_with_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ClipError, match=r"sound\.wav: it holds no video stream"):
        read_clip(path)


@pytest.mark.parametrize("name", ["none.mkv", "none.avi"])
def test_a_video_without_frames(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        container.start_encoding()
    with pytest.raises(ClipError, match=r"none\.\w+: it holds no frame \(0 frames decoded\)"):
        read_clip(path)


def test_a_missing_decoder(tmp_path: Path) -> None:
    path = encode(tmp_path / "odd.avi", smooth(3), "mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ").replace(b"fmp4", b"ZZZZ"))
    with pytest.raises(ClipError, match=r"odd\.avi: FFmpeg has no decoder.*ffmpeg -i INPUT"):
        read_clip(path)


def test_too_large_a_clip(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(10), "libx264")
    with pytest.raises(ClipError, match=r"more than .* GiB\. Read a part of it \(start, end\)"):
        read_clip(path, max_bytes=5 * 3 * 48 * 64)
    assert len(read_clip(path, end=0.2, max_bytes=5 * 3 * 48 * 64)) == 5


def test_arguments_are_checked(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(5), "libx264")
    with pytest.raises(ValueError, match="fps must be a positive number, got -1"):
        read_clip(path, fps=-1)
    with pytest.raises(ValueError, match="end must be later than start"):
        read_clip(path, start=2, end=1)
    with pytest.raises(ClipError, match=r"no frame lies in start=5, .*ends at 0\.200 s"):
        read_clip(path, start=5)


@pytest.mark.parametrize("name", ["12:30.mp4", "a:b/clip.mp4", "concat:x.mp4", "-i.mp4"])
def test_a_relative_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(encode(tmp_path / "c.mp4", smooth(2), "libx264").read_bytes())
    assert len(read_clip(name)) == 2
    assert read_clip(name).path == path


def test_a_relative_folder_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "a:b", smooth(2))
    assert torch.equal(read_clip("a:b").frames, smooth(2))
