"""How the site is built: sphinx-build -W --keep-going -b html docs docs/_build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext"), str(HERE)]

import pictures  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import flowseg  # noqa: E402

project = "flowseg"
author = "The flowseg developers"
copyright = "2026, the flowseg developers"  # noqa: A001 - Sphinx calls it so
version = release = flowseg.__version__
language = "en"
smartquotes_action = "D"  # dashes; quotes stay, which mostly stand around words of code

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"),
    *("commands", "examples", "formulas", "short_types"),  # our own, in _ext
]
exclude_patterns = ["_build", "_ext", "_pictures"]
nitpicky = False

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
default_role = "py:obj"  # of docstrings: `labels`
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"flowseg {release}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00748f", "color-brand-content": "#00748f"},
    "dark_css_variables": {"color-brand-primary": "#00d6ff", "color-brand-content": "#4fdcff"},
}
html_math_renderer = "drawn"


def setup(app: Sphinx) -> None:
    """Draw the pictures before pages are read; leave out what records say about their fields by themselves."""
    app.connect("builder-inited", lambda app: pictures.draw_all(HERE / "_pictures"))
    app.connect("autodoc-skip-member", _skip)


def _skip(app: Sphinx, what: str, name: str, member: object, skip: bool, options: object) -> bool | None:
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None
