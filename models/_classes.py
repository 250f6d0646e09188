"""Class names of the nets that are built for any data."""

from __future__ import annotations

from collections.abc import Sequence


def class_names(classes: int | Sequence[str], first: int = 0) -> tuple[str, ...]:
    """A name for each output.

    Args:
        classes: how many, or their names.
        first: the number of the first class, if they are numbered.

    Returns:
        The names; of classes without, ``"class 0"``, ``"class 1"``, ...

    Raises:
        ValueError: no class, a single string, or a name that comes twice.
    """
    if isinstance(classes, int):
        if classes < 1:
            raise ValueError(f"classes must be positive, got {classes}.")
        return tuple(f"class {number}" for number in range(first, first + classes))
    if isinstance(classes, str):
        raise ValueError(f"classes must be a number or a sequence of names, got {classes!r}.")
    names = tuple(classes)
    if not names:
        raise ValueError("classes must be at least one name, got none.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"classes must differ, but {twice[0]!r} comes more than once.")
    return names
