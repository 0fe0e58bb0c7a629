"""Where people talk with the bot: what they are owed for what they said, and what they see of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from proof.processes import BOT, PASSWORD
from proof.verdict import NOTICES, Said, Verdict, Want, compare
from surfaces_testing.homeserver import FakeHomeserver, MatrixError, Person

GREETING = "Hello"
PATIENCE_S = 60.0
"""How long people wait for what they need to go on."""
UNDONE = ("in", "out", "opening", "staged")
"""Kinds of journal rows that are still to be worked on."""


class Stage:
    """The homeserver's side of one run. Judged from here alone, by what it shows to people's clients."""

    def __init__(self, homeserver: FakeHomeserver, state: Path) -> None:
        self.hs = homeserver
        self.state = state
        """The folder of the host's own state."""
        self.wants: dict[str, list[Want]] = {}
        """What is owed so far, by room, in the order of the questions."""
        self.over = False
        """Everybody has done everything that they do."""
        self.stuck = ""
        """Why somebody could not go on."""
        homeserver.register(BOT, PASSWORD)

    def owe(self, room: str, *wants: Want) -> None:
        """These are answers that somebody may expect in a room from now on."""
        self.wants.setdefault(room, []).extend(wants)

    async def play(self) -> None:
        """Everything that people do, whether the host lives or not; sets `over`."""
        raise NotImplementedError

    async def act(self) -> None:
        """Play as far as it goes: what somebody waits for in vain, or can't do, is for the judge."""
        try:
            await self.play()
        except (TimeoutError, MatrixError) as error:
            self.stuck = str(error) or "somebody waited in vain"
        self.hs.world.changes.touch()  # whoever waits for the end looks again

    # What people do

    def owned(self, person: Person) -> list[str]:
        """Somebody's conversations, in the order in which they were made."""
        bound = {room: self.hs.state(room).get(("io.surfaces.binding", "")) for room in self.hs.rooms}
        return [room for room, binding in bound.items() if binding and binding["owner"] == person.user_id]

    async def enter(self, person: Person, count: int, asked: str, again: Callable[[], None]) -> str:
        """Accept what one is invited to until one has that many conversations; the newest of them.

        Who reads where they asked for it that their message was put aside does `again` what they did.
        """
        before = self._put_aside(asked)
        await self.hs.until(lambda: self._invited(person, count) or self._put_aside(asked) > before, PATIENCE_S)
        if not self._invited(person, count):
            again()
            await self.hs.until(lambda: self._invited(person, count), PATIENCE_S)
        for room in self.hs.rooms:
            if self.hs.members(room).get(person.user_id) == "invite":
                person.join(room)
        return self.owned(person)[-1]

    def _invited(self, person: Person, count: int) -> bool:
        rooms = self.owned(person)
        return len(rooms) >= count and self.hs.members(rooms[-1]).get(person.user_id) == "invite"

    def _put_aside(self, room: str) -> int:
        return sum(NOTICES.get(said.text) == "poison" for said in self.all_said(room))

    # What is seen

    def said(self, room: str) -> list[Said]:
        """The bot's messages, as they show now, but for greetings, which answer nothing and have no order."""
        return [said for said in self.all_said(room) if not said.text.startswith(GREETING)]

    def greetings(self) -> list[str]:
        """The greetings in all rooms."""
        texts = [said.text for room in self.hs.rooms for said in self.all_said(room)]
        return [text for text in texts if text.startswith(GREETING)]

    def all_said(self, room: str) -> list[Said]:
        """All messages of the bot, as they show now."""
        messages = [message for message in self.hs.shown(room) if message.sender == BOT]
        return [
            Said(text=shown.body.strip(), mark=None if shown.turn is None else (shown.turn, shown.part or 0))
            for shown in messages
        ]

    def progress(self) -> Mapping[str, list[str]]:
        """What is said so far, by room."""
        return {room: [said.text for said in self.all_said(room)] for room in self.hs.rooms}

    @property
    def settled(self) -> bool:
        """Every question has an answer that is not a draft."""
        return self.over and not any(self.missing(room) for room in self.wants)

    def missing(self, room: str) -> tuple[str, ...]:
        """What is still owed in a room."""
        talk = compare(room, self.said(room), self.wants.get(room, ()))
        return talk.lost + talk.torn

    def outstanding(self) -> list[str]:
        """The kinds of journal rows that are still to be worked on; the host must not run."""
        file = self.state / "surfaces.db"
        if not file.exists():
            return []
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            try:
                rows = database.execute("SELECT key FROM kv").fetchall()
            except sqlite3.OperationalError:  # it died before there was a table
                rows = []
        database.close()
        kinds = (bytes(key).split(b"\0")[0].decode() for (key,) in rows)
        return [kind for kind in kinds if kind in UNDONE]

    # Judging

    def talk(self) -> Verdict:
        """What is wrong with what is said, in all rooms."""
        places = {room: f"room {number}" for number, room in enumerate(self.hs.rooms)}
        verdicts = [compare(place, self.said(room), self.wants.get(room, ())) for room, place in places.items()]
        stuck = (self.stuck,) if self.stuck else ()
        return sum(verdicts, Verdict(other=stuck))

    def verdict(self) -> Verdict:
        """Everything that is wrong, at the end."""
        return self.talk()

    def judge(self) -> None:
        """Raise `AssertionError` unless nothing is lost, doubled, out of order or torn."""
        verdict = self.verdict()
        assert verdict.good, f"{verdict}\n{self.progress()}"
