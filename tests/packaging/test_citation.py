"""How to cite the software."""

from __future__ import annotations

import re
from typing import Any

import pytest

import captum_video
from tests.packaging.clean import ROOT

yaml = pytest.importorskip("yaml")
#: of version 1.2.0 of the Citation File Format, as far as they are used
KEYS = {
    *("cff-version", "message", "title", "abstract", "type", "version", "license", "authors"),
    *("keywords", "references"),
}
REFERENCE_KEYS = {
    *("type", "title", "authors", "year", "identifiers", "notes", "conference", "institution"),
}
PERSON_KEYS = {"given-names", "family-names", "name-particle"}


@pytest.fixture(scope="module")
def citation() -> Any:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_software(citation: Any) -> None:
    assert set(citation) == KEYS
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["title"] == "captum-video"
    assert citation["version"] == captum_video.__version__
    project = (ROOT / "pyproject.toml").read_text()
    assert f'license = "{citation["license"]}"' in project
    (author,) = citation["authors"]
    assert f'authors = [{{ name = "{author["name"]}" }}]' in project
    assert all(f'"{word}"' in project for word in citation["keywords"])
    assert author["name"].lower() in (ROOT / "LICENSE").read_text().lower()


def test_the_papers(citation: Any) -> None:
    assert len(citation["references"]) == 5
    for paper in citation["references"]:
        assert set(paper) <= REFERENCE_KEYS
        assert {"type", "title", "authors", "year", "notes"} <= set(paper)
        assert paper["type"] in {"article", "conference-paper", "report", "unpublished"}
        assert isinstance(paper["year"], int)
        for person in paper["authors"]:
            assert set(person) <= PERSON_KEYS
            assert {"given-names", "family-names"} <= set(person)
        for identifier in paper.get("identifiers", ()):
            assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", identifier["value"])


def test_the_documentation_says_the_same(citation: Any) -> None:
    bibliography = ROOT / "docs" / "references.bib"
    text = re.sub(r"[{}]", "", bibliography.read_text(encoding="utf-8"))
    for paper in citation["references"]:
        assert paper["title"] in text
        for identifier in paper.get("identifiers", ()):
            assert identifier["value"].removeprefix("arXiv:") in text
        for person in paper["authors"]:
            name = person["family-names"]
            assert name in text or not name.isascii()  # BibTeX writes accents in its own way
