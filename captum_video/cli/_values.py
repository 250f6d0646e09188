"""What options take, read from text; each raises ``ArgumentTypeError`` for anything else."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    return _checked(text, int, lambda value: value >= 1, "a whole number of at least 1")


def numbers(text: str) -> tuple[float, ...]:
    """One number, or three."""

    def parse(value: str) -> tuple[float, ...]:
        return tuple(float(part) for part in value.split(","))

    return _checked(text, parse, lambda value: len(value) in (1, 3), "one number, or three: R,G,B")


def size(text: str) -> tuple[int, int]:
    """A height and a width."""

    def parse(value: str) -> tuple[int, int]:
        parts = [int(part) for part in value.lower().replace("x", ",").split(",")]
        height, width = parts * 2 if len(parts) == 1 else parts
        return height, width

    return _checked(text, parse, lambda value: min(value) >= 1, "H,W such as 112,112, or one side")


def _checked(text: str, parse: Callable[[str], T], holds: Callable[[T], bool], wanted: str) -> T:
    try:
        value = parse(text)
    except ValueError:
        pass
    else:
        if holds(value):
            return value
    raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
