"""A browser for what is written for browsers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser import browser_page

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One tab for a module's tests; without a browser they are skipped."""
    with browser_page() as page:
        yield page
