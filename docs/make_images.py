"""Draws the committed pictures again, ``python docs/make_images.py``: the README's, and a diagnosis.

The pictures of the method pages are drawn when the pages are built (``docs/pictures``), those of
studies by the studies' own commands, which their pages name.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pictures import shrink

from models import demo, diagnose

IMAGES = Path(__file__).parent / "images"


def real_clip(folder: Path) -> None:
    """The strip that the demo writes."""
    status = demo.main(["--output", str(folder)])
    if status:
        raise SystemExit(status)
    (strip,) = folder.glob("*/strip.png")
    shrink(strip, IMAGES / "strip.png", 1400)


def diagnosis(folder: Path) -> None:
    """What the diagnosis of the bundled net shows."""
    if diagnose.main(["res_tcn_small", "--output", str(folder), "--quiet"]):
        raise SystemExit(1)
    shrink(folder / "amplification.png", IMAGES / "diagnosis-amplification.png", 1000)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        real_clip(Path(scratch) / "demo")
        diagnosis(Path(scratch) / "diagnosis")
