from importlib.metadata import version as installed_version

project = "captum-video"
copyright = "2026, the captum-video developers"
version = release = installed_version("captum-video")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
]
html_theme = "furo"
html_title = "captum-video"
exclude_patterns = ["_build"]
suppress_warnings = ["toc.glob"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
