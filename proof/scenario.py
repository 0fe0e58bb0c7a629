"""The standard scenario: what a person does in every run of the sweep, and what they must see in the end.

Two conversations, six messages for the agent, a gap, a file in, a file out, streamed answers, an edit of the
person's own, commands, and a message that the homeserver shows twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from proof.processes import BOT
from proof.stage import PATIENCE_S, Stage
from proof.verdict import Verdict, Want, begins, echo, exactly
from surfaces_testing.homeserver import Changed, FakeHomeserver
from surfaces_testing.homeserver.event import Json

ANN = "@ann:hs.test"
NUMBERS = 50
FLOOD = 105
"""More than a sync shows of one room."""
FLOOD_TEXT = "a notice, which needs no answer"
INPUT = b"the first line\nand another\n"
FIRST_COUNT, SECOND_COUNT = f"count to {NUMBERS}", f"count to {NUMBERS - 1}"
COUNT = " ".join(map(str, range(1, NUMBERS + 1)))


class Scenario(Stage):
    """Ann lets the bot in, opens a second conversation and talks in both."""

    def __init__(
        self,
        homeserver: FakeHomeserver,
        workspace: Path,
        state: Path,
        *,
        spoiled: str = "",
        notice: str = "poison",
        calm: bool = False,
    ) -> None:
        super().__init__(homeserver, state)
        self.workspace = workspace
        self.spoiled = spoiled
        """What kills will leave without an answer: `start`, `new`, `file`, `count` or `make`."""
        self.notice = notice
        """The cause of the notice that is read instead."""
        self.calm = calm
        """Nothing is said while an answer is still to come, so that a life always takes the same course."""
        self.input_name = f"in-{uuid.uuid4().hex}.txt"
        self.ann = homeserver.person(ANN, "Ann")
        self.entry = self.ann.create_dm(BOT)
        self._owes(self.entry, "start", begins("Your conversation is ready: "))

    def _owes(self, room: str, name: str, *wants: Want) -> None:
        if name == self.spoiled:  # of several parts of an answer none comes
            wants = (Want(pattern=wants[0].pattern, text=wants[0].text, or_notice=frozenset({self.notice})),)
        self.owe(room, *wants)

    async def play(self) -> None:
        """Everything that Ann does, whether the host lives or not."""
        first = await self.enter(
            self.ann, 1, self.entry, self._again(self.entry, "hello", begins("Your conversation is ready: "))
        )
        opened = Want(pattern=r"\[C\d Second\]\(.+")
        self.ann.say(first, "!new Second")
        self._owes(first, "new", opened)
        second = await self.enter(self.ann, 2, first, self._again(first, "!new Second", opened))
        self.ann.say(second, "b1")
        self.owe(second, echo("b1", 1))
        await self._alone(second)
        asked = self._flood(first)
        await self._alone(first)
        self.ann.say(second, SECOND_COUNT)
        self.owe(second, exactly(COUNT.rpartition(" ")[0]))
        await self._alone(second)
        await self.hs.until(lambda: self._answered(first, "a1"), timeout=PATIENCE_S)
        await self._repeat(first, lambda: self.ann.edit(first, asked, "a1, but put differently"))
        self.ann.say(first, "make a file")
        self._owes(first, "make", exactly("Here is your file."), exactly("A note"))
        await self._alone(first)
        self.ann.say(second, "!clear")
        self.ann.say(second, "b2")
        self.owe(second, begins("Done: the agent starts afresh here"))
        self.owe(second, echo("b2", 1))
        self.over = True

    def _flood(self, room: str) -> str:
        """A file, two questions and a crowd of notices, all at one instant: the next sync is limited, and what
        lies before the notices is the gap. The id of the question that has the file.
        """
        self.ann.send_file(room, self.input_name, INPUT, "text/plain")
        asked = self.ann.say(room, "a1")
        for _ in range(FLOOD):
            self.ann.send(room, {"msgtype": "m.notice", "body": FLOOD_TEXT})
        self.ann.say(room, FIRST_COUNT)
        got = f"I got {self.input_name} ({len(INPUT)} bytes), first line: the first line.\n\n"
        self._owes(room, "file", exactly(f"Got `{self.input_name}`. 1 waiting for your next message."))
        self.owe(room, echo("a1", 1, "" if self.spoiled == "file" else got))
        self._owes(room, "count", exactly(COUNT))
        return asked

    async def _alone(self, room: str) -> None:
        """Wait for all answers in a room."""
        if self.calm:
            await self.hs.until(lambda: not self.missing(room), timeout=PATIENCE_S)

    async def _repeat(self, room: str, then: Callable[[], object]) -> None:
        """Let the homeserver show the message with the file once more, before what is new after something is done."""
        shown = next(event for event in self.hs.events(room) if event.content.get("filename") == self.input_name)

        def repeat(body: Json) -> Json:
            joined = body.setdefault("rooms", {}).setdefault("join", {}).setdefault(room, {})
            timeline = joined.setdefault("timeline", {"limited": False, "prev_batch": body["next_batch"]})
            timeline["events"] = [shown.client(), *timeline.get("events", ())]
            return body

        self.hs.fault("sync", Changed(change=repeat))
        asked = len(self.hs.record.of("sync"))
        then()  # the sync that waits shows it, and the one after that meets the fault
        await self.hs.until(lambda: len(self.hs.record.of("sync")) > asked, timeout=PATIENCE_S)

    def _again(self, room: str, text: str, want: Want) -> Callable[[], None]:
        """What Ann does when she reads that her message was put aside: she says it again."""

        def again() -> None:
            self.ann.say(room, text)
            self.owe(room, want)

        return again

    def _answered(self, room: str, text: str) -> bool:
        return any(f"You said: {text}." in message.body for message in self.hs.shown(room))

    # Judging

    def verdict(self) -> Verdict:
        """Everything that is wrong, at the end: with what is said, with the rooms, with the files."""
        wrong = [*self._wrong_greetings(), *self._wrong_rooms(), *self._wrong_output(), *self._wrong_input()]
        talk = self.talk()
        if self.spoiled and talk.notices.get(self.notice, 0) != 1:
            wrong.append(f"{self.notice} is said {talk.notices.get(self.notice, 0)} times")
        return talk + Verdict(other=tuple(wrong))

    def _wrong_greetings(self) -> Iterator[str]:
        greetings = len(self.greetings())
        if greetings != 1 and not (self.spoiled == "start" and greetings == 0):
            yield f"{greetings} greetings"

    def _wrong_rooms(self) -> Iterator[str]:
        """One Space, one room for each conversation, linked both ways, with Ann in all of them."""
        spaces = [key for key in self.hs.rooms if self.hs.state(key).get(("io.surfaces.space", ""))]
        if len(spaces) != 1 or len(self.hs.rooms) != 4:
            yield f"{len(self.hs.rooms)} rooms, {len(spaces)} Spaces, instead of entry, Space and two conversations"
            return
        (space,) = spaces
        if self.hs.state(space)["m.room.create", ""].get("type") != "m.space":
            yield "the Space is none"
        for room in (space, *self.owned(self.ann)):
            if self.hs.members(room) != {BOT: "join", ANN: "join"}:
                yield f"members of a room: {self.hs.members(room)}"
        for room in self.owned(self.ann):
            yield from self._wrong_links(space, room)
        contexts = {self.hs.state(room)["io.surfaces.binding", ""]["context_id"] for room in self.owned(self.ann)}
        if len(contexts) != len(self.owned(self.ann)):
            yield "two conversations share a context"

    def _wrong_links(self, space: str, room: str) -> Iterator[str]:
        state, children = self.hs.state(room), self.hs.state(space)
        binding = state["io.surfaces.binding", ""]
        if binding["owner"] != ANN:
            yield f"a conversation of {binding['owner']}"
        if state.get(("m.space.parent", space), {}).get("canonical") is not True:
            yield "a room does not name its Space"
        if children.get(("m.space.child", room), {}).get("via") != ["hs.test"]:
            yield "a room is not in the Space"
        name = "Second" if room == self.owned(self.ann)[-1] else binding["conversation"]
        if state.get(("m.room.name", ""), {}).get("name") != name:
            yield f"a room is called {state.get(('m.room.name', ''))}, not {name}"

    def _wrong_output(self) -> Iterator[str]:
        """The file that the agent made came once and whole."""
        sent = [
            str(event.content["url"]).rpartition("/")[2]
            for room in self.owned(self.ann)
            for event in self.hs.events(room)
            if event.sender == BOT and "url" in event.content
        ]
        if len(sent) != (0 if self.spoiled == "make" else 1):
            yield f"{len(sent)} files from the agent"
        for name in sent:
            if name not in self.hs.world.media or self.hs.world.media[name].data != b"You asked: make a file\n":
                yield "the agent's file is not what it made"

    def _wrong_input(self) -> Iterator[str]:
        """The file that Ann sent is in the workspace once and whole, and nothing unfinished beside it."""
        mine = [path for path in self.workspace.iterdir() if self.input_name[:-4] in path.name]
        if [path.name for path in mine] != [self.input_name] and not (self.spoiled == "file" and not mine):
            yield f"in the workspace: {[path.name for path in mine]}"
        elif mine and mine[0].read_bytes() != INPUT:
            yield "the file in the workspace is not what was sent"
        rest = [path.name for path in self.workspace.iterdir() if not path.name.startswith(("in-", "note-"))]
        if rest:
            yield f"left in the workspace: {rest}"
