"""Draws the pictures of the method pages before a build reads them (``-D draw_pictures=0``: not)."""

from __future__ import annotations

from pathlib import Path

import pictures
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)


def draw(app: Sphinx) -> None:
    """Fills ``_generated`` beside the pages."""
    if app.config.draw_pictures:
        drawn = pictures.draw_all(Path(app.srcdir) / "_generated")
        logger.info("drawing pictures: %s", ", ".join(drawn) or "all are up to date")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connects the drawing."""
    app.add_config_value("draw_pictures", True, "", types=(bool,))
    app.connect("builder-inited", draw)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
