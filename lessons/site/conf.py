"""The site's Sphinx configuration: it loads nothing from anywhere else."""

import importlib.metadata
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "minivae"
author, copyright = "", "the minivae authors"
release = importlib.metadata.version("minivae")
extensions = ["myst_nb", "sphinx.ext.autodoc", "mathml", "docstrings", "pictures"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a README may begin at any level

html_theme = "sphinx_book_theme"
html_title = "minivae"
html_math_renderer = "mathml"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_domain_indices = False  # the reference is short enough to be its own
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search stands in the sidebar
}

nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Array": "Array"}
autodoc_default_options = {"members": True}

html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_show_search_summary = False  # it would fetch the pages, which a file:// may not
