"""The host with a bug planted into it: `python -m proof.planted BUG run -c FILE`, and where the proof must see it.

A proof that cannot fail proves nothing.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proof.points import Point
from proof.scenario import FIRST_COUNT
from surfaces_agent_api import turn as asking
from surfaces_agent_api.frames import user_message
from surfaces_core._engine import drafts as core_drafts
from surfaces_core._engine import journal, turns
from surfaces_core._engine.agent_turn import AgentTurns
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.journal import Backlog, Journal
from surfaces_matrix.client import Client
from surfaces_matrix.content import file_content
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.gaps import Filler
from surfaces_matrix.making import Made, Maker
from surfaces_matrix.media import upload
from surfaces_matrix.send import Sender


def put_in(owner: Any, name: str, bug: Callable[..., Any]) -> None:
    """Put a function in the place of another one."""
    setattr(owner, name, bug)


# On the way in --------------------------------------------------------------------------------------


def cursor_first() -> None:
    """The cursor is stored before what lies before it."""
    original = Journal.accept

    async def eager(self: Journal, surface: str, batch: Any, cursor: str, *rest: Any) -> Any:
        await self.write({journal.key("cursor", surface): cursor.encode()})
        return await original(self, surface, batch, cursor, *rest)

    put_in(Journal, "accept", eager)


def seen_first() -> None:
    """A message counts as seen before it is stored."""
    original = Journal.accept

    async def eager(self: Journal, surface: str, batch: Any, *rest: Any) -> Any:
        turns = [journal.turn_id(surface, message.event_id) for message in batch]
        seen = (await self.scan("seen")).keys()
        fresh = [m for m, turn in zip(batch, turns, strict=True) if journal.key("seen", surface, turn) not in seen]
        await self.write({journal.key("seen", surface, turn): b"1" for turn in turns})
        unknown = [replace(message, event_id=f"{message.event_id}.") for message in fresh]
        return await original(self, surface, unknown, *rest)

    put_in(Journal, "accept", eager)


def repeats_not_known() -> None:
    """Nobody remembers which messages came already."""
    original = journal.apply

    async def forgetful(tx: Any, changes: Any) -> None:
        await original(tx, {row: value for row, value in changes.items() if not row.startswith(b"seen\0")})

    put_in(journal, "apply", forgetful)


def gap_not_filled() -> None:
    """What a limited timeline leaves out is not fetched."""

    async def lazy(_self: Filler, *_rest: Any) -> dict[str, Any]:
        return {"chunk": []}

    put_in(Filler, "_page", lazy)


# After a restart ------------------------------------------------------------------------------------


def turns_named_by_chance() -> None:
    """After a restart a turn has another name."""
    original = journal._resumed
    put_in(journal, "_resumed", lambda entry: replace(original(entry), turn=secrets.token_hex(11)))


def tries_not_counted() -> None:
    """That a message was worked on when the host died is not counted."""
    original = journal._resumed
    put_in(journal, "_resumed", lambda entry: replace(original(entry), crashes=entry.crashes))


def suspects_together() -> None:
    """Whatever was worked on when the host died three times is put aside, though only one of it is what kills."""
    put_in(turns, "_is_suspect", lambda entry: False)


def running_forgotten() -> None:
    """What was worked on when the host died is taken for done."""

    async def sloppy(self: Journal) -> Backlog:
        left = await _open(self)
        return replace(left, entries=[entry for entry in left.entries if entry.crashes == 0])

    _open = Journal.open
    put_in(Journal, "open", sloppy)


def backlog_backwards() -> None:
    """What waited is taken up in the wrong order."""

    async def hasty(self: Journal) -> Backlog:
        left = await _open(self)
        return replace(left, entries=left.entries[::-1])

    _open = Journal.open
    put_in(Journal, "open", hasty)


# While the agent works ------------------------------------------------------------------------------


def question_named_by_chance() -> None:
    """A question that is asked again has another id, so the agent takes it for a new one."""

    def forgetful(request: Any, **options: Any) -> str:
        return user_message(replace(request, turn=secrets.token_hex(11)), **options)

    put_in(asking, "user_message", forgetful)


def files_used_too_early() -> None:
    """Files stop waiting when the agent is asked, not when it has answered."""
    original = AgentTurns._converse

    async def eager(self: AgentTurns, work: Any, *rest: Any) -> Any:
        message = work.entry.message
        waiting = self._staging.waiting(message.address, message.sender)
        await self._journal.write(self._staging.consume(message.address, waiting))
        return await original(self, work, *rest)

    put_in(AgentTurns, "_converse", eager)


def draft_not_marked() -> None:
    """That a draft may show is known to this life alone."""
    keep = Journal.keep

    async def unmarked(self: Journal, entry: Any, *, partly: bool, device: str) -> Any:
        kept = await keep(self, entry)  # one commit: a kill between two would leave the mark
        return replace(kept, shown=True, shown_at=self.now(), shown_on=device, partly=entry.partly or partly)

    put_in(Journal, "mark_shown", unmarked)


def partly_forgotten() -> None:
    """That something of the answer shows is not stored."""
    keep = Journal.keep

    async def forgetful(self: Journal, entry: Any) -> Any:
        await keep(self, replace(entry, partly=False))
        return entry

    put_in(Journal, "keep", forgetful)


def draft_beside_answer() -> None:
    """A draft has another key than the answer that is to replace it."""
    original = core_drafts.Drafts.__init__

    def apart(self: core_drafts.Drafts, **options: Any) -> None:
        original(self, **options)
        self._base = replace(self._base, key=f"{self._base.turn}.draft")

    put_in(core_drafts.Drafts, "__init__", apart)


# On the way out -------------------------------------------------------------------------------------


def forgotten_before_queued() -> None:
    """The message is removed before its answer is stored."""
    original = Journal.complete

    async def split(self: Journal, entry: Any, *rest: Any, **options: Any) -> Any:
        await self.write({journal.key("in", journal.ordinal(entry.seq)): None})
        return await original(self, entry, *rest, **options)

    put_in(Journal, "complete", split)


def entry_not_removed() -> None:
    """The answer is stored, and the message stays."""
    original = Journal._commit

    async def half(self: Journal, rows: Any, answer: Any) -> Any:
        return await original(self, {row: rows[row] for row in rows if not row.startswith(b"in\0")}, answer)

    put_in(Journal, "_commit", half)


def parts_backwards() -> None:
    """The parts of an answer are numbered from the last to the first."""
    original = Journal._commit

    async def backwards(self: Journal, rows: Any, answer: Any, *follow: Any) -> Any:
        parts, entries = await original(self, rows, answer[::-1], *follow)
        return parts[::-1], entries

    put_in(Journal, "_commit", backwards)


def delivered_before_sent() -> None:
    """A part leaves the outbox before the messenger has it."""
    original = Delivery._send

    async def hasty(self: Delivery, part: Any) -> Any:
        await self._journal.delivered(part)
        return await original(self, part)

    put_in(Delivery, "_send", hasty)


def transactions_by_chance() -> None:
    """Every request to send has another transaction id."""
    original = Client.call

    async def forgetful(self: Client, method: str, path: str, *rest: Any, **options: Any) -> Any:
        changed = path + secrets.token_hex(4) if "/send/" in path else path
        return await original(self, method, changed, *rest, **options)

    put_in(Client, "call", forgetful)


def answer_taken_for_shown() -> None:
    """Where an earlier life may have shown a draft, the answer is sent under its key, and that is all."""
    settle, say = Drafts.settle, Sender._say
    unknown: set[str] = set()

    async def noting(self: Drafts, key: str, *rest: Any) -> str | None:
        event_id = await settle(self, key, *rest)
        if event_id is None:
            unknown.add(key)
        return event_id

    async def hasty(self: Sender, message: Any, content: Any, mark: str = "", **options: Any) -> str:
        return "" if mark and message.key in unknown else await say(self, message, content, mark, **options)

    put_in(Drafts, "settle", noting)
    put_in(Sender, "_say", hasty)


def event_named_after_upload() -> None:
    """A file's event is named after what was uploaded, which nobody remembers."""

    async def forgetful(self: Sender, message: Any, *_rest: Any) -> str:
        async with await self._files.open(message.file.workspace, message.file.path) as opened:
            where = await upload(self._client, opened, timeout_s=30.0)
        content = file_content(message.file, where, message.text, turn=message.turn, part=message.part)
        return await self._words(message.address.conversation, message.key + where["url"][-8:], content, timeout_s=30.0)

    put_in(Sender, "_send_file", forgetful)


# Making conversations -------------------------------------------------------------------------------


def rooms_by_chance() -> None:
    """The name by which a room is found again is not stored before the room is made."""
    original = Maker._keep

    async def forgetful(self: Maker, key: str, made: Made) -> Made:
        return made if made.room is None else await original(self, key, made)

    put_in(Maker, "_keep", forgetful)


def openings_not_kept() -> None:
    """A conversation that is being made is another one in the next life."""
    original = Book._opening
    life = secrets.token_hex(4)

    async def forgetful(self: Book, cause: str, *rest: str) -> Any:
        return await original(self, cause + life, *rest)

    put_in(Book, "_opening", forgetful)


@dataclass(frozen=True, kw_only=True)
class Catch:
    """Where a bug must be seen, and as what; without the bug all is well there."""

    bug: Callable[[], None]
    by: str
    """What is wrong then, of the verdict's kinds."""
    at: Sequence[Point] = ()
    """Lives that end there, one after the other."""
    spoiled: str = ""
    """The message of the scenario that has no answer then, bug or not."""
    on_interrupt: str = "retry"
    """The host's policy."""
    calm: bool = True
    """Nothing is said while an answer is still to come."""

    @property
    def name(self) -> str:
        """The bug's."""
        return self.bug.__name__

    @property
    def place(self) -> str:
        """Where it is seen, in words."""
        return " + ".join(map(str, self.at)) or "no kill"


def _at(name: str, count: int = 1, side: str = "", text: str = "") -> Point:
    return Point(name=name, count=count, side=side, text=text)


_DRAFT = Point(name="agent.ask", count=30, side="after", text=FIRST_COUNT, draft=True)
_A1 = _at("agent.ask", 0, "before", "a1")

CAUGHT: Sequence[Catch] = (
    Catch(bug=cursor_first, by="lost", at=[_at("accept.before")]),
    Catch(bug=seen_first, by="lost", at=[_at("accept.before")]),
    Catch(bug=repeats_not_known, by="other"),
    Catch(bug=gap_not_filled, by="lost"),
    Catch(bug=turns_named_by_chance, by="torn", at=[_DRAFT]),
    Catch(bug=tries_not_counted, by="other", at=[_DRAFT] * 3, spoiled="count"),
    Catch(bug=suspects_together, by="other", at=[_DRAFT] * 3, spoiled="count", calm=False),
    Catch(bug=running_forgotten, by="lost", at=[_at("agent.ask", 1, "after")]),
    Catch(bug=backlog_backwards, by="out_of_order", at=[_at("complete.before", 9)]),
    Catch(bug=question_named_by_chance, by="other", at=[_at("agent.ask", 1, "after", "a1")]),
    Catch(bug=files_used_too_early, by="lost", at=[_A1]),
    Catch(bug=draft_not_marked, by="torn", at=[_DRAFT] * 3, spoiled="count"),
    Catch(bug=partly_forgotten, by="other", at=[_DRAFT], spoiled="count", on_interrupt="auto"),
    Catch(bug=draft_beside_answer, by="doubled"),
    Catch(bug=forgotten_before_queued, by="lost", at=[_at("complete.before")]),
    Catch(bug=entry_not_removed, by="other", at=[_at("agent.ask", 0, "before", "b2")]),
    Catch(bug=parts_backwards, by="out_of_order", at=[_at("complete.after", 8)]),
    Catch(bug=delivered_before_sent, by="lost", at=[_at("send", 1, "before")]),
    Catch(bug=transactions_by_chance, by="doubled", at=[_at("send", 1, "after")]),
    Catch(bug=answer_taken_for_shown, by="torn", at=[_at("complete.after", 6)]),
    Catch(bug=event_named_after_upload, by="doubled", at=[_at("send.after", 10)]),
    Catch(bug=rooms_by_chance, by="other", at=[_at("createRoom", 2, "after")]),
    Catch(bug=openings_not_kept, by="other", at=[_at("open.after")]),
)
BUGS: Mapping[str, Callable[[], None]] = {catch.name: catch.bug for catch in CAUGHT}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    from surfaces_core.cli import main

    sys.exit(main(sys.argv[2:]))
