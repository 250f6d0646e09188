"""The bar of colours below the panels, against the colours of maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from captum_video.visualization import Report, overlay, robust_maximum, signed_colours
from tests.visualization.report_browser import SIGNS, drawn, maps, open_page, report

if TYPE_CHECKING:
    from playwright.sync_api import Page

PALETTES = {"red and blue": None, "orange and purple (colour-blind safe)": "colour-blind"}
RANGES = {"all": (-1, 1), "positive": (0, 1), "negative": (-1, 0), "absolute": (0, 1)}
GREY = 128


def bar(tab: Page) -> np.ndarray:
    """The colours of the bar, (256, 3)."""
    values = tab.evaluate(
        "Array.from(document.querySelector('#scale canvas').getContext('2d')"
        ".getImageData(0, 0, 256, 1).data)"
    )
    found = np.reshape(values, (256, 4))
    assert (found[:, 3] == 255).all()
    return found[:, :3]


def ends(tab: Page) -> tuple[str, str]:
    return tab.locator("#low").inner_text(), tab.locator("#high").inner_text()


def expected(values: np.ndarray, background: str, alpha: float, cmap: Any) -> np.ndarray:
    """What Python draws of values at the scale 1."""
    if background == "none":
        return np.rint(255 * signed_colours(values, 1.0, cmap))
    frames = np.full((1, 2, values.size, 3), GREY, dtype=np.uint8)
    return overlay(frames, np.tile(values, (1, 2, 1)), scale=1.0, alpha=alpha, cmap=cmap)[0, 0]


@pytest.mark.parametrize("background", ["grey", "colour", "none"])
@pytest.mark.parametrize("sign", list(SIGNS))
def test_the_bar_is_drawn_as_maps_are(
    tab: Page, tmp_path: Path, sign: str, background: str
) -> None:
    open_page(tab, report(cmap="coolwarm"), tmp_path)
    tab.select_option("#sign", sign)
    tab.select_option("#background", background)
    values = np.linspace(*RANGES[sign], 256)
    for name, cmap in {**PALETTES, "coolwarm": "coolwarm"}.items():
        tab.select_option("#palette", label=name)
        for percent in (85, 30):
            if background != "none":
                tab.locator("#opacity").fill(str(percent))
            found = bar(tab).astype(int)
            wanted = expected(values, background, percent / 100, cmap)
            assert np.abs(found - wanted).max() <= 1.01, (name, percent)


@pytest.mark.parametrize("background", ["grey", "colour", "none"])
@pytest.mark.parametrize("sign", list(SIGNS))
def test_a_pixel_of_the_bar_is_one_of_the_map(
    tab: Page, tmp_path: Path, sign: str, background: str
) -> None:
    # Kept to the bit: multiples of (1 / 127)^2, of which the largest is the scale.
    steps = np.arange(-127, 128)
    values = 3 * np.sign(steps) * (steps / 127) ** 2
    made = Report(np.full((1, 2, 255, 3), GREY, dtype=np.uint8), outlier_perc=0)
    open_page(tab, made.add(np.tile(values, (1, 2, 1))), tmp_path)
    tab.select_option("#sign", sign)
    tab.select_option("#background", background)
    low, high = RANGES[sign]
    shown = SIGNS[sign](values)
    place = np.rint((shown / 3 - low) / (high - low) * 255).astype(int)
    exact = np.abs((shown / 3 - low) / (high - low) * 255 - place) < 0.05
    assert exact.sum() >= 10
    away = np.abs(bar(tab)[place].astype(int) - drawn(tab)["relevance"][0])
    # one colour of the palette further where a value lies between two pixels of the bar
    assert away[exact].max() <= 6
    assert np.array_equal(bar(tab)[place[[0, -1]]], drawn(tab)["relevance"][0][[0, -1]])


def test_what_the_ends_are_called(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    scale = robust_maximum(*maps("left").values())
    size = f"{float(f'{scale:.3g}'):g}"
    shared = ": one scale for all maps"
    for sign, low, high in (
        ("positive", "0", f"+{size}"),
        ("negative", f"\u2212{size}", "0"),
        ("absolute", "0", size),
        ("all", f"\u2212{size}", f"+{size}"),
    ):
        tab.select_option("#sign", sign)
        assert ends(tab) == (low, high + shared)
    open_page(tab, Report(np.zeros((1, 2, 2, 3), np.uint8)).add(np.ones((1, 2, 2))), tmp_path)
    assert ends(tab) == ("\u22121", "+1")


def test_the_bar_of_another_target_has_its_scale(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    before = ends(tab)
    tab.select_option("#target", label="right")
    tab.wait_for_selector("#panels:not([aria-busy])")
    size = float(f"{robust_maximum(*maps('right').values()):.3g}")
    assert ends(tab)[0] == f"\u2212{size:g}"
    assert ends(tab) != before
