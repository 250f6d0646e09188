import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_video.io import Clip, ClipError, frames_first, frames_last


def clip(frames: int = 10, start: float = 0.0) -> Clip:
    pixels = torch.arange(frames, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Clip(pixels, 5.0, Path("clip.mp4"), tuple(start + i / 5 for i in range(frames)))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(10)),
        (0.4, None, range(2, 10)),  # 0.4 s is frame 2 itself
        (0.41, None, range(3, 10)),
        (None, 0.6, range(3)),  # 0.6 s is frame 3, which is left out
        (0.2, 1.0, range(1, 5)),
        (0.0, 100.0, range(10)),
    ],
)
def test_between_takes_the_frames_shown_in_the_window(
    start: float | None, end: float | None, expected: range
) -> None:
    part = clip().between(start, end)
    assert part.frames[:, 0, 0, 0].tolist() == list(expected)
    assert part.times == pytest.approx([i / 5 for i in expected])


def test_between_counts_from_the_file_s_beginning() -> None:
    part = clip(start=2.0).between(2.4, 2.8)
    assert part.frames[:, 0, 0, 0].tolist() == [2, 3]
    assert part.times == pytest.approx((2.4, 2.6))


def test_between_refuses_an_empty_window() -> None:
    with pytest.raises(ClipError, match=r"clip\.mp4: no frame lies in start=2, end=3.*2\.000 s"):
        clip().between(2, 3)
    with pytest.raises(ValueError, match=r"end must be later than start, got start=2\.0 and end=1"):
        clip().between(2.0, 1.0)
    with pytest.raises(ValueError, match="start must be a time in seconds >= 0, got -1"):
        clip().between(-1)


def test_times_follow_from_the_rate() -> None:
    pixels = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    assert Clip(pixels, 4.0, Path("x")).times == (0, 0.25, 0.5)
    with pytest.raises(ValueError, match=r"times must be one per frame \(3\), got 2"):
        Clip(pixels, 4.0, Path("x"), (0.0, 0.25))


def test_clip_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(T, C, H, W\).*float32"):
        Clip(torch.zeros(2, 3, 4, 4), 25, Path("x"))
    with pytest.raises(ValueError, match="fps must be a positive number, got 0"):
        Clip(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 0, Path("x"))


def test_both_layouts_become_one() -> None:
    first = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    last = first.permute(0, 2, 3, 1)
    assert torch.equal(frames_first(last), first)
    assert torch.equal(frames_first(last.numpy()), first)
    assert np.array_equal(frames_last(first), last.numpy())
    assert frames_last(first).flags["C_CONTIGUOUS"]


def test_one_channel_is_repeated() -> None:
    grey = torch.randint(0, 256, (2, 1, 4, 5), dtype=torch.uint8)
    assert np.array_equal(frames_last(grey)[..., 2], grey[:, 0].numpy())


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(2, 3, 4, 5), r"must be uint8 \(0\.\.255\), got torch\.float32"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), r"got \(3, 4, 5\)"),
        (torch.zeros(2, 2, 4, 5, dtype=torch.uint8), r"one or three channels, got \(2, 2, 4, 5\)"),
        (torch.zeros(0, 3, 4, 5, dtype=torch.uint8), r"frames are empty: shape \(0, 3, 4, 5\)"),
        ([1, 2], "must be a tensor or an array, got list"),
    ],
)
def test_frames_are_checked(frames: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frames_last(frames)


def test_an_error_comes_back_from_another_process_as_it_was() -> None:
    error = ClipError("clip.mp4", "it is cut off", "Copy it again")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error) == "clip.mp4: it is cut off. Copy it again"
    assert back.path == error.path == Path("clip.mp4")
