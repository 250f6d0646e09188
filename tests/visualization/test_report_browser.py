"""What the page draws, against what Python draws of the same frames and maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from captum_video.visualization import (
    Report,
    _report_data,
    overlay,
    robust_maximum,
    signed_colours,
)
from tests.visualization.pages import content_of, decoded, pixels
from tests.visualization.report_browser import (
    DESK,
    PHONE,
    SIGNS,
    TOTAL,
    bones,
    clip,
    drawn,
    maps,
    open_page,
    report,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

GREYS = {"grey": 1.0, "colour": 0.0}
PALETTES = {"red and blue": None, "orange and purple (colour-blind safe)": "colour-blind"}


def expected(
    values: np.ndarray, scale: float, sign: str, background: str, alpha: float, cmap: str | None
) -> np.ndarray:
    """The clip under a map, by the module's own functions."""
    left = SIGNS[sign](values)
    if background == "none":
        return np.rint(255 * signed_colours(left, scale, cmap))
    return overlay(clip(), left, alpha=alpha, scale=scale, cmap=cmap, grey=GREYS[background])


def compare(page: Page, target: str, frame: int, **view: object) -> None:
    """Every panel of a frame, as drawn and as expected."""
    content = content_of(page.content())
    kept = next(one for one in content["targets"] if one["name"] == target)
    exact = maps(target)
    scale = robust_maximum(*exact.values())
    found = drawn(page)
    assert list(found) == ["frames", *exact, "bones"]
    assert np.array_equal(found["frames"], clip()[frame])
    assert np.array_equal(found["bones"], bones()[frame])
    for entry in kept["maps"]:
        name = entry["name"]
        stored = expected(decoded(content, entry), scale, **view)[frame]  # type: ignore[arg-type]
        assert np.abs(found[name] - stored).max() <= 1, name
        wanted = expected(exact[name], scale, **view)[frame]  # type: ignore[arg-type]
        assert np.abs(found[name] - wanted).mean() < 1, name
        assert np.abs(found[name] - wanted).max() <= 10, name


START = {"sign": "all", "background": "grey", "alpha": 0.85, "cmap": None}


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_every_frame_of_every_target(tab: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    open_page(tab, report(), tmp_path, size)
    for target in ("left", "right", "left"):
        tab.select_option("#target", label=target)
        tab.wait_for_selector("#panels:not([aria-busy])")
        told = tab.locator("#explained").inner_text()
        note = " It was the motion." if target == "left" else ""
        assert told == f"Explained: {target}.{note}"
        marked = tab.locator("#tables tr.explained")
        assert marked.count() == 1
        assert marked.locator("td").first.inner_text() == target
        for frame in range(TOTAL):
            tab.locator("#frame").fill(str(frame))
            compare(tab, target, frame, **START)


@pytest.mark.parametrize("background", ["grey", "colour", "none"])
@pytest.mark.parametrize("sign", list(SIGNS))
def test_every_sign_and_background(tab: Page, tmp_path: Path, sign: str, background: str) -> None:
    open_page(tab, report(), tmp_path)
    tab.select_option("#sign", sign)
    tab.select_option("#background", background)
    assert tab.locator("#opacity").is_disabled() == (background == "none")
    tab.locator("#frame").fill("2")
    for name, cmap in PALETTES.items():
        tab.select_option("#palette", label=name)
        compare(tab, "left", 2, sign=sign, background=background, alpha=0.85, cmap=cmap)


@pytest.mark.parametrize("percent", [0, 1, 40, 100])
def test_opacity(tab: Page, tmp_path: Path, percent: int) -> None:
    open_page(tab, report(), tmp_path)
    tab.locator("#opacity").fill(str(percent))
    compare(tab, "left", 0, **{**START, "alpha": percent / 100})


def test_the_page_starts_with_the_colours_it_was_given(tab: Page, tmp_path: Path) -> None:
    for cmap in ("colour-blind", "coolwarm"):
        open_page(tab, report(cmap=cmap), tmp_path)
        compare(tab, "left", 0, **{**START, "cmap": cmap})


def test_colours_saturate_where_python_says(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(outlier_perc=40), tmp_path)
    scale = robust_maximum(*maps("left").values(), outlier_perc=40)
    assert scale < 0.5 * robust_maximum(*maps("left").values())
    content = content_of(tab.content())
    entry = content["targets"][0]["maps"][0]
    stored = overlay(clip(), decoded(content, entry), scale=scale)[0]
    assert np.abs(drawn(tab)["total"] - stored).max() <= 1
    low, high = (tab.locator(f"#{side}").inner_text() for side in ("low", "high"))
    assert low == f"\u2212{float(f'{scale:.3g}'):g}"
    assert high == f"+{float(f'{scale:.3g}'):g}: one scale for all maps"


def test_few_levels_look_the_same(tab: Page, tmp_path: Path) -> None:
    size = len(report().html().encode())
    coarse = report(max_bytes=size - 1)
    open_page(tab, coarse, tmp_path)
    content = content_of(tab.content())
    assert content["levels"] == 63
    assert "in 63 steps" in tab.locator("#precision").inner_text()
    scale = robust_maximum(*maps("left").values())
    for entry in content["targets"][0]["maps"]:
        stored = overlay(clip(), decoded(content, entry), scale=scale)[0]
        assert np.abs(drawn(tab)[entry["name"]] - stored).max() <= 1


def test_frames_stored_as_jpeg(tab: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_report_data, "_LOSSLESS", 0)
    y, x = np.mgrid[:120, :140]
    grain = np.random.default_rng(0).normal(scale=4, size=(4, 120, 140, 3))
    wave = 127 + 60 * np.sin(np.stack([x / 40, y / 30, (x + y) / 50], -1))
    noisy = (wave + grain).clip(0, 255).astype(np.uint8)
    values = np.where((x // 20 + y // 20) % 2, 1.0, -0.4) * np.ones((4, 1, 1))
    made = Report(noisy).add({"total": values})
    uris = content_of(made.html())["frames"]
    assert uris[0].startswith("data:image/jpeg")
    kept = pixels(uris)  # as another decoder sees them
    open_page(tab, made, tmp_path)
    tab.locator("#frame").fill("3")
    found = drawn(tab)
    assert np.abs(found["frames"] - kept[3]).max() <= 4
    scale = robust_maximum(values)
    assert np.abs(found["total"] - overlay(kept, values, scale=scale)[3]).max() <= 4
