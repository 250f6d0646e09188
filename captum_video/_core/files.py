"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that replaces it only if the block succeeds.

    The temporary name keeps the suffix of ``path``, since writers choose their format by it.
    Folders above ``path`` are created. If the block raises (a full disk, an interrupt), the
    temporary file is removed and an older file at ``path`` stays as it was.

    Args:
        path: where the file is to appear.

    Yields:
        The path to write to.

    Raises:
        OSError: if no file can be written there, naming ``path`` and the cause.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is where the file is to go", str(target))
    scratch = _scratch(target, "file")
    part = scratch / f"part{target.suffix}"
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        _name_target(target, part, error)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Writes a table as comma-separated values, whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        rows: at least one; all with the columns of the first.
    """
    with written_whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def folder_written_whole(
    path: str | os.PathLike[str], *, overwrite: bool = False
) -> Iterator[Path]:
    """Yields a temporary folder beside ``path`` that takes its place if the block succeeds.

    If the block raises (a full disk, an interrupt), the temporary folder is removed and what was at
    ``path`` stays as it was.

    Args:
        path: where the folder is to appear; folders above it are created.
        overwrite: whether a folder that holds files may be replaced, with all that it holds.

    Yields:
        The folder to write into.

    Raises:
        FileExistsError: if ``path`` is a file, or a folder that holds something and may not be
            replaced.
        OSError: if no folder can be written there, naming ``path`` and the cause.
    """
    target = Path(path)
    _refuse_existing(target, overwrite)
    scratch = _scratch(target, "folder")
    part, old = scratch / "new", scratch / "old"
    try:
        part.mkdir()
        yield part
        _refuse_existing(target, overwrite)
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
    except OSError as error:
        _name_target(target, part, error)
        raise
    finally:
        try:
            if old.exists() and not target.exists():
                os.replace(old, target)
        finally:
            # should that fail too, the older folder stays where it is, in the temporary one
            if target.exists() or not old.exists():
                shutil.rmtree(scratch, ignore_errors=True)


def _scratch(target: Path, what: str) -> Path:
    """A temporary folder beside the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        reason = f"no {what} can be written there ({error.strerror})"
        raise OSError(error.errno, reason, str(target)) from error


def _name_target(target: Path, part: Path, error: OSError) -> None:
    """Raises the same error with the target in it if it names a file that nobody chose."""
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    if named is not None and named.is_relative_to(part):
        place = str(target / named.relative_to(part))
        raise OSError(error.errno, error.strerror, place) from error


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file where a folder is to be written")
    if not overwrite and target.is_dir() and any(target.iterdir()):
        raise FileExistsError(f"{target} exists already and holds files")
