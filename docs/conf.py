"""The site, made by ``make docs``. The documents are plain Markdown, so that they can be read without it as well."""

import re
from typing import Any

import xpcnn

PAGES = (
    "first-network.md",
    "own-loop.md",
    "your-own-data.md",
    "your-own-layer.md",
    "fine-tuning.md",
    "saving.md",
    "looking-inside.md",
    "from-keras-or-pytorch.md",
    "from-the-book.md",
)
"""Pages whose ``python`` blocks run, here and in tests/test_docs.py; a ``py`` block is only shown."""

project = "xpcnn"
author = "The xpcnn authors"
project_copyright = author
release = version = xpcnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["README.md"]
default_role = "py:obj"  # `name` in a docstring is a link, where there is something to link to
suppress_warnings = ["ref.python"]  # and where two classes have an attribute of this name, to the first

# ---------------------------------------------------------------- the API

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # forward and backward are explained once, at Layer
autodoc_typehints = "none"  # the signature has no room for them; the docstring says shapes
autodoc_preserve_defaults = True
highlight_language = "none"  # a formula in a docstring is not Python
napoleon_google_docstring = False
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"

# ---------------------------------------------------------------- pages that run

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# ---------------------------------------------------------------- how it looks

html_theme = "pydata_sphinx_theme"
html_title = f"xpcnn {release}"
html_static_path, templates_path = ["_static"], ["_templates"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "article_header_start": ["breadcrumbs", "other-language"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
}


NOTEBOOK = """---
file_format: mystnb
kernelspec:
  name: python3
language_info:
  name: python
---
```{code-cell}
:tags: [remove-cell]
%matplotlib inline
```

"""
"""Goes before a page that runs. The hidden cell lets a page show a figure by naming it."""


def as_notebook(app: Any, name: str, source: list[str]) -> None:
    """Turn the ``python`` blocks of a page that runs into cells, whose output MyST-NB shows."""
    if f"{name.removeprefix('ko/')}.md" in PAGES:
        source[0] = NOTEBOOK + re.sub("^```python$", "```{code-cell}", source[0], flags=re.MULTILINE)


def as_restructured_text(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Keep docstrings as they are written: formulas stay indented, and ``*``, ``|`` and ``_`` are no markup."""
    if lines and lines[0].startswith("Alias for field number"):
        lines[:] = []  # Python's own words for a field of a named tuple
    result: list[str] = []
    sections = formula = False
    for line in lines:
        sections = sections or (bool(result) and re.fullmatch("---+", line) is not None)
        begins = line.startswith("    ") and not sections and result[-1:] == [""]
        if begins and not formula:
            result += ["::", ""]
        formula = begins or (formula and (line.startswith("    ") or not line))
        if not formula and not line.lstrip().startswith((">>>", "...")):
            pieces = re.split("(`+[^`]+`+)", line)  # text and code in turn
            pieces[::2] = [re.sub(r"(?!^\* )([*|]|(?<=\w)_(?!\w))", r"\\\1", text) for text in pieces[::2]]
            line = "".join(pieces)
        result.append(line)
    lines[:] = result


def in_its_language(app: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Say in the page's HTML which language it is in, and link to the same page in the other one."""
    other = name.removeprefix("ko/") if name.startswith("ko/") else f"ko/{name}"
    context["language"] = "ko" if name.startswith("ko/") else "en"
    context["other_language"] = other if other in app.env.found_docs else None


def setup(app: Any) -> None:
    """Register the functions above; docstrings are prepared before Napoleon reads their sections."""
    from sphinx.search.en import SearchEnglish

    class Bilingual(SearchEnglish):
        """English, and Korean words without their particle as well, so that a search finds them in each case."""

        particle = re.compile(
            "(?<=[가-힣]{2})(은|는|이|가|을|를|과|와|의|에|도|만|로|으로|에서|에는|에서는|에서도)$"
        )

        def split(self, input: str) -> list[str]:
            words = super().split(input)
            return words + [self.particle.sub("", word) for word in words if self.particle.search(word)]

    app.add_search_language(Bilingual)
    app.connect("source-read", as_notebook)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)
    app.connect("html-page-context", in_its_language)
