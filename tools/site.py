"""Checks the built site: a page that asks another server for something tells it who reads what.

`python tools/site.py check FOLDER` names each such request, and each link within the site that leads nowhere, and then
exits with 1. The standard library alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "audio": "src",
    "embed": "src",
    "form": "action",
    "iframe": "src",
    "img": "src",
    "input": "src",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
"""What a browser fetches, or sends to, by itself; `link` too, but for the kinds below."""
ONLY_NAMED = {"canonical", "next", "prev", "search", "index", "license"}
STYLE = re.compile(r"""(?:@import\s+["']|url\(\s*["']?)((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """What a built page asks for, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "link" and not ONLY_NAMED & set(values.get("rel", "").split()):
            self.asked.append(values.get("href", ""))
        if tag == "a" and "href" in values:
            self.leads.append(values["href"])
        if tag in LOADS and LOADS[tag] in values:
            self.asked.append(values[LOADS[tag]])
        self.asked += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]
        self.asked += STYLE.findall(values.get("style", ""))


def is_foreign(address: str) -> bool:
    """Whether an address is another server's."""
    return address.startswith("//") or urlsplit(address).scheme in {"http", "https", "ws", "wss"}


def foreign(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Each request that a page or a style sheet makes to another server."""
    for path, page in pages.items():
        yield from (f"{path.relative_to(site)} asks {address}" for address in page.asked if is_foreign(address))
    for path in sorted(site.rglob("*.css")):
        yield from (f"{path.relative_to(site)} asks {found}" for found in STYLE.findall(path.read_text()))


def broken(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Each link within the site that leads to no file, or to no place in its page."""
    for path, page in pages.items():
        for address in [*page.asked, *page.leads]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[there].anchors if there in pages else {parts.fragment}
            if not there.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                yield f"{path.relative_to(site)} leads to {address}, which is not there"


def main(folder: str) -> int:
    """Check; the exit code."""
    site = Path(folder).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = [*foreign(site, pages), *broken(site, pages)]
    print("\n".join([*found, f"{len(pages)} pages in {folder}, {len(found)} faults"]))
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2]))
