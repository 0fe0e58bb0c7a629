"""The page that says whether people are served, in a real browser: readable, alone, and allowed to look as it does.

`make pictures` runs these tests too, and keeps what it looks like for the documents.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from playwright.async_api import Browser

from surfaces_core._config.settings import OpsSettings
from surfaces_core._engine.gate import Trouble
from surfaces_core._engine.peers import Record
from surfaces_core._operating.health import Report, StorageState, SurfaceState
from surfaces_core._operating.looks import Look
from surfaces_core._operating.ops import Answer, serving
from surfaces_core._operating.overview import AgentFacts, Facts, overview
from surfaces_core._operating.page import page
from surfaces_core._operating.queue import Waiting
from surfaces_core.contracts import Health
from surfaces_testing.browser import chromium

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PICTURES = os.environ.get("SURFACES_PICTURES")
NOW = 1_000_000.0
GONE = AgentFacts(
    look=Look(at=NOW - 4, health=Health(reachable=False, code="AGENT_UNREACHABLE")),
    record=Record(answered_at=NOW - 3000, trouble=Trouble(since=NOW - 9, code="AGENT_UNREACHABLE"), in_row=1),
)
BUSY = Waiting(
    box="in",
    surface="matrix",
    conversation="!a:b",
    depth=2,
    oldest_s=4.0,
    state="running",
    tries=1,
    next_s=None,
    error="",
)
WELL = Facts(
    now=NOW,
    started_at=NOW - 11_000,
    version="0.1.0",
    report=Report(
        ready=True,
        stopping=False,
        storage=StorageState(write_s=0.0004),
        loop_lag_s=0.002,
        surfaces={
            "matrix": SurfaceState(connected=True, admits=True, decrypts=True, exchanged_s=12.0, outbox=0, reasons=())
        },
        agents_down=(),
        inbox=2,
        outbox=0,
        dead_letters=0,
        reasons=(),
    ),
    inbox=(BUSY,),
    outbox=(),
    agents={
        "agent-0": AgentFacts(record=Record(answered_at=NOW - 41), lanes=(BUSY,)),
        "agent-1": AgentFacts(look=Look(at=NOW - 4, health=Health(reachable=True))),
    },
    free_mib=18_211,
    resident_mib=81,
    measured=True,
)
DEGRADED = replace(WELL, agents={**WELL.agents, "agent-1": GONE}, report=replace(WELL.report, dead_letters=1))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all."""
    async with chromium() as browser:
        yield browser


@pytest.mark.parametrize(
    ("name", "facts", "width", "scheme"),
    [("status-page", DEGRADED, 900, "light"), ("status-page-phone-dark", WELL, 390, "dark")],
)
async def test_the_page_is_readable(browser: Browser, name: str, facts: Facts, width: int, scheme: str) -> None:
    """Its style counts, nothing is complained of or fetched, and on a phone only tables are wider than the screen."""

    async def answer() -> Answer:
        return page(overview(facts))

    troubles: list[str] = []
    async with serving(OpsSettings(listen="127.0.0.1:0"), {"/": answer}, structlog.get_logger("ops")) as port:
        address = f"http://127.0.0.1:{port}/"
        context = await browser.new_context(
            viewport={"width": width, "height": 860},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        shown = await context.new_page()
        shown.on("console", lambda message: troubles.append(message.text))
        shown.on("request", lambda request: troubles.append(request.url.removeprefix(address)))
        await shown.goto(address)
        assert await shown.evaluate("getComputedStyle(document.querySelector('header')).borderLeftStyle") == "solid"
        assert await shown.evaluate("document.documentElement.scrollWidth") <= width
        dark = await shown.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(246, 247, 249)"
        assert dark == (scheme == "dark")
        assert await shown.inner_text("h1") == overview(facts).verdict
        if PICTURES and scheme == "light":
            await shown.screenshot(path=Path(PICTURES) / f"{name}.png")
        await context.close()
    assert [trouble for trouble in troubles if trouble and "favicon" not in trouble] == []
