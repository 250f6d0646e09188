from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from captum_video.io import ClipError, prepare, read_clip
from models.data import Videos, VideoSample
from tests.io.videos import cut, noise
from tests.models.data.recorded.clips import Listed, images, numbers, stairs, video


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def places(frames: int = 5, height: int = 24, width: int = 32) -> Tensor:
    """Frames whose pixels tell where they are: red is x, green is y, blue is the frame's number."""
    t, y, x = torch.meshgrid(
        torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij"
    )
    return torch.stack([x, y, t], 1).to(torch.uint8)


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("ten") / "ten.avi", 10)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("mapped") / "clip", places())


def whole(clip: Tensor) -> list[list[list[list[int]]]]:
    return (255 * clip).round().int().tolist()


def test_a_sample(ten: Path) -> None:
    data = Listed([(ten, 1)])
    sample = data[0]
    assert isinstance(sample, VideoSample)
    assert sample.clip.dtype == torch.float32
    assert sample.clip.shape == (3, 4, 24, 32)
    assert sample.clip.is_contiguous()
    assert sample.clip.min() >= 0
    assert sample.clip.max() <= 1
    assert sample.action == 1
    assert data.labels(0) == (1,)
    assert (data.classes, data.groups) == (("a", "b"), {"action": range(2)})
    assert (data.files, data.skipped, len(data)) == ((ten,), (), 1)
    assert data.reading.frames == 4


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm", ".gif", ""])
def test_even_frames(tmp_path: Path, suffix: str) -> None:
    path = video(tmp_path / f"clip{suffix}") if suffix else images(tmp_path / "clip")
    # ten frames in four parts of 2.5, and the middle of each
    assert numbers(Listed([(path, 0)])[0].clip) == [1, 3, 6, 8]
    assert numbers(Listed([(path, 0)], frames=10)[0].clip) == list(range(10))
    longer = [0, 0, *range(1, 9), 9, 9, 9]
    assert numbers(Listed([(path, 0)], frames=13)[0].clip) == longer


@pytest.mark.parametrize(
    ("frames", "stride", "expected"),
    [
        (4, 1, [3, 4, 5, 6]),
        (3, 1, [3, 4, 5]),  # seven frames are left: three before, four behind
        (3, 4, [0, 4, 8]),
        (3, 3, [1, 4, 7]),
        (10, 1, list(range(10))),
        (12, 1, [0, *range(10), 9]),
        (4, 4, [0, 4, 8, 8]),  # 0, 4, 8 are all there are
        (1, 5, [4]),
    ],
)
def test_middle_window(ten: Path, frames: int, stride: int, expected: list[int]) -> None:
    data = Listed([(ten, 0)], sampling="window", frames=frames, stride=stride)
    assert numbers(data[0].clip) == expected
    assert numbers(data.draw(0, None).clip) == expected


def test_random_windows(ten: Path) -> None:
    data = Listed([(ten, 0)], sampling="window", stride=2)
    seen = set()
    for seed in range(20):
        start = int(rng(seed).random() * 4)  # 0 to 3, since the last frame is the start plus 6
        assert numbers(data.draw(0, rng(seed)).clip) == [start + 2 * step for step in range(4)]
        seen.add(start)
    assert seen == {0, 1, 2, 3}


def test_a_short_clip_has_one_window(ten: Path) -> None:
    data = Listed([(ten, 0)], sampling="window", frames=12)
    assert numbers(data.draw(0, rng(3)).clip) == [0, *range(10), 9]


def test_even_frames_are_not_random(ten: Path) -> None:
    data = Listed([(ten, 0)])
    assert torch.equal(data.draw(0, rng(1)).clip, data[0].clip)


def test_crop(mapped: Path) -> None:
    data = Listed([(mapped, 0)], frames=5, size=(9, 11), resize=(24, 32))
    # 15 rows and 21 columns are left: seven above, ten on the left
    expected = places()[:, :, 7:16, 10:21].transpose(0, 1).tolist()
    assert whole(data[0].clip) == expected
    tops, lefts = set(), set()
    for seed in range(40):
        _, top, left, _ = rng(seed).random(4)
        row, column = int(top * 16), int(left * 22)
        cut_out = places()[:, :, row : row + 9, column : column + 11].transpose(0, 1)
        assert whole(data.draw(0, rng(seed)).clip) == cut_out.tolist()
        tops.add(row)
        lefts.add(column)
    assert {0, 15} <= tops
    assert {0, 21} & lefts


def test_every_place_of_a_crop_can_come(mapped: Path) -> None:
    data = Listed([(mapped, 0)], size=(23, 30), resize=(24, 32))
    found = {
        (int(255 * clip[0, 0, 0, 0] + 0.5), int(255 * clip[1, 0, 0, 0] + 0.5))
        for clip in (data.draw(0, rng(seed)).clip for seed in range(60))
    }
    assert found == {(x, y) for x in range(3) for y in range(2)}


def test_mirror(mapped: Path) -> None:
    data = Listed([(mapped, 0)], mirror=True)
    plain = Listed([(mapped, 0)])[0].clip
    assert torch.equal(data[0].clip, plain)
    seen = set()
    for seed in range(12):
        mirrored = rng(seed).random(4)[3] < 0.5
        expected = plain.flip(3) if mirrored else plain
        assert torch.equal(data.draw(0, rng(seed)).clip, expected)
        seen.add(bool(mirrored))
    assert seen == {True, False}


def test_options_do_not_shift_what_is_drawn(mapped: Path) -> None:
    """A recipe that adds mirroring draws the same crops as without."""
    plain, mirror = (
        Listed([(mapped, 0)], size=(9, 11), resize=(24, 32), mirror=mirror)
        for mirror in (False, True)
    )
    for seed in range(5):
        one, other = rng(seed), rng(seed)
        a, b = plain.draw(0, one).clip, mirror.draw(0, other).clip
        assert torch.equal(a, b) or torch.equal(a, b.flip(3))
        assert one.random() == other.random()


@pytest.mark.parametrize("fit", ["crop", "squeeze"])
@pytest.mark.parametrize("size", [(16, 16), (12, 30), (40, 20)])
def test_fit(tmp_path: Path, fit: Any, size: tuple[int, int]) -> None:
    path = images(tmp_path / "clip", noise(6, 24, 32))
    clip = Listed([(path, 0)], size=size, fit=fit)[0].clip
    expected = prepare(read_clip(path), frames=4, size=size, fit=fit)[0]
    assert clip.shape == (3, 4, *size)
    assert (clip - expected).abs().max() <= 0.5 / 255 + 1e-5  # rounded to whole levels


def test_crop_covers_before_it_cuts(tmp_path: Path) -> None:
    """With ``fit="crop"`` the shorter side gets the length, and a random crop reaches the ends."""
    path = images(tmp_path / "clip", places(2, 8, 32))
    data = Listed([(path, 0)], frames=2, size=(8, 8), fit="crop")
    assert whole(data[0].clip) == places(2, 8, 32)[..., 12:20].transpose(0, 1).tolist()
    lefts = {round(255 * float(data.draw(0, rng(s)).clip[0, 0, 0, 0])) for s in range(200)}
    assert lefts == set(range(25))
    wide = Listed([(path, 0)], frames=2, size=(4, 4), fit="crop", resize=(8, 8))
    assert whole(wide[0].clip) == places(2, 8, 32)[..., 2:6, 14:18].transpose(0, 1).tolist()


def test_one_shape(tmp_path: Path) -> None:
    items = [
        (video(tmp_path / "a.avi", stairs(3, 24, 32)), 0),
        (video(tmp_path / "b.mp4", stairs(20, 48, 16)), 1),
        (images(tmp_path / "c", stairs(5, 9, 50)), 0),
    ]
    for fit in ("squeeze", "crop"):
        for sampling in ("even", "window"):
            data = Listed(items, size=(14, 18), resize=(16, 20), fit=fit, sampling=sampling)
            shapes = {tuple(data.draw(i, rng()).clip.shape) for i in range(3)}
            assert shapes == {(3, 4, 14, 18)}


def test_the_decoder_is_passed_on(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def read(path: Path, **options: Any) -> Any:
        told.append(options.pop("backend", None))
        return read_clip(path, **options)

    monkeypatch.setattr("models.data.recorded._reading.read_clip", read)
    Listed([(ten, 0)])[0]
    Listed([(ten, 0)], backend="skvideo", on_error="skip")[0]
    assert told == [None, "skvideo", "skvideo"]


def test_only_frames_wanted_are_held(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def read(path: Path, **options: Any) -> Any:
        clip = read_clip(path, **options)
        held.append(len(clip))
        return clip

    monkeypatch.setattr("models.data.recorded._reading.read_clip", read)
    Listed([(ten, 0)])[0]
    Listed([(ten, 0)], frames=200)[0]
    Listed([(ten, 0)], sampling="window").draw(0, rng())
    assert held == [4, 10, 4]


def test_skipping_looks_at_the_frames_that_may_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[list[int]] = []
    monkeypatch.setattr(
        "models.data.recorded._reading.read_clip",
        lambda path, *, keep: looked.append(list(keep(10))),
    )
    items = [(video(tmp_path / "clip.avi"), 0), (images(tmp_path / "clip"), 0)]
    for sampling in ("even", "window"):
        Listed(items, sampling=sampling, on_error="skip")
    # a video is decoded whole, but the sizes of frames are seen on those that are held; a folder's
    # images are not, and another number of frames takes others of them
    assert looked == [[1, 3, 6, 8], list(range(10)), [0, 9], list(range(10))]


def test_pickled(ten: Path, tmp_path: Path) -> None:
    data = Listed([(ten, 1)], sampling="window", mirror=True, cache=tmp_path / "cache")
    copy = pickle.loads(pickle.dumps(data))
    assert (copy.files, copy.classes, copy.reading) == (data.files, data.classes, data.reading)
    assert torch.equal(copy.draw(0, rng(5)).clip, data.draw(0, rng(5)).clip)


def test_workers(tmp_path: Path) -> None:
    items = [(video(tmp_path / f"{n}.avi", stairs(4, base=16 + n)), n % 2) for n in range(6)]
    data = Listed(items)
    loaded = list(DataLoader(data, batch_size=3, num_workers=2))
    assert torch.cat([batch.action for batch in loaded]).tolist() == [0, 1, 0, 1, 0, 1]
    here = torch.stack([data[index].clip for index in range(6)])
    assert torch.equal(torch.cat([batch.clip for batch in loaded]), here)


@pytest.mark.parametrize("index", [-1, 1])
def test_no_such_clip(ten: Path, index: int) -> None:
    data = Listed([(ten, 0)])
    for ask in (data.__getitem__, data.labels, lambda i: data.draw(i, rng())):
        with pytest.raises(IndexError, match=f"index must be from 0 to 0, got {index}"):
            ask(index)


def test_abstract(ten: Path) -> None:
    with pytest.raises(TypeError, match="abstract"):
        Videos([(ten, 0)], ["a"])  # type: ignore[abstract]


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm", ".gif"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = cut(video(tmp_path / f"clip{suffix}", noise(8)), 0.6)
    with pytest.raises(ClipError, match=re.escape(str(path))):
        Listed([(path, 0)])[0]


def test_a_file_that_went_is_named(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.avi")
    for cache in (None, tmp_path / "cache"):
        data = Listed([(path, 0)], cache=cache)
        path.rename(tmp_path / "away")
        with pytest.raises(ClipError, match=r"clip\.avi: there is no such file"):
            data[0]
        (tmp_path / "away").rename(path)


@pytest.mark.parametrize("sampling", ["even", "window"])
@pytest.mark.parametrize("cached", [False, True])
def test_skipping(tmp_path: Path, sampling: str, cached: bool) -> None:
    good = [video(tmp_path / "a.avi"), images(tmp_path / "z")]
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "empty.avi").touch()
    (tmp_path / "none").mkdir()
    damaged = cut(video(tmp_path / "long.avi", noise(8)), 0.5)
    differ = images(tmp_path / "differ")
    images(tmp_path / "one", stairs(1, 8, 8))
    (tmp_path / "one" / "1.png").rename(differ / "2.png")
    wrong = [tmp_path / "text.avi", tmp_path / "empty.avi", damaged, tmp_path / "none", differ]
    items = [(path, 1) for path in wrong]
    items.insert(2, (good[0], 0))
    items.append((good[1], 1))
    options: dict[str, Any] = {
        "sampling": sampling,
        "frames": 10,
        "cache": tmp_path / "cache" if cached else None,
    }
    with pytest.warns(UserWarning, match="5 of 7 clips cannot be read and are left out: ") as told:
        data = Listed(items, on_error="skip", **options)
    assert told[0].filename == __file__
    assert all(str(path) in str(told[0].message) for path in wrong)
    assert data.files == tuple(good)
    assert [data.labels(i) for i in range(2)] == [(0,), (1,)]
    assert set(data.skipped) == set(wrong)
    assert [numbers(data[i].clip) for i in range(2)] == [list(range(10))] * 2
    raising = Listed(items, **options)
    assert raising.skipped == ()
    for index in (0, 1, 3, 4, 5):
        with pytest.raises(ClipError, match=re.escape(str(raising.files[index]))):
            raising[index]


def test_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(ValueError, match=r"None of the 1 clips can be read: .*text\.avi"):
        Listed([(tmp_path / "text.avi", 0)], on_error="skip")


def test_nothing_to_skip(ten: Path) -> None:
    assert len(Listed([(ten, 0)], on_error="skip")) == 1
