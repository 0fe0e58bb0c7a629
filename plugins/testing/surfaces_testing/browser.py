"""A headless Chromium for testing pages: the one that `make web` unpacks, or the machine's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # A dependency of tests alone: this distribution installs without it.
    from playwright.async_api import Browser

_UNPACKED = Path(__file__).parents[3] / ".chromium"
_ON_MACHINES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
)


class BrowserMissing(Exception):
    """There is no Chromium to run; the message is the remedy."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser for the length of the block. Raises `BrowserMissing`."""
    from playwright.async_api import async_playwright

    program, environment = _find()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=_FLAGS, env={**os.environ, **environment}
        )
        try:
            yield browser
        finally:
            await browser.close()


def _find() -> tuple[Path, dict[str, str]]:
    if (_UNPACKED / "chromium").is_file():
        libraries, fonts = _UNPACKED / "al2023/lib", _UNPACKED / "fonts"
        return _UNPACKED / "chromium", {"LD_LIBRARY_PATH": str(libraries), "FONTCONFIG_PATH": str(fonts)}
    for name in _ON_MACHINES:
        if found := shutil.which(name):
            return Path(found), {}
    raise BrowserMissing("There is no Chromium. Run `make web`, or install one.")
