"""A report page in a real browser: what the tests of its player share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_video.visualization import Report
from tests.visualization.pages import noise

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

TOTAL, HEIGHT, WIDTH = 6, 20, 28
DESK, PHONE = (1280, 800), (390, 844)
SIGNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all": lambda values: values,
    "positive": lambda values: values.clip(min=0),
    "negative": lambda values: values.clip(max=0),
    "absolute": np.abs,
}
_READ = """() => Object.fromEntries(
  [...document.querySelectorAll("#panels figure:not([hidden]) canvas")].map((canvas) => {
    const whole = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.dataset.panel, [canvas.height, canvas.width, Array.from(whole.data)]];
  }))"""


@cache
def clip() -> np.ndarray:
    """Frames of all brightnesses."""
    generator = np.random.default_rng(3)
    return generator.integers(0, 256, (TOTAL, HEIGHT, WIDTH, 3), dtype=np.uint8)


@cache
def bones() -> np.ndarray:
    """A panel of another size."""
    generator = np.random.default_rng(4)
    return generator.integers(0, 256, (TOTAL, 15, 9, 3), dtype=np.uint8)


@cache
def maps(target: str) -> dict[str, np.ndarray]:
    """What explains a target: two maps of different strength, none like another."""
    seed = 10 if target == "left" else 20
    first, second = (noise(TOTAL, HEIGHT, WIDTH, seed + i).double().numpy() for i in range(2))
    return {"total": first, "temporal": 0.3 * second}


def report(**options: Any) -> Report:
    """Two targets, two maps each, a curve, a panel and a table."""
    given = {"fps": 5.0, "title": "Two ways", "labels": [str(3 * i) for i in range(TOTAL)]}
    made = Report(clip(), **{**given, **options}).panel("bones", bones())
    made.add(maps("left"), "left", note="It was the motion.", curves={"attention": attention()})
    made.add(maps("right"), "right")
    rows = [{"class": "left", "probability": 0.75}, {"class": "right", "probability": 0.25}]
    return made.table("Prediction", rows, targets=["left", "right"])


def attention() -> list[float]:
    """A number per frame that is largest in the frame 4."""
    return [0.05, 0.1, 0.2, 0.1, 0.5, 0.05]


def open_page(tab: Page, made: Report, folder: Path, size: tuple[int, int] = DESK) -> None:
    """Saves a page and opens the file.

    Args:
        tab: the browser's page.
        made: the report.
        folder: where the file goes.
        size: of the window.
    """
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    tab.goto(made.save(folder / "page.html").as_uri())
    tab.wait_for_selector("body[data-ready=yes]")


def drawn(tab: Page | Frame) -> dict[str, np.ndarray]:
    """What the panels show, by name: (H, W, 3)."""
    found = {}
    for name, (height, width, values) in tab.evaluate(_READ).items():
        shown = np.array(values, dtype=np.int64).reshape(height, width, 4)
        assert (shown[..., 3] == 255).all()
        found[name] = shown[..., :3]
    return found


def at(tab: Page | Frame) -> int:
    """The frame that the page says it shows, which all its parts agree on."""
    text = tab.locator("#time").inner_text()
    number = int(tab.locator("#frame").input_value())
    label = tab.evaluate("content.labels")[number]
    assert text == f"frame {label}, {number + 1} of {tab.evaluate('content.labels.length')}"
    assert tab.locator("#frame").get_attribute("aria-valuetext") == text
    curve = tab.locator("#curve")
    if curve.is_visible():
        assert curve.get_attribute("aria-valuenow") == str(number)
        assert (curve.get_attribute("aria-valuetext") or "").startswith(text)
    return number


def settle(tab: Page | Frame) -> None:
    """Waits until what observers of sizes do is done."""
    tab.evaluate(
        "() => new Promise((done) => { let left = 4;"
        " const next = () => (left -= 1) ? requestAnimationFrame(next) : done(); next(); })"
    )


@contextmanager
def fresh(tab: Page, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page without a past in the same browser.

    Args:
        tab: a page of that browser.
        **options: of the new context.

    Yields:
        The page, and the errors that it logs.
    """
    browser = tab.context.browser
    assert browser is not None
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page, errors
    context.close()
