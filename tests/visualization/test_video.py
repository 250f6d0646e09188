"""What save_video writes, decoded back and compared with the arrays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from captum_video.io import frames_last, read_clip, resize
from captum_video.visualization import clip_map, overlay, robust_maximum, save_video, side_by_side
from tests.io.videos import smooth

NAMES = ("c.mp4", "c.webm", "c.gif")
PATCHES = {"red": (255, 0, 0), "blue": (0, 0, 255), "grey": (128, 128, 128)}


def decoded(path: Path) -> tuple[np.ndarray, list[Fraction], Fraction]:
    """A file's frames, when each is shown, and how long the whole takes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures, times = [], []
        for frame in container.decode(stream):
            assert frame.pts is not None
            pictures.append(frame.to_ndarray(format="rgb24").astype(int))
            times.append(frame.pts * Fraction(stream.time_base or 0))
        return np.stack(pictures), times, Fraction(container.duration or 0, av.time_base)


def random_map(*shape: int, seed: int = 0) -> torch.Tensor:
    """Soft relevance of both signs, as codecs can show it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 2, 2, 2, generator=generator)
    return torch.nn.functional.interpolate(
        coarse, size=shape, mode="trilinear", align_corners=True
    )[0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_patches_of_colour(tmp_path: Path, name: str) -> None:
    """H.264 and VP9 at crf 18 give each channel of a flat patch within 1; a GIF is exact."""
    frames = np.zeros((3, 32, 48, 3), dtype=np.uint8)
    for number, colour in enumerate(PATCHES.values()):
        frames[:, :, 16 * number : 16 * number + 16] = colour
    back, _, _ = decoded(save_video(tmp_path / name, frames, fps=8))
    for number, (patch, colour) in enumerate(PATCHES.items()):
        inner = back[:, 4:-4, 16 * number + 4 : 16 * number + 12]
        off = np.abs(inner - np.array(colour)).max()
        assert off <= (0 if name == "c.gif" else 1), patch


@pytest.mark.parametrize(("name", "error"), [("c.mp4", 2.5), ("c.webm", 2.5), ("c.gif", 3.5)])
@pytest.mark.parametrize("size", [(33, 47), (48, 64)])
def test_an_overlay_is_decoded_as_it_was_drawn(
    tmp_path: Path, name: str, error: float, size: tuple[int, int]
) -> None:
    """The error is the mean over all pixels and channels, of 255."""
    frames, relevance = smooth(6, *size), random_map(6, *size)
    back, times, _ = decoded(save_video(tmp_path / name, frames, relevance, fps=8, alpha=0.7))
    exact = overlay(frames, relevance, alpha=0.7)
    even = tuple(side if name == "c.gif" else side + side % 2 for side in size)
    assert (len(times), *back.shape[1:3]) == (6, *even)
    back = back[:, : size[0], : size[1]]
    off = np.abs(back[:, None] - exact[None].astype(int)).mean((2, 3, 4))
    assert off.diagonal().max() < error
    assert off.argmin(0).tolist() == list(range(6))  # each frame where it belongs
    assert np.abs(back - frames_last(frames)).mean() > 4 * error  # relevance is seen


@pytest.mark.parametrize(("name", "error"), [("c.mp4", 1.0), ("c.webm", 1.0), ("c.gif", 0.0)])
@pytest.mark.parametrize("last", [False, True])
def test_grey_frames_of_one_channel(tmp_path: Path, name: str, error: float, last: bool) -> None:
    grey = smooth(4, 33, 47)[:, :1]
    given = grey.permute(0, 2, 3, 1).numpy() if last else grey
    back, _, _ = decoded(save_video(tmp_path / name, given, fps=8))
    assert np.abs(back[:, :33, :47] - grey.permute(0, 2, 3, 1).numpy()).mean() <= error
    assert np.ptp(back, axis=-1).max() <= (0 if name == "c.gif" else 2)


@pytest.mark.parametrize("name", [*NAMES, "c.mov", "c.mkv"])
@pytest.mark.parametrize("fps", [30000 / 1001, 12.5, 8, 0.5])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_frames_and_their_times(tmp_path: Path, name: str, fps: float, total: int) -> None:
    frames, relevance = smooth(total, 33, 47), random_map(total, 33, 47)
    back, times, length = decoded(save_video(tmp_path / name, frames, relevance, fps=fps))
    assert len(back) == total
    # Matroska and WebM count milliseconds, a GIF hundredths
    step = {".gif": 0.01, ".webm": 0.001, ".mkv": 0.001}.get(Path(name).suffix, 2e-6)
    wanted = [number / fps for number in range(total)]
    assert [float(time) for time in times] == pytest.approx(wanted, abs=0.51 * step)
    assert float(length) == pytest.approx(total / fps, abs=1.01 * max(step, 0.001))


def test_maps_side_by_side_on_one_scale(tmp_path: Path) -> None:
    frames = smooth(4, 40, 60)
    maps = {"total": random_map(4, 40, 60), "motion": 0.1 * random_map(4, 40, 60, seed=1)}
    captions = ["0.0 s", "0.1 s", "0.2 s", "0.3 s"]
    path = save_video(
        tmp_path / "c.mp4", frames, maps, fps=10, layout="side_by_side", captions=captions, crf=5
    )
    scale = robust_maximum(*(clip_map(values) for values in maps.values()))
    panels = {name: overlay(frames, values, scale=scale) for name, values in maps.items()}
    exact = side_by_side({"frames": frames, **panels}, captions=captions).astype(int)
    back, _, _ = decoded(path)
    back = back[:, : exact.shape[1], : exact.shape[2]]
    assert np.abs(back - exact).mean() < 1.5
    own = side_by_side({"f": frames, "a": frames, "b": overlay(frames, maps["motion"])})
    apart = np.abs(exact[:, 25:60, 130:] - own.astype(int)[:, 25:60, 130:]).mean()
    assert apart > 10  # on a scale of its own the weak map would look strong


def test_the_scale_is_that_of_all_maps_whichever_comes_first(tmp_path: Path) -> None:
    frames = smooth(4, 40, 60)
    maps = {"weak": 0.1 * random_map(4, 40, 60), "strong": random_map(4, 40, 60, seed=1)}
    path = save_video(tmp_path / "c.mp4", frames, maps, fps=10, layout="side_by_side", crf=5)
    back, _, _ = decoded(path)
    own = [robust_maximum(clip_map(values)) for values in maps.values()]
    both = robust_maximum(*(clip_map(values) for values in maps.values()))
    off = []
    for scale in (both, *own):
        panels = {name: overlay(frames, values, scale=scale) for name, values in maps.items()}
        exact = side_by_side({"frames": frames, **panels}).astype(int)
        off.append(np.abs(back[:, : exact.shape[1], : exact.shape[2]] - exact).mean())
    assert off[0] < 1.5
    assert off[1] > 5


def test_options_of_the_overlay(tmp_path: Path) -> None:
    frames, relevance = smooth(3, 64, 64), random_map(3, 64, 64)
    options: dict[str, Any] = {
        "cmap": "colour-blind",
        "grey": 0.2,
        "alpha": 0.9,
        "outlier_perc": 30.0,
    }
    back, _, _ = decoded(save_video(tmp_path / "c.mp4", frames, relevance, fps=8, **options))
    exact = overlay(frames, relevance, **options).astype(int)
    assert np.abs(back - exact).mean() < 2
    for option, value in {"cmap": None, "grey": 1.0, "alpha": 0.5, "outlier_perc": 2.0}.items():
        other = overlay(frames, relevance, **{**options, option: value})
        assert np.abs(back - other).mean() > 3, option
    weak, _, _ = decoded(save_video(tmp_path / "c.mp4", frames, relevance, fps=8, scale=1e6))
    assert np.abs(weak - overlay(frames, relevance, scale=1e6)).mean() < 2


@pytest.mark.parametrize(("enlarge", "factor"), [(0, 1), (20, 1), (21, 2), (60, 3), (61, 4)])
def test_small_clips_are_enlarged_by_a_whole_factor(
    tmp_path: Path, enlarge: int, factor: int
) -> None:
    frames, relevance = smooth(3, 16, 20), random_map(3, 16, 20)
    back, _, _ = decoded(
        save_video(tmp_path / "c.mp4", frames, relevance, fps=8, enlarge=enlarge, crf=5)
    )
    size = (16 * factor, 20 * factor)
    large = resize(relevance[:, None].double(), size, fit="squeeze")[:, 0]
    scale = robust_maximum(clip_map(relevance))
    exact = overlay(resize(frames, size, fit="squeeze"), large, scale=scale)
    assert back.shape == exact.shape
    assert np.abs(back - exact).mean() < 3


def test_captions_below_one_overlay(tmp_path: Path) -> None:
    frames = torch.full((3, 3, 40, 100), 90, dtype=torch.uint8)
    path = save_video(tmp_path / "c.gif", frames, fps=8, captions=["one", "two", "two"])
    back, _, _ = decoded(path)
    assert (back[:, :40] == 90).all()
    below = back[:, 40:]
    assert [strip.min() < 100 for strip in below] == [True] * 3
    assert not np.array_equal(below[0], below[1])
    assert np.array_equal(below[1], below[2])


def test_a_map_of_nothing_is_named(tmp_path: Path) -> None:
    frames = smooth(3, 32, 32)
    maps = {"total": random_map(3, 32, 32), "motion": torch.zeros(3, 3, 32, 32)}
    with pytest.warns(UserWarning, match="motion is zero everywhere: the plain frames") as caught:
        path = save_video(tmp_path / "c.mp4", frames, maps, fps=8, layout="side_by_side", crf=5)
    assert [warning.filename for warning in caught] == [__file__]
    back, _, _ = decoded(path)
    assert np.abs(back[:, -32:, 72:104] - back[:, -32:, :32]).mean() < 1
    with pytest.warns(UserWarning, match="relevance is zero everywhere"):
        save_video(tmp_path / "c.mp4", frames, torch.zeros(3, 32, 32), fps=8)


def test_a_map_in_every_shape_and_as_a_dict_of_one(tmp_path: Path) -> None:
    frames, relevance = smooth(3, 32, 32), random_map(3, 32, 32)
    split = torch.stack([0.25 * relevance, 0.75 * relevance])
    shapes: list[Any] = [relevance, split, split[None], relevance.numpy(), {"one": relevance}]
    drawn = [
        read_clip(save_video(tmp_path / f"{number}.gif", frames, maps, fps=8)).frames
        for number, maps in enumerate(shapes)
    ]
    assert all(torch.equal(video, drawn[0]) for video in drawn)
    assert not torch.equal(
        drawn[0], read_clip(save_video(tmp_path / "p.gif", frames, fps=8)).frames
    )
