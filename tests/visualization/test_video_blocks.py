"""A video is drawn a few frames at a time: the same frames, in less memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

from captum_video.visualization import _colour, _video, robust_maximum, show_video
from tests.io.videos import smooth
from tests.visualization.test_video import random_map


def given() -> dict[str, Any]:
    """Maps of unequal strength over time, one of them zero in some frames, and one everywhere."""
    rising = random_map(7, 30, 40) * torch.linspace(0.1, 1, 7)[:, None, None]
    gone = random_map(7, 30, 40, seed=1)
    gone[2:5] = 0
    return {
        "frames": smooth(7, 30, 40),
        "maps": {"rising": rising, "gone": gone, "none": torch.zeros(7, 30, 40)},
        "layout": "side_by_side",
        "captions": [f"{frame / 8:.2f} s" for frame in range(7)],
    }


def drawn(enlarge: int, layout: str, maps: Any) -> np.ndarray:
    scene = given()
    found = _video._scene(scene["frames"], maps, layout, scene["captions"], enlarge, {})  # type: ignore[arg-type]
    return np.stack(list(found.drawn()))


@pytest.mark.filterwarnings("ignore:none is zero everywhere")
@pytest.mark.parametrize("enlarge", [0, 80])
@pytest.mark.parametrize("pixels", [1, 2 * 30 * 40, 3 * 60 * 80])
def test_frames_do_not_depend_on_how_many_are_drawn_at_a_time(
    monkeypatch: pytest.MonkeyPatch, enlarge: int, pixels: int
) -> None:
    maps = given()["maps"]
    several = drawn(enlarge, "side_by_side", maps)
    one = drawn(enlarge, "overlay", maps["gone"])
    assert len(several) == len(one) == 7
    monkeypatch.setattr(_video, "_BLOCK", pixels)
    assert np.array_equal(drawn(enlarge, "side_by_side", maps), several)
    assert np.array_equal(drawn(enlarge, "overlay", maps["gone"]), one)
    video = show_video(given()["frames"], maps["gone"], enlarge=enlarge)
    assert (video.frames, video.width) == (7, one.shape[2])


def test_memory_does_not_grow_with_the_clip() -> None:
    """NumPy's memory while the frames are drawn, of which the video would take 131 MB."""
    frames = np.zeros((32, 480, 640, 3), dtype=np.uint8)
    generator = np.random.default_rng(0)
    maps = {name: generator.standard_normal((32, 480, 640), np.float32) ** 3 for name in "abc"}
    scene = _video._scene(frames, maps, "side_by_side", None, 0, {})
    tracemalloc.start()
    try:
        size = sum(picture.nbytes for picture in scene.drawn())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 115e6  # drawn at once it takes four times as much
    assert peak < size


def test_the_scale_of_many_blocks_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    maps = [generator.normal(size=shape) ** 3 for shape in ((5, 60, 70), (3, 11), (1,))]
    for perc in (0, 2, 50, 99):
        sizes = np.sort(np.concatenate([np.abs(values).ravel() for values in maps]))
        at = np.searchsorted(np.cumsum(sizes), sizes.sum() * (1 - perc / 100) * (1 - 1e-12))
        for block in (7, 1000, 1 << 20):
            monkeypatch.setattr(_colour, "_BLOCK", block)
            assert robust_maximum(*maps, outlier_perc=perc) == sizes[min(at, sizes.size - 1)]
