"""A clock of the bot's machine that is wrong: events have their times from the homeserver, and so has their age."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from surfaces_core.testing.recording_intake import receiving
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver

from .conftest import Bot

ME, ANN = "@bot:hs.test", "@ann:hs.test"
YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize("ahead_s", [-50 * YEAR_S, -YEAR_S, 0.0, 7200.0, YEAR_S])
async def test_what_was_said_while_the_bot_was_away_is_not_too_old(ahead_s: float, monkeypatch: pytest.MonkeyPatch):
    """After a restart at whatever time by its own clock, what was said an instant ago is answered."""
    async with FakeHomeserver() as hs:
        hs.register(ME)
        bot = Bot(hs.url, settings={"user_id": ME, "password": PASSWORD, "catch_up_max_age_s": 3600})
        ann = hs.person(ANN)
        room = ann.create_dm(ME)
        hs.person(ME).join(room)
        async with bot.live():
            ann.say(room, "before")
            await bot.intake.wait_said(["before"], "what was said before")
        ann.say(room, "meanwhile")
        surface = bot.make()
        surface._client._clock = lambda: time.time() + ahead_s
        surface._sync.clock = surface._client.now
        # The homeserver lives in this process and has the right time, so the clock itself cannot be wrong.
        monkeypatch.setattr("surfaces_matrix.translate.time", SimpleNamespace(time=surface._client._clock))
        async with surface, receiving(surface, bot.intake):
            await bot.intake.wait_said(["before", "meanwhile"], "what was said meanwhile")
    assert surface._client.now() < time.time() + 60
