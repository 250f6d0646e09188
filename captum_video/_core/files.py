"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that replaces it only if the block succeeds.

    The temporary name keeps the suffix of ``path``, since writers choose their format by it. Folders
    above ``path`` are created. If the block raises (a full disk, an interrupt), the temporary file
    is removed and an older file at ``path`` stays as it was.

    Args:
        path: where the file is to appear.

    Yields:
        The path to write to.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    part = scratch / f"part{target.suffix}"
    try:
        yield part
        os.replace(part, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
