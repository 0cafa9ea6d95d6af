"""Configuration of the documentation. Built with `make docs`; a warning is an error."""

import os
import re
import sys
import tomllib
from pathlib import Path

import django
from sphinx.application import Sphinx

_root = Path(__file__).parent.parent
_project = tomllib.loads((_root / "pyproject.toml").read_text())["project"]

# The reference is made from docstrings, and importing models needs a project.
sys.path.insert(0, str(_root))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
django.setup()

project = "django-infinitic"
author = "django-infinitic contributors"
copyright = author
version = release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

exclude_patterns = ["_build"]
nitpicky = True
# Names in signatures: their classes are documented elsewhere, or not at all.
nitpick_ignore_regex = [("py:.*", ".*")]

default_role = "literal"  # docstrings put names in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {version}"


def _leave_out_feature_numbers(app: Sphinx, *args: object) -> None:
    """`(F068)` names an entry of an inventory that readers do not have."""
    lines = args[-1]
    assert isinstance(lines, list)
    lines[:] = [re.sub(r" ?\(F\d+(?:(?:, |-)F\d+)*\)", "", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _leave_out_feature_numbers)
