"""What a person does in every run of the sweep, and what they must see in the end."""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proof.processes import BOT, PASSWORD
from surfaces_testing.homeserver import Event, FakeHomeserver, Room

ANN = "@ann:hs.test"
NUMBERS = 60
FLOOD = 105
"""More than a sync shows of one room."""
PATIENCE_S = 60.0
FLOOD_TEXT = "a notice, which needs no answer"
INPUT = b"the first line\nand another\n"
COUNT = "".join(f"{number} " for number in range(1, NUMBERS + 1)).strip()


class Scenario:
    """Ann lets the bot in, opens a second conversation and talks in both."""

    def __init__(self, homeserver: FakeHomeserver, workspace: Path, state: Path) -> None:
        self.hs = homeserver
        self.workspace = workspace
        self.state = state
        """The folder of the host's own state."""
        self.input_name = f"in-{uuid.uuid4().hex}.txt"
        homeserver.register(BOT, PASSWORD)
        self.ann = homeserver.person(ANN, "Ann")
        self.entry = self.ann.create_dm(BOT)
        self.over = False
        """Ann has done everything that she does."""

    async def play(self) -> None:
        """Everything that Ann does, whether the host lives or not."""
        first = await self._next_room("C1")
        self.ann.say(first, "!new Second")
        second = await self._next_room("C2")
        self.ann.say(second, "b1")
        # All at one instant: the next sync is limited, and what lies before the notices is the gap.
        self.ann.send_file(first, self.input_name, INPUT, "text/plain")
        self.ann.say(first, "a1")
        for _ in range(FLOOD):
            self.ann.send(first, {"msgtype": "m.notice", "body": FLOOD_TEXT})
        self.ann.say(first, f"count to {NUMBERS}")
        self.ann.say(second, f"count to {NUMBERS}")
        await self.hs.until(lambda: self._answered(first, "a1"), timeout=PATIENCE_S)
        self.ann.say(first, "make a file")
        self.ann.say(second, "!clear")
        self.ann.say(second, "b2")
        self.over = True

    async def _next_room(self, label: str) -> str:
        """Accept what one is invited to until there is a conversation of that number."""
        await self.hs.until(lambda: self._invited(label), timeout=PATIENCE_S)
        room = self._rooms()[label]
        for invited in [key for key in self.hs.rooms if self.hs.members(key).get(ANN) == "invite"]:
            self.ann.join(invited)
        return room

    def _invited(self, label: str) -> bool:
        room = self._rooms().get(label)
        return room is not None and self.hs.members(room).get(ANN) == "invite"

    def _rooms(self) -> dict[str, str]:
        """Conversations by their labels."""
        bound = {key: self.hs.state(key).get(("io.surfaces.binding", "")) for key in self.hs.rooms}
        return {content["conversation"]: key for key, content in bound.items() if content}

    def _answered(self, room: str, text: str) -> bool:
        return any(f"You said: {text}." in message.body for message in self.hs.shown(room))

    # What must come of it

    def expected(self) -> Mapping[str, list[str]]:
        """The bot's messages by room, in their order; one that ends in `…` says only how it begins."""
        rooms = self._rooms()
        got = f"I got {self.input_name} ({len(INPUT)} bytes), first line: the first line."
        return {
            self.entry: ["Your conversation is ready: …"],
            rooms["C1"]: [
                "[C2 Second](…",
                f"Got `{self.input_name}`. 1 waiting for your next message.",
                f"{got}\n\nYou said: a1. (message 1 in this context)",
                COUNT,
                "Here is your file.",
                "A note",
            ],
            rooms["C2"]: [
                "You said: b1. (message 1 in this context)",
                COUNT,
                "Done: the agent starts afresh here…",
                "You said: b2. (message 1 in this context)",
            ],
        }

    def said(self, room: str) -> list[str]:
        """The bot's messages, as they show now, but for the greeting, which answers nothing and has no order."""
        return [text for text in self._all_said(room) if not text.startswith("Hello Ann!")]

    def _all_said(self, room: str) -> list[str]:
        return [message.body.strip() for message in self.hs.shown(room) if message.sender == BOT]

    def progress(self) -> Mapping[str, list[str]]:
        """What is said so far, by room."""
        return {room: self._all_said(room) for room in self.hs.rooms}

    @property
    def settled(self) -> bool:
        """Every question has an answer that is not a draft."""
        if not self.over:
            return False
        return all(
            len(self.said(room)) >= len(texts) and not any(text.endswith("…") for text in self.said(room))
            for room, texts in self.expected().items()
        )

    def outstanding(self) -> list[str]:
        """The kinds of journal rows that are still to be worked on; the host must not run."""
        with sqlite3.connect(f"file:{self.state}/surfaces.db?mode=ro", uri=True) as database:
            rows = database.execute("SELECT key FROM kv").fetchall()
        database.close()
        kinds = (bytes(key).split(b"\0")[0].decode() for (key,) in rows)
        return [kind for kind in kinds if kind in ("in", "out", "dead", "opening", "staged")]

    # Judging

    def judge(self) -> None:
        """Nothing lost, doubled, out of order or torn, seen from outside."""
        self._judge_rooms()
        for room, texts in self.expected().items():
            said = self.said(room)
            assert len(said) == len(texts), f"{len(said)} messages instead of {len(texts)}: {said}"
            for text, want in zip(said, texts, strict=True):
                fits = text.startswith(want[:-1]) and text != want if want.endswith("…") else text == want
                assert fits, f"{text!r} where {want!r} should be"
            self._judge_events(self.hs.rooms[room])
        greetings = [text for room in self.hs.rooms for text in self._all_said(room) if text.startswith("Hello Ann!")]
        assert len(greetings) == 1
        self._judge_files()
        assert self.outstanding() == []

    def _judge_events(self, room: Room) -> None:
        """Each part of each turn is one event, beside edits of it."""
        parts = Counter(_part(event) for event in room.timeline if event.sender == BOT and _is_original(event))
        assert {part: count for part, count in parts.items() if count > 1} == {}
        assert None not in parts, "an event without io.surfaces.id"

    def _judge_rooms(self) -> None:
        """One Space, one room for each conversation, linked both ways, with Ann in all of them."""
        spaces = [key for key in self.hs.rooms if self.hs.state(key).get(("io.surfaces.space", ""))]
        assert len(spaces) == 1
        assert len(self.hs.rooms) == 4, f"{len(self.hs.rooms)} rooms instead of entry, Space and two conversations"
        (space,) = spaces
        assert self.hs.state(space)["m.room.create", ""]["type"] == "m.space"
        assert self.hs.members(space) == {BOT: "join", ANN: "join"}
        bindings = {}
        for label, room in self._rooms().items():
            state = self.hs.state(room)
            bindings[label] = state["io.surfaces.binding", ""]
            assert self.hs.members(room) == {BOT: "join", ANN: "join"}
            assert state["m.space.parent", space]["canonical"] is True
            assert self.hs.state(space)["m.space.child", room]["via"] == ["hs.test"]
            assert state["m.room.name", ""]["name"] == {"C1": "C1", "C2": "Second"}[label]
        assert bindings.keys() == {"C1", "C2"}
        assert {content["owner"] for content in bindings.values()} == {ANN}
        assert bindings["C1"]["context_id"] != bindings["C2"]["context_id"]

    def _judge_files(self) -> None:
        room = self._rooms()["C1"]
        events = [event for event in self.hs.events(room) if event.sender == BOT and "url" in event.content]
        assert len(events) == 1
        media = self.hs.world.media[str(events[0].content["url"]).rpartition("/")[2]]
        assert media.data == b"You asked: make a file\n"
        stored = [path for path in self.workspace.iterdir() if self.input_name[:-4] in path.name]
        assert [path.name for path in stored] == [self.input_name]
        assert stored[0].read_bytes() == INPUT
        left = [path.name for path in self.workspace.iterdir() if not path.name.startswith(("in-", "note-"))]
        assert left == []


def _relation(event: Event) -> Mapping[str, Any]:
    return dict(event.content.get("m.relates_to") or {})


def _is_original(event: Event) -> bool:
    return event.type == "m.room.message" and _relation(event).get("rel_type") != "m.replace"


def _part(event: Event) -> tuple[str, int] | None:
    mark = event.content.get("io.surfaces.id")
    return (mark["turn"], mark["part"]) if mark else None
