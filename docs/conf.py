"""How Sphinx makes the site from the pages of the repository, where they stand: `make site`."""

import re
import tomllib
from typing import Any

from tools.documents import contents

project = "Surfaces"
version = release = tomllib.loads((contents.ROOT / "pyproject.toml").read_text())["project"]["version"]
project_copyright = "Surfaces contributors, Apache-2.0"
extensions = ["myst_parser", "sphinx_copybutton"]

root_doc = contents.TOP.removesuffix(".md")
source_suffix = {".md": "markdown"}
include_patterns = ["docs/**", *contents.AROUND]
exclude_patterns = [".[!.]*", "env", "node_modules", "site", "tests", "surfaces_core", "tools", "proof", "var", "dist"]
nitpicky = True

myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"Surfaces {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_logo = html_favicon = "../plugins/demo/web/src/icon.svg"
html_theme_options = {
    "top_of_page_buttons": [],  # there is no place yet where a page could be edited
    "light_css_variables": {"color-brand-primary": "#2f6b5b", "color-brand-content": "#2f6b5b"},
    "dark_css_variables": {"color-brand-primary": "#83c3ab", "color-brand-content": "#83c3ab"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

NAMED_FENCE = re.compile(r"^( *)```(\w+) file=(\S+)$", re.MULTILINE)


def read(_app: Any, docname: str, source: list[str]) -> None:
    """Give an index page its place in the order, and shown files their names."""
    page, text = f"{docname}.md", source[0]
    text = NAMED_FENCE.sub(r"\1```{code-block} \2\n\1:caption: \3\n", text)
    if contents.is_index(page):
        entries = [f"{title} </{path.removesuffix('.md')}>" for title, path in contents.below(page, text)]
        text = "\n".join([text, "```{toctree}", ":hidden:", "", *entries, "```", ""])
    source[0] = text


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
