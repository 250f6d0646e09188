"""The pages: where they are, and the blocks of code and links in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BUILT = {"_build", "_generated", "tutorials"}  # made by a build, in a checkout that had one
FENCE = re.compile(r"^( *)```([\w{}-]*)[ \t]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- not run: (.+?) -->\s*\Z")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        line: of its first line of code, from 1.
        language: as written after the fence.
        code: what stands in it, without the indent.
        excuse: why it is not run, from the comment before it; empty if it is.
    """

    line: int
    language: str
    code: str
    excuse: str


def pages() -> list[Path]:
    """README.md and all pages of docs/ that are written by hand."""
    written = (p for p in DOCS.rglob("*.md") if not BUILT & set(p.relative_to(DOCS).parts))
    return [ROOT / "README.md", *sorted(written)]


def name_of(page: Path) -> str:
    """The page's path in the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(text):
        indent, language, code = match.groups()
        if indent:
            code = "\n".join(line.removeprefix(indent) for line in code.split("\n"))
        mark = MARK.search(text[: match.start()])
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(line, language, code, mark[1] if mark else ""))
    return found


def commands(block: Block) -> list[list[str]]:
    """The command lines of a shell block, split into words; comments and output are left out."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found = (shlex.split(line, comments=True) for line in lines)
    return [words for words in found if words]


def without_code(text: str) -> str:
    """A page's prose: fenced blocks and code within lines are blanked."""
    return re.sub(r"`[^`\n]+`", "``", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """Targets of a page's links and pictures, outside of code."""
    return re.findall(r"\]\(\s*<?([^)\s>]+)>?\s*\)", without_code(text))


def anchors(text: str) -> set[str]:
    """The names under which a page's headings can be linked, as GitHub and MyST form them."""
    headings = re.findall(r"^#+ +(.*?)\s*$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
