"""What the report page is given, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from captum_video._core.errors import close_matches
from captum_video.visualization._report_parts import Table


def check_words(*, method: object, parameters: object, caption: object) -> None:
    """Refuses words of another form.

    Args:
        method: a text.
        parameters: a dict or ``None``.
        caption: a text or ``None``.

    Raises:
        TypeError: otherwise.
    """
    if not isinstance(method, str):
        raise TypeError(f"method must be a text, got {type(method).__name__}: {method!r}")
    if caption is not None and not isinstance(caption, str):
        raise TypeError(
            f"caption must be a text, a paragraph per line, got {type(caption).__name__}: {caption!r}"
        )
    if parameters is not None and not isinstance(parameters, Mapping):
        raise TypeError(
            "parameters must be a dict of names and values, got "
            f"{type(parameters).__name__}: {parameters!r}"
        )


def named(what: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    """Things by name, where names may be numbers.

    Args:
        what: what messages call them.
        given: the things.

    Returns:
        The same with texts as names.

    Raises:
        ValueError: if two names read the same.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if str(name) in found:
            raise ValueError(f"two names of {what} read {str(name)!r}: call one of them otherwise")
        found[str(name)] = value
    return found


def texts(name: str, given: Sequence[object] | None, total: int) -> list[str]:
    """One text per frame.

    Args:
        name: the argument.
        given: the texts; ``None`` for 0, 1, 2, ...
        total: how many frames there are.

    Returns:
        The texts.

    Raises:
        TypeError: for a single string.
        ValueError: for another number of them.
    """
    return [str(text) for text in each(name, "frame", given, total, range(total))]


def each(
    name: str, what: str, given: Sequence[Any] | None, total: int, default: Iterable[Any]
) -> list[Any]:
    """One thing per frame or row.

    Args:
        name: the argument.
        what: what there is one of them for.
        given: the things.
        total: how many there must be.
        default: those to take where none are given.

    Returns:
        The things.

    Raises:
        TypeError: for a single string.
        ValueError: for another number of them.
    """
    if given is None:
        return list(default)
    if isinstance(given, str):
        raise TypeError(f"{name} must be one per {what} ({total}), got one string: {given!r}")
    if len(given) != total:
        raise ValueError(f"{name} must be one per {what} ({total}), got {len(given)}")
    return list(given)


def numbers(name: str, values: Tensor | np.ndarray | Sequence[float], total: int) -> list[float]:
    """One number per frame.

    Args:
        name: what the curve is called.
        values: the numbers.
        total: how many frames there are.

    Returns:
        The numbers.

    Raises:
        ValueError: for another number of them, or some that are not finite.
    """
    given = values.detach().cpu().double() if isinstance(values, Tensor) else values
    found = np.asarray(given, dtype=np.float64)
    if found.shape != (total,) or not np.isfinite(found).all():
        raise ValueError(
            f"curve {name!r} must be one finite number per frame ({total}), got shape {found.shape}"
        )
    return found.tolist()


def check_known(tables: Sequence[Table], known: Sequence[str]) -> None:
    """Refuses rows that stand for a target which is not there.

    Args:
        tables: the tables.
        known: the names of the targets.

    Raises:
        ValueError: if there are such.
    """
    for table in tables:
        for name in table.targets:
            if name is not None and name not in known:
                raise ValueError(
                    f"targets of table {table.title!r} has {name!r}, which was not added. "
                    f"{close_matches(name, known)}"
                )


def zero_maps(target: str, maps: Mapping[str, np.ndarray]) -> list[str]:
    """Tells of maps that hold nothing.

    Args:
        target: what they explain.
        maps: by name.

    Returns:
        Warnings, one for each such map, or one for all of them.
    """
    dark = [name for name, values in maps.items() if not values.any()]
    if dark and len(dark) == len(maps):
        return [f"all maps of {target!r} are zero: the page shows the plain frames"]
    shown = "is zero everywhere: the plain frames are shown in its place"
    return [f"map {name!r} of {target!r} {shown}" for name in dark]
