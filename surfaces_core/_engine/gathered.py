"""What came back from an agent in one turn, and what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.work import Outcome, Say, Work
from surfaces_core.errors import DriverError, Unavailable


@dataclass(slots=True)
class Gathered:
    """What came back so far."""

    pieces: list[str] = field(default_factory=list)
    first_at: float = 0.0
    """When the first of them came, as `time.perf_counter` has it."""
    files: list[Say] = field(default_factory=list)
    tokens: int = 0
    notes: list[Say] = field(default_factory=list)
    questions: int = 0
    asked: set[str] = field(default_factory=set)
    """Keys of the questions of this try."""
    heard: bool = False
    """The agent answered."""
    ended: bool = False
    """It said that this is all."""
    failure: DriverError | None = None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.pieces)

    @property
    def came(self) -> bool:
        """Something came that a person has seen or must see."""
        return bool(self.pieces or self.files or self.questions)


def judge(work: Work, gathered: Gathered, refused: Sequence[Say], log: FilteringBoundLogger) -> Outcome:
    """The outcome of a turn."""
    text, failure = gathered.text, gathered.failure
    rest = [*gathered.files, *refused, *gathered.notes]
    if work.stopped:
        return Outcome(says=[_cut(text, words.STOPPED()), *rest], kind="stopped")
    if failure is not None:
        # one that has spoken has the question, so what it calls a matter of later is none
        line = words.CUT_OFF() if isinstance(failure, Unavailable) else failure.public
        log.info("turn.failed", code=failure.code, error=str(failure))
        return Outcome(says=[_cut(text, line), *rest], kind="failed")
    if text.strip():
        return Outcome(says=[Say(text=text, notice=False), *rest], kind="answered")
    if not gathered.files:
        return Outcome(says=[Say(text=words.NO_ANSWER()), *rest], kind="answered")
    # a draft that shows must become something, and files are messages of their own
    here = [Say(text=words.HERE_IT_IS())] if work.entry.shown else []
    return Outcome(says=[*here, *rest], kind="answered")


def _cut(text: str, line: str) -> Say:
    return Say(text=words.cut_off(text, line), notice=not text)
