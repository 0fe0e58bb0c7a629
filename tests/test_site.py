"""The check of the built site: what would tell another server who reads, and what leads nowhere, is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOOD = '<a href="other.html#here">x</a> <a href="https://matrix.org">x</a> <img src="a.png">'


def checked(folder: Path, html: str, css: str = "") -> tuple[int, list[str]]:
    """What the check says of a site with this page and style sheet."""
    (folder / "page.html").write_text(html)
    (folder / "other.html").write_text('<p id="here">')
    (folder / "a.png").touch()
    (folder / "a.css").write_text(css)
    done = subprocess.run([sys.executable, ROOT / "tools/site.py", "check", folder], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()[:-1]


def test_a_site_that_asks_nobody_passes(tmp_path: Path) -> None:
    """A link to another site is the reader's own step."""
    assert checked(tmp_path, GOOD, "a { background: url(a.png) }") == (0, [])


def test_requests_to_others_and_dead_links_are_named(tmp_path: Path) -> None:
    """Scripts, styles, fonts and pictures of other servers; files and places that are not there."""
    html = """<script src="https://cdn.example/x.js"></script><link rel="preconnect" href="//fonts.example">
        <img srcset="a.png 1x, https://img.example/b.png 2x"><a href="gone.html">x</a><a href="other.html#gone">x</a>"""
    assert checked(tmp_path, html, "@import 'https://css.example/x.css'; a { src: url(//f.example/x.woff) }") == (
        1,
        [
            "page.html asks https://cdn.example/x.js",
            "page.html asks //fonts.example",
            "page.html asks https://img.example/b.png",
            "a.css asks https://css.example/x.css",
            "a.css asks //f.example/x.woff",
            "page.html leads to gone.html, which is not there",
            "page.html leads to other.html#gone, which is not there",
        ],
    )
