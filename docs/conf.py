from importlib.metadata import version as installed_version

project = "captum-video"
copyright = "2026, the captum-video developers"
version = release = installed_version("captum-video")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "captum-video"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True
exclude_patterns = ["_build"]
