"""Means with their intervals, and tables of them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captum_video._core.errors import missing_extra
from captum_video._core.files import written_whole

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its confidence interval, not a number for a single value."""

    mean: float
    half: float

    def __str__(self) -> str:
        if math.isnan(self.half):
            return f"{100 * self.mean:.1f}"
        return f"{100 * self.mean:.1f} ± {100 * self.half:.1f}"

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies above or below zero, 0 if it holds it."""
        if not abs(self.mean) > self.half:
            return 0
        return 1 if self.mean > 0 else -1


def interval(values: Sequence[float]) -> Interval:
    r"""The mean with its 95 % interval by Student's t.

    .. math:: \bar x \pm t_{0.975,\, n-1} \sqrt{\frac{1}{n (n-1)} \sum_i (x_i - \bar x)^2}

    Args:
        values: independent measurements, at least one.

    Returns:
        The mean and half the width.

    Raises:
        ImportError: SciPy is not installed.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean, math.nan)
    try:
        from scipy.stats import t
    except ImportError as error:
        raise missing_extra("scipy", "models", "A confidence interval") from error
    error_of_mean = statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error_of_mean)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table for a terminal.

    Args:
        lines: the header and the rows, all of one length.

    Returns:
        Aligned columns.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write_csv(lines: Sequence[Sequence[str]], path: Path) -> None:
    """Writes a table as CSV, whole or not at all.

    Args:
        lines: the header and the rows.
        path: where to.
    """
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
