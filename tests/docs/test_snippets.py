"""The Python code of every page runs, block after block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.pages import blocks, name_of, pages
from tests.docs.prepared import PREPARED

SMALLER = {  # the same code on smaller frames and fewer clips, as whole pages take minutes
    "112, 112": "32, 32",
    "for channel in (9, 12)": "for channel in (9,)",
    "[i] for i in range(16)": "[i] for i in range(8)",
}
WITH_CODE = [
    page for page in pages() if any(b.language == "python" for b in blocks(page.read_text()))
]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_python_blocks_run(page: Path, workplace: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    if (prepare := PREPARED.get(name_of(page))) is not None:
        prepare(workplace)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks(page.read_text()):
            if block.language != "python" or block.excuse:
                continue
            code = block.code
            for large, small in SMALLER.items():
                code = code.replace(large, small)
            # blank lines before it, so that a traceback names the page's line
            exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), namespace)


def test_pages_have_code_and_few_blocks_are_left_out() -> None:
    found = [b for page in pages() for b in blocks(page.read_text()) if b.language == "python"]
    excused = [block for block in found if block.excuse]
    assert len(found) >= 40
    assert len(excused) <= len(found) / 10, [block.excuse for block in excused]


def test_blocks_are_found_with_their_lines_and_excuses() -> None:
    text = "a\n\n```python\nx = 1\n```\n\n<!-- not run: no file -->\n```python\ny\n```\n\n- b\n\n"
    text += "  ```shell\n  ls\n  ```\n"
    first, second, third = blocks(text)
    assert (first.line, first.language, first.code, first.excuse) == (4, "python", "x = 1\n", "")
    assert (second.line, second.code, second.excuse) == (9, "y\n", "no file")
    assert (third.line, third.language, third.code.strip()) == (15, "shell", "ls")
