"""Where clips lie: splits, folders, and what counts as a clip, for all readers of recorded data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from captum_video._core.errors import close_matches
from captum_video.io._folder import IMAGE_SUFFIXES

SPLITS = ("train", "validation", "test")
#: endings of files that are taken for videos
VIDEO_SUFFIXES = tuple(
    ".3gp .avi .flv .gif .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
_SHOWN = 5  # names in an error


def check_split(split: str) -> None:
    """Refuses a split that no data set has.

    Args:
        split: what was asked for.

    Raises:
        ValueError: it is not one of :data:`SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(
            f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}. "
            f"{close_matches(str(split), SPLITS)}"
        )


def folder(path: str | os.PathLike[str], what: str, name: str = "root") -> Path:
    """A folder that has to be there.

    Args:
        path: the folder.
        what: what it holds, for the error.
        name: the argument's name, for the error.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: it is not there.
        NotADirectoryError: it is a file.
    """
    found = Path(path)
    if not found.exists():
        raise FileNotFoundError(
            f"{name} must be the folder of {what}, got {found}, which is not there."
        )
    if not found.is_dir():
        raise NotADirectoryError(f"{name} must be a folder, and {found} is a file.")
    return found


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, without hidden ones.

    Args:
        path: the folder.

    Returns:
        Their paths in the order of names.
    """
    with os.scandir(path) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    return [path / name for name in sorted(names)]


def clips(path: Path) -> list[Path]:
    """The clips in a folder: videos, by their suffix, and folders that hold images.

    Args:
        path: the folder; what is hidden, and what lies deeper, is passed over.

    Returns:
        Their paths in the order of names.
    """
    with os.scandir(path) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and _is_clip(e)]
    return [path / name for name in sorted(names)]


def some(items: Iterable[str], separator: str = ", ") -> str:
    """The first few of them, and how many more there are.

    Args:
        items: names or sentences.
        separator: what stands between them.

    Returns:
        ``"a, b, c, d, e and 3 more"``.
    """
    listed = list(items)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return separator.join(listed[:_SHOWN]) + more


def _is_clip(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir():
        return entry.name.lower().endswith(VIDEO_SUFFIXES)
    with os.scandir(entry.path) as inner:
        return any(
            e.name.lower().endswith(IMAGE_SUFFIXES) and not e.name.startswith(".") for e in inner
        )


def one_of(name: str, value: object, known: Sequence[object]) -> None:
    """Refuses an argument that is not among the known values.

    Args:
        name: the argument.
        value: what was given.
        known: what there is.

    Raises:
        ValueError: it is none of them.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}.")
