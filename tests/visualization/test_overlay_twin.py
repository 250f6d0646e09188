"""The overlay and its scale against slow computations in float64, straight from their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import ListedColormap

from captum_video.io import frames_last
from captum_video.visualization import SIGNED, clip_map, overlay, robust_maximum
from captum_video.visualization._colour import colour_map

COARSE = ListedColormap(
    [(k / 8, 1 - k / 8, (k * 5 % 9) / 8) for k in range(9)], name="nine colours, far apart"
)


def slow_maximum(*maps: np.ndarray, outlier_perc: float = 2.0) -> float:
    magnitudes = np.sort(np.abs(np.concatenate([values.ravel() for values in maps])))
    total = np.cumsum(magnitudes)
    return float(magnitudes[total >= total[-1] * (1 - outlier_perc / 100) * (1 - 1e-12)][0])


def slow_overlay(frames: Any, relevance: Any, **options: Any) -> np.ndarray:
    """(1 - cover) * frame + cover * colour, pixel for pixel in float64, all at once."""
    base = frames_last(frames).astype(np.float64)
    values = torch.as_tensor(relevance).double().numpy()
    values = values.reshape(-1, *values.shape[-3:]).sum(0)
    scale = options.get("scale") or slow_maximum(
        values, outlier_perc=options.get("outlier_perc", 2.0)
    )
    strength = np.minimum(np.abs(values) / scale, 1)
    luma = 0.299 * base[..., 0] + 0.587 * base[..., 1] + 0.114 * base[..., 2]
    grey = options.get("grey", 1.0)
    base = (1 - grey) * base + grey * luma[..., None]
    place = 0.5 + 0.5 * np.sign(values) * (0.45 + 0.35 * strength)
    colours = 255 * colour_map(options.get("cmap"))(place)[..., :3]
    cover = (options.get("alpha", 0.85) * strength**0.7)[..., None]
    return (1 - cover) * base + cover * colours


def given(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator).to(torch.uint8)


def random_map(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values * torch.rand(shape, generator=generator, dtype=torch.float64) ** 6


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 1.0, "grey": 0.0},
        {"alpha": 0.5, "grey": 0.4, "outlier_perc": 20.0},
        {"scale": 0.01},
        {"scale": 50.0},
        {"cmap": "colour-blind"},
        {"cmap": "coolwarm"},
        {"cmap": "PiYG"},
        {"cmap": COARSE, "alpha": 1.0},
        {"cmap": SIGNED.resampled(1000)},
        {"cmap": SIGNED.resampled(99_991)},
    ],
)
def test_the_overlay_is_its_formula(options: dict[str, Any]) -> None:
    frames, relevance = given(5, 3, 90, 111), random_map(2, 5, 90, 111)
    result = overlay(frames, relevance, **options)
    exact = slow_overlay(frames, relevance, **options)
    off = np.abs(result - exact)
    assert off.max() < 1, options  # half a level is rounding
    assert off.mean() < 0.27, options  # rounding alone gives 0.25
    assert np.abs(result - np.rint(exact)).max() <= 1


def test_weak_relevance_too() -> None:
    """The cover is steepest next to zero, where few entries of a table would show."""
    strengths = torch.cat([torch.zeros(1), torch.logspace(-9, 0, 4000, dtype=torch.float64)])
    relevance = torch.stack([strengths, -strengths])[:, None]
    frames = given(2, 3, 1, 4001)
    for alpha in (0.85, 1.0):
        options: dict[str, Any] = {"alpha": alpha, "scale": 1.0}
        off = np.abs(
            overlay(frames, relevance, **options) - slow_overlay(frames, relevance, **options)
        )
        assert off.max() < 1


def test_next_to_the_steps_of_the_colours() -> None:
    """Where a map of nine colours goes from one to the next, a rounded strength would show."""
    steps = (torch.tensor([7.0, 8.0], dtype=torch.float64) / 9 - 0.725) / 0.175
    near = torch.cat([steps * (1 - 1e-10), steps * (1 + 1e-10)])
    relevance = torch.cat([near, -near])[None, None]
    options: dict[str, Any] = {"cmap": COARSE, "scale": 1.0}
    frames = torch.full((1, 3, 1, 8), 128, dtype=torch.uint8)
    result = overlay(frames, relevance, **options)
    assert np.abs(result - slow_overlay(frames, relevance, **options)).max() < 1
    assert (np.abs(result[0, 0, :2].astype(int) - result[0, 0, 2:4]).max(-1) > 5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int32])
def test_every_type_of_number(dtype: torch.dtype) -> None:
    frames = given(3, 3, 40, 40)
    relevance = (1000 * random_map(3, 3, 40, 40)).to(dtype)
    assert np.abs(overlay(frames, relevance) - slow_overlay(frames, relevance)).max() < 1


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 1, 7, 5), (1, 3, 300, 301)])
def test_every_size(shape: tuple[int, ...]) -> None:
    frames = given(*shape)
    relevance = random_map(shape[0], *shape[2:]).flip(-1).transpose(1, 2).contiguous()
    relevance = relevance.transpose(1, 2)  # not contiguous
    assert np.abs(overlay(frames, relevance) - slow_overlay(frames, relevance)).max() < 1


@pytest.mark.parametrize("outlier_perc", [0, 0.5, 2, 10, 50, 90, 99.9])
@pytest.mark.parametrize(
    "kind", ["normal", "heavy", "sparse", "unlike", "constant", "stripes", "rising"]
)
def test_the_scale_is_that_of_a_full_sort(kind: str, outlier_perc: float) -> None:
    generator = np.random.default_rng(0)
    values = {
        "normal": lambda: generator.standard_normal(200_000),
        "heavy": lambda: generator.standard_cauchy(200_001) ** 3,
        # samples that miss the largest, or meet it and none of the others
        "sparse": lambda: np.where(np.arange(300_000) == 12_346, 7.0, 1e-6),
        "unlike": lambda: np.r_[1e4, np.where(np.arange(1, 200_000) % 49, 10.0, 0.0)],
        "constant": lambda: np.full(100_000, -0.3),
        "stripes": lambda: np.tile(np.r_[np.zeros(48), 1.0, 5.0], 4000),
        "rising": lambda: np.arange(100_000) / 7.0,
    }[kind]()
    expected = slow_maximum(values, outlier_perc=outlier_perc)
    assert robust_maximum(values, outlier_perc=outlier_perc) == expected
    third = len(values) // 3
    assert robust_maximum(values[:third], values[third:], outlier_perc=outlier_perc) == expected


def test_a_scale_in_float32_adds_up_in_float64() -> None:
    values = np.random.default_rng(1).random(2_000_000).astype(np.float32)
    expected = slow_maximum(values.astype(np.float64), outlier_perc=60)
    assert robust_maximum(values, outlier_perc=60) == expected


def test_sums_of_finite_numbers_may_be_infinite() -> None:
    largest = torch.full((1, 1, 2), 1.5e308, dtype=torch.float64)
    assert np.array_equal(clip_map(largest), largest.numpy())
    for bad in (float("nan"), float("inf"), -float("inf")):
        values = torch.zeros(2, 1, 2, 2)
        values[1, 0, 1, 0] = bad
        with pytest.raises(ValueError, match="relevance has 1 values that are not finite"):
            clip_map(values)
    opposite = torch.tensor([float("inf"), -float("inf")]).view(2, 1, 1, 1)
    with pytest.raises(ValueError, match="2 values that are not finite"):
        clip_map(opposite)


def test_clip_map_leaves_its_input_alone() -> None:
    values = torch.ones(3, 2, 2, 2, dtype=torch.float64)
    clip_map(values)[:] = 5
    clip_map(values[0])[:] = 5
    assert values.unique().tolist() == [1]
