"""The campaign: seeded runs in which people talk, homeserver and agent misbehave, and the host is killed.

The same seed is the same plan: who says what where, how often what goes wrong, where lives end.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from aiohttp import web

from proof.agents import Deed, Watched, cut, watched_agent
from proof.cases import Case
from proof.lives import Outcome, Run, live
from proof.nursery import Nursery
from proof.points import SIDES, Counts, Point
from proof.processes import BOT
from proof.stage import Stage
from proof.verdict import DRAFT_MARK, Said, Verdict, Want
from surfaces_core._engine import words
from surfaces_core._engine.killpoints import POINTS
from surfaces_testing.homeserver import COMMON, Changed, FakeHomeserver, Fault, Person, Slow, Truncated
from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.event import Event, Json
from surfaces_testing.homeserver.faults import Wire

ACTS = {
    "say": 8,
    "count": 3,
    "tool": 1,
    "file": 2,
    "make": 2,
    "confirm": 1,
    "stop": 1,
    "clear": 1,
    "rename": 1,
    "edit": 1,
    "notice": 1,
    "flood": 0.3,
}
"""What people do, and how often."""
QUESTION = words.question("May I go on?", "!")
REPLIES = (words.AGREED(), words.NO_QUESTION())
"""What comes of `!yes`: the question may have been that of an earlier life."""
FLOOD = 105
"""More than a sync shows of one room."""
FASTER = {"retry_base_s": 0.1, "retry_cap_s": 0.5}
"""Of the host's settings: agents are asked again sooner, so that a run takes seconds."""
PATIENT = {"catch_up_max_messages": 1000}
"""Of its surface's: all messages are fetched that a sync leaves out."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing that somebody does in a conversation."""

    kind: str
    name: str
    """Tells it from all others of the run."""
    size: int
    patient: bool
    """They wait for all answers before they do it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run."""

    seed: int
    people: Sequence[Sequence[Sequence[Act]]]
    """What everybody does, by person and conversation."""
    trouble: float
    """The share of requests to the homeserver with which something goes wrong."""
    cuts: float
    """The share of answers that the agent breaks off."""
    refusals: float
    """The share of connections that the agent refuses."""
    kills: Sequence[Point]


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    chance = Random(seed)
    people = [[_acts(chance, f"{name}{number}") for number in range(count)] for name, count in _people(chance)]
    return Plan(
        seed=seed,
        people=people,
        trouble=chance.choice((0.0, 0.02, 0.05, 0.1)),
        cuts=chance.choice((0.0, 0.0, 0.1, 0.2)),
        refusals=chance.choice((0.0, 0.0, 0.2, 0.4)),
        kills=_kills(chance, _least(people)),
    )


def _people(chance: Random) -> Iterator[tuple[str, int]]:
    """Names, and how many conversations each has: three to six together."""
    left = chance.randint(3, 6)
    for name in "abc":
        count = left if name == "c" else chance.randint(1, max(1, left - 1))
        if left <= 0:
            return
        yield name, count
        left -= count


def _acts(chance: Random, place: str) -> list[Act]:
    kinds = chance.choices(list(ACTS), list(ACTS.values()), k=chance.randint(2, 5))
    return [
        Act(kind=kind, name=f"{place}-{number}", size=chance.randint(5, 40), patient=chance.random() < 0.4)
        for number, kind in enumerate(kinds)
    ]


def _least(people: Sequence[Sequence[Sequence[Act]]]) -> Counts:
    """How often a life without a kill comes at least to each point, as far as that is sure."""
    kinds = Counter(act.kind for conversations in people for acts in conversations for act in acts)
    frames = {"say": 8, "make": 6, "count": 5, "stop": 5, "tool": 6, "confirm": 1}
    opened = sum(len(conversations) for conversations in people)
    asked = sum(kinds[kind] for kind in frames)
    done = opened + asked + kinds["file"] + kinds["clear"] + kinds["rename"]
    points = Counter(dict.fromkeys(POINTS, done) | {"open.before": opened, "open.after": opened})
    points |= {"accept.before": opened, "accept.after": opened, "begin.before": 1, "begin.after": 1, "shown.after": 1}
    return points | {
        "sync": 2 * opened,
        "login": 1,
        "join": len(people),
        "createRoom": len(people) + opened,
        "state.put": opened,
        "invite": opened,
        "download": kinds["file"],
        "upload": kinds["make"],
        "send": done,
        "agent.connect": min(asked, opened),
        "agent.ask": asked,
        "agent.frame": sum(frames[kind] * kinds[kind] for kind in frames),
    }


def _kills(chance: Random, least: Counts) -> list[Point]:
    """One to three places; lives after the first have less to do."""
    names = [name for name, count in least.items() if count > 0]
    kills = []
    for life in range(chance.choice((1, 1, 2, 2, 3))):
        name = chance.choice([*names, "send", "sync"])
        count = chance.randint(1, max(1, least[name] // (1 + 2 * life)))
        kills.append(Point(name=name, count=count, side="" if name in POINTS else chance.choice(SIDES)))
    return kills


class OfSync(Changed):
    """Another answer to a sync; all else is answered well."""

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        """Change what has a cursor."""
        return await super().deliver(answer, wire) if b'"next_batch"' in answer.body[:64] else wire.respond(answer)


class HalfJson(Truncated):
    """Half of an answer as if it were all, where that can be noticed."""

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        """Cut JSON."""
        json = answer.headers.get("Content-Type") == "application/json"
        return await super().deliver(answer, wire) if json else wire.respond(answer)


class Traffic(Stage):
    """People who talk as planned, on a homeserver and with an agent that misbehave as planned."""

    def __init__(self, homeserver: FakeHomeserver, agent: Watched, folder: Path, plan: Plan) -> None:
        super().__init__(homeserver, folder / "state")
        self.plan = plan
        self.agent = agent
        self.notices = frozenset((["cut_off"] if plan.cuts else []) + (["poison"] if len(plan.kills) > 2 else []))
        """Causes that there may be."""
        self.people = [homeserver.person(f"@{name}:hs.test", name.upper()) for name in "abc"[: len(plan.people)]]
        self.entries = [person.create_dm(BOT) for person in self.people]
        self.files: dict[str, bytes] = {}
        """What people sent, by name."""
        self.made: list[str] = []
        """What the agent was asked to make."""
        self._agreed: Counter[str] = Counter()
        """How often somebody said `!yes`, by room."""
        self._names: dict[str, str] = {}
        """What conversations were renamed to last, by room."""
        self._stops: Counter[str] = Counter()
        """How often somebody said `!stop`, by room; where they will, too. It may come late, and stop another answer."""
        self._waiting: dict[str, int] = {}
        """Files that may wait for the next question, by room."""
        for entry in self.entries:
            self._owed(entry, r"Your conversation is ready: .+")
        self._disturb()

    def _owed(self, room: str, pattern: str, *, further: bool = False) -> None:
        """An answer, or what may stand for it and for all of its parts."""
        notices = self.notices | ({"stopped"} if room in self._stops else set())
        self.owe(room, Want(pattern=pattern, further=further, or_notice=frozenset() if further else notices))

    # What goes wrong

    def _disturb(self) -> None:
        chance = Random(self.plan.seed + 1)
        common = [fault for fault in COMMON if not isinstance(fault, Truncated)]
        self.hs.faults.random(self.plan.seed, self.plan.trouble, [*common, *common, *self._own_faults()])

        def harm(moment: str) -> Deed | None:
            if moment == "agent.connect" and chance.random() < self.plan.refusals:
                return Deed(act=lambda wire: None)
            if moment == "agent.ask" and chance.random() < self.plan.cuts:
                return Deed(act=cut, before=False, frames=chance.randint(0, 20))
            return None

        self.agent.moments.chance = harm

    def _own_faults(self) -> Sequence[Fault]:
        syncs = (OfSync(change=self._shorten), OfSync(change=self._repeat))
        return (Slow(piece=200, pause_s=0.01), HalfJson(), *syncs)

    def _shorten(self, body: Json) -> Json:
        """A sync with the last message of each room alone; the others are to be fetched."""
        since = self._since()
        for room, shown in body.get("rooms", {}).get("join", {}).items():
            events = shown.get("timeline", {}).get("events", ())
            last = self.hs.rooms[room].event(events[-1]["event_id"]) if events else None
            # nobody is told what was said in a room before they were told of the room
            if last is not None and self.hs.rooms[room].state["m.room.member", BOT].pos <= since:
                shown["timeline"] |= {"events": events[-1:], "limited": True, "prev_batch": f"s{last.pos - 1}"}
        return body

    def _since(self) -> int:
        """Up to where the host was told everything by earlier syncs."""
        since = self.hs.record.of("sync")[-1].since
        return 0 if since is None else int(since[1:])

    def _repeat(self, body: Json) -> Json:
        """A sync that shows a message of before once more."""
        since = self._since()
        old = [event for event in self._messages() if event.pos <= since]
        if not old:
            return body
        event = old[self.plan.seed % len(old)]
        joined = body.setdefault("rooms", {}).setdefault("join", {}).setdefault(event.room_id, {})
        timeline = joined.setdefault("timeline", {"limited": False, "prev_batch": f"s{since}"})
        timeline["events"] = [event.client(), *timeline.get("events", ())]
        return body

    def _messages(self) -> list[Event]:
        rooms = [room for person in self.people for room in self.owned(person)]
        found = [event for room in rooms for event in self.hs.events(room)]
        return [event for event in found if event.sender != BOT and event.type == "m.room.message"]

    # What people do

    async def play(self) -> None:
        """Everybody at once."""
        async with asyncio.TaskGroup() as group:
            for person, entry, conversations in zip(self.people, self.entries, self.plan.people, strict=True):
                group.create_task(self._person(person, entry, conversations))
        self.over = True

    async def _person(self, person: Person, entry: str, conversations: Sequence[Sequence[Act]]) -> None:
        first = await self.enter(person, 1, entry, partial(self._hello, person, entry))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._talk(person, first, conversations[0]))
            for number, acts in enumerate(conversations[1:], 2):
                ask = partial(self._new, person, first, f"Number {number}")
                ask()
                room = await self.enter(person, number, first, ask)
                group.create_task(self._talk(person, room, acts))

    def _hello(self, person: Person, entry: str) -> None:
        person.say(entry, "hello")
        self._owed(entry, r"(?:Your conversation is ready|You have \d conversations?): .+")

    def _new(self, person: Person, room: str, name: str) -> None:
        person.say(room, f"!new {name}")
        self._owed(room, rf"\[C\d+ {name}\]\(.+")

    async def _talk(self, person: Person, room: str, acts: Sequence[Act]) -> None:
        if any(act.kind == "stop" for act in acts):
            self._stops[room] = 0
        for act in acts:
            if act.patient:
                await self.hs.until(lambda: not self.missing(room), timeout=120.0)
            self._do(person, room, act)
            if act.kind == "confirm":
                await self._confirm(person, room)
            elif act.kind == "stop":
                await self._stop(person, room)

    async def _confirm(self, person: Person, room: str) -> None:
        """Agree to every question until there is an answer. One that is asked again asks again."""
        while self.missing(room):
            await self.hs.until(lambda: self._questions(room) > self._agreed[room] or not self.missing(room), 120.0)
            if self._questions(room) > self._agreed[room]:
                person.say(room, "!yes")
                self._agreed[room] += 1

    def _questions(self, room: str) -> int:
        return sum(said.text == QUESTION for said in self.all_said(room))

    async def _stop(self, person: Person, room: str) -> None:
        """Stop an answer of which something shows, if it is not all there before."""
        await self.hs.until(lambda: self._drafts(room) or not self.missing(room), 120.0)
        person.say(room, "!stop")
        self._stops[room] += 1

    def _drafts(self, room: str) -> bool:
        return any(said.text.endswith(DRAFT_MARK) for said in self.all_said(room))

    def _do(self, person: Person, room: str, act: Act) -> None:
        match act.kind:
            case "say":
                self._ask(person, room, act.name, rf"You said: {act.name}\. \(message \d+ in this context\)")
            case "count" | "stop":
                numbers = " ".join(map(str, range(1, act.size + 1)))
                self._ask(person, room, f"count to {act.size} ({act.name})", numbers)
            case "tool":
                self._ask(person, room, f"use a tool ({act.name})", r"The calculator says 5\.")
            case "confirm":
                self._ask(person, room, f"ask me ({act.name})", r"You said yes, so I went on\.")
            case "make":
                self.made.append(f"make a file {act.name}")
                self._ask(person, room, self.made[-1], r"Here is your file\.")
                self._owed(room, "A note", further=True)
            case "file":
                self._send_file(person, room, f"in-{act.name}.txt")
            case _:
                self._do_else(person, room, act)

    def _do_else(self, person: Person, room: str, act: Act) -> None:
        """What asks nothing of the agent."""
        match act.kind:
            case "clear":
                person.say(room, "!clear")
                self._owed(room, r"Done: the agent starts afresh here.+")
            case "rename":
                self._names[room] = f"Name {act.name.replace('-', 'x')}"
                person.say(room, f"!rename {self._names[room]}")
                self._owed(room, rf"This conversation is now called \*\*{self._names[room]}\*\*\.")
            case "edit":
                mine = [shown.event_id for shown in self.hs.shown(room) if shown.sender == person.user_id]
                if self.missing(room):  # what has no answer yet would get another one
                    mine = []
                person.edit(room, (mine or ["$nothing"])[-1], f"an edit of {act.name}")
            case "notice" | "flood":
                for _ in range(FLOOD if act.kind == "flood" else 1):
                    person.send(room, {"msgtype": "m.notice", "body": "which needs no answer"})

    def _ask(self, person: Person, room: str, text: str, pattern: str) -> None:
        """A question; its answer begins with the files that wait. Those of a failed turn wait for the next one."""
        waiting = self._waiting.get(room, 0) if self.notices else self._waiting.pop(room, 0)
        got = rf"(?:I got in-[^\n]+\n\n){{{'0,' if self.notices else ''}{waiting}}}"
        person.say(room, text)
        self._owed(room, got + pattern)

    def _send_file(self, person: Person, room: str, name: str) -> None:
        if self._waiting.get(room, 0):  # another one may only lengthen the line about the first
            return
        self.files[name] = f"the content of {name}\n".encode()
        self._waiting[room] = self._waiting.get(room, 0) + 1
        person.send_file(room, name, self.files[name], "text/plain")
        self._owed(room, rf"Got `{re.escape(name)}`\. \d+ waiting for your next message\.")

    # Judging

    def said(self, room: str) -> list[Said]:
        """Without what is said aside: it has no place in the order."""
        aside = (QUESTION, *REPLIES, words.NOTHING_TO_STOP())
        return [said for said in super().said(room) if said.text not in aside]

    def missing(self, room: str) -> tuple[str, ...]:
        """What is still owed in a room."""
        replies = sum(said.text in REPLIES for said in self.all_said(room))
        return super().missing(room) + ("a reply to !yes",) * (self._agreed[room] - replies)

    def verdict(self) -> Verdict:
        """Everything that is wrong, at the end."""
        talk = self.talk()
        told = bool(talk.notices)
        wrong = [*self._wrong_rooms(told), *self._wrong_input(told), *self._wrong_output(told), *self._asked_twice()]
        if talk.notices.get("poison", 0) > len(self.plan.kills) // 3:
            wrong.append(f"{talk.notices['poison']} messages were put aside after {len(self.plan.kills)} kills")
        return talk + Verdict(other=tuple(wrong), doubled=tuple(self._doubled_aside()))

    def _doubled_aside(self) -> Iterator[str]:
        """What is said aside comes once, too."""
        for room in self.hs.rooms:
            texts = Counter(said.text for said in self.all_said(room))
            marks = Counter(said.mark for said in self.all_said(room))
            if sum(texts[reply] for reply in REPLIES) > self._agreed[room] or max(marks.values(), default=0) > 1:
                yield f"more replies than {self._agreed[room]} times !yes"
            stopped = sum(text.endswith((words.STOPPED(), f"_{words.STOPPED()}_")) for text in texts.elements())
            if stopped + texts[words.NOTHING_TO_STOP()] > self._stops[room]:
                yield f"more was stopped than {self._stops[room]} times !stop"

    def _wrong_rooms(self, told: bool) -> Iterator[str]:
        """Everybody has an entry, a Space and their conversations, and was greeted once."""
        expected = sum(2 + len(conversations) for conversations in self.plan.people)
        if len(self.hs.rooms) != expected and not told:
            yield f"{len(self.hs.rooms)} rooms instead of {expected}"
        for person in self.people:
            greetings = [text for text in self.greetings() if text.startswith(f"Hello {person.user_id[1].upper()}!")]
            if len(greetings) != 1 and not told:
                yield f"{len(greetings)} greetings of {person.user_id}"
        for room, name in self._names.items():
            shown = self.hs.state(room)["m.room.name", ""]["name"]
            if shown != name and not told:
                yield f"a room is called {shown}, not {name}"

    def _wrong_input(self, told: bool) -> Iterator[str]:
        """What people sent is in the workspace once and whole, and nothing unfinished beside it."""
        there = {path.name: path.read_bytes() for path in self.agent.workspace.iterdir()}
        mine = {name: data for name, data in there.items() if not name.startswith("note-")}
        if any(self.files.get(name) != data for name, data in mine.items()) or (
            len(mine) < len(self.files) and not told
        ):
            yield f"in the workspace: {sorted(mine)} instead of {sorted(self.files)}"

    def _wrong_output(self, told: bool) -> Iterator[str]:
        """What the agent made came once and whole."""
        urls = [
            str(event.content["url"]).rpartition("/")[2]
            for room in self.hs.rooms
            for event in self.hs.events(room)
            if event.sender == BOT and "url" in event.content
        ]
        came = sorted(self.hs.world.media[url].data for url in urls if url in self.hs.world.media)
        made = sorted(f"You asked: {text}\n".encode() for text in self.made)
        if came != made and not (told and set(came) <= set(made) and len(came) == len(set(came))):
            yield f"files from the agent: {came} instead of {made}"

    def _asked_twice(self) -> Iterator[str]:
        """No question came to the agent under two ids."""
        for heard in self.agent.moments.heard.values():
            texts = list(heard.values())
            yield from (f"the agent was asked as if anew: {text}" for text in set(texts) if texts.count(text) > 1)


async def run(nursery: Nursery, seed: int) -> Outcome:
    """The run of a seed; where no kill came, the same once more with all of them at once."""
    planned = plan(seed)
    outcome = await _run(nursery, planned)
    if outcome.landed or not outcome.good:
        return outcome
    return await _run(nursery, replace(planned, kills=[replace(point, count=1) for point in planned.kills]))


async def _run(nursery: Nursery, planned: Plan) -> Outcome:
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with FakeHomeserver() as homeserver, watched_agent(folder / "agents") as agent:
            stage = Traffic(homeserver, agent, folder, planned)
            run = Run(agent, folder, homeserver, stage=stage, nursery=nursery, host=FASTER, matrix=PATIENT)
            return await live(run, planned.kills)


def campaign_cases(nursery: Nursery, seeds: Sequence[int]) -> Iterator[Case]:
    """One run for each seed."""
    for seed in seeds:
        yield Case(name=str(seed), run=partial(run, nursery, seed))
