"""Knows whether the pictures of the chat page show the page as it is now.

`python tools/pictures.py` notes, beside the pictures, what the page was made of when they were taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/images"
NOTE = PICTURES / "made-of.json"


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def made_of() -> dict[str, str]:
    """The page's source, and each picture."""
    sources = (ROOT / "plugins/demo/web/src").iterdir()
    pictures = sorted(PICTURES.glob("page-*.png"))
    return {"page": _digest(sources), **{path.name: _digest([path]) for path in pictures}}


def noted() -> dict[str, str]:
    """The same when the pictures were taken."""
    return dict(json.loads(NOTE.read_text()))


if __name__ == "__main__":
    NOTE.write_text(json.dumps(made_of(), indent=2) + "\n")
