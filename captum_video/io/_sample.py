"""Which frames of a clip to keep."""

from __future__ import annotations


def frame_indices(
    total: int,
    *,
    count: int | None = None,
    stride: int | None = None,
    start: int = 0,
    end: int | None = None,
) -> list[int]:
    """Picks frames by number, by stride, or both, within a window.

    * Neither: every frame from ``start`` to ``end``.
    * ``stride``: every ``stride``-th frame.
    * ``count``: that many frames. A longer clip is cut into ``count`` equal parts and gives the
      middle frame of each, which spaces evenly both the frames kept and the frames dropped. A
      shorter one keeps all its frames, and its first and last frame are repeated until there are
      enough, the last one more often by one if the number is odd (Video-MNIST and Jester in the
      3TConv paper, appendix C.1).
    * Both: the first ``count`` frames at that stride, padded likewise.

    For a window in seconds see :meth:`captum_video.io.Clip.between`.

    Args:
        total: how many frames the clip has.
        count: how many to pick.
        stride: distance between picked frames.
        start: first frame of the window.
        end: frame after the window's last one; ``None`` for ``total``.

    Returns:
        Frame numbers in ascending order; repeated where padded.

    Raises:
        ValueError: if the window holds no frame, or a number is not positive.

    Example:
        >>> frame_indices(10, count=4)
        [1, 3, 6, 8]
        >>> frame_indices(3, count=6)
        [0, 0, 1, 2, 2, 2]
        >>> frame_indices(10, stride=3)
        [0, 3, 6, 9]
    """
    end = total if end is None else end
    for name, value in (("total", total), ("count", count), ("stride", stride)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not 0 <= start < end <= total:
        raise ValueError(
            f"the window start={start}, end={end} must lie within the clip's {total} frames "
            "and hold at least one"
        )
    picked = list(range(start, end, stride or 1))
    if count is None:
        return picked
    if len(picked) < count:
        missing = count - len(picked)
        before = missing // 2
        return [picked[0]] * before + picked + [picked[-1]] * (missing - before)
    if stride is not None:
        return picked[:count]
    length = len(picked)
    return [picked[(2 * i + 1) * length // (2 * count)] for i in range(count)]
