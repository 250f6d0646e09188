import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_extensions")]

project = "captum-video"
copyright = "2026, the captum-video developers"
version = release = installed_version("captum-video")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "drawn",
    "mathml",
    "notebooks",
]
exclude_patterns = ["_build", "_generated"]

html_theme = "furo"
html_title = "captum-video"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["formulas.css"]

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!captum_video\b).*")]  # other projects' names, and prose

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, of a bar that no page shows
nb_ipywidgets_js = {}  # nothing is fetched from elsewhere

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
