"""The map for those who see no red or no green, and how maps are named."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps

from captum_video.visualization import (
    COLOUR_BLIND,
    SIGNED,
    filter_figure,
    joint_relevance,
    overlay,
    relevance_strip,
    signed_colours,
)
from captum_video.visualization._colour import colour_map, one_signed

# Machado, Oliveira and Fernandes 2009, severity 1, on linear red, green and blue.
_SEEN = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def lab(colours: np.ndarray, seen: str) -> np.ndarray:
    """CIE L*a*b* under D65 of sRGB colours, as somebody sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ _SEEN[seen].T, 0, 1)
    xyz = linear @ np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    ).T / np.array([0.95047, 1.0, 1.08883])  # fmt: skip
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1
    )


def test_the_yardstick_itself() -> None:
    """White, black and red in Lab are known; who sees no green confuses red and some green."""
    found = lab(np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]), "normal")
    known = np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2]])
    assert np.allclose(found, known, atol=0.05)
    pair = np.array([[0.75, 0.25, 0.15], [0.5, 0.45, 0.15]])
    apart = {seen: float(np.linalg.norm(np.diff(lab(pair, seen), axis=0))) for seen in _SEEN}
    assert apart["normal"] > 45
    assert apart["deuteranopia"] < apart["normal"] / 3


@pytest.mark.parametrize("seen", sorted(_SEEN))
def test_either_side_is_told_apart_without_red_or_green(seen: str) -> None:
    strengths = np.array([0.2, 0.5, 1.0])
    positive = lab(signed_colours(strengths, 1.0, COLOUR_BLIND), seen)
    negative = lab(signed_colours(-strengths, 1.0, COLOUR_BLIND), seen)
    apart = np.linalg.norm(positive - negative, axis=1)
    assert (apart > [40, 90, 90]).all()  # 2.3 is just noticeable
    assert np.abs(positive[:, 2] - negative[:, 2]).min() > 35  # by blue against yellow


@pytest.mark.parametrize("seen", sorted(_SEEN))
def test_lightness_falls_from_the_middle(seen: str) -> None:
    for side in (1, -1):
        steps = lab(signed_colours(side * np.linspace(0, 1, 65), 1.0, COLOUR_BLIND), seen)[:, 0]
        assert steps[0] > 99
        assert (np.diff(steps) < -0.2).all()
        assert steps[-1] < 45


def test_orange_is_positive_purple_negative() -> None:
    orange, white, purple = signed_colours(np.array([0.7, 0.0, -0.7]), 1.0, "colour-blind")
    assert orange[0] > orange[1] > orange[2]
    assert purple[2] > purple[0] > purple[1]
    assert np.allclose(white, 1, atol=0.02)


def test_names() -> None:
    assert colour_map(None) is SIGNED
    assert colour_map("colour-blind") is colour_map("color-blind") is COLOUR_BLIND
    assert colour_map("viridis") == colormaps["viridis"]
    assert colour_map(SIGNED) is SIGNED
    with pytest.raises(ValueError, match=r"cmap 'viridsi' is no colour map. .*'viridis'"):
        colour_map("viridsi")
    with pytest.raises(ValueError, match=r"cmap 'colorblind' .*'color-blind' or 'colour-blind'"):
        colour_map("colorblind")
    with pytest.raises(TypeError, match="cmap must be a colour map, its name or None, got int: 3"):
        colour_map(3)  # type: ignore[arg-type]


def test_a_side_is_half_of_ours_and_all_of_others() -> None:
    strength = np.linspace(0, 1, 9)
    for cmap, whole in ((None, SIGNED), ("colour-blind", COLOUR_BLIND)):
        positive, negative = (one_signed(cmap, sign) for sign in ("positive", "negative"))
        assert np.allclose(positive(strength), whole(0.5 + strength / 2), atol=0.03)
        assert np.allclose(negative(strength), whole(0.5 - strength / 2), atol=0.03)
        assert np.array_equal(positive(1.0), whole(1.0))
        assert np.array_equal(negative(1.0), whole(0.0))
        assert np.array_equal(positive(0.0), np.ones(4))
        assert one_signed(cmap, "absolute_value") == colormaps["Blues"]
    for sign in ("positive", "negative", "absolute_value"):
        assert one_signed("viridis", sign) == colormaps["viridis"]


def pixels(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def red_or_blue(picture: np.ndarray) -> int:
    """How many pixels have SIGNED's strongest colours, or nearly."""
    ends = [np.array(SIGNED(end)[:3]) * 255 for end in (0.15, 0.85)]
    return sum(int((np.abs(picture - end).max(-1) < 6).sum()) for end in ends)


FRAMES = torch.full((4, 3, 12, 12), 90, dtype=torch.uint8)
MAP = torch.linspace(-1, 1, 4 * 144).view(4, 12, 12)
JOINTS = torch.linspace(-1, 1, 75 * 6).view(75, 6)

CALLERS: dict[str, Callable[[Any], np.ndarray]] = {
    "overlay": lambda cmap: overlay(FRAMES, MAP, cmap=cmap).astype(int),
    "relevance_strip": lambda cmap: pixels(relevance_strip(FRAMES, {"all": MAP}, cmap=cmap)[0]),
    "joint_relevance": lambda cmap: pixels(joint_relevance(JOINTS, cmap=cmap)[0]),
    "filter_figure": lambda cmap: pixels(filter_figure(JOINTS[None], filters=1, cmap=cmap)[0]),
}


@pytest.mark.parametrize("caller", sorted(CALLERS))
def test_every_picture_takes_the_name(caller: str) -> None:
    draw = CALLERS[caller]
    ours = draw("colour-blind")
    assert np.array_equal(ours, draw(COLOUR_BLIND))
    assert np.array_equal(ours, draw("color-blind"))
    assert not np.array_equal(ours, draw(None))
    if caller != "overlay":
        assert red_or_blue(draw(None)) > 20
        assert red_or_blue(ours) == 0
    with pytest.raises(ValueError, match=re.escape("cmap 'colour' is no colour map. Did you")):
        draw("colour")
