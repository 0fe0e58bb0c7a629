"""Dead letters: what is kept of them, how they come back into the inbox and the outbox, and how they go."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from surfaces_commands_context import chats, context
from surfaces_core import Address, Inbound, Kind, Outbound, Rejected, Text, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.journal import DEAD, ENTRIES, DeadLetter, Entry, Journal, Part, key, ordinal, turn_id
from surfaces_core._operating.letters import Letters
from surfaces_core._operating.requests import Asked, Line, Refusal, Request, answer
from surfaces_core.testing import virtual_time
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

GIVES_UP = HostSettings(max_tries=1, retry_base_s=0.001, retry_cap_s=0.002)
GONE = Unavailable("no agent there", code="AGENT_UNREACHABLE")
SECRET = "xylophone"
MESSAGE = Inbound(
    address=Address(surface="memory", conversation="home"),
    event_id="$1",
    sender="@ann",
    sent_at=1.0,
    text=SECRET,
    sender_name="Ann",
)


def answers(*steps: Step) -> ScriptedTransport:
    """An agent each of whose turns is one of these; the last again and again."""
    left = list(steps)
    return ScriptedTransport.answering(lambda _request: [left.pop(0) if len(left) > 1 else left[0]])


async def until(condition: Any) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


async def asked(host: Asked | TestBot, do: str, *numbers: int, **more: Any) -> tuple[list[Line], Line]:
    """What a host answers its operator: the rows, and the end."""
    request = Request.model_validate({"do": do, "numbers": numbers, **more})
    of = host.engine.operations.asked if isinstance(host, TestBot) else host
    lines = [line async for line in answer(of, request)]
    return [line["row"] for line in lines if "row" in line], lines[-1]["end"]


def letters_on(disk: MemoryDisk) -> list[DeadLetter]:
    """What is stored."""
    return [DEAD.load(value) for row, value in sorted(disk.rows.items()) if row.startswith(b"dead\0")]


@pytest.fixture
async def resting() -> AsyncIterator[tuple[MemoryDisk, Journal, Asked]]:
    """A state without a host, as the commands open it."""
    disk = MemoryDisk()
    async with MemoryStorage(disk=disk) as storage:
        journal = Journal(storage, lambda: 1000.0)
        await journal.open()
        letters = Letters(journal, {"memory": lambda: ""})
        yield disk, journal, Asked(journal=journal, letters=letters, lanes=list, reasons=list, running=False)


# Questions -------------------------------------------------------------------------------------------


async def test_a_question_that_was_given_up_can_be_asked_again() -> None:
    """It is listed with its reason; a retry answers it like a new message, and the letter is gone."""
    bot = TestBot(transport=answers(GONE, Text("at last")), settings=GIVES_UP)
    async with bot.running():
        await bot.push("hello")
        assert "could not get an answer" in await bot.pop()
        (letter,), end = await asked(bot, "list")
        assert (letter["kind"], letter["reason"], letter["conversation"]) == ("message", "AGENT_UNREACHABLE", "home")
        assert end == {"letters": 1, "of": 1}
        (row,), end = await asked(bot, "retry", letter["number"])
        assert (row["number"], end) == (letter["number"], {"retried": 1, "stuck": 0})
        assert await bot.pop() == "at last"
        assert await asked(bot, "list") == ([], {"letters": 0, "of": 0})
    assert letters_on(bot.disk) == []
    assert [request.text for request in bot.transport.requests] == ["hello", "hello"]  # type: ignore[attr-defined]


async def test_a_retried_question_is_a_new_turn_with_nothing_counted_against_it() -> None:
    """Its turn is made from the old one, its number is the last, and tries, failures and crashes begin at nothing."""
    disk = MemoryDisk()
    async with MemoryStorage(disk=disk) as storage:
        journal = Journal(storage, lambda: 1000.0)
        await journal.open()
        (entry,) = await journal.accept("memory", [MESSAGE], "1", lambda entry: entry)
        spent = replace(
            entry, attempts=9, failures=8, crashes=3, asked=True, cut=True, shown=True, partly=True,
            declined="LANE_FULL", not_before=5.0, error="BAD", detail="bad",
        )  # fmt: skip
        await journal.complete(spent, [], {}, dead="CRASHED")
        await journal.accept("memory", [replace(MESSAGE, event_id="$2")], "2", lambda entry: entry)
        taken = await Letters(journal, {"memory": str}).retry(entry.seq)
    again = turn_id("memory", f"{entry.turn}\0retry")
    assert taken.entry == Entry(seq=entry.seq + 2, turn=again, message=MESSAGE, came_at=1000.0)
    assert ENTRIES.load(disk.rows[key("in", ordinal(entry.seq + 2))]) == taken.entry


async def test_a_question_may_be_given_up_and_retried_more_than_once() -> None:
    """Each time under another turn, and each time the person is told."""
    bot = TestBot(transport=answers(GONE, GONE, Text("at last")), settings=GIVES_UP)
    turns = set()
    async with bot.running():
        await bot.push("hello")
        for _ in range(2):
            assert "could not get an answer" in await bot.pop()
            (letter,), _end = await asked(bot, "list")
            turns.add(letter["turn"])
            await asked(bot, "retry", letter["number"])
        assert await bot.pop() == "at last"
    assert len(turns) == 2


async def test_a_file_that_waits_already_is_not_taken_twice() -> None:
    """What the first life of a question has staged is there for its second."""
    bot = TestBot(transport=answers(GONE, Text("at last")), settings=GIVES_UP)
    async with bot.running():
        await bot.push("look at this", files={"a.txt": b"a", "b.txt": b"b"})
        await bot.pop()
        await asked(bot, "retry", letters_on(bot.disk)[0].seq)
        assert await bot.pop() == "at last"
    first, second = bot.transport.requests  # type: ignore[attr-defined]
    assert first.attachments == second.attachments
    assert len(second.attachments) == 2


async def test_a_conversation_that_was_begun_is_not_made_twice(resting: tuple[MemoryDisk, Journal, Asked]) -> None:
    """What an entry had begun to make goes with it to its new turn."""
    disk, journal, host = resting
    (entry,) = await journal.accept("memory", [replace(MESSAGE, kind=Kind.START)], "1", lambda entry: entry)
    await journal.write({key("opening", entry.turn): b"{}"})
    await journal.complete(entry, [], {}, dead="CRASHED")
    await asked(host, "retry", entry.seq)
    assert key("opening", entry.turn) not in disk.rows
    assert disk.rows[key("opening", turn_id("memory", f"{entry.turn}\0retry"))] == b"{}"


async def test_a_called_person_is_let_in_once_after_a_retry() -> None:
    """A start that crashed after the room was there leads to that room."""
    bot = TestBot(rooms=True, hooks=[chats, context])
    async with bot.running():
        await bot.messenger.say(kind=Kind.START, conversation="entry", event_id="$start")
        await bot.messenger.until_final(1, "entry")
        # as if the process had died over it three times after the room was made
        turn = turn_id("memory", "$start")
        (room,) = bot.messenger.rooms.values()
        stale = Entry(seq=999, turn=turn, message=bot.messenger.incoming[0], crashes=3)
        opening = {
            "key": turn, "surface": "memory", "owner": room.owner, "owner_name": "", "number": room.number,
            "name": room.name, "agent": room.agent, "context": room.context, "created_at": room.created_at,
        }  # fmt: skip
        await bot.engine.journal.write(
            {
                key("dead", ordinal(999)): DEAD.dump(DeadLetter(seq=999, reason="CRASHED", died_at=1.0, entry=stale)),
                key("opening", turn): json.dumps(opening).encode(),
            }
        )
        await asked(bot, "retry", 999)
        await bot.messenger.until_final(2, "entry")
    assert len(bot.messenger.rooms) == 1


async def test_messages_that_were_passed_over_cannot_be_retried() -> None:
    """Nobody has them: one by its number is refused with nothing done, among all they are left."""
    bot = TestBot(transport=answers(GONE), settings=GIVES_UP)
    async with bot.running():
        await bot.messenger.say("I missed some.", kind=Kind.GAP)
        assert await bot.pop() == "I missed some."
        await bot.push("hello")
        await bot.pop()
        gap, question = letters_on(bot.disk)
        with pytest.raises(Refusal, match=r"passed over.*nothing was done"):
            await asked(bot, "retry", question.seq, gap.seq)
        assert len(letters_on(bot.disk)) == 2
        rows, end = await asked(bot, "retry")
        assert ([row["number"] for row in rows], end) == ([question.seq], {"retried": 1, "stuck": 1})


async def test_a_letter_for_a_surface_that_is_no_more_cannot_be_retried() -> None:
    """Who tries is told that the config does not name it."""
    bot = TestBot()
    async with bot.running():
        entry = Entry(seq=7, turn="t", message=replace(MESSAGE, address=Address(surface="old", conversation="x")))
        letter = DeadLetter(seq=7, reason="LANE_FULL", died_at=1.0, entry=entry)
        await bot.engine.journal.write({key("dead", ordinal(7)): DEAD.dump(letter)})
        with pytest.raises(Refusal, match="no surface old"):
            await asked(bot, "retry", 7)


# Parts of answers ------------------------------------------------------------------------------------


async def test_a_part_that_was_refused_can_be_sent_again() -> None:
    """It shows behind the line that was said in its place, under a turn and key that no messenger has seen."""
    bot = TestBot(transport=answers(Text("the answer")))
    async with bot.running():
        bot.messenger.faults.append(Rejected("too odd", code="M_TOO_ODD"))
        await bot.push("hello")
        assert await bot.pop() == "A part of this answer could not be shown here."
        (letter,), _ = await asked(bot, "list")
        assert (letter["box"], letter["kind"], letter["reason"]) == ("out", "answer", "M_TOO_ODD: too odd")
        await asked(bot, "retry", letter["number"])
        assert await bot.pop() == "the answer"
        assert letters_on(bot.disk) == []
    old, instead, again = (message for message in bot.surface.sent)
    assert (old.key, instead.key) == (f"{old.turn}.0", f"{old.turn}.0x")
    assert again.key == f"{again.turn}.0"
    assert again.turn == turn_id("memory", f"{old.key}\0retry") != old.turn
    assert re.fullmatch(r"[a-z0-9.-]{1,32}", again.key)
    assert again.frozen_at >= old.frozen_at
    assert not again.streamed


async def test_a_part_is_told_which_device_it_is_said_with() -> None:
    """The device that speaks now; the old one where that is not known, as nothing was ever said under its new key."""
    bot = TestBot(transport=answers(Text("x")))
    bot.messenger.faults += [Rejected("no")] * 2
    async with bot.running():
        for conversation in ("a", "b"):
            await bot.push("hello", conversation=conversation)
        await until(lambda: bot.engine.journal.dead == 2)
        first, second = letters_on(bot.disk)
        assert first.part is not None
        rest = Letters(bot.engine.journal, {"memory": str})
        known = Letters(bot.engine.journal, {"memory": lambda: "NEW"})
        assert (await rest.retry(first.seq)).part.outbound.device == first.part.outbound.device  # type: ignore[union-attr]
        assert (await known.retry(second.seq)).part.outbound.device == "NEW"  # type: ignore[union-attr]


async def test_a_part_that_should_have_replaced_a_draft_stands_for_itself(
    resting: tuple[MemoryDisk, Journal, Asked],
) -> None:
    """Under its new key no draft shows that it could replace."""
    disk, _journal, host = resting
    letter = a_letter("out")
    assert letter.part is not None
    streamed = replace(letter, part=replace(letter.part, outbound=replace(letter.part.outbound, streamed=True)))
    disk.rows[key("dead", ordinal(5))] = DEAD.dump(streamed)
    taken = await host.letters.retry(5)
    assert taken.part is not None
    assert not taken.part.outbound.streamed


async def test_the_letter_outlives_the_loss_of_the_line_in_its_place() -> None:
    """When that line is refused too, the answer itself is what is kept."""
    bot = TestBot(transport=answers(Text("the answer")))
    async with bot.running():
        bot.messenger.faults += [Rejected("gone"), Rejected("gone")]
        await bot.push("hello")
        await until(lambda: len(bot.surface.sent) == 2 and not len(bot.engine.deliveries["memory"].lanes))
        (letter,) = letters_on(bot.disk)
        assert letter.part is not None
        assert letter.part.outbound.text == "the answer"
        assert bot.engine.journal.dead == 1


# Crashes ---------------------------------------------------------------------------------------------


def a_letter(box: str) -> DeadLetter:
    """A question that was given up, or a part of an answer."""
    if box == "in":
        return DeadLetter(seq=5, reason="LANE_FULL", died_at=1.0, entry=Entry(seq=5, turn="t", message=MESSAGE))
    outbound = Outbound(key="t.0", turn="t", part=0, address=MESSAGE.address, text="x")
    return DeadLetter(seq=5, reason="X: y", died_at=1.0, part=Part(seq=5, outbound=outbound))


async def retried(disk: MemoryDisk, crash_at: int | None, side: Any) -> int:
    """Retry letter 5 on a storage that dies at one of its transactions; how many there were."""
    storage = FaultyStorage(MemoryStorage(disk=disk), crash_at=crash_at, side=side)
    async with storage:
        with suppress(Crash):
            journal = Journal(storage)
            await journal.open()
            await Letters(journal, {"memory": str}).retry(5)
    return storage.writes


@pytest.mark.parametrize("box", ["in", "out"])
async def test_a_crash_leaves_a_letter_or_what_it_held_but_never_both_or_none(box: str) -> None:
    """Before and after each transaction of a retry; and whoever tries again after it has one of the two in the end."""
    there = {key("dead", ordinal(5)): DEAD.dump(a_letter(box)), key("meta", "seq"): b"5"}
    count = await retried(MemoryDisk(rows=dict(there)), None, "before")
    for crash_at in range(1, count + 1):
        for side in ("before", "after"):
            disk = MemoryDisk(rows=dict(there))
            await retried(disk, crash_at, side)
            kinds = [row.split(b"\0")[0].decode() for row in disk.rows if not row.startswith(b"meta")]
            assert kinds in (["dead"], [box]), (crash_at, side)
            assert (kinds == [box]) == ((crash_at, side) == (count, "after"))


# Which -----------------------------------------------------------------------------------------------


async def fill(disk: MemoryDisk, journal: Journal, conversations: Sequence[str]) -> list[int]:
    """A letter for each conversation; their numbers."""
    numbers = []
    for index, conversation in enumerate(conversations):
        message = replace(
            MESSAGE, address=Address(surface="memory", conversation=conversation), event_id=f"${conversation}{index}"
        )
        (entry,) = await journal.accept("memory", [message], str(index), lambda entry: entry)
        await journal.complete(entry, [], {}, dead="LANE_FULL")
        numbers.append(entry.seq)
    return numbers


async def test_letters_are_chosen_by_conversation(resting: tuple[MemoryDisk, Journal, Asked]) -> None:
    """By its native id, alone or behind the surface's name; all without one."""
    disk, journal, host = resting
    a, b, c = await fill(disk, journal, ["!a:hs", "!b:hs", "!a:hs"])
    for name in ("!a:hs", "memory/!a:hs"):
        rows, end = await asked(host, "list", conversation=name)
        assert ([row["number"] for row in rows], end) == ([a, c], {"letters": 2, "of": 3})
    assert (await asked(host, "list", conversation="!a"))[0] == []
    assert (await asked(host, "drop", conversation="!a:hs"))[1] == {"dropped": 2}
    assert [letter.seq for letter in letters_on(disk)] == [b]
    assert (await asked(host, "retry"))[1] == {"retried": 1, "stuck": 0}
    assert journal.dead == 0


async def test_a_number_that_is_not_there_is_refused_with_those_that_are(
    resting: tuple[MemoryDisk, Journal, Asked],
) -> None:
    """Whatever was to be done with it, nothing is."""
    disk, journal, host = resting
    with pytest.raises(Refusal, match=r"no dead letter has the number 5; there is none") as refused:
        await asked(host, "show", 5)
    assert refused.value.exit_code == 66
    first, *rest = await fill(disk, journal, [f"c{number}" for number in range(12)])
    for do in ("show", "retry", "drop"):
        with pytest.raises(Refusal, match=rf"number 999; there are {first}, .* and 2 more"):
            await asked(host, do, first, 999)
    assert len(letters_on(disk)) == 1 + len(rest)


async def test_dropping_is_for_good_and_may_be_repeated(resting: tuple[MemoryDisk, Journal, Asked]) -> None:
    """What was dropped is gone; who drops all when there are none is told of none."""
    disk, journal, host = resting
    numbers = await fill(disk, journal, ["a", "b"])
    rows, end = await asked(host, "drop", numbers[0], numbers[0])
    assert (rows, end) == ([{"number": numbers[0]}], {"dropped": 1})
    assert (await asked(host, "drop"))[1] == {"dropped": 1}
    assert (await asked(host, "drop"))[1] == {"dropped": 0}
    assert not any(row.startswith((b"dead\0", b"in\0")) for row in disk.rows)


async def test_nothing_that_was_said_is_shown_unless_asked_for(resting: tuple[MemoryDisk, Journal, Asked]) -> None:
    """Lists never hold it; one letter does with its content, and is whole otherwise."""
    disk, journal, host = resting
    (number,) = await fill(disk, journal, ["a"])
    assert SECRET not in json.dumps(await asked(host, "list"))
    (shown,), _ = await asked(host, "show", number)
    assert SECRET not in json.dumps(shown)
    assert (shown["reason"], shown["entry"]["message"]["sender"]) == ("LANE_FULL", "@ann")
    (whole,), _ = await asked(host, "show", number, content=True)
    assert whole["entry"]["message"]["text"] == SECRET
    assert "Ann" not in json.dumps(shown)


# How long --------------------------------------------------------------------------------------------


async def test_old_letters_are_forgotten() -> None:
    """Those beyond `keep_dead_s` go, the others stay."""
    disk, now = MemoryDisk(), 1000.0
    async with MemoryStorage(disk=disk) as storage:
        journal = Journal(storage, lambda: now)
        await journal.open()
        await fill(disk, journal, ["old"])
        now = 1100.0
        (young,) = await fill(disk, journal, ["young"])
        assert await Letters(journal, {}).prune(100.0) == 0
        now = 1100.5
        assert await Letters(journal, {}).prune(100.0) == 1
    assert [letter.seq for letter in letters_on(disk)] == [young]
    assert journal.dead == 1


@pytest.mark.parametrize(("jump_s", "left"), [(0.0, 0), (10 * 86400.0, 1)], ids=["time passes", "the clock jumps"])
def test_the_host_forgets_old_letters_by_itself(jump_s: float, left: int) -> None:
    """When time has really passed: by a clock that jumped everything would be old."""

    async def main() -> int:
        loop, keep = asyncio.get_running_loop(), GIVES_UP.model_copy(update={"keep_dead_s": 86400.0})
        jumped = False
        bot = TestBot(
            transport=answers(GONE), settings=keep, now=lambda: 1e9 + loop.time() + (jump_s if jumped else 0.0)
        )
        async with bot.running():
            await bot.push("hello")
            await bot.pop()
            assert bot.engine.journal.dead == 1
            if jump_s:
                await asyncio.sleep(100.0)
                jumped = True
                await asyncio.sleep(3600.0)
            else:
                await asyncio.sleep(2 * 86400.0)
        return len(letters_on(bot.disk))

    assert virtual_time.run(main()) == left


async def test_letters_are_counted_from_life_to_life() -> None:
    """A new life knows how many there are."""
    bot = TestBot(transport=answers(GONE), settings=GIVES_UP)
    async with bot.running():
        await bot.push("hello")
        await bot.pop()
    async with bot.running():
        assert bot.engine.journal.dead == 1
