"""A real browser that opens what we write, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_INSIDE = {"data", "blob", "about"}  # what a page brings along itself


def chromium() -> str:
    """The browser's program; skips the test where there is none, or nothing to drive it with."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on the PATH")
    return program


@contextmanager
def browser_page(width: int = 1000, height: int = 800) -> Iterator[Page]:
    """A page of a fresh headless Chromium that has to stay silent and offline.

    At the end of the block it must have logged no error, thrown no exception, and asked for nothing
    but the files that the test itself opened (``page.goto(path.as_uri())``) and what lies inside
    them. The network is off in any case.

    Args:
        width: of the window, in pixels.
        height: of the window, in pixels.

    Yields:
        Playwright's page.
    """
    program = chromium()
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    requests: list[str] = []

    def logged(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    def requested(request: Request) -> None:
        scheme = urlsplit(request.url).scheme
        opened = request.is_navigation_request() and request.frame.parent_frame is None
        if scheme not in _INSIDE and not (scheme == "file" and opened):
            requests.append(request.url)

    with sync_playwright() as player:
        # no sandbox: it needs rights that a container does not give
        browser = player.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
            page = context.new_page()
            page.on("console", logged)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", requested)
            yield page
        finally:
            browser.close()
    assert not requests + errors, f"the page asked for {requests} and logged errors: {errors}"
