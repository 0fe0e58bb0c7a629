"""What people may see of each thing that they said: every ending that the promise allows, and no other.

`explain` gives a sentence on what is wrong with how something ended, or None. An answer must be that of
one run of the agent, word for word; a notice must have its cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proof.simulation.story import Act, Plan, Run, Said, Seen
from surfaces_commands_context import words as command_words
from surfaces_core._engine import words
from surfaces_core._engine.turns import MAX_CRASHES

PREFIX = "!"
MAX_TRIES = 8
LONGEST = 4000
"""Characters of one message."""
FILE_GONE = "That file is gone."
FILE_MISSING = "I can't send it: there is no such file."


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which a question may end: the parts of its answer, and the run that gave it."""

    texts: Sequence[str]
    run: Run | None = None
    kind: str = "notice"
    """`answered`, `stopped`, `cut`, `put aside`, `declined` or `notice`."""


def split(text: str) -> Sequence[str]:
    """Cut at a fixed length, as the surfaces do."""
    return [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)] or [text]


def explain(said: Said) -> tuple[str | None, Ending | None]:
    """What is wrong with how it ended, if anything is; else the ending that it was, if it is a question's."""
    wrong, shown = _numbered(said)
    if wrong is not None:
        return wrong, None
    if said.drafts and not said.refused:
        return f"a draft stays: {sorted(said.drafts)}", None
    if said.act is Act.QUESTION:
        return _question(said, shown)
    return _other(said, shown), None


def _numbered(said: Said) -> tuple[str | None, Mapping[int, Seen]]:
    """The parts by number, and what is wrong with the numbers."""
    shown: dict[int, Seen] = {}
    for name, seen in said.parts.items():
        if name.startswith("q"):
            continue
        number = int(name.removesuffix("x"))
        if number in shown:
            return f"part {number} shows twice", shown
        shown[number] = seen
    for number in range(max(shown, default=-1)):
        if number not in shown and str(number) not in said.refused:
            return f"part {number} does not show, later ones do", shown
    return None, shown


def _fits(said: Said, shown: Mapping[int, Seen], number: int, text: str) -> bool:
    """Whether a part shows a text, or was refused."""
    refused = str(number) in said.refused
    if number not in shown:
        return refused
    return shown[number].text == text or (refused and shown[number].text == words.PART_LOST())


# Questions ----------------------------------------------------------------------------------------


def _question(said: Said, shown: Mapping[int, Seen]) -> tuple[str | None, Ending | None]:
    wrong = _asked_back(said)
    if wrong is not None:
        return wrong, None
    if said.overflow:
        return _overflowed(said, shown), None
    if said.was_parked:
        return _put_aside_with_question(said, shown), Ending([], None, "put aside")
    if said.declined and not shown and not said.refused:
        return None, Ending([], None, "declined")
    if not shown and not said.refused:
        return "it was never answered", None
    nearest = "nothing explains what shows"
    for ending in _endings(said):
        if all(_fits(said, shown, number, text) for number, text in enumerate(ending.texts)):
            wrong = _rest(said, ending, {n: seen for n, seen in shown.items() if n >= len(ending.texts)})
            if wrong is None:
                return None, ending
            nearest = wrong
    texts = [seen.text[:80] for _, seen in sorted(shown.items())]
    return f"{nearest}: {texts}, runs {[(run.number, run.given, run.outcome) for run in _runs(said)]}", None


def _runs(said: Said) -> list[Run]:
    return [] if said.plan is None else said.plan.runs


def _asked_back(said: Said) -> str | None:
    """What the agent asked meanwhile: each run at most once."""
    plan = said.plan
    asked = [] if plan is None else [plan.question(run.number) for run in plan.runs if run.confirms]
    if plan is not None and plan.same:  # what its person has answered they are not asked again
        asked = [] if said.again is not None else asked[:1]
    allowed = [words.question(text, PREFIX) for text in asked]
    for name, seen in said.parts.items():
        if not name.startswith("q") or name.endswith("e"):
            continue
        if name.endswith("x") and seen.text == words.PART_LOST():
            continue
        if seen.text not in allowed:
            return f"the agent's question shows twice, or was never asked: {seen.text[:80]!r}"
        allowed.remove(seen.text)
    return None


def _put_aside_with_question(said: Said, shown: Mapping[int, Seen]) -> str | None:
    """It was cut short with its question open, which then ended in one way, and of which there was a sign."""
    texts = [seen.text for seen in shown.values()]
    if not said.cut or not any(run.confirms for run in _runs(said)):
        return "it was put aside, and had asked nothing"
    if texts not in ([], [words.STILL_OPEN()]) and not said.refused:
        return f"it was put aside, and yet: {[text[:80] for text in texts]}"
    lapsed = [name for name in said.parts if name.startswith("q") and name.endswith("e")]
    if any(said.parts[name].text != words.QUESTION_LAPSED() for name in lapsed):
        return "its question lapsed, and something else was said"
    told = len(lapsed) + sum(name.startswith("q") and name.endswith("e") for name in said.refused)
    if told != (said.left_for is None):
        return f"its question lapsed, and that was said {told} times"
    if said.left_for is not None and said.left_for.text not in _ENDS_A_QUESTION:
        return f"its question ended with {said.left_for.text[:40]!r}"
    if said.resumed != (said.left_for is not None and said.left_for.text == "!yes"):
        return "its person agreed, and it does not go on" if not said.resumed else "it goes on, and nobody agreed"
    return None


_ENDS_A_QUESTION = ("!yes", "!no", "!clear")


def _overflowed(said: Said, shown: Mapping[int, Seen]) -> str | None:
    if said.dead != "LANE_FULL":
        return "too many of them wait, and it does not lie in the dead letters"
    if not shown or (len(shown) == 1 and shown[0].text.startswith("I still have ")):
        return None
    return f"it was put aside, and yet: {[seen.text[:80] for seen in shown.values()]}"


def _endings(said: Said) -> Iterator[Ending]:
    """All that it may come to, the likely first."""
    plan = said.plan
    assert plan is not None
    for run in reversed(plan.runs):
        if run.outcome == "ended":
            yield from _answers(plan, run)
        if run.outcome == "cut":
            yield from _cuts(plan, run, run.line, "cut")
    if _was_stopped(said):
        for run in reversed(plan.runs):
            yield from _cuts(plan, run, words.STOPPED(), "stopped")
        yield Ending([words.STOPPED()], None, "stopped")
    yield from (Ending([line]) for line in _notices(said))


def _answers(plan: Plan, run: Run) -> Iterator[Ending]:
    if not plan.empty:
        yield Ending(split("".join(plan.pieces(run.number))), run, "answered")
    elif plan.file:
        yield Ending([words.HERE_IT_IS()], run, "answered")
        yield Ending([], run, "answered")
    else:
        yield Ending([words.NO_ANSWER()], run, "answered")


def _cuts(plan: Plan, run: Run, line: str, kind: str) -> Iterator[Ending]:
    """Half an answer that says so: the agent gave no more, or the host had heard no more."""
    pieces = plan.pieces(run.number)
    least = run.given - 1 if kind == "cut" else 0
    for given in range(run.given, max(least, 0) - 1, -1):
        yield Ending(split(words.cut_off("".join(pieces[:given]), line)), run, kind)


def _notices(said: Said) -> Iterator[str]:
    plan = said.plan
    assert plan is not None
    if said.chat.archived is not False:
        yield words.ARCHIVED(prefix=PREFIX)
    if said.cut and said.chat.interruptible:
        yield words.INTERRUPTED()
    if said.cut and any(run.confirms for run in plan.runs):
        yield words.QUESTION_LAPSED()
    if said.declined:
        yield words.DECLINED()
    if any(run.outcome == "choked" for run in plan.runs):
        yield words.GENERAL()
    yield from _put_aside(said)


def _put_aside(said: Said) -> Iterator[str]:
    """The dead letters that anything may become."""
    if said.crashes >= MAX_CRASHES and said.dead == "CRASHED":
        yield words.POISON()
    if said.chat.failures - said.failures >= MAX_TRIES and said.dead:
        yield words.GAVE_UP()


def _was_stopped(said: Said) -> bool:
    """Somebody said `!stop` while it was open."""
    return any(stop.settled_at is None or stop.settled_at >= said.at for stop in said.chat.stops)


def _rest(said: Said, ending: Ending, rest: Mapping[int, Seen]) -> str | None:
    """What is wrong with the parts behind an answer: its file, and lines about what did not work."""
    plan, run, files, gone = said.plan, ending.run, 0, 0
    assert plan is not None
    for number, seen in rest.items():
        if seen.file is not None:
            files += 1
            if plan.file in ("", "missing") or seen.file != plan.token.encode() or run is None or not run.filed:
                return f"a file shows that was not sent: {seen.file[:40]!r}"
        elif seen.text == FILE_MISSING and plan.file == "missing":
            files += 1
        elif seen.text == FILE_GONE:
            gone += 1
        elif seen.text == words.QUESTION_EXPIRED():
            if not any(other.confirms for other in plan.runs):
                return "a question expired that was not asked"
        elif not (seen.text == words.PART_LOST() and str(number) in said.refused):
            return f"too much was said: {seen.text[:80]!r}"
    missing = plan.file and ending.kind == "answered" and not files
    if missing and not said.refused:
        return "the agent's file does not show"
    if files > 1:
        return "the agent's file shows twice"
    if ending.kind == "answered" and gone != len(said.gone) and not said.refused:
        return f"{len(said.gone)} files could not be fetched, {gone} times it was said"
    return None


# Everything else ----------------------------------------------------------------------------------


def _other(said: Said, shown: Mapping[int, Seen]) -> str | None:
    texts = [shown[number].text for number in sorted(shown)]
    if said.refused:  # what was refused is missing or called lost, and the messenger knows it
        return None if len(texts) <= _most_parts(said) else f"too much was said: {texts}"
    if len(texts) == 1 and texts[0] in _put_aside(said):
        return None
    match said.act:
        case Act.FILES:
            return _files(said, texts)
        case Act.COMMAND:
            return _command(said, texts)
        case Act.GAP:
            return None if texts == [said.text] and said.dead else f"a gap is not told: {texts}"
        case Act.START:
            return _start(said, texts)
        case Act.STRANGER:
            return None if texts in ([], [words.NOT_YOURS()]) else f"a stranger is told: {texts}"
        case _:
            return f"nothing was to be said: {texts}" if texts else None


def _most_parts(said: Said) -> int:
    return 1 + len(said.files) + (said.act is Act.START)


def _files(said: Said, texts: Sequence[str]) -> str | None:
    kept = [name for name in said.files if name not in said.gone]
    lines = [text for text in texts if text != FILE_GONE]
    if said.chat.archived is not False and texts == [words.ARCHIVED(prefix=PREFIX)]:
        return None
    if _was_stopped(said) and texts == [words.STOPPED()]:
        return None
    if len(texts) - len(lines) != len(said.gone):
        return f"{len(said.gone)} files could not be fetched, and this was said: {texts}"
    if not kept:
        return f"too much was said: {texts}" if lines else None
    if len(lines) != 1 or not all(f"`{name}`" in lines[0] for name in kept):
        return f"files came, and this was said: {texts}"
    return None


def _command(said: Said, texts: Sequence[str]) -> str | None:
    name = said.text.removeprefix(PREFIX).partition(" ")[0]
    if name == "stop" and not texts:
        return None
    if len(texts) != 1:
        return f"a command is answered {len(texts)} times: {texts}"
    begins = _COMMANDS[name]
    if not texts[0].startswith(begins):
        return f"a command is answered: {texts[0][:80]!r}"
    return None


_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "stop": (words.NOTHING_TO_STOP(),),
    "yes": (words.AGREED(), words.NO_QUESTION()),
    "no": (words.DECLINED(), words.NO_QUESTION()),
    "help": ("- `!",),
    "clear": (command_words.CLEARED(),),
    "context": ("",),
    "list": ("",),
    "remove": ("",),
    "new": ("[",),
    "rename": ("This conversation is now called **Travel**.",),
    "archive": ("C",),
    "nonsense": ("I don't know `!nonsense`",),
}


def _start(said: Said, texts: Sequence[str]) -> str | None:
    if not said.chat.entry:
        return f"nothing was to be said: {texts}" if texts else None
    if len(texts) == 1 and texts[0].startswith("You have "):
        return None
    if len(texts) == 2 and texts[0].startswith("Your conversation is ready") and texts[1].startswith("Hello "):
        return None
    return f"a call from outside is answered: {texts}"
