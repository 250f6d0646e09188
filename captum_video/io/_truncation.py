"""Finds files that end too early where FFmpeg reads on without a word.

FFmpeg reports what it cannot decode, but a GIF, WebM or Matroska file that was cut between two
frames looks to it like a shorter one. Their containers tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def early_end(path: Path, container: Any, stream: Any, reached: float) -> str | None:
    """What shows that a file was cut off or damaged, apart from errors while decoding.

    Args:
        path: the file.
        container: the file as FFmpeg sees it.
        stream: its video stream.
        reached: how far decoding got, in seconds.

    Returns:
        A clause that says so, or ``None`` when nothing speaks for it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] == _EBML:
        expected = _segment_end(head)
        if expected is not None and expected > size:
            return f"it has {size} bytes where its header announces {expected}"
        length = (container.duration or 0) / 1e6
        if len(container.streams) == 1 and reached < 0.9 * length:
            return f"its frames end after {reached:.2f} s where its header announces {length:.2f} s"
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        return _gif_damage(path.read_bytes())
    entries = getattr(stream, "index_entries", None)
    expected = max((entry.pos + entry.size for entry in entries or ()), default=0)
    if expected > size:
        return f"it has {size} bytes where its index points to {expected}"
    return None


def _segment_end(head: bytes) -> int | None:
    """Where a Matroska file's one segment ends, or ``None`` if it does not say."""
    length, at = _ebml_number(head, 4)
    if length is None:
        return None
    at += length
    if head[at : at + 4] != _SEGMENT:
        return None
    length, at = _ebml_number(head, at + 4)
    return None if length is None else at + length


def _ebml_number(data: bytes, at: int) -> tuple[int | None, int]:
    """The variable-length number at a position (``None`` for 'unknown') and what follows it."""
    if at >= len(data) or data[at] == 0:
        return None, at
    width = 9 - data[at].bit_length()
    bits = 7 * width
    value = int.from_bytes(data[at : at + width], "big") & ((1 << bits) - 1)
    return (None if value == (1 << bits) - 1 else value), at + width


def _gif_damage(data: bytes) -> str | None:
    """Walks a GIF's blocks to its trailer; says what is wrong with them, if anything."""
    try:
        at = 13 + _table_size(data[10])
        while at < len(data):
            kind = data[at]
            if kind == 0x3B:
                return None
            if kind == 0x21:
                at += 2
            elif kind == 0x2C:
                at += 11 + _table_size(data[at + 9])
            else:
                return f"its block at byte {at} is of no known kind"
            while data[at]:
                at += data[at] + 1
            at += 1
    except IndexError:
        return "it ends in the middle of a frame"
    return None  # complete frames without a trailer: sloppy, not damaged


def _table_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
