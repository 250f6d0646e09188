"""The frames behind a layer's time slices, in words and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from captum_video.layers import Coverage

#: ends the phrase where a slice also depends on frames outside what it covers
BEYOND = " and beyond"
_FEW = 4  # slices that are told one by one


def phrase(coverage: Coverage, numbers: Sequence[int] | None = None) -> str:
    """Which frames each slice covers, at a glance.

    Args:
        coverage: what is known of the slices.
        numbers: what to call the frames; ``None`` for 0, 1, 2, ...

    Returns:
        Such as ``5 frames each, every 2 (0-2, 0-4 ... 12-15)``; ``one frame each``;
        ``all 16 frames``.
    """
    named = list(range(coverage.length)) if numbers is None else numbers
    covered = [coverage.frames(k) for k in range(coverage.slices)]
    width, step = _rule(coverage)
    if all(len(frames) == coverage.length for frames in covered):
        text = f"all {coverage.length} frames"
        if coverage.slices > 1:
            text += " each" if step is None else f" each, centred every {step:.3g}"
    elif covered == [range(k, k + 1) for k in range(coverage.length)]:
        text = "one frame each"
    else:
        rule = "frames " if width is None else f"{width:.3g} frames each, every {step:.3g} "
        text = f"{rule}({_list([_span(frames, named) for frames in covered])})"
    if coverage.mixed and not text.startswith("all"):
        text += BEYOND
    return text if coverage.traced else f"{text}, spread evenly as it is not known"


def _rule(coverage: Coverage) -> tuple[float, float] | tuple[None, None]:
    """Width and distance of the slices, where all are alike."""
    widths = np.subtract(coverage.last, coverage.first) + 1
    steps = np.abs(np.diff(coverage.centres))
    if len(steps) == 0 or np.ptp(widths) > 1e-6 or np.ptp(steps) > 1e-6:
        return None, None
    return float(widths[0]), float(steps[0])


def _list(spans: list[str]) -> str:
    if len(spans) <= _FEW:
        return ", ".join(spans)
    return f"{spans[0]}, {spans[1]} ... {spans[-1]}"


def _span(frames: range, numbers: Sequence[int]) -> str:
    if not frames:
        return "none"
    first, last = numbers[frames[0]], numbers[frames[-1]]
    return str(first) if first == last else f"{first}-{last}"


def as_json(coverage: Coverage, numbers: Sequence[int] | None = None) -> dict[str, Any]:
    """The slices for programs.

    Args:
        coverage: what is known of the slices.
        numbers: what to call the frames; ``None`` for 0, 1, 2, ...

    Returns:
        For each slice the first and the last frame that it covers and its centre (a slice that lies
        in the padding altogether has neither), and how this is known.
    """
    named = list(range(coverage.length)) if numbers is None else list(numbers)
    slices = []
    for k, centre in enumerate(coverage.centres):
        frames = coverage.frames(k)
        slices.append(
            {
                "first": named[frames[0]] if frames else None,
                "last": named[frames[-1]] if frames else None,
                "centre": round(float(np.interp(centre, range(coverage.length), named)), 6),
            }
        )
    return {"slices": slices, "traced": coverage.traced, "mixed": coverage.mixed}
