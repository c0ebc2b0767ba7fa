"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "signal_tasks"
author = "The signal_tasks contributors"
version = release = version_of("signal-tasks")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 70

html_theme = "furo"
html_title = f"signal_tasks {release}"
html_copy_source = False
html_show_copyright = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "native"
