"""What is public is in the API reference, and a page or a tutorial says what it is for."""

from __future__ import annotations

import importlib
import json
import re
from functools import cache

import pytest

from tests.docs.pages import DOCS, ROOT, pages

ROOMS = ("", "attr", "io", "layers", "metrics", "nn", "visualization")


def public() -> list[str]:
    """The dotted names that rooms export, each once: where the package itself has it, only there."""
    found: dict[str, str] = {}
    for room in ROOMS:
        module = f"captum_video.{room}".rstrip(".")
        for name in importlib.import_module(module).__all__:
            found.setdefault(name, f"{module}.{name}")
    return sorted(found.values())


@cache
def said() -> str:
    """All that pages and tutorials say, but for the reference."""
    texts = [page.read_text() for page in pages() if page != DOCS / "api.md"]
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        texts += ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    return "\n".join(texts)


@pytest.mark.parametrize("name", public())
def test_public_names_are_in_the_reference(name: str) -> None:
    text = (DOCS / "api.md").read_text()
    assert re.search(rf"\b{name.rsplit('.')[-1]}\b", text), f"docs/api.md does not list {name}"


@pytest.mark.parametrize("name", public())
def test_public_names_are_explained_somewhere(name: str) -> None:
    short = name.rsplit(".")[-1]
    assert re.search(rf"\b{short}\b", said()), f"no page or tutorial mentions {name}"
