"""Error texts that name the argument, its value and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_matches(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests names near ``name``, or lists the known ones when none is near.

    Args:
        name: what was asked for.
        known: what there is.

    Returns:
        ``"Did you mean 'a' or 'b'?"`` or ``"Known: a, b, c."``.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"Known: {shown}." if names else "There is none."


def missing_extra(package: str, extra: str, purpose: str) -> ImportError:
    """The error for an optional package that is not installed.

    Args:
        package: the package's name on PyPI.
        extra: the extra of captum-video that brings it.
        purpose: what it is needed for.

    Returns:
        The error, with the ``pip install`` line; the caller raises it.
    """
    return ImportError(
        f"{purpose} needs {package}, which is not installed: pip install 'captum-video[{extra}]'"
    )
