"""A setting of the C library that training is faster with."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells glibc to keep what a step frees for the next step.

    By default every large tensor is a fresh mapping, whose pages the kernel must clear again in
    every step; for small nets on the CPU this can cost as much as the arithmetic. The setting
    holds for the whole process, so only a program's own entry point should call this.

    Returns:
        Whether the setting was made: not so where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
