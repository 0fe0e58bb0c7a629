"""What the surface says of itself to whoever watches the host."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from surfaces_core import Condition
from surfaces_matrix.people import People

from .conftest import ROOM, SYNC, Bot, Stage, batch, message


async def test_an_account_that_syncs_is_well(stage: Stage, bot: Bot):
    """Before the first sync it is not connected; then there is nothing to complain of."""
    surface = bot.make()
    assert surface.condition() == Condition(connected=False, reasons=("the homeserver does not answer (NOT_TRIED)",))
    async with bot.live() as live:
        assert live.condition() == Condition()


async def test_a_homeserver_that_fails_is_named_until_it_is_back(stage: Stage, bot: Bot, log: Any):
    """Not connected, with the code of the failure; and connected again by the next good sync."""
    async with bot.live() as surface:
        await stage.live((502, "<html>"))
        async with asyncio.timeout(20):
            while surface.condition().connected:  # noqa: ASYNC110 - the surface has no event for this
                await asyncio.sleep(0)
        (reason,) = surface.condition().reasons
        assert reason.startswith("the homeserver does not answer (")
        await stage.live(batch("s1", message("$1", "hello")))
        await bot.intake.wait_said(["hello"], "what comes after the failure")
        assert surface.condition() == Condition()


async def test_encrypted_rooms_are_complained_of(stage: Stage, bot: Bot):
    """It decrypts nothing, and says so once it has seen a room in which it should."""
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    stage.snapshot["rooms"]["join"][ROOM] = {"state": {"events": [encryption]}}
    async with bot.live() as surface:
        assert stage.count(SYNC) >= 1
        assert surface.condition() == Condition(
            decrypts=False,
            reasons=("encrypted rooms cannot be read without surfaces-matrix[e2ee] and `encryption: on` (1 seen)",),
        )


@pytest.mark.parametrize(
    ("allow", "deny", "anybody"),
    [
        (["@*:hs"], [], True),
        (["@*:hs"], ["@troll:hs", "@*:elsewhere"], True),
        (["@*:hs"], ["@[a-m]*:hs"], True),
        (["@*:hs", "@ann:elsewhere"], ["*:hs"], True),
        (["@[ab]nn:hs"], ["*"], True),
        (["@*:hs"], ["*"], False),
        (["@ann:hs", "@b?b:hs"], ["@*:hs"], False),
    ],
)
def test_whether_anybody_may_talk(allow: list[str], deny: list[str], anybody: bool):
    """Only patterns that shut out everybody count; where it can't be told, somebody may."""
    assert People(allow, deny).any_allowed() is anybody


async def test_an_account_for_nobody_says_so(bot: Bot):
    """It is connected, and admits nobody."""
    async with bot.live(deny_users=("*",)) as surface:
        condition = surface.condition()
    assert (condition.connected, condition.admits) == (True, False)
    assert "deny_users" in condition.reasons[0]
