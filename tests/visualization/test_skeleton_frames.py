"""Skeletons as a video: what moves, and that nothing else does."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from captum_video.io import read_clip, write_video
from captum_video.visualization import robust_maximum, skeleton_frames
from captum_video.visualization._skeleton import INKS
from tests.visualization.test_skeleton import OWN, sequence

BLANK: dict[str, Any] = {**OWN, "captions": [""] * 6}


def still(*, second: bool = False) -> torch.Tensor:
    return sequence(second=second)[:, :1].repeat(1, 6)


def rising() -> torch.Tensor:
    """The left hand rises, frame by frame, and nothing else moves."""
    values = still()
    values[2 * 3 + 1] += torch.linspace(0, 0.4, 6)
    return values


def ink_height(frame: np.ndarray, ink: str) -> float:
    """How high pixels of a colour lie on average, from the top."""
    near = np.abs(frame / 255 - np.array(to_rgb(ink))).max(-1) < 0.02
    return float(np.nonzero(near)[0].mean())


def test_frames_are_a_video_of_all_of_time(tmp_path: Path) -> None:
    film = skeleton_frames({"input": sequence(7), "layer 1": 3 * sequence(7)}, **OWN)
    assert film.dtype == np.uint8
    assert len(film) == 7
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0
    assert film.shape[3] == 3
    path = write_video(tmp_path / "film.mp4", film, fps=20)
    again = read_clip(path).frames
    assert tuple(again.shape) == (7, 3, *film.shape[1:3])


def test_pixels_change_where_a_joint_moves() -> None:
    film = skeleton_frames({"a": still(), "b": rising()}, **BLANK)
    heights = [ink_height(frame, INKS[0][1]) for frame in film]
    assert all(later < earlier for earlier, later in itertools.pairwise(heights))
    changed = (film != film[0]).any((0, 3))
    rows, columns = np.nonzero(changed)
    assert columns.min() > film.shape[2] / 2  # the panel of "a" is still
    (low, high), ink = (rows.min(), rows.max()), np.abs(film[0] / 255 - to_rgb(INKS[0][0])).max(-1)
    trunk = np.nonzero((ink < 0.02)[:, film.shape[2] // 2 :])[0]
    assert trunk.min() <= low < high < trunk.max()  # between head and base
    assert (film[1:] != film[:-1]).any((1, 2, 3)).all()


def test_what_does_not_move_gives_equal_frames() -> None:
    film = skeleton_frames({"a": still(second=True)}, **BLANK)
    assert (film == film[0]).all()
    named = skeleton_frames({"a": still()}, **OWN)
    rows = np.nonzero((named != named[0]).any((0, 2, 3)))[0]
    assert rows.min() > 320  # the caption below the panel


def test_no_frame_keeps_anything_of_the_one_before() -> None:
    values = sequence(6, second=True)
    values[12:, 3] = 0
    weights = torch.linspace(-1, 1, 48).reshape(8, 6)
    lines = list("abcdef")
    film = skeleton_frames({"a": values}, weights=weights, captions=lines, **OWN)
    back = skeleton_frames(
        {"a": values.flip(1)}, weights=weights.flip(1), captions=lines[::-1], **OWN
    )
    assert np.array_equal(film, back[::-1])
    brown = [(np.abs(f / 255 - to_rgb(INKS[1][0])).max(-1) < 0.02).sum() for f in film]
    assert brown[3] == 0 < min(brown[:3] + brown[4:])


def test_panels_are_those_of_the_strip() -> None:
    values = sequence(second=True)
    one = skeleton_frames({"a": values}, actors=1, **BLANK)
    assert np.array_equal(one, skeleton_frames({"a": sequence()}, **BLANK))
    two = skeleton_frames({"a": sequence(), "a ": values}, **BLANK)
    assert not (np.abs(two / 255 - to_rgb(INKS[1][0])).max(-1) < 0.02).any()
    same = skeleton_frames({"a": values, "b": values}, **BLANK)
    shared = skeleton_frames({"a": values, "b": 5 * values}, scale="shared", **BLANK)
    fitted = skeleton_frames({"a": values, "b": 5 * values}, **BLANK)
    assert np.mean(fitted != same) < 0.01 < np.mean(shared != same)


def test_height_and_captions() -> None:
    film = skeleton_frames({"a": sequence()}, height=64, **OWN)
    assert 64 < film.shape[1] < 110
    with pytest.raises(ValueError, match=r"height must be .* from 40 on, got 39"):
        skeleton_frames({"a": sequence()}, height=39, **OWN)
    with pytest.raises(ValueError, match=r"captions must be one per frame \(6\), got 1"):
        skeleton_frames({"a": sequence()}, captions=["x"], **OWN)
    with pytest.raises(TypeError, match="captions must be lines of text, got 0 for frame 0"):
        skeleton_frames({"a": sequence()}, captions=list(range(6)), **OWN)  # type: ignore[arg-type]
    lines: Any = np.array(list("abcdef"))
    named = skeleton_frames({"a": sequence()}, captions=lines, **OWN)
    assert np.array_equal(named, skeleton_frames({"a": sequence()}, captions=list("abcdef"), **OWN))


def test_weights_of_several_films_share_a_scale() -> None:
    weights = torch.linspace(-1, 2, 48).reshape(8, 6)
    largest = robust_maximum(weights.numpy())
    options: dict[str, Any] = {"sequences": {"a": sequence()}, **BLANK}
    alone = skeleton_frames(weights=weights, **options)
    assert np.array_equal(alone, skeleton_frames(weights=weights, saturation=largest, **options))
    weak = skeleton_frames(weights=weights / 4, saturation=largest, **options)
    assert (weak != alone).any((1, 2, 3)).all()
    same = skeleton_frames(weights=4 * weights, saturation=4 * largest, **options)
    assert np.array_equal(same, alone)
    pair = {"a": sequence(), "b": sequence()}
    both = skeleton_frames(pair, weights={"a": weights, "b": weights / 4}, **BLANK)
    scale = robust_maximum(weights.numpy(), weights.numpy() / 4)
    half = skeleton_frames(pair, weights={"b": weights / 4}, saturation=scale, **BLANK)
    middle = both.shape[2] // 2
    assert np.array_equal(both[:, :, middle:], half[:, :, middle:])
    for wrong in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="saturation must be a positive number or None, got"):
            skeleton_frames(weights=weights, saturation=wrong, **options)
