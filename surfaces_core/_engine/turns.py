"""Turns: what each inbox entry comes to.

Each waits for its place and is tried until it comes to something; what it asks for is handled, and
the answer leaves through the outbox in the transaction that ends the entry.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import limits, words
from surfaces_core._engine.acknowledging import Acknowledgements
from surfaces_core._engine.agent_turn import AgentTurns
from surfaces_core._engine.amendments import AMENDING, Amendments
from surfaces_core._engine.answers import Answers
from surfaces_core._engine.calls import Calls
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.declines import Declines
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.drafts import draft_of, show
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gate import backoff
from surfaces_core._engine.handling import Handling
from surfaces_core._engine.journal import Entry, Journal, begun
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.limits import Limits
from surfaces_core._engine.log import about
from surfaces_core._engine.questions import Questions
from surfaces_core._engine.redaction import Content
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.steps import stepping
from surfaces_core._engine.work import Outcome, Say, Work
from surfaces_core.contracts import Surface
from surfaces_core.errors import CommandError, StateError, SurfacesError, Unavailable
from surfaces_core.events import Inbound, Kind, Observed, Postponed, StepEnded, TurnEnded

MAX_CRASHES = 3
"""An entry whose work ended this often with the process is put aside: it may be what kills it."""
ALONE_S = 5.0
"""So long the last try of an entry keeps those of others off: what is put aside must be what kills."""
LOOK_AGAIN_S = 0.25
AT_ONCE = (*AMENDING, Kind.REACTION)
"""What does not wait behind the running turn: it may be about it."""
URGENT_AT_ONCE = 8
LONG_WAIT_S = 5.0
"""A person who has to wait longer is told at once."""
LONGEST_WAIT_S = 3600.0
"""A far side that asks for more is tried again all the same."""


class Turns:
    """Does the work of the inbox, one entry of a conversation at a time."""

    def __init__(
        self,
        *,
        settings: HostSettings,
        journal: Journal,
        book: Book,
        languages: Languages,
        agents: AgentTurns,
        calls: Calls,
        questions: Questions,
        handling: Handling,
        surfaces: Mapping[str, Surface],
        deliveries: Mapping[str, Delivery],
        observe: Callable[[Observed], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._book = book
        self._languages = languages
        self._agents = agents
        self._calls = calls
        self._acknowledgements = Acknowledgements(surfaces, log)
        self._questions = questions
        self._handling = handling
        self._answers = Answers(journal, surfaces, book)
        self._surfaces = surfaces
        self._deliveries = deliveries
        self._observe = observe
        self._log = log
        self.lanes: Lanes[Entry] = Lanes(self._work, settings.max_concurrent_turns)
        self.urgent: Lanes[Entry] = Lanes(self._work, URGENT_AT_ONCE)
        """What must not wait for a place among the turns: it may be what frees one."""
        self._works: dict[tuple[bool, Spot], Work] = {}
        """What is worked on now, urgent or not, until its answer is to be stored."""
        self._alone_until = 0.0
        """On the loop's clock: until then no other suspect may begin."""
        self._stop_next: set[Spot] = set()
        """Lanes whose waiting turn is to be stopped instead of tried again."""
        self._limits = Limits(settings, journal.now, self.lanes.wake)
        self._declines = Declines(settings.max_lane_depth, self._limits, self.lanes, calls, log)
        self._amendments = Amendments(
            journal=journal,
            lanes=self.lanes,
            works=self._works.values(),
            calls=calls,
            take_back=agents.take_back,
            edit_window_s=settings.edit_window_s,
            log=log,
        )

    # The lanes

    def put(self, entry: Entry) -> None:
        """Queue a stored entry; urgent commands do not wait behind the running turn."""
        if entry.message.kind in AMENDING and self._amendments.apply(entry):
            return
        lanes, spot = self._lanes(entry), Spot.of(entry.message)
        lanes.put(spot, entry)
        if self._is_counted(entry):
            self._limits.came(entry.message)
        if entry.message.kind is Kind.MESSAGE and lanes.depth(spot) > 1:
            self._acknowledgements.put(entry, waiting=True)

    def _is_counted(self, entry: Entry) -> bool:
        """Whether it is one of the messages of a person that wait."""
        return entry.message.kind is Kind.MESSAGE and self._lanes(entry) is self.lanes

    def _lanes(self, entry: Entry) -> Lanes[Entry]:
        if entry.answers:  # the command that asked goes on where it was
            return self.lanes
        if entry.declined or entry.message.kind in AT_ONCE:
            return self.urgent
        command = self._calls.parse(entry.message)[0]
        return self.urgent if command is not None and command.urgent else self.lanes

    def asking(self, message: Inbound) -> bool:
        """Whether a question to the agent waits or runs in a conversation."""
        return any(self._asks(entry) for entry in self.lanes.items(Spot.of(message)))

    def behind(self, message: Inbound) -> int:
        """How many messages of a conversation wait behind the one that is worked on."""
        return max(0, self.lanes.depth(Spot.of(message)) - 1)

    def admission(self) -> Callable[[Entry], Entry]:
        """What happens to the entries of one batch as they come in: too much for its lane, or begun at once."""
        coming: Counter[tuple[bool, Spot]] = Counter()
        people: Counter[tuple[str, str]] = Counter()

        def admit(entry: Entry) -> Entry:
            if entry.message.kind in AMENDING:
                return entry
            spot = Spot.of(entry.message)
            if not (self.lanes.depth(spot) or self.urgent.depth(spot) or coming[False, spot]):
                self._declines.caught_up(spot)
            person = (spot.address.surface, entry.message.sender)
            declined = self._declines.reason(entry.message, coming[False, spot], people[person])
            if declined:
                entry = replace(entry, declined=declined)
            people[person] += self._is_counted(entry)
            lanes = self._lanes(entry)
            lane = (lanes is self.urgent, spot)
            held = self._must_ask(entry) or self._must_follow(entry) or not self._limits.has_place(entry.message)
            first = not coming[lane] and lanes.starts_now(spot, len(coming)) and not held
            coming[lane] += 1
            return begun(entry) if first else entry

        return admit

    def stop(self, message: Inbound) -> bool:
        """Cancel the turn that runs in a conversation, or waits for its next try; none that came behind who asks."""
        spot = Spot.of(message)
        if self._calls.doors.consults.stop(spot):
            self.lanes.wake(spot)
            return True
        asking = self._works.get((True, spot))
        before = math.inf if asking is None else asking.entry.seq
        work = self._works.get((False, spot))
        if work is not None and self._asks(work.entry) and work.entry.seq < before:
            work.stop()
            return True
        if any(self._asks(entry) and entry.seq < before for entry in self.lanes.items(spot)):
            self._stop_next.add(spot)
            self.lanes.wake(spot)
            return True
        return False

    def _asks(self, entry: Entry) -> bool:
        """Whether an entry is a question to the agent, which can be stopped."""
        message, binding = entry.message, self._book.at(entry.message.address)
        owned = binding is None or binding.shared or binding.owner == message.sender
        question = message.kind is Kind.MESSAGE and self._calls.parse(message)[1] is None
        return owned and question and not entry.withdrawn

    def _must_ask(self, entry: Entry) -> bool:
        """Whether an entry may have to wait for an agent that is away."""
        return self._asks(entry) and not entry.declined and self._agents.away(entry.message.address)

    def _must_follow(self, entry: Entry) -> bool:
        """Whether what is said here has to wait: the conversation is still being made, and its greeting comes first."""
        message = entry.message
        if message.kind in (Kind.START, Kind.LEFT) or self._lanes(entry) is self.urgent:
            return False
        return self._book.is_made_by_another(entry.turn, message.address, message.sender)

    def waiting_for(self, agent: str) -> list[Spot]:
        """Where the next question waits for an agent."""
        first = [entry for entry in self.lanes.next_items() if self._asks(entry)]
        bound = [(Spot.of(entry.message), self._book.at(entry.message.address)) for entry in first]
        return [spot for spot, binding in bound if binding is not None and binding.agent == agent]

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            acknowledging = group.create_task(self._acknowledgements.lanes.run())
            async with asyncio.TaskGroup() as working:
                working.create_task(self.lanes.run())
                working.create_task(self.urgent.run())
            acknowledging.cancel()
        for entry in (*self.lanes.next_items(), *self.urgent.next_items()):
            if entry.state == "running":  # counted when it came, and then nobody got to it
                await self._journal.keep(replace(entry, state="queued", asked=False))

    def end(self) -> None:
        """Begin nothing further; `run` returns when what runs is done."""
        self.lanes.stop()
        self.urgent.stop()

    def abandon(self) -> None:
        """Cut short what still works; what is done already is stored as such."""
        for work in self._works.values():
            if work.worker is not None:
                work.worker.cancel()

    async def leave(self) -> None:
        """Store what is deaf to being cut short as what it is, so that it is not taken for what killed the process."""
        for work in list(self._works.values()):
            self._log.warning("turn.deaf", turn_id=work.entry.turn)
            await self._journal.suspend(work.entry)

    async def _work(self, entry: Entry) -> tuple[Entry, float] | None:
        with about(entry.turn):
            return await self._try(entry)

    async def _try(self, entry: Entry) -> tuple[Entry, float] | None:
        self._languages.speak_to(entry.message, self._book.at(entry.message.address))
        if entry.message.kind in AMENDING:
            await self._amendments.settle(entry)
            return None
        spot, urgent = Spot.of(entry.message), self._lanes(entry) is self.urgent
        stopped = not urgent and spot in self._stop_next and self._asks(entry)
        if stopped:
            self._stop_next.discard(spot)
        else:
            wait, entry = self._wait(entry)
            if wait > 0:
                return entry, wait
        if _is_suspect(entry):
            self._alone_until = asyncio.get_running_loop().time() + ALONE_S
        started = time.perf_counter()
        work = self._works[urgent, spot] = Work(entry=entry, stopped=stopped, worker=asyncio.current_task())
        try:
            await self._begin(work)
            if entry.message.kind is Kind.MESSAGE and not (entry.withdrawn or entry.failures):
                self._acknowledgements.put(entry, waiting=False)
            try:
                outcome = await self._settled(work)
            except Unavailable as error:
                return await self._put_off(work, error)
        except asyncio.CancelledError:
            await self._journal.suspend(work.entry)
            raise
        finally:
            del self._works[urgent, spot]
            if not urgent:
                self._limits.leave(entry.message)
            if _is_suspect(entry):
                self._alone_until = 0.0
        await self._finish(work.entry, outcome, time.perf_counter() - started)
        if self._is_counted(entry):
            self._limits.done(entry.message)
        return None

    async def _begin(self, work: Work) -> None:
        """Count the try before its work starts, unless it was counted when the entry came."""
        entry, address, counted = work.entry, work.entry.message.address, work.entry.state == "running"
        if entry.attempts == counted:
            waited_s = max(0.0, self._journal.now() - entry.came_at)
            self._observe(StepEnded(turn=entry.turn, address=address, step="wait", seconds=waited_s))
        if not counted:
            with stepping(self._observe, "store", entry.turn, address, attempt=entry.attempts + 1):
                work.entry = await self._journal.begin(entry)

    def _wait(self, entry: Entry) -> tuple[float, Entry]:
        """Seconds until the next try of an entry, which then need not be waited for once more.

        The wall clock is asked once, after a restart; it may have jumped, so it is not believed in everything.
        """
        if entry.withdrawn:
            return 0.0, entry
        if entry.state == "queued":
            wait, entry = self._wait_for_others(entry)
            if wait > 0:
                return wait, entry
        if self._asks(entry) and self._lanes(entry) is self.lanes and not self._limits.enter(entry.message):
            return limits.LOOK_AGAIN_S, entry
        return 0.0, entry

    def _wait_for_others(self, entry: Entry) -> tuple[float, Entry]:
        if entry.not_before:
            wait = min(entry.not_before - self._journal.now(), self._settings.retry_cap_s)
            entry = replace(entry, not_before=0.0)
            if wait > 0:
                return wait, entry
        if _is_suspect(entry) and (left := self._alone_until - asyncio.get_running_loop().time()) > 0:
            return min(left, LOOK_AGAIN_S), entry
        if self._must_follow(entry):
            return LOOK_AGAIN_S, entry
        return (self._agents.ask(entry.message.address) if self._must_ask(entry) else 0.0), entry

    async def _settled(self, work: Work) -> Outcome:
        """What an entry comes to, however often the person changes it meanwhile. Raises like `_outcome`."""
        while True:
            try:
                outcome = await self._outcome(work)
            except Unavailable:
                if not work.amendments:
                    raise
            else:
                if not work.amendments:
                    return outcome
            await self._amendments.begin_anew(work)

    async def _outcome(self, work: Work) -> Outcome:
        """What an entry comes to. Raises `Unavailable` when it is worth another try, and `StateError`."""
        entry = work.entry
        try:
            with contained():
                return await self._handle(work)
        except Unavailable as error:
            if self._worth_another(work.entry, error):
                raise
            return Outcome(says=[Say(text=words.GAVE_UP())], kind="dead", dead=error.code)
        except StateError:
            raise
        except SurfacesError as error:
            self._log.info(
                "turn.failed", code=error.code, error=Content(error) if isinstance(error, CommandError) else error
            )
            return Outcome(says=[Say(text=error.public)], kind="failed")
        except Exception:  # noqa: BLE001 - where a bug of a plugin, or of ours, meets a person: it ends this turn alone
            self._log.exception("turn.bug", kind=entry.message.kind.value)
            return Outcome(says=[Say(text=words.GENERAL())], kind="failed")

    def _worth_another(self, entry: Entry, error: Unavailable) -> bool:
        """Whether to try again: an invite always, a command as long as the far side names its wait, others so often."""
        if entry.message.kind is not Kind.MESSAGE:
            return True
        told_to_wait = error.retry_after is not None and self._calls.parse(entry.message)[1] is not None
        return told_to_wait or entry.failures + 1 < self._settings.max_tries

    async def _put_off(self, work: Work, error: Unavailable) -> tuple[Entry, float]:
        work.entry = entry = replace(work.entry, asked=False)
        tries = entry.failures + 1
        wait = backoff(tries, base_s=self._settings.retry_base_s, cap_s=self._settings.retry_cap_s)
        wait = max(wait, self._settings.retry_base_s / 2, min(error.retry_after or 0.0, LONGEST_WAIT_S))
        self._log.info("turn.postponed", code=error.code, error=str(error), tries=tries, wait_s=wait)
        work.entry = await self._journal.postpone(entry, self._journal.now() + wait, error)
        where = entry.message.address
        self._observe(Postponed(turn=entry.turn, address=where, part=None, reason=error.code, tries=tries, wait_s=wait))
        if (tries > 1 or wait > LONG_WAIT_S) and not work.unwanted:
            await self._show_waiting(work)
        while work.amendments:
            await self._amendments.begin_anew(work)
            wait = 0.0
        if work.unwanted:
            self._stop_next.add(Spot.of(entry.message))
        return replace(work.entry, not_before=0.0), 0.0 if work.unwanted else wait

    async def _show_waiting(self, work: Work) -> None:
        """Tell the person, in the message that the answer will replace, that it takes longer."""
        message = work.entry.message
        surface = self._surfaces[message.address.surface]
        making = self._book.is_making(work.entry.turn)
        if not surface.pace or not surface.pace.budget or not (making or message.kind is Kind.MESSAGE):
            return
        if self._deliveries[message.address.surface].behind(message.address):
            return  # where a message first shows, there it stays
        if not work.entry.shown:
            work.entry = await self._journal.mark_shown(work.entry, partly=False, device=surface.device)
        draft = replace(
            draft_of(work.entry, self._book.asker(message)),
            version=1,
            status=words.SETTING_UP() if making else words.WAITING(),
            device=work.entry.shown_on,
            first_at=work.entry.shown_at,
        )
        await show(surface, draft, surface.pace, self._log)

    async def _finish(self, entry: Entry, outcome: Outcome, seconds: float) -> None:
        try:
            with contained():
                answer = await self._answers.freeze(entry, outcome.says)
        except Exception:  # noqa: BLE001 - a plugin said what is no text, or its surface cannot cut it
            self._log.exception("turn.bug", kind=entry.message.kind.value)
            outcome = replace(outcome, kind="failed")
            answer = [self._answers.part(entry, 0, Say(text=words.GENERAL()), words.GENERAL())]
        effect = outcome.effect
        changes = {**self._questions.finished(entry), **outcome.changes, **effect.changes}
        if not outcome.dead and self._book.is_making(entry.turn):  # refused in the middle: nobody will go on with it
            changes = {**changes, **self._book.finished(entry.turn)}
        with stepping(self._observe, "store", entry.turn, entry.message.address, attempt=entry.attempts):
            parts, following = await self._journal.complete(
                entry, answer, changes, dead=outcome.dead, follow=effect.follow
            )
        effect.then()
        for part in parts:
            self._deliveries[part.outbound.address.surface].put(part)
        for after in following:
            self.put(after)
        self._book.settled(entry.turn)
        ended = TurnEnded(
            turn=entry.turn,
            address=entry.message.address,
            outcome=outcome.kind,
            seconds=seconds,
            came_at=entry.came_at,
            attempts=entry.attempts,
            agent=self._agents.at(entry.message.address),
        )
        self._log.info("turn.ended", outcome=outcome.kind, seconds=round(seconds, 4))
        self._observe(ended)
        if self._asks(entry):  # who wanted to stop it came too late, and meant no later one
            self._stop_next.discard(Spot.of(entry.message))

    async def _handle(self, work: Work) -> Outcome:
        entry, spot = work.entry, Spot.of(work.entry.message)
        if work.stopped:
            return Outcome(says=[Say(text=words.STOPPED())], kind="stopped")
        if entry.crashes >= MAX_CRASHES:
            return Outcome(says=[Say(text=words.POISON())], kind="dead", dead="CRASHED")
        if entry.declined and not entry.withdrawn:
            return self._declines.outcome(entry.message, entry.declined)
        if self._lanes(entry) is self.lanes and not self.behind(entry.message) and not self.urgent.depth(spot):
            self._declines.caught_up(spot)
        return await self._handling.handle(work)


def _is_suspect(entry: Entry) -> bool:
    """Whether one more crash puts an entry aside, though it may only have been there when others crashed."""
    return entry.crashes == MAX_CRASHES - 1
