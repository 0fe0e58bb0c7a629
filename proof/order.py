"""The order of promises: what the host does outwardly rests on something that is on the disk at that instant.

One standard scenario is recorded by its system calls. For each act of the host, a request that changes
something at the homeserver, a sync that uses a cursor, a question to the agent, the database is opened as
a power cut at the instant before the act's first byte would leave it, of synced bytes alone, and must hold
the row that the act rests on: the part in the outbox, the cursor, the entry that is marked as asked. What
the writer's thread has under way for others at that moment plays no part.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proof.lives import live
from proof.processes import HOST, reference_agent
from proof.simulation.story import turn_of
from proof.trace import Disk, Frame, Kill, Request, Trace, disks, joined, sent
from proof.traced import SystemCall, TracedRun
from surfaces_testing.homeserver import FakeHomeserver
from surfaces_testing.homeserver.endpoints import ROUTES

Fact = tuple[str, str]
"""Something that the database says, and of what."""
Needs = Sequence[Sequence[Fact]]
"""All of these must be there; of each any one of its alternatives."""
Rows = Mapping[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that the host did outwardly."""

    at: int
    """The tick before it left."""
    kind: str
    subject: str
    needs: Needs | None
    """None where no rule says on what it rests."""


@dataclass(frozen=True, kw_only=True)
class Early:
    """An act that came before what it rests on was safe."""

    act: str
    subject: str
    missing: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found in one recorded scenario."""

    acts: Mapping[str, int]
    """How many acts were checked, by kind."""
    early: Sequence[Early] = ()
    commits: int = 0
    """How often the disk became another one."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """Traced system calls by kind."""
    trouble: str = ""
    """What was wrong with the scenario itself."""
    seconds: float = 0.0

    @property
    def absent(self) -> list[str]:
        """Kinds of acts that the scenario is there for and that were not seen."""
        return sorted(ESSENTIAL - self.acts.keys())

    @property
    def good(self) -> bool:
        """Everything that had to be seen was seen, and nothing came early."""
        return not self.wrong()

    def wrong(self) -> dict[str, str]:
        """What is wrong, by where."""
        found = {f"{one.act} {one.subject}".strip(): f"before this is on the disk: {one.missing}" for one in self.early}
        found |= dict.fromkeys(self.absent, "was not seen")
        return found | ({"trouble": self.trouble} if self.trouble else {})

    def table(self) -> str:
        """For people."""
        early = Counter(one.act for one in self.early)
        lines = [f"{'act':<14}{'seen':>6}{'early':>7}"]
        lines += [f"{kind:<14}{count:>6}{early[kind]:>7}" for kind, count in sorted(self.acts.items())]
        lines += [f"{one.act} {one.subject}: not on the disk: {one.missing}" for one in self.early]
        lines += [f"{kind}: none was seen" for kind in self.absent]
        lines += [self.trouble] if self.trouble else []
        return "\n".join(lines)


ESSENTIAL = frozenset({"sync", "send", "createRoom", "join", "upload", "login", "USER_MESSAGE"})


# What the database says --------------------------------------------------------------------------


class States:
    """What a power cut would leave of the database, and what that says, at every tick."""

    def __init__(self, trace: Trace, database: str) -> None:
        self._ticks: list[int] = []
        self._facts: list[frozenset[Fact]] = []
        with tempfile.TemporaryDirectory() as folder:
            for disk in disks(trace.calls):
                self._ticks.append(disk.at)
                self._facts.append(frozenset(_facts(disk, database, Path(folder))))

    def __len__(self) -> int:
        return len(self._ticks)

    def before(self, tick: int) -> frozenset[Fact]:
        """What is safe at the instant before a tick."""
        behind = bisect_left(self._ticks, tick)
        return self._facts[behind - 1] if behind else frozenset()


def _facts(disk: Disk, database: str, folder: Path) -> Iterator[Fact]:
    for path in disk.whole:
        yield "whole", Path(path).name
    for key, value in rows(disk.files, database, folder).items():
        yield from _said_by(key, value)


def rows(files: Mapping[str, bytes], database: str, folder: Path) -> Rows:
    """The rows of the database that these files are; none while it is no database yet."""
    copy = folder / "copy.db"
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if f"{database}{suffix}" in files and suffix != "-shm":
            Path(f"{copy}{suffix}").write_bytes(files[f"{database}{suffix}"])
    if not copy.exists():
        return {}
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        try:
            return dict(connection.execute("SELECT key, value FROM kv"))
        except sqlite3.DatabaseError:
            return {}


@cache
def _said_by(key: bytes, value: bytes) -> tuple[Fact, ...]:
    """What one row says (the rows: `surfaces_core/_engine/journal.py`)."""
    match (parts := key.split(b"\0"))[0]:
        case b"cursor":
            return (("cursor", _token(value)),)
        case b"out":
            return tuple(_of_part(json.loads(value)["outbound"]))
        case b"in":
            return tuple(_of_entry(json.loads(value)))
        case b"seen":
            return (("taken", parts[-1].decode()),)
        case b"plug":
            return tuple(_of_driver(value))
        case _:
            return ()


def _token(cursor: bytes) -> str:
    """The sync token in a cursor, which may hold more than that (`surfaces_matrix/cursor.py`)."""
    try:
        return str(json.loads(cursor)["token"])
    except (ValueError, TypeError, LookupError):
        return cursor.decode()


def _of_part(outbound: Mapping[str, Any]) -> Iterator[Fact]:
    yield "part", outbound["key"]
    if outbound.get("file"):
        yield "file part", Path(outbound["file"]["path"]).name


def _of_entry(entry: Mapping[str, Any]) -> Iterator[Fact]:
    if entry.get("state") != "running":
        return
    yield "begun", ""
    yield "begun in", entry["message"]["address"]["conversation"]
    yield "begun by", entry["message"]["sender"]
    if entry.get("asked"):
        yield "asked", entry["turn"]
    if entry.get("shown"):
        yield "shown", entry["turn"]


def _of_driver(value: bytes) -> Iterator[Fact]:
    yield "kept", value.decode(errors="replace")
    with suppress(ValueError):
        kept = json.loads(value)
        if isinstance(kept, dict):
            yield from (("kept", url) for name, url in kept.items() if name == "url")
            yield from ((name, kept[name]) for name in ("device_id", "access_token", "nonce") if kept.get(name))


# What the host did, and on what that rests -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request to the homeserver, read."""

    args: Sequence[str]
    query: Mapping[str, Sequence[str]]
    content: Mapping[str, Any]
    """Its body."""


def _sync(asked: _Asked) -> Needs:
    return [[("cursor", asked.query["since"][0])]] if "since" in asked.query else []


def _send(asked: _Asked) -> Needs:
    """An answer rests on its part, a draft on the mark that it may show; the first draft has the part's own key."""
    txn = asked.args[-1]
    key, edit = re.fullmatch(r"(.+?)(\.f|\.d\d+\.\d+)?", txn).groups()  # type: ignore[union-attr]
    draft = ("shown", key.removesuffix(".0"))
    upload = [[("kept", asked.content["url"])]] if "url" in asked.content else []
    if edit is None:
        return [[("part", key), draft], *upload]
    return [[("part", key) if edit == ".f" else draft]]


Rule = Callable[[_Asked], Needs]
RULES: Mapping[str, Rule] = {
    "sync": _sync,
    "send": _send,
    "login": lambda asked: [[("device_id", asked.content["device_id"])]],
    "createRoom": lambda asked: [[("nonce", asked.content["room_alias_name"].removeprefix("surfaces_"))]],
    "join": lambda asked: [[("begun in", asked.args[0])]],
    "invite": lambda asked: [[("begun by", asked.content["user_id"])]],
    "state.put": lambda _: [[("begun", "")]],
    "upload": lambda asked: [[("file part", asked.query["filename"][0])]],
    "account_data.put": lambda asked: [[("kept", asked.content["instance"])]],
    "receipt": lambda asked: [[("taken", turn_of("matrix", asked.args[-1]))]],
    "typing": lambda _: [],
}
"""On what each request rests, by its name; on nothing where it may be lost or come twice."""


def acts(trace: Trace) -> Iterator[Act]:
    """Everything that the host did outwardly, but for what only reads."""
    for message in sent(trace.calls):
        act = _of_frame(message) if isinstance(message, Frame) else _of_request(message)
        if act is not None:
            yield act


def _of_request(request: Request) -> Act | None:
    path, _, query = request.target.partition("?")
    found = ROUTES.find(request.method, urlsplit(path).path)
    name = f"{request.method} {path}" if found is None else found[0].name
    if request.method == "GET" and name != "sync":
        return None
    asked = _Asked(args=found[1] if found else (), query=parse_qs(query), content=_content(request))
    rule = RULES.get(name)
    needs = None if rule is None else [*rule(asked), *_login_of(request)]
    return Act(at=request.at, kind=name, subject=asked.args[-1] if asked.args else "", needs=needs)


def _content(request: Request) -> Mapping[str, Any]:
    """The JSON object in a request; none in one that has another body."""
    try:
        content = json.loads(request.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _login_of(request: Request) -> Needs:
    """Transaction ids count for one login alone, so it must be kept before it is used."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    return [[("access_token", token)]] if token else []


def _of_frame(frame: Frame) -> Act:
    said = json.loads(frame.text)
    kind, turn = said["type"], said.get("message_id", "")
    needs: Needs | None = None
    if kind == "USER_MESSAGE":
        needs = [[("asked", turn)], *([("whole", Path(path).name)] for path in said["attachments"])]
    elif kind in ("CANCEL", "CONFIRM_RESULT"):  # what they answer ends with the life that asked
        needs = []
    return Act(at=frame.at, kind=kind, subject=turn, needs=needs)


# The check ---------------------------------------------------------------------------------------


async def check(folder: Path, command: Sequence[str] = HOST, kills: Sequence[Kill] = ()) -> Result:
    """Record the standard scenario in an empty folder, with lives that end at these calls before the last, and compare.

    What a life that was killed had written and not synced is in the cache for the next one, and not on the disk.
    """
    began = time.monotonic()
    agents = folder / "agents"
    agents.mkdir()
    async with reference_agent(agents, "--words-per-second", "100") as agent, FakeHomeserver() as homeserver:
        run = TracedRun(agent, folder, homeserver, command, follow=True)
        outcome = await live(run, [SystemCall.of(kill) for kill in kills])
    trouble = "" if outcome.good else f"{outcome.verdict}\n{outcome.trouble}"
    result = judge(joined(run.traces()), folder / "state" / "surfaces.db")
    return replace(result, trouble=trouble, seconds=time.monotonic() - began)


def judge(trace: Trace, database: Path) -> Result:
    """Compare the order of a recorded scenario with what its acts rest on."""
    states = States(trace, str(database))
    done = list(acts(trace))
    return Result(
        acts=Counter(act.kind for act in done),
        early=tuple(early for act in done for early in _early(act, states)),
        commits=len(states),
        calls=trace.summary.counts,
    )


def _early(act: Act, states: States) -> Iterator[Early]:
    if act.needs is None:
        yield Early(act=act.kind, subject=act.subject, missing="a rule that says what it rests on")
        return
    safe = states.before(act.at)
    for alternatives in act.needs:
        if safe.isdisjoint(alternatives):
            missing = " or ".join(what if what == "access_token" else f"{what} {of}" for what, of in alternatives)
            yield Early(act=act.kind, subject=act.subject, missing=missing.strip())
