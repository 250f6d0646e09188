"""The page in time, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.browser import browser_page
from tests.visualization.report_browser import TOTAL, at, clip, drawn, fresh, report

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def first() -> Iterator[Page]:
    with browser_page() as page:
        yield page


@pytest.fixture
def tab(first: Page) -> Iterator[Page]:
    """A page of its own, where time stands still."""
    with fresh(first) as (page, errors):
        page.clock.install(time=0)
        yield page
        assert not errors


def open_still(page: Page, path: Path, fps: float) -> None:
    page.goto(report(fps=fps).save(path / "page.html").as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    page.clock.pause_at(1_000_000)


def test_playing_keeps_time(tab: Page, tmp_path: Path) -> None:
    open_still(tab, tmp_path, fps=4)
    tab.clock.run_for(5_000)
    assert at(tab) == 0  # it never starts by itself
    spoken = tab.locator("#spoken").inner_text()
    tab.locator("#frame").press("Home")
    tab.click("#play")
    assert tab.locator("#play").inner_text() == "Pause"
    tab.clock.run_for(120)  # as frames of a screen may come up to 16 ms late
    for step in range(8):
        assert at(tab) == step % TOTAL
        assert np.array_equal(drawn(tab)["frames"], clip()[step % TOTAL])
        assert tab.locator("#spoken").inner_text() == spoken  # silent while it plays
        tab.clock.run_for(250)
    assert at(tab) == 8 - TOTAL
    tab.click("#play")
    assert tab.locator("#play").inner_text() == "Play"
    assert tab.locator("#spoken").inner_text() == "frame 6, 3 of 6"
    tab.clock.run_for(2_000)
    assert at(tab) == 8 - TOTAL


@pytest.mark.parametrize(("speed", "frames"), [("0.25", 5), ("0.5", 10), ("1", 20), ("2", 40)])
def test_speed(tab: Page, tmp_path: Path, speed: str, frames: int) -> None:
    open_still(tab, tmp_path, fps=100)  # faster than a screen
    tab.select_option("#speed", speed)
    tab.click("#play")
    tab.evaluate("var gone = 0; const jump = goTo; goTo = (frame) => {"
                 " gone += (frame - state.frame + total) % total; jump(frame); }")  # fmt: skip
    tab.clock.run_for(200)
    assert tab.evaluate("gone") in (frames - 3, frames - 2, frames - 1, frames)
    before = tab.evaluate("gone")
    tab.clock.run_for(2_000)
    assert abs(tab.evaluate("gone") - before - 10 * frames) <= 4


def test_a_slow_machine_leaves_frames_out_but_no_time(tab: Page, tmp_path: Path) -> None:
    open_still(tab, tmp_path, fps=20)
    tab.click("#play")
    tab.clock.run_for(30)
    assert at(tab) == 0
    tab.clock.fast_forward(200)  # four frames' time with nothing drawn
    tab.clock.run_for(5)
    assert at(tab) == 4
    tab.clock.fast_forward(60_120)  # a tab that nobody looked at
    tab.clock.run_for(5)
    assert at(tab) == 5
    tab.clock.run_for(70)
    assert at(tab) == 0


@pytest.mark.parametrize("press", ["#on", "#back", "#frame", "svg", "#legend button"])
def test_a_jump_stops_the_clip(tab: Page, tmp_path: Path, press: str) -> None:
    open_still(tab, tmp_path, fps=4)
    tab.click("#play")
    tab.clock.run_for(600)
    tab.locator(press).first.click()
    assert tab.locator("#play").inner_text() == "Play"
    now = at(tab)
    assert tab.locator("#spoken").inner_text() == tab.locator("#time").inner_text()
    tab.clock.run_for(2_000)
    assert at(tab) == now


def test_a_view_changes_while_it_plays(tab: Page, tmp_path: Path) -> None:
    open_still(tab, tmp_path, fps=4)
    tab.click("#play")
    tab.clock.run_for(300)
    tab.select_option("#sign", "negative")
    tab.select_option("#target", label="right")
    tab.wait_for_selector("#panels:not([aria-busy])")
    assert tab.locator("#play").inner_text() == "Pause"
    tab.clock.run_for(500)
    assert at(tab) == 3
    assert np.array_equal(drawn(tab)["frames"], clip()[3])
