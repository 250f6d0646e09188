import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_video._core.files import folder_written_whole
from captum_video.io import (
    ClipError,
    _folder,
    read_clip,
    write_frames,
    write_strip,
)
from tests.io.videos import smooth


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    frames = smooth(12, 9, 7)
    folder = write_frames(tmp_path / "frames", frames)
    assert [item.name for item in sorted(folder.iterdir())][:2] == ["0000.png", "0001.png"]
    clip = read_clip(folder, fps=10)
    assert torch.equal(clip.frames, frames)
    assert clip.fps == 10
    assert read_clip(folder).fps == 25
    part = read_clip(folder, fps=10, start=0.2, end=0.8, keep=lambda total: range(0, total, 2))
    assert torch.equal(part.frames, frames[[2, 4, 6]])
    assert part.times == pytest.approx((0.2, 0.4, 0.6))
    with pytest.raises(ClipError, match=r"no frame lies in start=1\.2, .* ends at 1\.200 s"):
        read_clip(folder, fps=10, start=1.2)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ClipError, match=r"cannot be read \(Permission denied\)\. Check its perm"):
        read_clip(tmp_path)


def test_natural_order(tmp_path: Path) -> None:
    frames = smooth(3, 4, 4)
    for name, frame in zip(("img2.png", "img10.png", "img1.PNG"), frames, strict=True):
        (tmp_path / name).write_bytes(_folder.encode_png(frame.permute(1, 2, 0).numpy().copy()))
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    assert torch.equal(read_clip(tmp_path).frames, frames[[2, 0, 1]])


def test_folders_that_are_no_clip(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"the folder holds no image.*\.png"):
        read_clip(tmp_path)
    write_frames(tmp_path / "mixed", smooth(2, 4, 4))
    (tmp_path / "mixed" / "0002.png").write_bytes(
        _folder.encode_png(np.zeros((5, 4, 3), dtype=np.uint8))
    )
    with pytest.raises(ClipError, match=r"0002\.png: it is 4x5 pixels where 0000\.png is 4x4"):
        read_clip(tmp_path / "mixed")
    (tmp_path / "mixed" / "0002.png").write_bytes(b"no picture")
    with pytest.raises(ClipError, match=r"0002\.png: the image cannot be decoded"):
        read_clip(tmp_path / "mixed")
    with pytest.raises(ClipError, match="3 images take more than"):
        read_clip(tmp_path / "mixed", max_bytes=100)


def test_strip_by_hand(tmp_path: Path) -> None:
    frames = torch.stack([torch.full((1, 2, 2), v, dtype=torch.uint8) for v in (10, 20, 30)])
    sheet = read_clip(write_strip(tmp_path / "strip.png", frames, columns=2, gap=1)).frames[0, 0]
    assert sheet.tolist() == [
        [10, 10, 255, 20, 20],
        [10, 10, 255, 20, 20],
        [255, 255, 255, 255, 255],
        [30, 30, 255, 255, 255],
        [30, 30, 255, 255, 255],
    ]
    row = read_clip(write_strip(tmp_path / "row.png", frames)).frames
    assert row.shape == (1, 3, 2, 3 * 2 + 2 * 2)


def test_writers_refuse(tmp_path: Path) -> None:
    frames = smooth(2, 4, 4)
    with pytest.raises(ValueError, match=r"written as \.png, got 'strip\.jpg'"):
        write_strip(tmp_path / "strip.jpg", frames)
    with pytest.raises(ValueError, match="columns must be at least 1"):
        write_strip(tmp_path / "strip.png", frames, columns=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="full exists already and holds files"):
        write_frames(tmp_path / "full", frames)
    with pytest.raises(FileExistsError, match=r"mine\.txt is a file"):
        write_frames(tmp_path / "full" / "mine.txt", frames)
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep me"
    assert os.listdir(tmp_path) == ["full"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write_bytes(path: Path, data: bytes) -> int:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        return len(data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        write_frames(tmp_path / "frames", smooth(5, 4, 4))
    assert len(written) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_older_folder_survives_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "old").write_text("old")

    def fail() -> None:
        with folder_written_whole(folder, overwrite=True) as part:
            (part / "new").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [item.name for item in folder.iterdir()] == ["old"]
    assert os.listdir(tmp_path) == ["result"]
    with folder_written_whole(folder, overwrite=True) as part:
        (part / "new").write_text("whole")
    assert [item.name for item in folder.iterdir()] == ["new"]
    assert os.listdir(tmp_path) == ["result"]


def test_an_older_folder_comes_back_when_the_exchange_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "old").write_text("old")
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError(errno.EIO, "refused")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="refused"), folder_written_whole(folder, overwrite=True):
        pass
    assert [item.name for item in folder.iterdir()] == ["old"]
