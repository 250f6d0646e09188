"""Formulas as MathML, which browsers show without a script or a font from elsewhere."""

from __future__ import annotations

import html
import re

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
SPELLINGS = {
    r"\\([td]?frac)\s*(\d)\s*(\d)": r"\\\1{\2}{\3}",
    r"\\[Bb]igg?(?![A-Za-z])": "",  # brackets of a formula on its own line grow anyway
    r"\\dots(?![A-Za-z])": r"\\ldots",
}


def mathml(node: nodes.math | nodes.math_block) -> str:
    """A formula as a ``math`` element; one that cannot be converted warns and stays as it is."""
    latex = node.astext()
    for pattern, spelling in SPELLINGS.items():
        latex = re.sub(pattern, spelling, latex)
    try:
        element: str = latex2mathml.tex2mathml(latex, isinstance(node, nodes.math_block))
    except MathError as error:
        logger.warning("%r is not converted: %s", latex, error, location=node, type="mathml")
        return f"<code>{html.escape(latex)}</code>"
    return element


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Writes a formula within a line."""
    self.body.append(self.starttag(node, "span", "", CLASS="math"))
    self.body.append(mathml(node) + "</span>")
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Writes a formula of its own line, with its number if it has a label."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(mathml(node) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Makes ``html_math_renderer = "mathml"`` known."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
