import doctest
import itertools
from typing import Any

import pytest

from captum_video.io import _sample, frame_indices


@pytest.mark.parametrize(
    ("total", "options", "expected"),
    [
        # every frame, a window, a stride
        (4, {}, [0, 1, 2, 3]),
        (6, {"start": 2, "end": 5}, [2, 3, 4]),
        (7, {"stride": 3}, [0, 3, 6]),
        (7, {"stride": 2, "start": 1}, [1, 3, 5]),
        # by count: the middle of equal parts
        (4, {"count": 4}, [0, 1, 2, 3]),
        (8, {"count": 4}, [1, 3, 5, 7]),
        (10, {"count": 4}, [1, 3, 6, 8]),
        (9, {"count": 3}, [1, 4, 7]),
        (9, {"count": 1}, [4]),
        (12, {"count": 2, "start": 4, "end": 8}, [5, 7]),
        # longer by a little: the frames dropped (1, 5, 9) are equally far apart
        (12, {"count": 9}, [0, 2, 3, 4, 6, 7, 8, 10, 11]),
        # shorter: the first and the last frame are repeated, the last one more often by one
        (3, {"count": 5}, [0, 0, 1, 2, 2]),
        (3, {"count": 6}, [0, 0, 1, 2, 2, 2]),
        (1, {"count": 4}, [0, 0, 0, 0]),
        (2, {"count": 3}, [0, 1, 1]),
        # count and stride: from the start on, padded alike
        (20, {"count": 3, "stride": 4}, [0, 4, 8]),
        (20, {"count": 3, "stride": 4, "start": 5}, [5, 9, 13]),
        (6, {"count": 5, "stride": 2}, [0, 0, 2, 4, 4]),
    ],
)
def test_by_hand(total: int, options: dict[str, Any], expected: list[int]) -> None:
    assert frame_indices(total, **options) == expected


def test_examples_in_the_docstring() -> None:
    results = doctest.testmod(_sample)
    assert results.attempted == 3
    assert results.failed == 0


@pytest.mark.parametrize("total", [31, 40, 59, 250])
def test_kept_and_dropped_are_both_evenly_spaced(total: int) -> None:
    kept = frame_indices(total, count=30)
    dropped = sorted(set(range(total)) - set(kept))
    # where more than half is dropped, "evenly" is a matter of the frames kept
    for some in (kept, dropped) if total < 60 else (kept,):
        steps = [b - a for a, b in itertools.pairwise(some)]
        assert max(steps, default=0) - min(steps, default=0) <= 1
    assert len(kept) == len(set(kept)) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total": 0}, "total must be at least 1, got 0"),
        ({"total": 5, "count": 0}, "count must be at least 1, got 0"),
        ({"total": 5, "stride": -1}, "stride must be at least 1, got -1"),
        ({"total": 5, "start": 5}, "start=5, end=5 must lie within the clip's 5 frames"),
        ({"total": 5, "end": 6}, "start=0, end=6"),
        ({"total": 5, "start": 3, "end": 2}, "start=3, end=2"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_indices(**options)
