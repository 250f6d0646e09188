from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from captum_video._core.files import folder_written_whole, written_whole


def test_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clip.mp4"
    with written_whole(target) as part:
        assert part.suffix == ".mp4"
        assert not target.exists()
        part.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert os.listdir(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
def test_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"older")

    def write() -> None:
        with written_whole(target) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert target.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    def write() -> None:
        with written_whole(tmp_path / "clip.mp4"):
            pass

    with pytest.raises(FileNotFoundError):
        write()
    assert os.listdir(tmp_path) == []


def interrupt(monkeypatch: pytest.MonkeyPatch, calls: Collection[int], acts: bool) -> None:
    """Interrupts these calls of ``os.replace``, before or after they act."""
    replace, made = os.replace, iter(range(9))

    def interrupted(*paths: Path) -> None:
        now = next(made) in calls
        if acts or not now:
            replace(*paths)
        if now:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)


def write_folder(target: Path) -> None:
    with folder_written_whole(target, overwrite=True) as part:
        (part / "file").write_text("newer")


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize(
    ("calls", "acts", "left"),
    [
        ({0}, False, "older"),
        ({0}, True, "older"),
        ({1}, False, "older"),
        ({1}, True, "newer"),
        ({0, 1}, True, "older"),
    ],
)
def test_an_interrupt_loses_no_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: set[int],
    acts: bool,
    left: str,
    older: bool,
) -> None:
    """Of a folder that was there the older files are left or the newer ones, and nothing else."""
    target = tmp_path / "frames"
    if older:
        target.mkdir()
        (target / "file").write_text("older")
    else:  # the first move is that of the new folder then
        calls, left = {0}, "newer" if acts else ""
    interrupt(monkeypatch, calls, acts)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target)
    assert [path.read_text() for path in target.glob("*")] == [left] * bool(left)
    assert os.listdir(tmp_path) == ["frames"] * bool(left)


def test_a_second_interrupt_leaves_the_older_folder_in_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "frames"
    target.mkdir()
    (target / "file").write_text("older")
    interrupt(monkeypatch, {1, 2}, acts=False)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target)
    (scratch,) = tmp_path.iterdir()
    assert (scratch / "old" / "file").read_text() == "older"


def failing(target: Path, error: OSError | None = None, *, folder: bool = False) -> OSError:
    """What writing there, or writing that, raises."""
    whole = folder_written_whole if folder else written_whole

    def write() -> None:
        with whole(target) as part:
            named = part / "file" if folder else part
            if error is not None:
                error.filename = str(named)
                raise error
            named.write_text("newer")

    with pytest.raises(OSError, match=r"\[Errno") as caught:
        write()
    return caught.value


@pytest.mark.parametrize("folder", [False, True])
def test_errors_name_the_place_that_was_asked_for(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "file").write_text("older")
    error = failing(tmp_path / "file" / "page.html", folder=folder)
    what = "folder" if folder else "file"
    assert isinstance(error, FileExistsError | NotADirectoryError)
    assert str(error.strerror).startswith(f"no {what} can be written there (")
    assert error.filename == str(tmp_path / "file" / "page.html")

    full = failing(tmp_path / "page.html", OSError(errno.ENOSPC, "No space left"), folder=folder)
    assert (type(full), full.errno, full.strerror) == (OSError, errno.ENOSPC, "No space left")
    assert full.filename == str(
        tmp_path / "page.html" / "file" if folder else tmp_path / "page.html"
    )
    assert full.filename2 is None
    refused = failing(tmp_path / "page.html", PermissionError(errno.EACCES, "no"), folder=folder)
    assert type(refused) is PermissionError
    assert os.listdir(tmp_path) == ["file"]


def test_errors_of_other_files_stay_as_they_are(tmp_path: Path) -> None:
    def read() -> None:
        with written_whole(tmp_path / "page.html"):
            (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError) as caught:
        read()
    assert caught.value.filename == str(tmp_path / "missing")
    assert caught.value.__cause__ is None


def test_a_folder_where_the_file_is_to_go(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    error = failing(tmp_path / "page.html")
    assert isinstance(error, IsADirectoryError)
    assert str(error) == (
        f"[Errno {errno.EISDIR}] a folder is where the file is to go: {str(tmp_path / 'page.html')!r}"
    )


def test_what_cannot_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of two names, both of files."""

    def refused(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "not permitted", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", refused)
    error = failing(tmp_path / "page.html")
    assert str(error) == f"[Errno {errno.EPERM}] not permitted: {str(tmp_path / 'page.html')!r}"
