"""Edits and redactions: what they do to a message that is not answered yet, at the moment they come.

What still waits is changed where it waits; what is worked on begins anew. The row of an edit stays
until the message's own row has the change in it, so that a crash between the two loses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.calls import Calls
from surfaces_core._engine.journal import Changes, Entry, Journal
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.work import Work
from surfaces_core.events import Inbound, Kind

AMENDING = (Kind.EDIT, Kind.REDACTION)
"""What changes a message that came before."""


class Amendments:
    """Changes what is in the inbox."""

    def __init__(
        self,
        *,
        journal: Journal,
        lanes: Lanes[Entry],
        works: Collection[Work],
        calls: Calls,
        take_back: Callable[[Entry], Awaitable[Changes]],
        edit_window_s: float,
        log: FilteringBoundLogger,
    ) -> None:
        self._journal = journal
        self._lanes = lanes
        self._works = works
        self._calls = calls
        self._take_back = take_back
        """Drops what is left of a message that was done already; the rows to forget."""
        self._edit_window_s = edit_window_s
        self._log = log
        self._waiting: dict[int, Entry] = {}
        """What a change has made of a message that waits, by the number of the change, until that is stored."""

    def apply(self, amendment: Entry) -> bool:
        """Act at once; True when whoever works on the message takes the change up, and stores it."""
        message = amendment.message
        work = next((work for work in self._works if _is_meant(work.entry, message)), None)
        if work is not None:
            reason = self._obstacle(message, work.entry) or self._lateness(message, work)
            taken = not reason and work.amend(amendment)
            self._note(amendment, reason or ("" if taken else "answered"))
            return taken
        where, target = self._find(message)
        reason = "no_such_message" if target is None else self._obstacle(message, target)
        self._note(amendment, reason)
        if target is not None and not reason:
            self._waiting[amendment.seq] = changed = amended(replace(target, state="queued"), amendment)
            self._lanes.replace(where, target, changed)
            if changed.withdrawn:
                self._lanes.wake(where)
        return False

    async def settle(self, amendment: Entry) -> None:
        """Store what was changed where it waits, and forget the change."""
        changed, late = self._waiting.pop(amendment.seq, None), amendment.message.kind is Kind.REDACTION
        changes = await self._take_back(amendment) if changed is None and late else {}
        await self._journal.amend(amendment, changed, changes)

    async def begin_anew(self, work: Work) -> None:
        """Store what was changed while it was worked on, as one more try."""
        entry, taken = work.entry, list(work.amendments)
        for amendment in taken:
            entry = amended(entry, amendment)
        asked = entry.state == "running" and not entry.message.attachments
        work.entry = replace(entry, attempts=entry.attempts + 1, asked=asked)
        await self._journal.keep(work.entry, instead_of=taken)
        del work.amendments[: len(taken)]
        work.task, work.stopped = None, work.unwanted

    def _find(self, message: Inbound) -> tuple[Spot, Entry | None]:
        """The message that waits and is meant, and where."""
        for spot in self._lanes.names():
            if isinstance(spot, Spot) and spot.address == message.address:
                for entry in self._lanes.waiting_in(spot):
                    if _is_meant(entry, message):
                        return spot, entry
        return Spot.of(message), None

    def _obstacle(self, message: Inbound, target: Entry) -> str:
        """Why a message is not to be changed, as a stable word."""
        if target.withdrawn:
            return "redacted"
        if message.kind is Kind.REDACTION:
            return ""
        if message.sender != target.message.sender:
            return "not_theirs"
        if not message.text.strip():
            return "empty"
        before, after = target.message, replace(target.message, text=message.text)
        return "command" if self._calls.parse(before)[1] or self._calls.parse(after)[1] else ""

    def _lateness(self, message: Inbound, work: Work) -> str:
        """Why what is worked on is not to begin anew."""
        asked = work.entry.message
        if self._calls.parse(asked)[1]:
            return "command"
        if message.kind is Kind.REDACTION:
            return ""
        if message.sent_at - asked.sent_at > self._edit_window_s:
            return "too_late"
        later = self._lanes.waiting_in(Spot.of(asked))
        return "not_the_last" if any(self._is_question(entry, asked.sender) for entry in later) else ""

    def _is_question(self, entry: Entry, sender: str) -> bool:
        message = entry.message
        mine = message.kind is Kind.MESSAGE and message.sender == sender and not entry.withdrawn
        return mine and self._calls.parse(message)[1] is None

    def _note(self, amendment: Entry, reason: str) -> None:
        kind = amendment.message.kind.value
        if reason:
            self._log.info("amendment.ignored", turn_id=amendment.turn, kind=kind, reason=reason)
        else:
            self._log.info("amendment.taken", turn_id=amendment.turn, kind=kind)


def amended(entry: Entry, amendment: Entry) -> Entry:
    """An entry with other words in its place, a question that nobody has had; or with none."""
    message = entry.message
    if amendment.message.kind is Kind.REDACTION:
        return replace(entry, message=replace(message, text="", quote="", attachments=()), withdrawn=True)
    changed = replace(message, text=amendment.message.text)
    return replace(entry, message=changed, revision=amendment.turn, asked=False, cut=False)


def _is_meant(entry: Entry, message: Inbound) -> bool:
    said = entry.message
    return said.kind is Kind.MESSAGE and said.address == message.address and said.event_id == message.target
