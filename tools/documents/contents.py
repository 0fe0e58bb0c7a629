"""Reads the order of the site's pages from the lists that readers see: an index page names what is below it.

The standard library alone: the site is built in an environment that has nothing of the host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = "docs/index.md"
AROUND = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "plugins/*/README.md")
"""Pages that stand beside what they describe, and are shown where they stand."""
ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)#\s]+\.md)\)", re.MULTILINE)


def pages() -> list[str]:
    """Every page of the site, by its path in the repository."""
    found = [path for pattern in ("docs/**/*.md", *AROUND) for path in ROOT.glob(pattern)]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def is_index(page: str) -> bool:
    """Whether a page names, in its lists, the pages below it."""
    return page.startswith("docs/") and Path(page).name in {"index.md", "README.md"}


def below(page: str, text: str) -> Iterator[tuple[str, str]]:
    """The pages that an index page names, in its order: short title and path in the repository."""
    for title, link in ITEM.findall(text):
        yield title.replace("`", ""), os.path.normpath(Path(page).parent / link)


def orphans() -> set[str]:
    """The pages that no index page names."""
    found = {TOP}
    for page in filter(is_index, pages()):
        found |= {path for _, path in below(page, (ROOT / page).read_text())}
    return set(pages()) - found


def named_twice() -> list[str]:
    """The pages that stand in more than one place of the order."""
    named = [path for page in filter(is_index, pages()) for _, path in below(page, (ROOT / page).read_text())]
    return sorted({path for path in named if named.count(path) > 1})
