"""What is wrong with what a person sees: lost, doubled, out of order or torn, and which notices they read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from surfaces_agent_api import words as agent
from surfaces_core._engine import words
from surfaces_matrix.words import DRAFT_MARK as DRAFT_MARK
from surfaces_matrix.words import MISSED_AWAY, MISSED_FLOOD

NOTICES: Mapping[str, str] = {
    words.INTERRUPTED(): "interrupted",
    words.CUT_OFF(): "cut_off",
    agent.CUT_OFF(): "cut_off",
    words.POISON(): "poison",
    words.GAVE_UP(): "gave_up",
    words.GENERAL(): "general",
    words.NO_ANSWER(): "no_answer",
    words.STOPPED(): "stopped",
    words.PART_LOST(): "part_lost",
    MISSED_AWAY(): "passed_over",
    MISSED_FLOOD(): "flood",
}
"""What the host says where an answer can't stand, and its cause."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """One message of the bot that a person is owed."""

    pattern: str
    """A regular expression for the whole of it."""
    text: str = ""
    """How it reads when all is well, where that is known: a part of it is a torn answer."""
    or_notice: frozenset[str] = frozenset()
    """Causes whose notice may stand in its place."""
    further: bool = False
    """Another part of the answer before it: not owed where a notice stands in the place of that one."""

    def fits(self, said: str) -> bool:
        """Whether it is what was said."""
        return re.fullmatch(self.pattern, said, re.DOTALL) is not None

    def __str__(self) -> str:
        return (self.text or self.pattern)[:60]


def exactly(text: str, *or_notice: str) -> Want:
    """A message that is known word by word."""
    return Want(pattern=re.escape(text), text=text, or_notice=frozenset(or_notice))


def echo(text: str, number: int, before: str = "") -> Want:
    """The agent's answer to a message that asks for nothing, the how many-th of its context."""
    said = f"{before}You said: {text}. (message "
    return Want(pattern=rf"{re.escape(said)}\d+ in this context\)", text=f"{said}{number} in this context)")


def begins(text: str, *or_notice: str) -> Want:
    """A message of which the beginning is known; there is more of it."""
    return Want(pattern=f"{re.escape(text)}.+", or_notice=frozenset(or_notice))


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message of the bot as it shows now."""

    text: str
    mark: tuple[str, int] | None
    """Which part of which turn it says that it is."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Everything that is wrong, in words, and how often each notice was read."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    """What else is not as it must be: rooms, files, messages that nobody asked for."""
    notices: Mapping[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not any(self.counts().values())

    def counts(self) -> dict[str, int]:
        """How much is wrong, by its kind."""
        return {kind: len(getattr(self, kind)) for kind in KINDS}

    def __add__(self, other: Verdict) -> Verdict:
        wrong = {kind: getattr(self, kind) + getattr(other, kind) for kind in KINDS}
        return Verdict(**wrong, notices=Counter(self.notices) + Counter(other.notices))

    def __str__(self) -> str:
        return "\n".join(f"{kind}: {what}" for kind in KINDS for what in getattr(self, kind)) or "nothing is wrong"


KINDS = tuple(one.name for one in fields(Verdict) if one.name != "notices")


def compare(place: str, said: Sequence[Said], wants: Sequence[Want]) -> Verdict:
    """What is wrong with one conversation."""
    reading = _Reading(place, wants)
    for message in said:
        reading.take(message.text)
    marks = Counter(message.mark for message in said if message.mark is not None)
    reading.doubled += [f"{place}: {mark} is {count} messages" for mark, count in marks.items() if count > 1]
    reading.other += [f"{place}: no mark on {message.text[:60]!r}" for message in said if message.mark is None]
    return reading.verdict()


class _Reading:
    """Finds for each message in turn what it answers."""

    def __init__(self, place: str, wants: Sequence[Want]) -> None:
        self.place = place
        self.wants = wants
        self.answered: set[int] = set()
        self.replaced: set[int] = set()
        """Those that a notice stands for."""
        self.last = -1
        """The furthest that was answered."""
        self.doubled: list[str] = []
        self.out_of_order: list[str] = []
        self.torn: list[str] = []
        self.other: list[str] = []
        self.notices: Counter[str] = Counter()

    def take(self, text: str) -> None:
        fitting = [number for number, want in enumerate(self.wants) if want.fits(text)]
        open_ = [number for number in fitting if number not in self.answered]
        if open_:
            behind = [number for number in open_ if number > self.last]
            self._answer((behind or open_)[0], text)
        elif fitting:
            self.doubled.append(f"{self.place}: {text[:60]!r}")
        else:
            self._take_other(text)

    def _answer(self, number: int, text: str, *, notice: bool = False) -> None:
        self.answered.add(number)
        want = self.wants[number]
        if want.text not in ("", text) and not notice:
            self.other.append(f"{self.place}: {text[-60:]!r} instead of {want.text[-60:]!r}")
        if number < self.last:
            self.out_of_order.append(f"{self.place}: {text[:60]!r} behind the answer to a later question")
        self.last = max(self.last, number)

    def _take_other(self, text: str) -> None:
        cause = next((cause for line, cause in NOTICES.items() if text == line or text.endswith(f"_{line}_")), None)
        if cause is not None:
            self._take_notice(cause, text)
        elif text.endswith(DRAFT_MARK) or any(want.text.startswith(text) for want in self.wants if text):
            self.torn.append(f"{self.place}: {text[-60:]!r} is not the end")
        else:
            self.other.append(f"{self.place}: nobody asked for {text[:80]!r}")

    def _take_notice(self, cause: str, text: str) -> None:
        """A notice stands where the next answer would be that it may stand for."""
        self.notices[cause] += 1
        allowed = [number for number in self._open() if cause in self.wants[number].or_notice]
        behind = [number for number in allowed if number > self.last]
        if behind or allowed:
            number = (behind or allowed)[0]
            self.replaced.add(number)
            self._answer(number, text, notice=True)
        else:
            self.other.append(f"{self.place}: no cause for {text[-80:]!r}")

    def _open(self) -> Iterable[int]:
        return (number for number in range(len(self.wants)) if number not in self.answered)

    def verdict(self) -> Verdict:
        """All of it. What is torn is there, in a way: it is not lost beside."""
        owed = [number for number in self._open() if not (self.wants[number].further and number - 1 in self.replaced)]
        missing = [f"{self.place}: {self.wants[number]}" for number in owed]
        return Verdict(
            lost=tuple(missing[len(self.torn) :]),
            doubled=tuple(self.doubled),
            out_of_order=tuple(self.out_of_order),
            torn=tuple(self.torn),
            other=tuple(self.other),
            notices=dict(self.notices),
        )
