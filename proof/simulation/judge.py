"""The judge of a simulated world: sees what people see, and says what should not have been so.

A thing that somebody said is open until the host has no row about it any more; some time later what
shows must explain it. What shows for something that is over, or before its turn, is wrong at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from proof.simulation.records import Records
from proof.simulation.story import Act, Chat, Said, Seen, turn_of
from proof.simulation.trace import HOST, Trace
from proof.simulation.verdicts import Ending, explain
from surfaces_core._engine import words
from surfaces_core.events import Draft

AT_REST_S = 30.0
"""So long nothing must change any more before something counts as over: a crash may come meanwhile."""
MOST_FAILURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A promise that was broken."""

    kind: str
    """`lost`, `doubled`, `disordered`, `torn`, `wrong`, `bug`, `grown`, or `stuck`."""
    conversation: str
    what: str
    at_s: float
    trace: tuple[str, ...]
    """The last lines of the conversation."""


@dataclass(kw_only=True, eq=False)
class Judge:
    """Everything that is known of what people said and what they saw."""

    trace: Trace
    now: Callable[[], float]
    ends: int = 0
    """Lives of the host that are over."""
    failures: list[Failure] = field(default_factory=list)
    on_question: Callable[[Said], None] = lambda said: None
    """The agent asks something, and the person sees it."""
    on_over: Callable[[Said], None] = lambda said: None
    open: dict[str, Said] = field(default_factory=dict)
    """By turn."""
    endings: Counter[str] = field(default_factory=Counter)
    latencies: Counter[float] = field(default_factory=Counter)
    """Tenths of seconds from a question to its whole answer, where the agent was always there."""

    def __post_init__(self) -> None:
        self.records = Records(fail=self.fail)
        self._tokens: dict[str, Said] = {}
        self._settled: deque[tuple[float, Said, bool]] = deque()
        """What may be over, or is put aside."""

    def fail(self, kind: str, where: str, what: str) -> None:
        """A promise was broken."""
        self.trace.line(where, f"FAILURE {kind}: {what}")
        if len(self.failures) < MOST_FAILURES:
            failure = Failure(kind=kind, conversation=where, what=what, at_s=self.now(), trace=self.trace.recent(where))
            self.failures.append(failure)

    # What people do

    def said(self, said: Said) -> None:
        """Somebody did something, and the messenger took it."""
        self.open[said.turn] = said.chat.open[said.turn] = said
        if said.plan is not None:
            self._tokens[said.plan.token] = said
        if said.act is Act.COMMAND and said.text == "!stop":
            said.chat.stops.append(said)

    def asked(self, text: str, request: str) -> Said | None:
        """What an agent is asked about, and under which name; None when that is over, which is wrong."""
        token = text.partition(" ")[0]
        said = self._tokens.get(token)
        if said is None:
            self.fail("doubled", token.partition("#")[0], f"the agent is asked what is over: {text[:60]!r}")
        elif request != said.request:
            self.fail("wrong", said.chat.name, f"#{said.number} is asked as {request}, and is {said.request}")
        return said

    def heard(self, said: Said) -> None:
        """The agent has the question: where it had it before, there must be a reason."""
        assert said.plan is not None
        if sum(run.heard for run in said.plan.runs) < 2:
            return
        if said.waits:
            self.fail("doubled", said.chat.name, f"#{said.number}: it is asked again, and its question is still open")
        if said.agreements:
            said.agreements -= 1
        elif said.chat.once:
            self.fail("doubled", said.chat.name, f"#{said.number}: {said.chat.agent} is asked twice")

    # What the disk says

    def stored(self, turn: str, *, overflow: bool, request: str = "") -> None:
        """The host has taken something in, or takes up what the agent had under another name."""
        if request and turn not in self.open:
            self._take_up(turn, request)
            return
        said = self.open.get(turn)
        if said is None:
            return
        said.chat.taken = said.number
        said.stored, said.overflow = True, overflow
        for other in said.chat.open.values():
            if other.number >= said.number:
                break
            if not other.stored:
                self.fail("lost", said.chat.name, f"#{said.number} is taken in, #{other.number} never was")

    def _take_up(self, turn: str, request: str) -> None:
        """Something that was put aside goes on behind what was said meanwhile, because its person agreed."""
        for said in self.open.values():
            if said.was_parked and not said.resumed and said.request == request:
                break
        else:
            self.fail("doubled", HOST, f"{turn} takes up {request}, which is not put aside")
            return
        chat, plan = said.chat, said.plan
        assert plan is not None
        agreed = [yes for yes in chat.open.values() if turn_of(chat.surface, f"{yes.turn}\0again") == turn]
        if not agreed or agreed[0].text != "!yes":
            self.fail("wrong", chat.name, f"#{said.number} goes on, and nobody agreed to that")
        said.resumed = True
        again = Said(
            chat=chat,
            number=chat.taken + 0.5,
            turn=turn,
            act=said.act,
            text=said.text,
            at=self.now(),
            ends=self.ends,
            failures=chat.failures,
            plan=replace(plan, before=plan.before + len(plan.runs), runs=[]),
            again=said,
            stored=True,
        )
        self.open[turn] = chat.open[turn] = self._tokens[plan.token] = again
        self.trace.line(chat.name, f"#{said.number} goes on as #{again.number} {turn}")

    def asking(self, row: bytes, turn: str, answer: str, by: str) -> None:
        """A question is stored: open, or with the answer that its person gave by saying something."""
        said, answering = self.open.get(turn), self.open.get(by)
        if said is None:
            return
        if not answer:
            said.waits.add(row)
        elif row in said.waits:
            said.waits.discard(row)
            if answering is None or answering.text != f"!{answer}":
                self.fail("wrong", said.chat.name, f"#{said.number}: nobody said {answer} to its question")
            assert said.plan is not None
            if said.plan.runs[-1].life < self.ends:
                said.agreements += answer == "yes"
                said.declined |= answer == "no"

    def asks_no_more(self, row: bytes, turn: str) -> None:
        """A question is closed, or belongs to what goes on."""
        if turn in self.open:
            self.open[turn].waits.discard(row)

    def parked(self, turn: str) -> None:
        """Something was cut short while its question was open, and is put aside with it."""
        said = self.open.get(turn)
        if said is None:
            self.fail("doubled", HOST, f"{turn} is put aside, and is over")
            return
        said.was_parked = said.parked = True
        self._settled.append((self.now(), said, True))
        self.trace.line(said.chat.name, f"#{said.number} is put aside")

    def unparked(self, turn: str, by: str) -> None:
        """It is no more, because of something that somebody said, or because nobody did."""
        if turn in self.open:
            self.open[turn].parked, self.open[turn].left_for = False, self.open.get(by)

    def buried(self, turn: str, reason: str) -> None:
        """Something lies in the dead letters."""
        said = self.open.get(turn)
        if said is not None:
            said.dead = reason

    def busy(self, turn: str) -> None:
        """There is something to do about it."""
        said = self.open.get(turn)
        if said is not None:
            said.settled_at = None

    def settled(self, turn: str) -> None:
        """There is nothing more to do about it."""
        said = self.open.get(turn)
        if said is not None:
            said.settled_at = self.now()
            self._settled.append((said.settled_at, said, False))

    def ended(self, running: Iterable[str], noted: Iterable[str]) -> None:
        """A life of the host is over, and was at work on these; of some it has noted that it was cut short."""
        self.ends += 1
        for turn in noted:
            if turn in self.open:
                self.open[turn].cut = True
        for turn in running:
            if turn in self.open:
                self.open[turn].cut = True
                self.open[turn].crashes += 1

    def failed(self, turn: str) -> None:
        """A call on behalf of something did not get through."""
        said = self.open.get(turn)
        if said is not None:
            said.chat.failures += 1

    # What people see

    def drafted(self, where: Chat, draft: Draft) -> None:
        """A message that is not final shows, or changes."""
        said = self.open.get(draft.turn)
        if said is None:
            self.fail("doubled", where.name, f"a draft of what is over: {draft.key} {draft.text[:60]!r}")
            return
        self._in_order(said, draft.key)
        said.drafts.add(draft.key)
        runs = [] if said.plan is None else said.plan.runs
        assert said.plan is not None or not draft.text
        if draft.text and not any("".join(said.plan.pieces(run.number)).startswith(draft.text) for run in runs):  # type: ignore[union-attr]
            self.fail("torn", where.name, f"a draft shows what the agent never said: {draft.text[:80]!r}")

    def shown(self, where: Chat, key: str, text: str, file: bytes | None) -> None:
        """A message is final."""
        turn, _, name = key.partition(".")
        said = self.open.get(turn)
        if said is None:
            self.fail("doubled", where.name, f"{key} answers nothing that is open: {text[:60]!r}")
            return
        self.trace.line(said.chat.name, f"#{said.number} shows {name} {text[:40]!r}")
        said.parts[name] = Seen(text, file, self.now())
        said.drafts.discard(key)
        if where is said.chat and not name.endswith("e"):  # that a question lapsed is said when it does
            self._in_order(said, key)
        if name.startswith("q") and not name.endswith(("e", "x")):
            self.on_question(said)

    def _in_order(self, said: Said, key: str) -> None:
        if said.free:
            return
        if said.number < said.chat.front:
            self.fail("disordered", said.chat.name, f"{key} of #{said.number} shows after #{said.chat.front}")
        said.chat.front = max(said.chat.front, said.number)

    # What it comes to

    def sweep(self, rest_s: float = AT_REST_S) -> None:
        """Judge what has been at rest for some time."""
        early: list[tuple[float, Said, bool]] = []
        while self._settled and self._settled[0][0] <= self.now() - rest_s:
            at, said, aside = self._settled.popleft()
            if not aside and (said.settled_at != at or said.turn not in self.open or said.parked):
                continue
            if self._is_early(said, aside):
                early.append((at, said, aside))
            elif aside:
                said.aside = True
                self.records.put_aside(said)
            else:
                self._close(said)
        self._settled.extendleft(reversed(early))

    def _is_early(self, said: Said, aside: bool) -> bool:
        """The records want things in the order of their conversation: what is put aside leaves it without a sign."""
        before = [other for other in said.chat.open.values() if other.number < said.number and not other.free]
        return any(not other.aside and (aside or other.was_parked) for other in before)

    def lost(self) -> None:
        """Nothing more comes: what is open now is lost."""
        for said in list(self.open.values()):
            what = "is not done" if said.stored else "was never taken in"
            self.fail("lost", said.chat.name, f"#{said.number} {said.act} {said.text[:60]!r} {what}")

    def _close(self, said: Said) -> None:
        chat = said.chat
        del self.open[said.turn], chat.open[said.turn]
        if said.plan is not None and self._tokens[said.plan.token] is said:
            del self._tokens[said.plan.token]
        wrong, ending = explain(said)
        if wrong is not None:
            kind = "lost" if not said.parts or said.was_parked else "torn" if said.drafts else "wrong"
            self.fail(kind, chat.name, f"#{said.number} {said.act} {said.text[:60]!r}: {wrong}")
        self._count(said, ending)
        self.records.over(said, ending, self.ends)
        self.trace.line(chat.name, f"#{said.number} is over")
        self.on_over(said)

    def _count(self, said: Said, ending: Ending | None) -> None:
        self.endings[ending.kind if ending else said.act] += 1
        for seen in said.parts.values():
            if seen.text in NOTICES:
                self.endings[NOTICES[seen.text]] += 1
        if said.chat.steady and said.parts and ending is not None and ending.kind == "answered":
            self.latencies[round(max(seen.at for seen in said.parts.values()) - said.at, 1)] += 1


NOTICES = {
    words.INTERRUPTED(): "interrupted",
    words.GAVE_UP(): "given up",
    words.POISON(): "crashed",
    words.PART_LOST(): "part lost",
    words.GENERAL(): "bug",
    words.QUESTION_EXPIRED(): "expired",
    words.QUESTION_LAPSED(): "lapsed",
}
