"""Questions that are open: what an agent or a command asked a person and has no answer to yet.

Each is a row from the moment it is asked until it is answered and the answer used, so it survives a
restart. It belongs to one person in one conversation. An agent waits for its answer while its turn
lives; where the host ended meanwhile the turn is parked in the question's row, out of everybody's
way, and an answer asks the agent the same turn again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from surfaces_core._engine import words
from surfaces_core._engine.journal import Changes, Entry, Journal, Rows, key, place, turn_id
from surfaces_core._engine.prompt import kept
from surfaces_core._engine.work import Effect
from surfaces_core.contracts import Question
from surfaces_core.events import Address, FileRef, Inbound, Outbound, Receipt

LONGEST_S = 1800.0
"""Nobody waits longer for an answer to an agent: a turn that waits takes a place from others."""
GRACE_S = 3600.0
"""An answer that came in time may wait so long behind other messages."""
LOOK_S = 60.0
"""At least so often it is looked what has expired, for a clock that jumps."""
YES, NO = "yes", "no"
GONE = "gone"
"""Stands in memory for the answer that will not come in this life."""
REACTIONS = {"👍": YES, "✅": YES, "👎": NO, "❌": NO}
"""By how a reaction begins: skin tones and variation selectors follow."""
AFTER = 500
"""Part numbers of what is said about a question begin so far behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """One open question."""

    key: str
    """Of the `Outbound` that asks."""
    part: int = 0
    seq: int
    """Of the entry that asks: what came before it is no answer."""
    turn: str
    address: Address
    thread: str = ""
    person: str
    text: str
    accepts: tuple[str, ...] = (YES, NO)
    expires_at: float
    """Unix seconds."""
    remote_id: str = ""
    """The native id of the message that asks, when it shows."""
    answer: str = ""
    """Given, and not used up."""
    passed: bool = False
    """The turn lived when the answer was given, so that the agent may have it."""
    command: str = ""
    """Whose question it is; empty: the agent's."""
    data: str = ""
    """The command's own."""
    request: str = ""
    """`AgentRequest.turn` of an agent's question."""
    parked: Entry | None = None
    """The message of a turn that was cut short, to be asked again."""

    def question(self) -> Question:
        """As commands see it."""
        return Question(text=self.text, accepts=self.accepts, data=self.data, command=self.command)


OPEN = Rows(Open)


def accepted(question: Open, text: str) -> str:
    """The accepted answer that a text is; empty when it is none."""
    said = text.strip().casefold()
    return next((answer for answer in question.accepts if answer.casefold() == said), "")


class Questions:
    """All open questions, in memory and in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[str, Open] = {}
        """By the key of what asks, oldest first."""
        self._living: dict[str, asyncio.Future[bool]] = {}
        """Turns that wait for an answer, by the same."""
        self._changed = asyncio.Event()
        self.say: Callable[[Outbound, Changes], Awaitable[None]]
        """Stores something to say together with rows, and sends it; set by the host."""
        self.speak: Callable[[Address], None]
        """Chooses the language of what is said in a conversation; set by the host."""

    async def open(self, undone: Container[str]) -> None:
        """Read what is open; an agent's question whose turn has ended in another way is not."""
        stale: dict[bytes, bytes | None] = {}
        found = [OPEN.load(value) for value in (await self._journal.scan("ask")).values()]
        for question in sorted(found, key=lambda one: (one.seq, one.part)):
            waits = question.parked is not None and not question.answer
            if question.command or waits or question.turn in undone:
                self._open[question.key] = question
            else:
                stale[_row(question)] = None
        if stale:
            await self._journal.write(stale)

    # Asking

    def asked(self, question: Open) -> Changes:
        """The rows to store with the message that asks; a command's question takes the place of its person's last."""
        old = self._of_commands(question.address, question.thread, question.person) if question.command else []
        return {**{_row(one): None for one in old}, **_rows([question])}

    def remember(self, question: Open) -> None:
        """It is stored."""
        if question.command:
            self.closed(self._of_commands(question.address, question.thread, question.person))
        self._open[question.key] = question
        self._changed.set()

    @contextmanager
    def living(self, question: Open) -> Iterator[asyncio.Future[bool]]:
        """The answer for a turn that lives, from before it asks: it may be given as soon as the question is stored."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._living[question.key] = answer
        try:
            yield answer
        finally:
            del self._living[question.key]
            left = self._open.get(question.key)
            if left is not None and not left.answer:  # nobody waits any more; the row tells a restart that it was open
                self._open[question.key] = replace(left, answer=GONE)

    async def wait(self, question: Open, answer: asyncio.Future[bool]) -> bool | None:
        """Wait for the answer; None when nobody gave one in time."""
        try:
            async with asyncio.timeout(max(0.0, question.expires_at - self._journal.now())):
                return await answer
        except TimeoutError:
            return None

    def shown(self, message: Outbound, receipt: Receipt) -> Changes:
        """What a message that shows changes: a reaction to it may be an answer."""
        question = self._open.get(message.key)
        if question is None or question.remote_id == receipt.remote_id:
            return {}
        self._open[message.key] = question = replace(question, remote_id=receipt.remote_id)
        return _rows([replace(question, answer="") if question.answer == GONE else question])

    # Looking

    def waiting(self, message: Inbound) -> list[Open]:
        """A person's questions in a conversation, newest first, those of the message's own thread before others."""
        now = self._journal.now()
        mine = [
            question
            for question in self._open.values()
            if (question.address, question.person) == (message.address, message.sender)
            and not question.answer
            and question.expires_at > now
        ]
        mine.reverse()
        return sorted(mine, key=lambda question: question.thread != message.thread)

    def meant(self, entry: Entry) -> tuple[Open, str] | None:
        """The command's question that a plain message answers, and with what."""
        message = entry.message
        for question in self._of_commands(message.address, message.thread, message.sender):
            answer = accepted(question, message.text)
            if answer and question.seq < entry.seq and entry.came_at < question.expires_at and not message.attachments:
                return question, answer
        return None

    def at(self, key: str) -> Open | None:
        """One question."""
        return self._open.get(key)

    def left(self, request: str) -> Open | None:
        """The last question of a turn that was cut short."""
        mine = [question for question in self._open.values() if question.request == request]
        return mine[-1] if mine else None

    def known(self, request: str, text: str, without: Container[str]) -> Open | None:
        """What a person has answered when an earlier try of a turn asked the same, to the letter.

        `without` are questions of this try: what a person agreed to once they have not agreed to twice.
        """
        for question in self._of_request(request):
            if question.text == text and question.answer in (YES, NO) and question.key not in without:
                return question
        return None

    def _of_commands(self, address: Address, thread: str, person: str) -> list[Open]:
        where = (address, thread, person)
        return [q for q in self._open.values() if q.command and (q.address, q.thread, q.person) == where]

    # Answering: memory changes at once, so that whoever looks next knows; rows with the entry that answers

    def chosen(self, message: Inbound, approved: bool) -> Open | None:
        """The newest question that `!yes` or `!no` answers."""
        wanted = YES if approved else NO
        return next((question for question in self.waiting(message) if accepted(question, wanted)), None)

    def reacted(self, entry: Entry) -> Effect | None:
        """A reaction: the answer to the question that it stands at, if it is one and its person's."""
        message = entry.message
        wanted = next((answer for emoji, answer in REACTIONS.items() if message.text.startswith(emoji)), "")
        for question in self.waiting(message) if wanted and message.target else ():
            if question.remote_id == message.target and accepted(question, wanted):
                return self.answered(question, wanted, entry)
        return None

    def answered(self, question: Open, answer: str, entry: Entry) -> Effect:
        """What an answer comes to that an entry gives beside the conversation's line."""
        if question.command:
            return self._given([replace(question, answer=answer)], follow=(_following(entry, question, answer),))
        others = [one for one in self._of_request(question.request) if one.key != question.key]
        given = replace(question, answer=answer, passed=question.key in self._living)
        if question.parked is None:
            return self._given([given])
        if answer != YES:
            return self.closed([question, *others])
        again = replace(question.parked, turn=turn_id(question.address.surface, f"{entry.turn}\0again"))
        moved = [replace(one, turn=again.turn, parked=None) for one in (*others, given)]
        return self._given(moved, follow=(again,))

    def cancelled(self, question: Open, entry: Entry) -> Effect:
        """A question is left; for an agent that is a no."""
        return self.closed([question]) if question.command else self.answered(question, NO, entry)

    def _given(self, given: Sequence[Open], follow: tuple[Entry, ...] = ()) -> Effect:
        self._open |= {question.key: question for question in given}

        def then() -> None:
            for question in given:
                living = self._living.get(question.key)
                if question.passed and living is not None and not living.done():
                    living.set_result(question.answer == YES)

        return Effect(changes=_rows(given), follow=follow, then=then)

    # Ending

    def park(self, question: Open, entry: Entry, files: Sequence[FileRef]) -> Effect:
        """Keep a turn that was cut short with its question."""
        message = kept(entry.message, [file.path for file in files])
        again = Entry(seq=0, turn=entry.turn, message=message, request=question.request, files=tuple(files))
        waits = [replace(one, parked=again) if one == question else one for one in self._of_request(question.request)]
        self._open |= {one.key: one for one in waits}
        self._changed.set()
        return Effect(changes=_rows(waits))

    def finished(self, entry: Entry) -> Changes:
        """The entry is done, so what its agent asked is, unless that is kept for another try."""
        asked = [one for one in self._open.values() if one.request and one.turn == entry.turn]
        return {} if any(one.parked is not None for one in asked) else self.closed(asked).changes

    def idle(self, address: Address) -> list[Open]:
        """What is open in a conversation and asked by nobody that lives, with the answers that wait with it.

        Those of a turn that goes on stay good.
        """
        here = [one for one in self._open.values() if one.address == address and one.key not in self._living]
        parked = {one.request for one in here if one.parked is not None}
        return [one for one in here if one.answer not in (YES, NO) or one.request in parked]

    def closed(self, gone: Sequence[Open]) -> Effect:
        """Questions are no longer open."""
        for question in gone:
            self._open.pop(question.key, None)
        return Effect(changes={_row(question): None for question in gone})

    def _of_request(self, request: str) -> list[Open]:
        return [question for question in self._open.values() if request and question.request == request]

    # Expiring

    async def run(self) -> None:
        """Close what nobody answered in time, until cancelled; for a turn that is parked this is said."""
        while True:
            self._changed.clear()
            now = self._journal.now()
            ends = {question.key: _ends(question) for question in self._open.values()}
            for name in [name for name, end in ends.items() if end <= now]:
                if name in self._open:
                    await self._expire(self._open[name])
            left = [end - now for end in ends.values() if now < end < math.inf]
            try:
                async with asyncio.timeout(min([LOOK_S, *left])):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _expire(self, question: Open) -> None:
        gone = [question] if question.command else self._of_request(question.request)
        rows = self.closed(gone).changes
        if question.command:
            await self._journal.write(rows)
            return
        self.speak(question.address)
        told = Outbound(
            key=f"{question.key}e",
            turn=question.turn,
            part=question.part + AFTER,
            address=question.address,
            text=words.QUESTION_LAPSED(),
            notice=True,
            thread=question.thread,
        )
        await self.say(told, rows)


def _ends(question: Open) -> float:
    """When nobody waits for the answer any longer; an agent's turn that lives looks after itself."""
    if question.command:
        return question.expires_at + GRACE_S
    return math.inf if question.parked is None or question.answer else question.expires_at


def _following(entry: Entry, question: Open, answer: str) -> Entry:
    """The entry that carries an answer to the command that asked, in the conversation's line."""
    turn = turn_id(entry.message.address.surface, f"{entry.turn}\0answer")
    return Entry(seq=0, turn=turn, message=entry.message, answers=question.key, answer=answer)


def _row(question: Open) -> bytes:
    return key("ask", *place(question.address), question.key)


def _rows(questions: Sequence[Open]) -> dict[bytes, bytes | None]:
    return {_row(question): OPEN.dump(question) for question in questions}
