"""What the controls of the page do: by mouse, by finger, by key, and in time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.visualization.report_browser import (
    DESK,
    PHONE,
    SIGNS,
    TOTAL,
    at,
    clip,
    drawn,
    maps,
    open_page,
    report,
    settle,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = pytest.mark.parametrize("size", [DESK, PHONE])


def playing(page: Page) -> bool:
    text = page.locator("#play").inner_text()
    assert text in ("Play", "Pause")
    return text == "Pause"


def check(page: Page, frame: int) -> None:
    """The page stands still at a frame, says so, and shows it."""
    assert not playing(page)
    assert at(page) == frame
    assert page.locator("#spoken").inner_text() == page.locator("#time").inner_text()
    assert np.array_equal(drawn(page)["frames"], clip()[frame])
    for number, other in enumerate(page.locator("#curve .now").all()):
        axis = page.evaluate("axes.x(state.frame)")
        for end in ("x1", "x2"):  # upright
            assert float(other.get_attribute(end) or "nan") == axis, number


@SIZES
def test_slider_by_mouse_and_keys(tab: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    open_page(tab, report(), tmp_path, size)
    check(tab, 0)
    box = tab.locator("#frame").bounding_box()
    assert box is not None
    tab.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    check(tab, TOTAL - 1)
    tab.mouse.move(box["x"] + box["width"] - 9, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2 + box["width"] / 11, box["y"] + 10, steps=4)
    tab.mouse.up()
    check(tab, 3)
    for key, frame in (
        ("ArrowLeft", 2), ("ArrowDown", 1), ("ArrowRight", 2), ("ArrowUp", 3), ("Home", 0),
        ("ArrowLeft", 0), ("End", 5), ("ArrowRight", 5), ("PageDown", 4),
    ):  # fmt: skip
        tab.keyboard.press(key)
        check(tab, frame)
    tab.keyboard.press("Space")  # the slider has no use for it
    assert playing(tab)
    tab.keyboard.press("Space")
    assert not playing(tab)


def test_keys_anywhere(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    for key, frame in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 5)):
        tab.keyboard.press(key)
        check(tab, frame)
    tab.locator("#curve").focus()
    tab.keyboard.press("Home")
    check(tab, 0)
    tab.keyboard.press("Control+ArrowRight")
    check(tab, 0)
    tab.locator("#on").focus()
    tab.keyboard.press("ArrowRight")
    check(tab, 1)
    before = tab.evaluate("scrollY")
    tab.locator("#curve").focus()
    tab.keyboard.press("Space")
    assert playing(tab)
    tab.keyboard.press("Space")
    assert not playing(tab)
    assert tab.evaluate("scrollY") == before


def test_keys_of_other_controls_are_theirs(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    tab.locator("#opacity").focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#opacity").input_value() == "84"
    tab.keyboard.press("Home")
    assert tab.locator("#opacity").input_value() == "0"
    tab.locator("#sign").focus()
    tab.keyboard.press("ArrowDown")
    assert tab.locator("#sign").input_value() == "positive"
    tab.locator("#shown input").first.focus()
    tab.keyboard.press("Space")
    assert not tab.locator("#shown input").first.is_checked()
    assert at(tab) == 0
    assert not playing(tab)


@SIZES
def test_buttons(tab: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    open_page(tab, report(), tmp_path, size)
    for name, frame in (("#on", 1), ("#on", 2), ("#back", 1), ("#back", 0), ("#back", 0)):
        tab.click(name)
        check(tab, frame)


@SIZES
def test_panels_are_hidden_and_shown(tab: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    open_page(tab, report(), tmp_path, size)
    everything = ["frames", *maps("left"), "bones"]
    tab.locator("#shown label", has_text="temporal").click()
    assert list(drawn(tab)) == [name for name in everything if name != "temporal"]
    tab.select_option("#target", label="right")
    tab.wait_for_selector("#panels:not([aria-busy])")
    assert "temporal" not in drawn(tab)  # what is hidden stays so
    tab.keyboard.press("End")
    tab.locator("#frame").fill("4")
    tab.locator("#shown label", has_text="temporal").click()
    shown = drawn(tab)
    assert list(shown) == everything
    tab.locator("#frame").fill("0")
    tab.locator("#frame").fill("4")
    assert np.array_equal(drawn(tab)["temporal"], shown["temporal"])


@SIZES
def test_a_click_on_the_curve(tab: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    open_page(tab, report(), tmp_path, size)
    for picture in tab.locator("#curve svg").all():  # sums, and below them the attention
        for frame in (3, 0, 5, 1):
            picture.click(position={"x": tab.evaluate(f"axes.x({frame})") + 3, "y": 40})
            check(tab, frame)
        picture.click(position={"x": 1, "y": 40})
        check(tab, 0)
        picture.click(position={"x": tab.evaluate("axes.x(5)") + 8, "y": 40})
        check(tab, TOTAL - 1)


def test_the_curve_follows_the_width(tab: Page, tmp_path: Path) -> None:
    open_page(tab, report(), tmp_path)
    for width in (700, 390):
        tab.set_viewport_size({"width": width, "height": 800})
        settle(tab)
        drawn_for = tab.evaluate("document.querySelector('#curve svg').viewBox.baseVal.width")
        assert drawn_for == tab.evaluate("document.getElementById('curve').clientWidth")
        assert drawn_for < width
        picture = tab.locator("#curve svg").first
        picture.click(position={"x": tab.evaluate("axes.x(2)"), "y": 40})
        check(tab, 2)
        tab.click("#back")


@pytest.mark.parametrize("sign", list(SIGNS))
def test_lines_and_the_frames_with_most(tab: Page, tmp_path: Path, sign: str) -> None:
    open_page(tab, report(), tmp_path)
    tab.select_option("#sign", sign)
    lines = {name: SIGNS[sign](values).sum((1, 2)) for name, values in maps("left").items()}
    lines["attention"] = np.array([0.05, 0.1, 0.2, 0.1, 0.5, 0.05])
    drawn_lines = tab.locator("#curve polyline")
    assert drawn_lines.count() == len(lines)
    entries = tab.locator("#legend li").all()
    for number, (name, values) in enumerate(lines.items()):
        line = drawn_lines.nth(number)
        assert line.get_attribute("data-line") == name
        points = [pair.split(",") for pair in (line.get_attribute("points") or "").split()]
        heights = -np.array([float(y) for _, y in points])
        # y falls as values grow; the axis is one for all lines of a picture
        assert np.allclose(np.corrcoef(heights, values), 1)
        for look in ("stroke", "stroke-dasharray"):  # the legend shows the very line
            assert line.get_attribute(look) == entries[number].locator("line").get_attribute(look)
        buttons = entries[number].locator("button")
        order = np.argsort(-np.abs(values), kind="stable")[:3]
        assert buttons.all_inner_texts() == [str(3 * frame) for frame in order]
        if number == 0:
            tab.click("#play")
        for place, frame in enumerate(order):
            buttons.nth(place).click()
            check(tab, int(frame))
