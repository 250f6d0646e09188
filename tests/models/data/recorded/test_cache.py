from __future__ import annotations

import multiprocessing
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from captum_video.io import read_clip
from models.data.recorded import _cache, _reading
from models.data.recorded._reading import Reading
from tests.io.videos import noise
from tests.models.data.recorded.clips import Listed, images, numbers, stairs, video

MODES: list[dict[str, Any]] = [
    {"sampling": "even", "size": (10, 14)},
    {"sampling": "even", "size": (9, 9), "resize": (10, 14), "fit": "crop", "mirror": True},
    {"sampling": "window", "size": (9, 9), "resize": (10, 14), "mirror": True, "stride": 2},
    {"sampling": "window", "size": (9, 9), "fit": "crop", "frames": 20},
]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return video(tmp_path / "videos" / "clip.avi", noise(10, 24, 32))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded while the test runs."""
    paths = []

    def read(path: Path, **options: Any) -> Any:
        paths.append(path)
        return read_clip(path, **options)

    monkeypatch.setattr("models.data.recorded._reading.read_clip", read)
    return paths


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits(tmp_path: Path, decoded: list[Path], mode: dict[str, Any]) -> None:
    items = [
        (video(tmp_path / "a.avi", noise(10, 24, 32)), 0),
        (images(tmp_path / "b", noise(3, 17, 13)), 1),
    ]
    plain, cached = Listed(items, **mode), Listed(items, cache=tmp_path / "cache", **mode)
    for index in (0, 1):
        for seed in (None, 0, 1, 2, 3):
            rngs = (None if seed is None else np.random.default_rng(seed) for _ in range(2))
            a, b = (data.draw(index, rng) for data, rng in zip((plain, cached), rngs, strict=True))
            assert torch.equal(a.clip, b.clip)
            assert a.action == b.action
    assert len(decoded) == 10 + 2
    assert len(files(tmp_path / "cache")) == 2


def test_what_is_kept(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.avi")
    kept = {}
    for sampling in ("even", "window"):
        cache = tmp_path / sampling
        data = Listed([(path, 0)], sampling=sampling, size=(6, 8), resize=(12, 16), cache=cache)
        expected = {"even": [1, 3, 6, 8], "window": [3, 4, 5, 6]}
        assert numbers(data[0].clip) == expected[sampling]
        (file,) = files(cache)
        kept[sampling] = np.load(file)["pixels"]
    assert (kept["even"].dtype, kept["even"].shape) == (np.uint8, (4, 3, 12, 16))
    assert kept["window"].shape == (10, 3, 12, 16)
    assert np.array_equal(kept["window"][[1, 3, 6, 8]], kept["even"])


def test_a_clip_too_large_for_one_go(
    tmp_path: Path, clip: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Listed([(clip, 0)], sampling="window", frames=10, cache=tmp_path / "whole")[0].clip
    assert len(decoded) == 1
    monkeypatch.setattr(_reading, "_AT_ONCE", 4 * 3 * 24 * 32)
    again = Listed([(clip, 0)], sampling="window", frames=10, cache=tmp_path / "parts")[0].clip
    assert torch.equal(again, whole)
    assert len(decoded) == 2 + 4  # refused, then frames 0, 1 to 4, 5 to 8, and 9


def test_windows_are_read_without_the_rest(tmp_path: Path, clip: Path) -> None:
    """Only the frames of the window are looked at: damage elsewhere is not met."""
    data = Listed([(clip, 0)], sampling="window", cache=tmp_path / "cache")
    before = data[0].clip
    (file,) = files(tmp_path / "cache")
    rows = np.load(file, mmap_mode="r+")
    rows["pixels"][0] = 255 - rows["pixels"][0]
    rows.flush()
    stamp = file.stat().st_mtime_ns
    assert torch.equal(data[0].clip, before)
    assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "change",
    [
        {"size": (11, 12)},
        {"size": (9, 9), "resize": (10, 13)},
        {"fit": "crop"},
        {"frames": 5},
        {"sampling": "window"},
    ],
)
def test_other_options_miss(tmp_path: Path, clip: Path, change: dict[str, Any]) -> None:
    options: dict[str, Any] = {"size": (10, 12), "cache": tmp_path / "cache"}
    Listed([(clip, 0)], **options)[0]
    Listed([(clip, 0)], **(options | change))[0]
    assert len(files(tmp_path / "cache")) == 2


def test_another_decoder_misses(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = set()
    for version in ("1", "2"):
        monkeypatch.setattr(_cache, "_version", lambda package, version=version: version)
        for backend in ("pyav", "skvideo"):
            reading = Reading(backend=backend, cache=tmp_path)
            paths.add(_cache.cache_file(clip, Path("clip.avi"), reading))
    assert len(paths) == 4


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({"size": (8, 9), "resize": (10, 12)}, {"size": (7, 7), "resize": (10, 12)}),
        ({"mirror": True}, {"mirror": False}),
        ({"on_error": "skip"}, {"on_error": "raise"}),
        ({"sampling": "window", "stride": 2}, {"sampling": "window", "frames": 7}),
    ],
)
def test_options_that_change_nothing_kept(
    tmp_path: Path, clip: Path, options: dict[str, Any], other: dict[str, Any]
) -> None:
    for chosen in (options, other):
        Listed([(clip, 0)], cache=tmp_path / "cache", **chosen)[0]
    assert len(files(tmp_path / "cache")) == 1


def test_a_changed_video_misses(tmp_path: Path, clip: Path) -> None:
    data = Listed([(clip, 0)], cache=tmp_path / "cache", size=(8, 8))
    data[0]
    status = clip.stat()
    video(clip, stairs(10))
    assert numbers(data[0].clip) == [1, 3, 6, 8]
    os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    data[0]
    assert len(files(tmp_path / "cache")) == 3


def test_a_changed_image_misses(tmp_path: Path) -> None:
    folder = images(tmp_path / "clip", stairs(4))
    data = Listed([(folder, 0)], cache=tmp_path / "cache")
    assert numbers(data[0].clip) == [0, 1, 2, 3]
    other = images(tmp_path / "other", stairs(9)) / "9.png"
    (folder / "1.png").write_bytes(other.read_bytes())  # the folder's own time stays as it is
    os.utime(folder / "1.png", ns=(0, 0))
    assert numbers(data[0].clip) == [8, 1, 2, 3]


def test_a_data_set_that_moves_is_found(tmp_path: Path, decoded: list[Path]) -> None:
    names = ("x/clip.avi", "y/clip.avi")
    paths = [video(tmp_path / "here" / name, noise(4)) for name in names]
    Listed([(path, 0) for path in paths], cache=tmp_path / "cache", on_error="skip")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Listed([(tmp_path / "there" / name, 0) for name in names], cache=tmp_path / "cache")
    assert moved[0].clip.shape == moved[1].clip.shape
    assert decoded == paths


def _flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def _rows(file: Path, edit: Any) -> None:
    np.save(file, edit(np.load(file)))


DAMAGES = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-10]),
    "empty": lambda file: file.write_bytes(b""),
    "a pixel": lambda file: _flip(file, -100),
    "a check sum": lambda file: _flip(file, -1),
    "the header": lambda file: _flip(file, 12),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "zeros behind the header": lambda file: file.write_bytes(
        file.read_bytes()[:128] + bytes(file.stat().st_size - 128)
    ),
    "text": lambda file: file.write_text("something else"),
    "another array": lambda file: np.save(file, np.zeros((4, 3, 8, 8), np.uint8)),
    "objects": lambda file: np.save(file, np.array([{}, None]), allow_pickle=True),
    "fewer frames": lambda file: _rows(file, lambda rows: rows[:3]),
    "no frames": lambda file: _rows(file, lambda rows: rows[:0]),
    "a row too many dimensions": lambda file: _rows(file, lambda rows: rows[None]),
    "another type": lambda file: np.save(file, _packed(np.zeros((4, 3, 8, 8), np.uint16))),
    "one channel": lambda file: np.save(file, _packed(np.zeros((4, 1, 8, 8), np.uint8))),
}


def _packed(pixels: np.ndarray) -> np.ndarray:
    rows = np.empty(len(pixels), [("pixels", pixels.dtype, pixels.shape[1:]), ("check", "<u4")])
    rows["pixels"] = pixels
    rows["check"] = [zlib.crc32(frame.tobytes()) for frame in pixels]
    return rows


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_damaged_files_are_made_again(
    tmp_path: Path, clip: Path, decoded: list[Path], damage: str, fit: str
) -> None:
    data = Listed([(clip, 0)], cache=tmp_path / "cache", size=(8, 8), fit=fit)
    before = data[0].clip
    (file,) = files(tmp_path / "cache")
    content = file.read_bytes()
    DAMAGES[damage](file)
    assert torch.equal(data[0].clip, before)
    assert file.read_bytes() == content
    assert len(decoded) == 2
    assert torch.equal(data[0].clip, before)
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("fit", "shapes"),
    [
        ("squeeze", [(4, 3, 9, 8), (4, 3, 8, 9), (4, 3, 8)]),
        ("crop", [(4, 3, 7, 9), (4, 3, 9, 7), (4, 3, 9), (4, 3, 9, 9, 1)]),
    ],
)
def test_frames_of_another_size(
    tmp_path: Path, clip: Path, decoded: list[Path], fit: str, shapes: list[tuple[int, ...]]
) -> None:
    data = Listed([(clip, 0)], cache=tmp_path / "cache", size=(8, 8), fit=fit)
    before = data[0].clip
    (file,) = files(tmp_path / "cache")
    for shape in shapes:
        np.save(file, _packed(np.zeros(shape, np.uint8)))
        assert torch.equal(data[0].clip, before)
    assert len(decoded) == 1 + len(shapes)


def test_whole_or_absent(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(target: Any, rows: np.ndarray) -> None:
        target.write(rows.tobytes()[:100])
        raise OSError(28, "No space left on device")

    data = Listed([(clip, 0)], cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", half)
        with pytest.raises(OSError, match="No space left"):
            data[0]
    assert files(tmp_path / "cache") == []
    assert torch.equal(data[0].clip, Listed([(clip, 0)])[0].clip)


def _killed(clip: Path, cache: Path) -> None:
    def die(target: Any, rows: np.ndarray) -> None:
        target.write(rows.tobytes()[:100])
        target.flush()
        os._exit(9)

    vars(np)["save"] = die
    Listed([(clip, 0)], cache=cache)[0]


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path, clip: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_killed, args=(clip, tmp_path / "cache")
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert len(files(tmp_path / "cache")) == 1  # a part, under a name that nobody asks for
    data = Listed([(clip, 0)], cache=tmp_path / "cache")
    assert torch.equal(data[0].clip, Listed([(clip, 0)])[0].clip)
    assert len(files(tmp_path / "cache")) == 2


def test_filled_at_the_same_time(tmp_path: Path, clip: Path) -> None:
    data = Listed([(clip, 0)], cache=tmp_path / "cache", sampling="window")
    expected = Listed([(clip, 0)], sampling="window")[0].clip
    barrier, found = threading.Barrier(4), []

    def fill() -> None:
        barrier.wait()
        found.append(torch.equal(data[0].clip, expected))

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert len(files(tmp_path / "cache")) == 1


def test_workers_fill_it(tmp_path: Path) -> None:
    items = [(video(tmp_path / f"{n}.avi", stairs(5, base=16 + n)), 0) for n in range(4)]
    data = Listed(items, cache=tmp_path / "cache")
    for _ in range(2):
        clips = torch.cat([batch.clip for batch in DataLoader(data, 2, num_workers=2)])
        assert torch.equal(clips, torch.stack([Listed(items)[n].clip for n in range(4)]))
        assert len(files(tmp_path / "cache")) == 4


def test_skipping_fills_it(tmp_path: Path, clip: Path, decoded: list[Path]) -> None:
    for _ in range(2):
        Listed([(clip, 0)], cache=tmp_path / "cache", on_error="skip")
    assert decoded == [clip]
