"""A reaction says which messages wait behind others, and goes when they are taken up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from surfaces_core import Inbound
from surfaces_matrix import waiting
from surfaces_testing.homeserver import PASSWORD, Event, FakeHomeserver, Lost, Status

from .conftest import Bot

BOT = "@bot:hs.test"


class Hall:
    """A homeserver with one room, where Ann writes and the bot reacts."""

    def __init__(self, homeserver: FakeHomeserver) -> None:
        homeserver.register(BOT)
        self.hs = homeserver
        self.ann = homeserver.person("@ann:hs.test")
        self.room = self.ann.create_dm(BOT)
        homeserver.person(BOT).join(self.room)
        settings = {"user_id": BOT, "password": PASSWORD, "ack_reaction": "⏳"}
        self.bot = Bot(homeserver.url, settings=settings)

    async def say(self, count: int) -> list[Inbound]:
        """Ann says so many things; how they come in."""
        ids = [self.ann.say(self.room, f"thing {number}") for number in range(count)]
        intake = self.bot.intake
        await intake.wait_until(lambda: ids[-1] in {entry.event_id for entry in intake.entries}, "the last one")
        said = [entry for entry in intake.entries if entry.event_id in ids]
        return [replace(entry, sent_at=entry.sent_at + number / 1000) for number, entry in enumerate(said)]

    def reactions(self) -> list[Event]:
        """All there ever were."""
        return [event for event in self.hs.rooms[self.room].timeline if event.type == "m.reaction"]

    def showing(self) -> list[str]:
        """The events on which a reaction shows now."""
        shown = [event for event in self.reactions() if event.redacted_by is None]
        return [event.content["m.relates_to"]["event_id"] for event in shown]

    async def until_shows(self, *entries: Inbound) -> None:
        """Wait until a reaction shows on these and no others."""
        await self.hs.until(lambda: self.showing() == [entry.event_id for entry in entries])

    async def until_stored(self, done: Callable[[list[bytes]], bool]) -> None:
        """Wait until something holds of the rows."""
        store = self.bot.store
        async with asyncio.timeout(5):
            while not done([*(await store.scan("waiting/")).values()]):  # noqa: ASYNC110 - a store has no event
                await asyncio.sleep(0)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    """A room on a homeserver in memory."""
    async with FakeHomeserver() as homeserver:
        yield Hall(homeserver)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_waits_has_a_reaction_until_it_is_taken_up(hall: Hall, encrypted: bool):
    """In each room alike, for reactions are never encrypted; and what came before it in its lane waits no more."""
    async with hall.bot.live() as surface:
        one, two, three = await hall.say(3)
        if encrypted:
            hall.ann.set_state(hall.room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
        for entry in (one, two, three):
            await surface.acknowledge(entry, waiting=True)
        await hall.until_shows(one, two, three)
        assert {event.content["m.relates_to"]["key"] for event in hall.reactions()} == {"⏳"}
        await surface.acknowledge(two, waiting=False)
        await hall.until_shows(three)
        await surface.acknowledge(three, waiting=False)
        await hall.until_shows()
        await hall.until_stored(lambda rows: not rows)


async def test_what_came_at_the_same_instant_goes_on_waiting(hall: Hall):
    """A clock tells nothing about which of two was first."""
    async with hall.bot.live() as surface:
        one, two = (replace(entry, sent_at=1.0) for entry in await hall.say(2))
        await surface.acknowledge(two, waiting=True)
        await surface.acknowledge(one, waiting=False)
        await hall.until_shows(two)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_later_life_takes_it_back(hall: Hall, lost: bool):
    """Also where the process ended before it heard that the reaction is there; and a repeat shows nothing twice."""
    async with hall.bot.live() as surface:
        (entry,) = await hall.say(1)
        hall.hs.faults.script("send", [Lost() if lost else None])
        await surface.acknowledge(entry, waiting=True)
        await hall.until_shows(entry)
        if not lost:
            await hall.until_stored(lambda rows: all(b'"reaction":"$' in row for row in rows))
    async with hall.bot.live() as surface:
        await surface.acknowledge(entry, waiting=True)
        await surface.acknowledge(entry, waiting=False)
        await hall.until_shows()
    assert len(hall.reactions()) == 1


async def test_a_flood_gets_few_reactions(hall: Hall):
    """In a room a handful at most, and none for what is taken up before its turn came."""
    async with hall.bot.live() as surface:
        entries = await hall.say(60)
        for entry in entries:
            await surface.acknowledge(entry, waiting=True)
        await hall.hs.until(lambda: bool(hall.showing()))
        await surface.acknowledge(entries[-1], waiting=False)
        await hall.until_shows()
    assert len(hall.reactions()) <= waiting.MOST_IN_ROOM
    assert hall.hs.record.busiest_second("send") <= waiting.PER_S * 2


async def test_without_the_setting_there_is_none(hall: Hall):
    """It is off unless the operator chose a sign."""
    async with hall.bot.live(ack_reaction="") as surface:
        for entry in await hall.say(3):
            await surface.acknowledge(entry, waiting=True)
        await hall.say(1)
    assert hall.hs.record.of("send") == []


async def test_a_reaction_that_is_refused_is_left(hall: Hall):
    """Nothing waits for it, and the next one is tried."""
    async with hall.bot.live() as surface:
        one, two = await hall.say(2)
        hall.hs.faults.script("send", [Status(status=403, errcode="M_FORBIDDEN")])
        await surface.acknowledge(one, waiting=True)
        await surface.acknowledge(two, waiting=True)
        await hall.until_shows(two)
