"""What a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Target:
    """One explained output.

    Attributes:
        name: what to call it.
        note: a sentence about it.
        scale: the magnitude at which its maps' colours saturate.
        maps: (T, H, W) by name.
        curves: further numbers per frame, by name.
    """

    name: str
    note: str
    scale: float
    maps: dict[str, np.ndarray]
    curves: dict[str, list[float]]

    def at(self, shown: Sequence[int]) -> Target:
        """The same at some frames.

        Args:
            shown: which frames.

        Returns:
            The target with their maps and curves.
        """
        return replace(
            self,
            maps={name: values[list(shown)] for name, values in self.maps.items()},
            curves={name: [line[at] for at in shown] for name, line in self.curves.items()},
        )


@dataclass(frozen=True)
class Table:
    """Numbers and words in rows.

    Attributes:
        title: its caption.
        rows: all with the same columns.
        targets: the explained output that each row stands for, if any.
    """

    title: str
    rows: list[dict[str, object]]
    targets: list[str | None]


@dataclass(frozen=True)
class Video:
    """Frames that a page plays.

    Attributes:
        name: what to call them.
        size: width and height.
        frames: one data URI for each.
    """

    name: str
    size: tuple[int, int]
    frames: list[str]
