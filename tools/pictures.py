"""Knows whether the pictures of pages show them as they are now.

`python tools/pictures.py` notes, beside the pictures, what the pages were made of when they were taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/images"
NOTE = PICTURES / "made-of.json"
PAGES = {"chat page": "plugins/demo/web/src/*", "status page": "surfaces_core/_operating/page.py"}
"""What decides how each looks; words of the bot in them are not looked at."""


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def made_of() -> dict[str, str]:
    """The sources of each page, and each picture."""
    pages = {name: _digest(ROOT.glob(sources)) for name, sources in PAGES.items()}
    return pages | {path.name: _digest([path]) for path in sorted(PICTURES.glob("*.png"))}


def noted() -> dict[str, str]:
    """The same when the pictures were taken."""
    return dict(json.loads(NOTE.read_text()))


if __name__ == "__main__":
    NOTE.write_text(json.dumps(made_of(), indent=2) + "\n")
