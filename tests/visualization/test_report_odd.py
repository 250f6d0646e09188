"""Odd clips, odd names and broken files, in a browser."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from captum_video.visualization import Report, overlay
from tests.visualization.pages import content_of, frames, noise
from tests.visualization.report_browser import at, drawn, fresh, open_page, report
from tests.visualization.test_report import NASTY, nasty_report

if TYPE_CHECKING:
    from playwright.sync_api import Page


def quietly(made: Callable[[], Report]) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made()


def three() -> Report:
    made = Report(frames(9, 5, 6))
    for number in range(3):
        made.add({f"m{i}": noise(9, 5, 6, 10 * number + i) for i in range(number + 1)}, number)
    return made


ODD = {
    "one frame": lambda: Report(frames(1)).add(noise(1), curves={"c": [3.0]}),
    "two frames": lambda: Report(frames(2)).add(noise(2)),
    "one pixel": lambda: Report(frames(3, 1, 1).transpose(0, 3, 1, 2)).add(noise(3, 1, 1)),
    "one row": lambda: Report(frames(3, 1, 9).transpose(0, 3, 1, 2)).add(noise(3, 1, 9)),
    "one column": lambda: Report(frames(3, 9, 1)).add(noise(3, 9, 1)),
    "three targets": three,
    "curves alone": lambda: Report(frames()).add({}, curves={"c": [1, -2, 3, 0]}),
    "a flat curve": lambda: Report(frames()).add({}, curves={"c": [0, 0, 0, 0]}),
    "a panel alone": lambda: Report(frames()).panel("p", frames(4, 2, 50)),
    "zeros": lambda: Report(frames()).add({"a": 0 * noise(), "b": 0 * noise()}, "left"),
    "zeros beside": lambda: Report(frames()).add({"a": noise(), "b": 0 * noise()}),
    "one sign": lambda: Report(frames()).add(-noise().abs()),
    "tiny numbers": lambda: Report(frames()).add(1e-300 * noise().double()),
    "huge numbers": lambda: Report(frames()).add(1e300 * noise().double()),
    "no whole fps": lambda: Report(frames(), fps=1e-3).add(noise()),
    "a grey clip": lambda: Report(frames()[..., :1]).add(noise()),
    "no words": lambda: Report(frames(), title="", labels=[""] * 4, caption="").add(noise()),
    "many frames": lambda: Report(frames(300, 4, 5), fps=60).add(noise(300, 4, 5)),
    "many maps": lambda: Report(frames()).add({f"m{i}": noise(seed=i) for i in range(14)}),
}


@pytest.mark.parametrize("name", list(ODD))
def test_odd_clips(tab: Page, tmp_path: Path, name: str) -> None:
    made = quietly(ODD[name])
    open_page(tab, made, tmp_path)
    last = len(made.frames) - 1
    targets = content_of(tab.content())["targets"]
    for number, target in enumerate(targets or [{"maps": []}]):
        if len(targets) > 1:
            tab.select_option("#target", index=number)
            tab.wait_for_selector("#panels:not([aria-busy])")
        assert tab.locator("#targets").is_visible() == (len(targets) > 1)
        for control in ("opacity", "sign", "background", "palette"):
            assert tab.locator(f"#{control}").is_visible() == bool(target["maps"])
        for sign in ("negative", "absolute", "positive", "all") if target["maps"] else ():
            tab.select_option("#sign", sign)
        for background in ("none", "colour", "grey") if target["maps"] else ():
            tab.select_option("#background", background)
        for key, frame in (("End", last), ("Home", 0), ("ArrowRight", min(1, last))):
            tab.locator("#frame").press(key)
            if name != "no words":
                assert at(tab) == frame
            shown = drawn(tab)
            assert np.array_equal(shown["frames"], made.frames[frame])
            panels = ["p"] if name == "a panel alone" else []
            assert list(shown) == ["frames", *(one["name"] for one in target["maps"]), *panels]
    tab.click("#play")
    tab.wait_for_timeout(60)
    tab.click("#play")
    tab.locator("#legend button").first.click() if tab.locator("#legend button").count() else None
    if tab.locator("#curve").is_visible():
        tab.locator("#curve svg").first.click()
    assert "NaN" not in tab.inner_text("main")
    assert "undefined" not in tab.inner_text("main")
    assert not tab.locator("#notice").is_visible()


def test_maps_of_zeros_show_the_plain_frames(tab: Page, tmp_path: Path) -> None:
    open_page(tab, quietly(ODD["zeros"]), tmp_path)
    shown = drawn(tab)
    assert np.array_equal(shown["a"], frames()[0])
    assert np.array_equal(shown["b"], frames()[0])
    told = tab.inner_text("#explained")
    assert told == "Explained: left. All its maps are zero: the plain frames are shown."
    assert not tab.locator("#scale").is_visible()
    tab.select_option("#background", "none")
    assert (drawn(tab)["a"] >= 250).all()  # neutral


def test_a_map_of_zeros_among_others_shows_the_plain_frames(tab: Page, tmp_path: Path) -> None:
    open_page(tab, quietly(ODD["zeros beside"]), tmp_path)
    shown = drawn(tab)
    assert np.array_equal(shown["b"], frames()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(shown["b"], overlay(frames(), 0 * noise())[0])
    assert not np.array_equal(shown["a"], frames()[0])
    assert tab.inner_text("#explained") == "b is zero: the plain frames are shown."
    made = quietly(lambda: Report(frames()).add({"a": noise(), "b": 0 * noise(), "c": 0 * noise()}))
    open_page(tab, made, tmp_path)
    assert tab.inner_text("#explained") == "b, c are zero: the plain frames are shown."


def test_the_rows_that_are_explained(tab: Page, tmp_path: Path) -> None:
    names = ["crane (bird)", "crane (machine)", "3"]
    rows = [{"rank": i + 1, "class": name} for i, name in enumerate(["crane", "crane", "three"])]
    made = Report(frames())
    made.table("Look", rows, targets=[*names[:2], 3]).table("All", rows, targets=[None, *names[1:]])
    made.table("Guess", [{"class": name} for name in names])
    for name in [*names, "null"]:  # what stands for no target is not called null
        made.add(noise(), name)
    open_page(tab, made, tmp_path)
    wanted = [[(0, 0)], [(0, 1), (1, 1)], [(0, 2), (1, 2)], []]
    for number, places in enumerate(wanted):
        tab.select_option("#target", index=number)
        tab.wait_for_selector("#panels:not([aria-busy])")
        for mark in (".explained", "[aria-current=true]"):
            found = tab.evaluate(
                f"[...document.querySelectorAll('#tables tbody tr{mark}')].map((row) => ["
                "[...document.querySelectorAll('#tables table')].indexOf(row.closest('table')),"
                " row.sectionRowIndex])"
            )
            assert [tuple(place) for place in found] == places


def test_a_row_may_stand_for_a_target_without_a_name(tab: Page, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"class": ""}, {"class": "x"}, {"class": None}]
    open_page(
        tab, Report(frames()).add(noise()).table("t", rows, targets=[None, "", None]), tmp_path
    )
    assert tab.locator("#tables tr.explained td").all_inner_texts() == ["x"]


@pytest.mark.parametrize("text", NASTY)
def test_words_are_shown_as_they_are(tab: Page, tmp_path: Path, text: str) -> None:
    open_page(tab, nasty_report(text), tmp_path)
    assert tab.evaluate("document.images.length + document.scripts.length") == 2
    assert tab.title() == " ".join(text.replace("\t", " ").split("\n"))
    texts = "() => [...document.querySelectorAll(%s)].map((one) => one.textContent)"
    for place, expected in (
        ("'h1'", [text]),
        ("'dt'", ["method", text]),
        ("'dd'", [text, text]),
        ("'figcaption'", ["frames", text, text + "p"]),
        ("'#shown label'", ["frames", text, text + "p"]),
        ("'caption'", [text]),
        ("'th'", [text, "n"]),
        ("'td'", [text, "3"]),
        ("'#explained'", [f"Explained: {text}. {text}"]),
        ("'#target option'", [text]),
        ("'#downloads button:first-child'", [f"{text} (.npy)"]),
    ):
        assert tab.evaluate(texts % place) == expected, place
    canvases = (
        "() => [...document.querySelectorAll('canvas[aria-label]')].map((one) => one.ariaLabel)"
    )
    assert tab.evaluate(canvases) == ["frames", text, text + "p"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1234567"), (0.123456, "0.1235"), (123456.7, "123457"), (-2.5e-9, "-2.5e-9"),
     (2.0, "2"), (2**60, str(2**60)), (None, ""), (True, "True"), ("007", "007")],
)  # fmt: skip
def test_numbers_of_tables(tab: Page, tmp_path: Path, value: object, shown: str) -> None:
    open_page(tab, report().table("t", [{"a": "x", "b": value}]), tmp_path)
    assert tab.locator("#tables table").last.locator("td").all_inner_texts() == ["x", shown]


BROKEN = {
    "a picture": (r'("frames": \["data:image/png;base64,)[^"]{40}', r"\1" + "AAAA" * 10),
    "a map": (r'("values": ")[^"]{8}', r"\1AAAAAAAA"),
    "half a map": (r'("values": ")[^"]*"', r'\1eJwDAAAAAAE="'),
    "the content": (r'("levels": )\d+', r"\1 oops"),
}


@pytest.mark.parametrize("part", list(BROKEN))
def test_a_damaged_page_says_so(tab: Page, tmp_path: Path, part: str) -> None:
    found, wrong = BROKEN[part]
    broken, count = re.subn(found, wrong, report().html(), count=1)
    assert count == 1
    (tmp_path / "page.html").write_text(broken, encoding="utf-8")
    with fresh(tab) as (page, errors):
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("#notice:not([hidden])", timeout=5000)
        told = page.inner_text("#notice")
        assert told.startswith("This page could not be shown (")
        assert "unknown" not in told
        assert told.endswith("). The file may be damaged, or the browser older than 2023.")
        assert page.inner_text("h1") == "Two ways"
        assert errors


def test_a_damaged_map_of_another_target_says_so(tab: Page, tmp_path: Path) -> None:
    page = report().html()
    second = content_of(page)["targets"][1]["maps"][0]["values"]
    (tmp_path / "page.html").write_text(page.replace(second, "eJwDAAAAAAE="), encoding="utf-8")
    tab.goto((tmp_path / "page.html").as_uri())
    tab.wait_for_selector("body[data-ready=yes]")
    assert not tab.locator("#notice").is_visible()
    tab.select_option("#target", label="right")
    tab.wait_for_selector("#notice:not([hidden])")
    assert "(the map total is incomplete)" in tab.inner_text("#notice")


def test_without_scripts_the_words_are_there(tab: Page, tmp_path: Path) -> None:
    path = report(caption="What it means.").save(tmp_path / "page.html")
    with fresh(tab, java_script_enabled=False) as (page, _):
        page.goto(path.as_uri())
        assert page.inner_text("h1") == "Two ways"
        assert page.inner_text("noscript").startswith("This page plays its frames with JavaScript")
        assert page.locator("#meaning p").inner_text() == "What it means."
