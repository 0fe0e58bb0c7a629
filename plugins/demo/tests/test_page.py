"""The chat page as it is served: to this machine alone, with nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from surfaces_demo.children import DemoError
from surfaces_demo.page import Facts, Page
from surfaces_demo.synapse import Account

FACTS = Facts(
    homeserver="http://127.0.0.1:8008", bot="@bot:localhost", offer=Account(user_id="@a:localhost", password="secret")
)

SOURCES = Path(__file__).parents[1] / "web/src"
SAID = re.compile(
    r"""(?:aria-label|title|placeholder|label|text|yes|no)=["'][^"']*\w"""
    r"""|(?:textContent|placeholder|title) = ["'][^"']*\w"""
    r"""|^\s*(?:<(?!div|kbd)\w+[^>]*>\s*)?[A-Z]\w+(?: [\w,.'…]+)*[.…]?(?:</\w+>)?$"""
)
"""Code of the page that says something to people by itself."""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "index.html").write_text("<title>Surfaces</title>")
    (tmp_path / "pkg/crypto.wasm").write_bytes(b"\0asm")
    return tmp_path


async def test_it_says_what_the_page_must_know(built: Path) -> None:
    """Homeserver, bot and the offered account come with the page, which asks nobody else."""
    async with Page(FACTS, folder=built) as page, aiohttp.ClientSession() as http:
        async with http.get(page.url) as response:
            assert "Surfaces" in await response.text()
            policy = response.headers["Content-Security-Policy"]
        async with http.get(page.url + "config.json") as response:
            facts = await response.json()
    assert "default-src 'none'" in policy
    assert "connect-src 'self' http://127.0.0.1:8008" in policy
    assert facts == {
        "homeserver": "http://127.0.0.1:8008",
        "bot": "@bot:localhost",
        "offer": {"user_id": "@a:localhost", "password": "secret"},
    }


async def test_encryption_loads_as_a_stream(built: Path) -> None:
    """WebAssembly has the type that browsers compile while it comes."""
    async with (
        Page(FACTS, folder=built) as page,
        aiohttp.ClientSession() as http,
        http.get(page.url + "pkg/crypto.wasm") as response,
    ):
        assert (response.status, response.content_type) == (200, "application/wasm")


async def test_other_names_for_this_machine_are_refused(built: Path) -> None:
    """A stranger's page that points its own name here gets nothing, the offered password least."""
    async with Page(FACTS, folder=built) as page, aiohttp.ClientSession() as http:
        for path in ("", "config.json"):
            async with http.get(page.url + path, headers={"Host": f"evil.example:{page.port}"}) as response:
                assert response.status == 403


async def test_what_is_not_built_is_said(tmp_path: Path) -> None:
    """Without the built files the remedy is named."""
    with pytest.raises(DemoError, match="make web"):
        async with Page(FACTS, folder=tmp_path):
            pass


def test_every_sentence_has_its_translations() -> None:
    """Whatever the page says comes from its table, whose types keep a build from missing one in any language."""
    sources = {path: path.read_text() for path in SOURCES.glob("*.ts*") if path.name != "words.ts"}
    found = {
        f"{path.name}: {line}" for path, text in sources.items() for line in text.splitlines() if SAID.search(line)
    }
    found = {line for line in found if ">Surfaces<" not in line}
    assert sources
    assert found == set()
