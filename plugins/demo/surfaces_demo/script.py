"""The scripted conversation: what a person does, step by step, and what they must see each time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from surfaces_demo.person import NotSeen, Person
from surfaces_demo.report import Report, Step
from surfaces_demo.stage import Stage
from surfaces_demo.timeline import Message, Room

TASTE = "marmalade"
"""A word that the agent knows only when it remembers."""
FILE_NAME = "shopping.txt"
STORED_AS = "shopping"
"""How its stored name begins; a taken name gets a number."""
FILE = b"apples\nflour\ncinnamon\n"
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy")
UNFINISHED = "…"
"""Ends an answer that is still being written."""
NUMBERS = [f"{tens}-{ones}" for tens in _TENS for ones in ("one", "two", "three", "four", "five", "six")]
"""What the long answer must contain, each once and in this order."""


class Script:
    """One person and their conversation with the agent; `play` raises `NotSeen` at the first missing thing."""

    def __init__(self, stage: Stage, person: Person, bot: str, report: Report) -> None:
        self._stage = stage
        self._person = person
        self._bot = bot
        self._report = report
        self._asked: Counter[str] = Counter()
        """How often the person said something, by room id."""
        self.room = Room(room_id="")
        """The first conversation."""

    async def play(self) -> None:
        """The whole conversation."""
        self._report.heading("Getting in")
        await self._get_in()
        self._report.heading("Talking")
        await self._stream()
        await self._remember()
        await self._file_in()
        await self._file_out()
        self._report.heading("Conversations have memories of their own")
        await self._second_conversation()
        await self._clear()
        self._report.heading("Pulling the plug")
        await self._pull_the_plug()
        await self._tally()

    # What the person sees -------------------------------------------------------------------------

    def _answers(self, room: Room) -> list[Message]:
        """What the bot said in a room."""
        return room.by(self._bot)

    async def _ask(self, room: Room, text: str) -> None:
        self._asked[room.room_id] += 1
        await self._person.say(room, text)

    async def _answer(
        self, room: Room, what: str, fits: Callable[[Message], bool], since: int, within_s: float = 30.0
    ) -> Message:
        """Wait for something that the bot says after its first `since` messages."""

        def look() -> Message | None:
            return next((message for message in self._answers(room)[since:] if fits(message)), None)

        return await self._person.see(what, look, within_s)

    async def _settled(self, message: Message, within_s: float = 30.0) -> None:
        """Wait until a message that streams has come to its end."""
        await self._person.see("the end of the answer", lambda: not message.text.endswith(UNFINISHED), within_s)

    # The steps ------------------------------------------------------------------------------------

    async def _get_in(self) -> None:
        person = self._person
        with self._report.step("invites the bot to a direct chat, and is invited to a Space and a room") as step:
            entry = await person.invite_to_chat(self._bot)
            space = await person.see_invitation(space=True)
            self.room = await person.see_invitation()
            step.note(f"Space “{space.name}”, room “{self.room.name}”")
        with self._report.step("joins both, and is greeted") as step:
            await person.join(space)
            await person.join(self.room)
            greeting = await self._answer(self.room, "a greeting", lambda message: "!new" in message.text, 0)
            await person.see("the room in the Space", lambda: space.children.get(self.room.room_id))
            await person.see("a link in the direct chat", lambda: self._answers(entry))
            step.note(first_line(greeting.text))

    async def _stream(self) -> None:
        question = (
            f"Please keep in mind that I like {TASTE} best, more than honey and jam, and that I have it every morning."
        )
        with self._report.step("asks something, and sees the answer stream") as step:
            since = len(self._answers(self.room))
            await self._ask(self.room, question)
            message = await self._answer(
                self.room, "an answer that grows", lambda message: len(message.versions) > 2, since
            )
            await self._settled(message)
            step.note(f"{len(message.versions)} versions of one message: {first_line(message.text)}")

    async def _remember(self) -> None:
        with self._report.step("asks what was said, and the agent remembers") as step:
            message = await self._recollection(self.room)
            if TASTE not in message.text:
                raise NotSeen(f"the agent does not remember: {first_line(message.text)}")
            step.note(first_line(message.text))

    async def _recollection(self, room: Room) -> Message:
        since = len(self._answers(room))
        await self._ask(room, "What did I say before?")
        message = await self._answer(room, "an answer", lambda message: not message.notice, since)
        await self._settled(message)
        return message

    async def _file_in(self) -> None:
        with self._report.step("sends a file, and the agent reads it") as step:
            since = len(self._answers(self.room))
            self._asked[self.room.room_id] += 1
            await self._person.send_file(self.room, FILE_NAME, FILE, "text/plain")
            await self._answer(self.room, "that the file waits", lambda message: STORED_AS in message.text, since)
            since = len(self._answers(self.room))
            await self._ask(self.room, "What is in this file?")
            message = await self._answer(
                self.room, "a description of the file", lambda message: STORED_AS in message.text, since
            )
            await self._settled(message)
            step.note(first_line(message.text))

    async def _file_out(self) -> None:
        with self._report.step("asks for a file, and gets one") as step:
            since = len(self._answers(self.room))
            await self._ask(self.room, "make a file")
            message = await self._answer(self.room, "a file", lambda message: message.url is not None, since)
            data = await self._person.download(message)
            step.note(f"{message.text}, {len(data)} bytes")

    async def _second_conversation(self) -> None:
        with self._report.step("opens a second conversation with !new; it knows nothing of the first") as step:
            await self._ask(self.room, "!new Plans")
            second = await self._person.see_invitation()
            await self._person.join(second)
            message = await self._recollection(second)
            self._forgotten(message)
            step.note(f"“{second.name}”: {first_line(message.text)}")

    async def _clear(self) -> None:
        with self._report.step("says !clear in the first, which forgets too") as step:
            since = len(self._answers(self.room))
            await self._ask(self.room, "!clear")
            await self._answer(self.room, "that it is cleared", lambda message: message.notice, since)
            message = await self._recollection(self.room)
            self._forgotten(message)
            step.note(first_line(message.text))

    def _forgotten(self, message: Message) -> None:
        if TASTE in message.text:
            raise NotSeen(f"the agent should know nothing, but says: {first_line(message.text)}")

    async def _pull_the_plug(self) -> None:
        since = len(self._answers(self.room))
        with self._report.step("asks for a long answer; the host is killed (SIGKILL) in the middle of it") as step:
            await self._ask(self.room, f"Say after me: {' '.join(NUMBERS)}")
            cut = await self._answer(self.room, "half an answer", lambda message: NUMBERS[0] in message.text, since)
            await self._stage.kill_host()
            if NUMBERS[-1] in cut.text:
                raise NotSeen("the host was killed too late: the answer was whole already")
            step.note(f"what shows: {first_line(cut.text)}")
        with self._report.step("writes once more while nobody is there"):
            await self._ask(self.room, "Are you still there?")
        with self._report.step("the host is started again, and the same message gets its end") as step:
            await self._stage.start_host()
            await self._person.see("the whole answer", lambda: in_order(cut.text), 40)
            step.note(first_line(cut.text))
        with self._report.step("what was written meanwhile is answered too") as step:
            message = await self._answer(self.room, "the next answer", lambda message: message.turn != cut.turn, since)
            await self._settled(message)
            step.note(first_line(message.text))

    async def _tally(self) -> None:
        with self._report.step("counts: nothing is lost, nothing is doubled") as step:
            for room_id, asked in self._asked.items():
                self._count(self._person.timeline.room(room_id), asked, step)

    def _count(self, room: Room, asked: int, step: Step) -> None:
        marks = Counter((message.turn, message.part) for message in self._answers(room))
        doubled = [mark for mark, times in marks.items() if times > 1 or mark[0] is None]
        if doubled:
            raise NotSeen(f"shown more than once, or without a mark, in {room.name}: {doubled}")
        # The greeting of the first conversation answers the invitation, not a message.
        turns = len({turn for turn, _ in marks}) - (room is self.room)
        if turns != asked:
            raise NotSeen(f"{asked} messages in {room.name}, but {turns} answers")
        step.note(f"{room.name}: {asked} messages, {turns} answers, {len(marks)} events, each once")


def in_order(text: str) -> bool:
    """Whether the long answer is whole: every number once and in order."""
    return re.findall(rf"(?:{'|'.join(_TENS)})-\w+", text) == NUMBERS


def first_line(text: str, most: int = 90) -> str:
    """A text cut to one line for showing."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
