"""The page for everyone: small screens, keyboards, screen readers, dark rooms, notebooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from captum_video.visualization import overlay, robust_maximum
from tests.visualization.report_browser import (
    DESK,
    PHONE,
    at,
    clip,
    drawn,
    maps,
    open_page,
    report,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = "a_name_without_any_space_" * 8
_SMALL = """() => [...document.querySelectorAll(
    "button, select, input:not([type=checkbox]), #shown label, #curve")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width > 0 && (box.height < 32 || box.width < 32);
}).map((one) => one.outerHTML)"""
_COLOURS = """() => [...document.querySelectorAll("body *")].flatMap((one) => {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const box = one.getBoundingClientRect();
  if (!own || !box.width || !box.height || one.closest("script, style, .unseen, option")) return [];
  let behind = one;
  const back = (node) => getComputedStyle(node).backgroundColor;
  while (back(behind) === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const style = getComputedStyle(one);
  return [[one.textContent.trim().slice(0, 40), one instanceof SVGElement ? style.fill : style.color,
    back(behind)]];
})"""


def long_report() -> object:
    made = report(
        title=LONG, parameters={LONG: LONG}, labels=[f"{LONG}{i}" for i in range(6)], caption=LONG
    )
    made.add({LONG: maps("left")["total"]}, LONG, note=LONG, curves={LONG + "c": [1.0] * 6})
    return made.table(LONG, [{"class": LONG, "probability": 0.5, LONG: 3}]).panel(
        LONG + "p", clip()
    )


@pytest.mark.parametrize("width", [320, PHONE[0], 700, DESK[0]])
@pytest.mark.parametrize("long", [False, True])
def test_nothing_reaches_out_of_the_window(
    tab: Page, tmp_path: Path, width: int, long: bool
) -> None:
    made = long_report() if long else report()
    open_page(tab, made, tmp_path, (width, 844))  # type: ignore[arg-type]
    for target in range(tab.locator("#target option").count()):
        tab.select_option("#target", index=target)
        tab.wait_for_selector("#panels:not([aria-busy])")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_targets_are_large_enough_to_touch(
    tab: Page, tmp_path: Path, size: tuple[int, int]
) -> None:
    open_page(tab, report(), tmp_path, size)
    assert tab.evaluate(_SMALL) == []


def test_frames_of_any_shape_fit_the_window(tab: Page, tmp_path: Path) -> None:
    from captum_video.visualization import Report

    tall = np.zeros((2, 400, 50, 3), dtype=np.uint8)
    wide = np.zeros((2, 1, 300, 3), dtype=np.uint8)
    values = np.random.default_rng(0).normal(size=(2, 400, 50))
    made = Report(tall).panel("wide", wide).add({str(i): values for i in range(7)})
    for size in (DESK, PHONE):
        open_page(tab, made, tmp_path, size)
        for canvas in tab.locator("#panels canvas").all():
            box = canvas.bounding_box()
            assert box is not None
            assert box["height"] <= 0.7 * size[1] + 1
            assert box["width"] >= 120


def test_every_control_has_a_name(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    tree = tab.locator("body").aria_snapshot()
    nameless = re.findall(
        r"^\s*- (?:button|combobox|slider|checkbox|img|group|region)(?: \[.*\])?:?$", tree, re.M
    )
    assert nameless == []
    for expected in (
        'heading "Two ways" [level=1]',
        'combobox "Explained"',
        'img "frames"',
        'img "bones"',
        'button "Play"',
        'button "One frame back"',
        'button "One frame on"',
        'slider "Frame": "0"',
        'slider "Relevance over time: frame"',
        'button "Go to frame 12, where attention is 0.5"',
        'group "View"',
        'slider "Opacity": "85"',
        'combobox "Sign"',
        'combobox "Behind it"',
        'combobox "Colours"',
        'combobox "Speed"',
        'group "Shown"',
        'checkbox "temporal" [checked]',
        'table "Prediction"',
        'columnheader "probability"',
        "status: frame 0, 1 of 6",
    ):
        assert expected in tree, tree


def test_the_keyboard_alone_reaches_everything(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    wanted = tab.evaluate("document.querySelectorAll('button, select, input, [tabindex]').length")
    order, seen = [], set()
    for _ in range(wanted):
        tab.keyboard.press("Tab")
        told = tab.evaluate(
            "() => { const one = document.activeElement, style = getComputedStyle(one);"
            " return [one.id || one.textContent || one.dataset.shows, style.outlineStyle,"
            " parseFloat(style.outlineWidth), [...document.querySelectorAll('*')].indexOf(one)]; }"
        )
        assert told[1] == "solid", told
        assert told[2] >= 2, told
        order.append(told[0])
        seen.add(told[3])
    assert len(seen) == wanted
    assert order[:6] == ["target", "play", "back", "frame", "on", "curve"]
    tab.keyboard.press("Shift+Tab")
    tab.locator("#play").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#play").inner_text() == "Pause"
    tab.keyboard.press("Space")
    assert tab.locator("#play").inner_text() == "Play"


def luminance(colour: str) -> float:
    parts = np.array([float(part) for part in re.findall(r"[\d.]+", colour)][:3]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(tab: Page, tmp_path: Path, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    open_page(tab, report(parameters={"seed": 1}), tmp_path)
    tab.evaluate("document.getElementById('notice').hidden = false, failed(new Error('test'))")
    pairs = tab.evaluate(_COLOURS)
    tab.emulate_media(color_scheme="light")
    assert len(pairs) > 40
    for text, ink, paper in pairs:
        low, high = sorted((luminance(ink), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ink, paper)
    dark = luminance(pairs[0][2]) < 0.1
    assert dark == (scheme == "dark")


def test_inside_a_notebook(tab: Page) -> None:
    tab.set_viewport_size({"width": 900, "height": 900})
    tab.goto("about:blank")
    tab.set_content(f"<p>Out[1]:</p><div>{report()._repr_html_()}</div>")
    inner = tab.frames[1]
    inner.wait_for_selector("body[data-ready=yes]")
    assert inner.evaluate("origin") == "null"  # it reaches nothing of the notebook
    inner.locator("#on").click()
    assert at(inner) == 1
    shown = drawn(inner)
    scale = robust_maximum(*maps("left").values())
    wanted = overlay(clip(), maps("left")["total"], scale=scale)[1]
    assert np.abs(shown["total"] - wanted).mean() < 1
    with tab.expect_download() as waiting:
        inner.get_by_role("button", name="total (.npy)").click()
    assert np.load(waiting.value.path()).shape == maps("left")["total"].shape


def test_a_notebook_shows_a_part_that_was_folded(tab: Page) -> None:
    tab.goto("about:blank")
    tab.set_content(f"<div id=out style='display: none'>{report()._repr_html_()}</div>")
    inner = tab.frames[1]
    inner.wait_for_selector("body[data-ready=yes]", state="attached", timeout=5000)
    tab.evaluate("document.getElementById('out').style.display = 'block'")
    inner.wait_for_selector("#curve svg")
    inner.locator("#curve svg").first.scroll_into_view_if_needed()
    tab.wait_for_timeout(100)
    width = inner.evaluate("document.getElementById('curve').clientWidth")
    assert width > 300
    assert inner.evaluate("document.querySelector('#curve svg').viewBox.baseVal.width") == width
