"""Brings the notebooks of ``tutorials/`` among the pages, with a page that lists them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

FOLDER = "tutorials"
LIST = """# Tutorials

{intro}

{entries}
```{{toctree}}
:hidden:

{names}
```
"""
INTRO = """Each is a notebook in the checkout's `tutorials` folder, stored without output and run when
these pages are built."""


def prose(notebook: dict[str, Any]) -> str:
    """What a notebook's text cells say."""
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def entry(name: str, notebook: dict[str, Any]) -> str:
    """The entry of the list: the title, and the first paragraph's whole sentences."""
    blocks = [block.strip() for block in prose(notebook).split("\n\n") if block.strip()]
    title = blocks[0].removeprefix("#").strip() if blocks else name
    first = next((block for block in blocks[1:] if not block.startswith(("#", "!", "|"))), "")
    sentences = re.match(r".*[.?!](?=\s|$)", " ".join(first.split()))  # not what leads to a list
    return f"[{title}]({name}.ipynb)\n: {sentences[0] if sentences else title}\n"


def at_home(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with links to ``../docs/`` as they are from a page's place."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\]\(\.\./docs/", "](../", "".join(cell["source"]))
    return notebook


def keep(path: Path, text: str) -> None:
    """Writes a file unless it says this already, so that Sphinx reads again only what changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def bring(app: Sphinx) -> None:
    """Fills ``tutorials`` beside the pages."""
    pages = Path(app.srcdir)
    target = pages / FOLDER
    target.mkdir(exist_ok=True)
    found = sorted((pages.parent / FOLDER).glob("[0-9]*.ipynb"))
    entries = []
    for path in found:
        notebook = at_home(json.loads(path.read_text(encoding="utf-8")))
        entries.append(entry(path.stem, notebook))
        keep(target / path.name, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    for old in set(target.glob("*.ipynb")) - {target / path.name for path in found}:
        old.unlink()
    names = "\n".join(path.stem for path in found)
    keep(target / "index.md", LIST.format(intro=INTRO, entries="\n".join(entries), names=names))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connects the copying."""
    app.connect("builder-inited", bring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
