"""Owns the contract checks of surfaces: what a `Surface` promises, one function for each promise.

    @contract.surface                                     # of surfaces_core.testing
    def test_contract(…):
        return SurfaceBench(make=…, address=…, push=…, shown=…, forget=…, other_device=…)

A broken promise is an AssertionError that names it. Each check wants a bench of its own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from unittest import SkipTest

from surfaces_core.contracts import Condition, Conversations, Surface
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Address, Attachment, Draft, Kind, Opening, Outbound
from surfaces_core.testing.checks.making import made_quietly
from surfaces_core.testing.checks.storage_steps import promise
from surfaces_core.testing.recording_intake import RecordingIntake, in_time, receiving
from surfaces_core.testing.watching import watched

PARAGRAPH = "All work and no play makes a dull answer, whatever the question was. "
TURN = "abcdefghijklmnopqrstuvwxyz"
LONG_AGO_S = 366 * 86_400.0
"""No messenger is relied on to recognise a key for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceBench:
    """What the checks need to know of a messenger, in which one conversation with one person is at hand."""

    make: Callable[[], Surface]
    """Each call: an unopened driver for the same account, over the same store."""
    address: Address
    """The conversation."""
    push: Callable[[str], Awaitable[None]]
    """Makes the person say a text there, as the messenger's own client would; returns when it was taken."""
    shown: Callable[[], Awaitable[Sequence[str]]]
    """What people see that the bot said there: the present text of each message, oldest first.

    Asked once, when the driver was left: it looks into the messenger then. A client that listens would come too late.
    """
    forget: Callable[[], Awaitable[None]]
    """Makes the messenger forget which keys it has seen, as time does; nothing where it never would."""
    other_device: Callable[[], Awaitable[None]]
    """Makes the next driver come as another device; nothing where the messenger has none."""


SurfaceCheck = Callable[[SurfaceBench], Awaitable[None]]


@asynccontextmanager
async def _live(bench: SurfaceBench, intake: RecordingIntake) -> AsyncIterator[Surface]:
    """One life of the surface: opened, ready, receiving."""
    async with bench.make() as surface, receiving(surface, intake):
        yield surface


def _outbound(
    bench: SurfaceBench, surface: Surface, text: str, *, part: int = 0, streamed: bool = False, age_s: float = 0.0
) -> Outbound:
    return Outbound(
        key=f"{TURN}.{part}",
        turn=TURN,
        part=part,
        address=bench.address,
        text=text,
        streamed=streamed,
        device=surface.device,
        frozen_at=time.time() - age_s,
    )


def _draft(
    bench: SurfaceBench,
    surface: Surface,
    text: str,
    *,
    version: int,
    attempt: int = 1,
    done: bool = False,
    age_s: float = 0.0,
) -> Draft:
    return Draft(
        key=f"{TURN}.0",
        turn=TURN,
        part=0,
        address=bench.address,
        attempt=attempt,
        version=version,
        text=text,
        done=done,
        device=surface.device,
        first_at=time.time() - age_s,
    )


async def _expect(bench: SurfaceBench, texts: Sequence[str], promise: str) -> None:
    shown = list(await bench.shown())
    if shown != list(texts):
        hint = "" if shown else " (does `shown` look into the messenger now? Asked without a driver, it cannot listen)"
        raise AssertionError(f"{promise}; people see {shown}{hint}")


async def _show(surface: Surface, *drafts: Draft) -> None:
    if surface.pace is not None:
        for draft in drafts:
            await surface.show(draft)


# Receiving ---------------------------------------------------------------------------------------


async def check_comes_in(bench: SurfaceBench) -> None:
    """What people say comes in once, in order, as messages of that conversation."""
    intake, texts = RecordingIntake(), [f"message {number}" for number in range(12)]
    async with _live(bench, intake):
        for text in texts:
            await bench.push(text)
        await intake.wait_said(texts, "what is said must come in once and in order")
    entries = [entry for entry in intake.entries if entry.kind is Kind.MESSAGE]
    if {entry.address for entry in entries} != {bench.address}:
        raise AssertionError(f"a message must carry the address of its conversation, {bench.address}")
    if not all(entry.sender and entry.event_id for entry in entries):
        raise AssertionError("a message must carry its sender and its native id")


async def check_cursor_waits(bench: SurfaceBench) -> None:
    """The cursor is used only when `accept` returned: what was not stored comes again after a crash."""
    intake = RecordingIntake()
    async with _live(bench, intake):
        intake.hold()
        await bench.push("not stored at first")
        await intake.wait_held()
    intake.let_go()
    async with _live(bench, intake):
        await intake.wait_said(["not stored at first"], "what `accept` did not store must come again")


async def check_restart_repeats_nothing(bench: SurfaceBench) -> None:
    """After a restart nothing comes in twice, and what was said meanwhile comes in, in order."""
    intake = RecordingIntake()
    async with _live(bench, intake):
        await bench.push("before")
        await intake.wait_said(["before"], "what is said must come in")
    await bench.push("meanwhile 1")
    await bench.push("meanwhile 2")
    async with _live(bench, intake):
        await bench.push("after")
        texts = ["before", "meanwhile 1", "meanwhile 2", "after"]
        await intake.wait_said(texts, "after a restart nothing may come twice or be missing")


async def check_runs_again(bench: SurfaceBench) -> None:
    """`run` ends when it is cancelled, and may be run again by the same driver."""
    intake = RecordingIntake()
    async with bench.make() as surface:
        async with receiving(surface, intake):
            await bench.push("first")
            await intake.wait_said(["first"], "what is said must come in")
        async with receiving(surface, intake):
            await bench.push("second")
            await intake.wait_said(["first", "second"], "`run` must work again after it was cancelled")


async def check_own_words_stay_out(bench: SurfaceBench) -> None:
    """What the bot itself says does not come in."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await surface.send(_outbound(bench, surface, "my own words"))
        await bench.push("a person's words")
        await intake.wait_said(["a person's words"], "the bot's own words must not come in")


# Sending -----------------------------------------------------------------------------------------


async def check_sends_in_order(bench: SurfaceBench) -> None:
    """Parts that are sent one after the other show in that order."""
    texts = [f"part {number}" for number in range(5)]
    async with _live(bench, RecordingIntake()) as surface:
        for part, text in enumerate(texts):
            receipt = await surface.send(_outbound(bench, surface, text, part=part))
            if not receipt.remote_id:
                raise AssertionError("a receipt must name the message that shows")
    await _expect(bench, texts, "parts must show in the order in which they are sent")


async def check_same_key_once(bench: SurfaceBench) -> None:
    """The same key shows once, sent twice in one life and again in the next."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        message = _outbound(bench, surface, "only once")
        first = await surface.send(message)
        second = await surface.send(message)
    async with _live(bench, intake) as surface:
        third = await surface.send(message)
    await _expect(bench, ["only once"], "the same key sent twice must show once")
    if len({first.remote_id, second.remote_id, third.remote_id}) != 1:
        raise AssertionError("the same key must give the same receipt")


async def check_forgotten_key_once(bench: SurfaceBench) -> None:
    """A key that the messenger has forgotten shows once all the same, and one that it never saw shows."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        messages = [_outbound(bench, surface, f"part {part}", part=part, age_s=LONG_AGO_S) for part in range(3)]
        receipts = [await surface.send(message) for message in messages[:2]]
    await bench.forget()
    async with _live(bench, intake) as surface:
        again = [await surface.send(message) for message in messages]
    texts = [message.text for message in messages]
    await _expect(bench, texts, "what the messenger may have forgotten must be looked for before it is sent again")
    if again[:2] != receipts:
        raise AssertionError("what is found must give the receipt of the first time")


async def check_other_device_once(bench: SurfaceBench) -> None:
    """A key that another device of the bot has sent shows once all the same, and one that none has sent shows."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        messages = [_outbound(bench, surface, f"part {part}", part=part) for part in range(3)]
        for message in messages[:2]:
            await surface.send(message)
    await bench.other_device()
    async with _live(bench, intake) as surface:
        for message in messages:
            await surface.send(message)
    texts = [message.text for message in messages]
    await _expect(bench, texts, "what another device may have sent must be looked for before it is sent again")


async def check_same_text_twice(bench: SurfaceBench) -> None:
    """The same text under two keys shows twice."""
    async with _live(bench, RecordingIntake()) as surface:
        await surface.send(_outbound(bench, surface, "yes", part=0))
        await surface.send(_outbound(bench, surface, "yes", part=1))
    await _expect(bench, ["yes", "yes"], "the same text under another key must show again")


# Drafts ------------------------------------------------------------------------------------------


async def check_streamed_ends_exact(bench: SurfaceBench) -> None:
    """A streamed answer ends as one message with exactly the final text."""
    async with _live(bench, RecordingIntake()) as surface:
        drafts = [_draft(bench, surface, "one " * version, version=version) for version in (1, 2, 3)]
        await _show(
            surface, _draft(bench, surface, "", version=0), *drafts, _draft(bench, surface, "", version=0, done=True)
        )
        await surface.send(_outbound(bench, surface, "the *final* text", streamed=True))
        await surface.send(_outbound(bench, surface, "and more", part=1))
    await _expect(bench, ["the *final* text", "and more"], "drafts must end in the exact final text, in their place")


async def check_streamed_over_restart(bench: SurfaceBench) -> None:
    """A draft that a crash left behind is replaced by the final text in the next life."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await _show(surface, _draft(bench, surface, "half an ans", version=1))
    async with _live(bench, intake) as surface:
        await surface.send(_outbound(bench, surface, "the whole answer", streamed=True))
    await _expect(bench, ["the whole answer"], "a draft of an earlier life must be replaced, not repeated")


async def check_streamed_over_time(bench: SurfaceBench) -> None:
    """A draft that the messenger has forgotten is replaced by drafts of a later try, and by the final text."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await _show(surface, _draft(bench, surface, "half an ans", version=1, age_s=LONG_AGO_S))
    await bench.forget()
    async with _live(bench, intake) as surface:
        await _show(surface, _draft(bench, surface, "the second try", version=1, attempt=2, age_s=LONG_AGO_S))
    await bench.forget()
    async with _live(bench, intake) as surface:
        await surface.send(_outbound(bench, surface, "the whole answer", streamed=True, age_s=LONG_AGO_S))
    await _expect(bench, ["the whole answer"], "a draft of long ago must be replaced, not repeated")


async def check_streamed_over_devices(bench: SurfaceBench) -> None:
    """A draft that another device of the bot has shown is replaced by the final text."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await _show(surface, _draft(bench, surface, "half an ans", version=1))
        message = _outbound(bench, surface, "the whole answer", streamed=True)
    await bench.other_device()
    async with _live(bench, intake) as surface:
        await surface.send(message)
        await surface.send(message)
    await _expect(bench, ["the whole answer"], "a draft of another device must be replaced, not repeated")


async def check_streamed_again(bench: SurfaceBench) -> None:
    """A second try of a turn shows its drafts in the place of the first one's."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await _show(surface, _draft(bench, surface, "the first try", version=1))
    async with _live(bench, intake) as surface:
        await _show(surface, *(_draft(bench, surface, "second " * v, version=v, attempt=2) for v in (1, 2)))
        await surface.send(_outbound(bench, surface, "done at last", streamed=True))
        await surface.send(_outbound(bench, surface, "done at last", streamed=True))
    await _expect(bench, ["done at last"], "drafts of two tries must end in one message")


async def check_streamed_without_draft(bench: SurfaceBench) -> None:
    """A draft that vanished, or never was, harms nothing."""
    async with _live(bench, RecordingIntake()) as surface:
        await surface.send(_outbound(bench, surface, "nothing to replace", streamed=True))
    await _expect(bench, ["nothing to replace"], "a final text must show though its draft never did")


async def check_typing_says_nothing(bench: SurfaceBench) -> None:
    """Drafts without text leave no message behind."""
    async with _live(bench, RecordingIntake()) as surface:
        await _show(surface, _draft(bench, surface, "", version=0), _draft(bench, surface, "", version=0, done=True))
    await _expect(bench, [], "a turn that shows nothing must leave no message")


# What it says of itself, and what else it may be asked ---------------------------------------------


async def check_made_quietly(bench: SurfaceBench) -> None:
    """Making one touches nothing outside: its block is its lifetime."""
    made_quietly(bench.make)


async def check_condition(bench: SurfaceBench) -> None:
    """It says how it is without input or output, at any time; while it receives it is connected."""
    surface = bench.make()
    with watched() as deeds:
        found: object = surface.condition()
    promise(isinstance(found, Condition), f"condition must give a Condition, not {found!r}")
    promise(not deeds, f"condition is asked often, so without input or output; this one {', '.join(deeds)}")
    async with _live(bench, RecordingIntake()) as surface:
        condition = surface.condition()
        promise(condition.connected, f"a surface that is ready must be connected, not {condition}")


async def check_device(bench: SurfaceBench) -> None:
    """Its device is the same after a restart."""
    devices = []
    for _ in range(2):
        async with _live(bench, RecordingIntake()) as surface:
            devices.append(surface.device)
    promise(devices[0] == devices[1], f"a device must be stable over restarts, not {devices}")


async def check_reports(bench: SurfaceBench) -> None:
    """Each report that it names comes line by line, and one that there is not is refused."""
    async with _live(bench, RecordingIntake()) as surface:
        for name in surface.reports:
            async for line in surface.report(name):
                promise(isinstance(line, str), f"a report must come in lines of text, not {line!r}")
        try:
            async for line in surface.report("no such report"):
                raise AssertionError(f"a report that there is not must be Rejected, not {line!r}")
        except Rejected:
            pass


async def check_reset(bench: SurfaceBench) -> None:
    """What a reset is to remove, and what it leaves to a person, is told without a look at the disk."""
    surface = bench.make()
    with watched() as deeds:
        residue: Sequence[object] = surface.residue(surface.settings)
        by_hand: Sequence[object] = surface.by_hand
    promise(not deeds, f"residue only names places; this one {', '.join(deeds)}")
    for place in residue:
        named = isinstance(place, Path) and bool(place.name)
        promise(named, f"residue must name files and folders of the surface's own, not {place!r}")
    promise(not isinstance(by_hand, str), "by_hand must be several lines")
    for line in by_hand:
        promise(isinstance(line, str) and line.isprintable(), f"by_hand must be lines of text, not {line!r}")


async def check_acknowledge(bench: SurfaceBench) -> None:
    """Showing that a message was taken up, or that it waits, says nothing and may be repeated."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        await bench.push("hello")
        await intake.wait_said(["hello"], "what is said must come in")
        message = next(entry for entry in intake.entries if entry.kind is Kind.MESSAGE)
        for waiting in (True, False, False):
            await surface.acknowledge(message, waiting=waiting)
    await _expect(bench, [], "taking a message up must not be a message")


async def check_fetch_refused(bench: SurfaceBench) -> None:
    """A file that cannot be fetched is `Unavailable` or `Rejected`, with a sentence for the person."""
    async with _live(bench, RecordingIntake()) as surface:
        try:
            async for _ in surface.fetch(Attachment(ref="nothing", name="nothing.txt")):
                raise AssertionError("a file that there is not must be refused")
        except (Rejected, Unavailable) as error:
            promise(bool(error.public.strip()), "a refusal must have a sentence for the person")


async def check_replaces(bench: SurfaceBench) -> None:
    """What replaces an earlier message shows in its place, once; without a trace of that one it is said anew."""
    async with _live(bench, RecordingIntake()) as surface:
        await surface.send(_outbound(bench, surface, "first"))
        await surface.send(_outbound(bench, surface, "second", part=1))
        better = replace(_outbound(bench, surface, "better", part=2), replaces=f"{TURN}.0")
        anew = replace(_outbound(bench, surface, "anew", part=3), replaces="never.0")
        for message in (better, better, anew, anew):
            await surface.send(message)
    await _expect(bench, ["better", "second", "anew"], "what replaces a message must show in its place")


async def check_history(bench: SurfaceBench) -> None:
    """What was said before comes oldest first, no more than asked for, and nothing from after; or nothing at all."""
    intake = RecordingIntake()
    async with _live(bench, intake) as surface:
        texts = ["one", "two", "three", "four"]
        for text in texts:
            await bench.push(text)
        await intake.wait_said(texts, "what is said must come in")
        events = {entry.text: entry.event_id for entry in intake.entries}
        for before, limit in (("three", 9), ("four", 2), ("four", 1), ("one", 9)):
            found = await surface.history(bench.address, before=events[before], limit=limit)
            said = [each.text for each in found]
            wanted = texts[: texts.index(before)][-limit:]
            promise(said in (wanted, []), f"of {texts} the last {limit} before {before} must be {wanted}, not {said}")
            promise(all(each.by == "person" for each in found), "what a person said must be a person's")


# Conversations -----------------------------------------------------------------------------------


async def check_opened_once(bench: SurfaceBench) -> None:
    """The same opening twice, in another life too, makes one conversation, and it is found as it was opened."""
    intake = RecordingIntake()
    _needs_rooms(bench)
    async with _live(bench, intake) as surface:
        person = await _person(bench, intake)
        opening = _opening(bench, person)
        first, again = [await _rooms(surface).open(opening) for _ in range(2)]
        other = await _rooms(surface).open(replace(opening, key="another", number=8))
    async with _live(bench, intake) as surface:
        rooms = _rooms(surface)
        third = await rooms.open(opening)
        promise(first == again == third, f"an opening must make one conversation, not {first}, {again} and {third}")
        promise(other != first != bench.address, "another opening must make a conversation of its own")
        found = await rooms.find(first)
        wanted = (first, person, opening.number, opening.agent, opening.context)
        seen = found and (found.address, found.owner, found.number, found.agent, found.context)
        promise(seen == wanted, f"find must give the binding of what was opened, not {found}")
        promise(bool(rooms.link(first).strip()), "link must give an address that leads there")


async def check_recorded(bench: SurfaceBench) -> None:
    """A changed binding is what the messenger shows from then on, to the next life too."""
    intake = RecordingIntake()
    _needs_rooms(bench)
    async with _live(bench, intake) as surface:
        rooms = _rooms(surface)
        address = await rooms.open(_opening(bench, await _person(bench, intake)))
        found = await rooms.find(address)
        if found is None:
            raise AssertionError("find must give the binding of what was opened")
        changed = replace(found, name="renamed", context="78", archived=True)
        for _ in range(2):
            await rooms.record(changed)
    async with _live(bench, intake) as surface:
        promise(await _rooms(surface).find(address) == changed, "find must give what was recorded last")
    known = next((each for each in intake.bindings if each.address == address), None)
    promise(known == changed, f"a start must tell the host what was recorded last, not {known}")


def _needs_rooms(bench: SurfaceBench) -> None:
    if bench.make().conversations is None:
        raise SkipTest("this surface makes no conversations")


def _rooms(surface: Surface) -> Conversations:
    promise(surface.conversations is not None, "a surface must have its conversations while it is open, too")
    return cast(Conversations, surface.conversations)


async def _person(bench: SurfaceBench, intake: RecordingIntake) -> str:
    """The person's native id, as it comes with what they say."""
    await bench.push("it is me")
    await intake.wait_said(["it is me"], "what is said must come in")
    return next(entry.sender for entry in intake.entries if entry.text == "it is me")


def _opening(bench: SurfaceBench, person: str) -> Opening:
    return Opening(
        key="opening",
        surface=bench.address.surface,
        owner=person,
        owner_name="Ann",
        number=7,
        name="Seventh",
        agent="agent-0",
        context="77",
        created_at=time.time(),
    )


# Splitting ---------------------------------------------------------------------------------------


async def check_short_is_one_part(bench: SurfaceBench) -> None:
    """A short text is one part, unchanged."""
    for text in ("hello", "two\n\nparagraphs", "`code` and *more*"):
        parts = list(bench.make().split(text))
        if parts != [text]:
            raise AssertionError(f"a short text must be one part, unchanged; {text!r} became {parts}")


async def check_split_is_lossless(bench: SurfaceBench) -> None:
    """A long text is cut alike each time, and nothing but white space at the cuts is lost."""
    paragraphs = "\n\n".join(PARAGRAPH * 8 + f"That was paragraph {number}." for number in range(200))
    for text in (paragraphs, PARAGRAPH * 1500, "x" * 100_000, "ж🙂" * 20_000):
        parts = list(bench.make().split(text))
        if parts != list(bench.make().split(text)):
            raise AssertionError("the same text must always be cut alike")
        if not all(part.strip() for part in parts):
            raise AssertionError("no part may be empty")
        if "".join("".join(parts).split()) != "".join(text.split()):
            raise AssertionError("the parts of a text must hold all of it, in order")


async def check_parts_fit(bench: SurfaceBench) -> None:
    """Each part of a long text can be sent, the first one also in the place of a draft."""
    text = "\n\n".join(PARAGRAPH * 8 + f"That was paragraph {number}: ж🙂<&>." for number in range(120))
    async with _live(bench, RecordingIntake()) as surface:
        await _show(surface, _draft(bench, surface, text, version=1))
        parts = list(surface.split(text))
        for number, part in enumerate(parts):
            message = _outbound(bench, surface, part, part=number, streamed=number == 0)
            try:
                await in_time(surface.send(message), "each part of a text must be sent")
            except Rejected as error:
                raise AssertionError(f"each part must fit one message; number {number} was refused: {error}") from None
    await _expect(bench, parts, "each part of a text must fit one message")


async def check_keys_are_apart(bench: SurfaceBench) -> None:
    """Two turns at the same time do not touch each other's messages."""
    other = TURN[::-1]
    async with _live(bench, RecordingIntake()) as surface:
        mine, theirs = _draft(bench, surface, "mine", version=1), _draft(bench, surface, "theirs", version=1)
        await _show(surface, mine, replace(theirs, key=f"{other}.0", turn=other))
        answer = replace(_outbound(bench, surface, "their answer", streamed=True), key=f"{other}.0", turn=other)
        await surface.send(_outbound(bench, surface, "my answer", streamed=True))
        await surface.send(answer)
    await _expect(bench, ["my answer", "their answer"], "drafts of two turns must not be mixed up")


SURFACE_CHECKS: tuple[SurfaceCheck, ...] = (
    check_comes_in,
    check_cursor_waits,
    check_restart_repeats_nothing,
    check_runs_again,
    check_own_words_stay_out,
    check_sends_in_order,
    check_same_key_once,
    check_forgotten_key_once,
    check_other_device_once,
    check_same_text_twice,
    check_streamed_ends_exact,
    check_streamed_over_restart,
    check_streamed_over_time,
    check_streamed_over_devices,
    check_streamed_again,
    check_streamed_without_draft,
    check_typing_says_nothing,
    check_made_quietly,
    check_condition,
    check_device,
    check_reports,
    check_reset,
    check_acknowledge,
    check_fetch_refused,
    check_replaces,
    check_history,
    check_opened_once,
    check_recorded,
    check_short_is_one_part,
    check_split_is_lossless,
    check_parts_fit,
    check_keys_are_apart,
)
"""Every check; a surface keeps the contract when it passes all of them."""
