"""The files of one explanation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save

from captum_video._core.files import folder_written_whole, written_whole
from captum_video.cli._errors import ModelError
from captum_video.cli._kind import Kind, Result
from captum_video.cli._kinds import KINDS
from captum_video.cli._page import make_page

_SUMMARY = "summary.json"


def folder_names(clips: Iterable[Path]) -> list[str]:
    """A folder name for each clip, no two alike, not even to a disk that ignores case.

    Args:
        clips: their paths.

    Returns:
        File names without suffix; ``walk-2``, ``walk-3`` for further clips named ``walk``.
    """
    taken: set[str] = set()
    names = []
    for clip in clips:
        whole = clip.resolve()
        base = name = (whole.name if whole.is_dir() else whole.stem) or "clip"
        number = 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that must not be replaced, before any work is done.

    Args:
        folder: where the explanation is to go.
        overwrite: whether an older explanation may be replaced.

    Raises:
        FileExistsError: if there is an explanation and it may not be replaced, or something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another --output")
    known = {_SUMMARY, *(name for kind in KINDS.values() for name in kind.files)}
    strangers = sorted(item.name for item in folder.iterdir() if item.name not in known)
    if strangers:
        raise FileExistsError(
            f"{folder} holds files that are no explanation ({', '.join(strangers[:3])}): choose "
            "another --output"
        )
    if not overwrite:
        raise FileExistsError(f"{folder} exists: give --overwrite, or another --output")


def write_explanation(
    folder: Path,
    kind: Kind[Any],
    result: Result[Any],
    *,
    fps: float | None,
    overwrite: bool,
    page: Path | None = None,
) -> list[Path]:
    """Writes the pictures, the arrays and the summary, all or none of them, and the page.

    Args:
        folder: where to.
        kind: what kind of a clip it is.
        result: what came of it.
        fps: rate of the video; ``None`` for the kind's own.
        overwrite: whether an older explanation may be replaced.
        page: where the page goes, if anywhere.

    Returns:
        The files in the folder.

    Raises:
        FileExistsError: if the folder holds something that may not be replaced.
        ModelError: if the page would be too large; the folder is written all the same.
        OSError: if the disk refuses; nothing is left then.
    """
    check_free(folder, overwrite)
    rate = kind.rate(result) if fps is None else fps
    arrays = kind.arrays(result)
    problem = ""
    told = {name: str(value) for name, value in arrays.metadata.items() if value is not None}
    with ExitStack() as pages, folder_written_whole(folder, overwrite=overwrite) as part:
        kind.draw(part, result, rate)
        # bytes of our own: safetensors would make a file that its owner alone can read
        (part / arrays.name).write_bytes(save(arrays.tensors, metadata=told))
        text = json.dumps(kind.summary(result, rate), indent=2, ensure_ascii=False)
        (part / _SUMMARY).write_text(text + "\n", encoding="utf-8")
        if page is not None:
            try:
                played = make_page(kind, result, rate)
            except ModelError as error:  # what was computed is kept
                problem = f"{error}; all but the page is in {folder}"
            else:  # takes its place after the folder has taken its own
                pages.enter_context(written_whole(page)).write_text(played, encoding="utf-8")
    if problem:
        raise ModelError(problem)
    return [folder / name for name in (*kind.files, _SUMMARY) if (folder / name).exists()]
