"""The echo keeps the contract of transports, and says what it heard."""

from __future__ import annotations

from dataclasses import replace

from surfaces_core import Agent, AgentRequest, Text
from surfaces_core.testing import contract
from surfaces_core.testing.driver_contexts import transport_context
from surfaces_transport_echo import Echo, EchoSettings

AGENT = Agent(id="echo", label="Echo", transport="echo", workspace="echo")
ASKED = AgentRequest(turn="t1", agent=AGENT, context="1", text="one  two\nthree")


def echo() -> Echo:
    return Echo(EchoSettings(), transport_context("echo"))


async def said(transport: Echo, request: AgentRequest) -> list[str]:
    return [event.text async for event in transport.run(request) if isinstance(event, Text)]


test_contract = contract.transport(Echo, unreachable={"away": True}, recall="history", forgets=True)


async def test_words_stream():
    """Each word is an event of its own, and together they are exactly what was said."""
    assert await said(echo(), ASKED) == ["one  ", "two\n", "three"]


async def test_attachments_are_named():
    """Files show by their names, with a text or without."""
    with_files = replace(ASKED, text="look", attachments=("a.txt", "b c.png"))
    assert "".join(await said(echo(), with_files)) == "look\n\n- a.txt\n- b c.png"
    assert "".join(await said(echo(), replace(with_files, text=""))) == "- a.txt\n- b c.png"


async def test_a_turn_that_is_asked_again_counts_once():
    """A repeat is not remembered as another message."""
    transport = echo()
    for _ in range(2):
        await said(transport, ASKED)
    assert "".join(await said(transport, replace(ASKED, turn="t2", text="History"))) == "1. one  two\nthree"
