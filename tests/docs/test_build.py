"""The pages build without a warning, and all that they link to and show exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, links, name_of, pages

METHODS = sorted((DOCS / "methods").glob("*.md"))
SECTIONS = (
    "The idea",
    "The formula",
    "In a picture",
    "When to use it",
    "What it cannot say",
    "Reference",
)
OUTSIDE = re.compile(r"(?:[a-z]+:)?//")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as HTML, without running notebooks or drawing pictures."""
    folder = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-D", "nb_execution_mode=off", "-D", "draw_pictures=0"]
    command += ["-D", "suppress_warnings=image.not_readable", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LANG": "C"})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Fetched(HTMLParser):
    """The addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "video", "source", "audio", "embed"):
            self.found.append(values.get("src") or "")
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.found.append(values.get("href") or "")


def fetched(text: str) -> list[str]:
    parser = Fetched()
    parser.feed(text)
    return parser.found


def test_pages_fetch_nothing_from_elsewhere(built: Path) -> None:
    found = sorted(built.rglob("*.html"))
    assert len(found) >= len(pages())
    for page in found:
        outside = [address for address in fetched(page.read_text()) if OUTSIDE.match(address)]
        assert not outside, f"{page.name}: {outside}"
    for sheet in built.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text())


def test_formulas_are_mathml(built: Path) -> None:
    for page in METHODS:
        html = (built / "methods" / f"{page.stem}.html").read_text()
        assert "<math" in html, f"{page.name} shows no formula"
        left = [name for name in ("\\frac", "\\sum", "\\mathbf") if name in html]
        assert not left, f"{page.name}: a formula stays LaTeX"


def test_a_fetched_address_is_found() -> None:
    text = '<p><script src="https://a.b/c.js"></script><a href="https://d"><img src="e.png"></a>'
    assert fetched(text) == ["https://a.b/c.js", "e.png"]


def drawn() -> set[str]:
    """The names of the pictures that a build draws."""
    source = "".join(path.read_text() for path in (DOCS / "pictures").glob("*.py"))
    return set(re.findall(r'^@picture\("([\w-]+)"', source, re.MULTILINE))


def broken(page: Path) -> Iterator[str]:
    """A page's links to what does not exist in the checkout."""
    text = page.read_text()
    for link in links(text):
        if OUTSIDE.match(link) or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if path.parent == DOCS / "_generated":
            if path.stem not in drawn():
                yield f"{link} is not drawn"
        elif path.is_relative_to(DOCS / "tutorials"):
            if not (path.name == "index.md" or (ROOT / "tutorials" / path.name).is_file()):
                yield f"{link} is no tutorial"
        elif not path.exists():
            yield f"{link} does not exist"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
            yield f"{link}: the page has no such heading"


WRITTEN = [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_links_and_pictures_exist(page: Path) -> None:
    assert not list(broken(page))


def test_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n\n[x](#a-b) [y](#c) ![z](z.png) `[n](n.md)` [w](https://w.org)\n")
    assert list(broken(page)) == ["#c: the page has no such heading", "z.png does not exist"]


def test_drawn_pictures_are_shown() -> None:
    shown = {
        Path(link).stem
        for page in pages()
        for link in links(page.read_text())
        if "_generated/" in link
    }
    assert shown == drawn()


@pytest.mark.parametrize("page", METHODS, ids=lambda page: page.stem)
def test_method_pages_are_complete(page: Path) -> None:
    text = page.read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert not [name for name in SECTIONS if name not in headings]
    assert headings[-1] == "Reference"
    assert "{cite:" in text.partition("## Reference")[2]
    assert any("_generated/" in link for link in links(text))


def test_there_are_nine_methods() -> None:
    assert len(METHODS) == 9
