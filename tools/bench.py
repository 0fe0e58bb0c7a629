"""Measures the host against a plain matrix-nio echo loop in the same minutes, and writes the table.

Both are echo bots on the same in-memory homeserver, each in a process of its own. The host stores
every message durably and runs each through an agent (one that echoes); nio does neither. Figures
depend on the machine, ratios less so; nothing here is a test.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from surfaces_demo.children import Child
from surfaces_testing.homeserver import FakeHomeserver, Person

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/reference/figures.md"
ANN, BOT = "@ann:hs.test", "@bot:hs.test"
ROUND_TRIPS = 300
LOAD_PER_ROOM, BURST_PER_ROOM, BURST_ROOMS = 5, 20, 100
GIVE_UP_S = 5.0
"""No answer for so long: no more will come."""
MANY_ROOMS = 1000

CONFIG = """
storage: {use: sqlite, path: "${STATE}/surfaces.db"}
surfaces:
  matrix:
    homeserver: "${MATRIX_HOMESERVER}"
    user_id: "${MATRIX_USER_ID}"
    password: {env: MATRIX_PASSWORD}
    streaming: false
transports: {echo: {}}
agents: [{id: echo, transport: echo}]
host: {log_level: warning, max_lane_depth: 5000}
"""
ECHO = '''
"""The agent of the bench: says what it was told."""

from surfaces_core import End, Text, Transport


class Echo(Transport):
    """Echoes."""

    async def run(self, request):
        yield Text(request.text)
        yield End()
'''


@dataclass(frozen=True, slots=True)
class Bot:
    """One of the two that are compared."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Burst:
    """What many messages at once came to."""

    per_s: float
    answered: int
    cpu_ms: float
    """Per answer."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one bot."""

    start_s: float
    start_many_s: float
    memory_mib: float
    memory_many_mib: float
    round_trip_ms: float
    load: Burst
    burst: Burst


def install_echo(folder: Path) -> None:
    """A distribution that offers the echo transport, on a path of its own."""
    meta = folder / "surfaces_bench-0.dist-info"
    meta.mkdir(parents=True)
    (folder / "surfaces_bench.py").write_text(ECHO)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: surfaces-bench\nVersion: 0\n")
    (meta / "entry_points.txt").write_text("[surfaces.transport]\necho = surfaces_bench:Echo\n")


def bots(folder: Path) -> list[Bot]:
    """The host, and plain nio."""
    (folder / "surfaces.yaml").write_text(CONFIG)
    install_echo(folder / "path")
    ours = [str(Path(sys.executable).with_name("surfaces")), "run", "-c", str(folder / "surfaces.yaml")]
    nio = [str(ROOT / ".bench/bin/python"), str(ROOT / "tools/bench_nio.py")]
    return [Bot("Surfaces", ours, {"PYTHONPATH": str(folder / "path")}), Bot("plain nio", nio, {})]


class Run:
    """One bot on one fresh homeserver."""

    def __init__(self, server: FakeHomeserver, rooms: list[str], ann: Person, child: Child, start_s: float) -> None:
        self.server = server
        self.rooms = rooms
        self.ann = ann
        self.child = child
        self.start_s = start_s

    def answers(self, room: str) -> list[str]:
        """What the bot said in a room, in order."""
        timeline = self.server.rooms[room].timeline
        return [
            str(event.content["body"]) for event in timeline if event.sender == BOT and event.type == "m.room.message"
        ]

    def answered(self, room: str, count: int) -> bool:
        """Whether the bot said so much in a room."""
        return len(self.answers(room)) >= count

    def memory_mib(self) -> float:
        """Resident memory of the bot."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def cpu_s(self) -> float:
        """Processor time that the bot has used."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(bot: Bot, rooms: int) -> AsyncIterator[Run]:
    """A bot that is ready in so many rooms, each a conversation with the same person."""
    with tempfile.TemporaryDirectory(prefix="surfaces-bench-") as state:
        async with FakeHomeserver() as server:
            ann, made = server.person(ANN), furnish(server, rooms)
            env = {
                **bot.env,
                "STATE": state,
                "MATRIX_HOMESERVER": server.url,
                "MATRIX_USER_ID": BOT,
                "MATRIX_PASSWORD": "secret",
            }
            begun = time.perf_counter()
            child = await Child.start("bot", bot.command, folder=Path(state), env=env)
            try:
                await child.ready()
                yield Run(server, made, ann, child, time.perf_counter() - begun)
            finally:
                await child.kill()


def furnish(server: FakeHomeserver, count: int) -> list[str]:
    """Rooms that the bot made earlier: conversations of one person."""
    bot, ann = server.person(BOT), server.person(ANN)
    made = []
    for number in range(1, count + 1):
        room = bot.create_room(name=f"C{number}", invite=[ANN])
        binding = {
            "version": 1,
            "conversation": f"C{number}",
            "owner": ANN,
            "agent_id": "echo",
            "context_id": str(number),
            "created_ts": 0,
        }
        bot.set_state(room, "io.surfaces.binding", binding)
        ann.join(room)
        made.append(room)
    return made


async def round_trips(run: Run) -> float:
    """The median time from a message to its answer, in milliseconds, one at a time."""
    times = []
    for number in range(ROUND_TRIPS):
        room = run.rooms[number % len(run.rooms)]
        answered = partial(run.answered, room, len(run.answers(room)) + 1)
        begun = time.perf_counter()
        run.ann.say(room, f"message {number}")
        await run.server.until(answered, 30)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


async def burst(run: Run, per_room: int) -> Burst:
    """So many messages in each of many rooms, all at once."""
    rooms = run.rooms[:BURST_ROOMS]
    before, cpu, begun = {room: len(run.answers(room)) for room in rooms}, run.cpu_s(), time.perf_counter()
    run.server.say_many((ANN, room, f"burst {number}") for number in range(per_room) for room in rooms)
    took, answered = await settled(run, rooms, sum(before.values()), per_room * len(rooms))
    took, cpu = took - begun, run.cpu_s() - cpu
    wanted = [f"burst {number}" for number in range(per_room)]
    if answered == per_room * len(rooms) and any(run.answers(room)[before[room] :] != wanted for room in rooms):
        sys.exit("answers are doubled or out of order")
    return Burst(answered / took, answered, cpu / answered * 1000)


async def settled(run: Run, rooms: list[str], before: int, wanted: int) -> tuple[float, int]:
    """When the last answer came and how many came: all that are wanted, or until nothing comes any more."""
    last, answered = time.perf_counter(), 0
    while answered < wanted and time.perf_counter() - last < GIVE_UP_S:
        run.child.check()
        await asyncio.sleep(0.005)
        now = sum(len(run.answers(room)) for room in rooms) - before
        if now != answered:
            last, answered = time.perf_counter(), now
    return last, answered


async def measure(bot: Bot) -> Figures:
    """All figures of one bot."""
    async with running(bot, 1) as run:
        start, memory = run.start_s, run.memory_mib()
        trip = await round_trips(run)
    async with running(bot, BURST_ROOMS) as run:
        # The first stays below what one sync carries of a room, the second does not.
        load, gale = await burst(run, LOAD_PER_ROOM), await burst(run, BURST_PER_ROOM)
    async with running(bot, MANY_ROOMS) as run:
        many, memory_many = run.start_s, run.memory_mib()
    return Figures(start, many, memory, memory_many, trip, load, gale)


ROWS: list[tuple[str, Callable[[Figures], float], str]] = [
    ("CPU per message", lambda f: f.load.cpu_ms, "{:.2f} ms"),
    ("median round trip", lambda f: f.round_trip_ms, "{:.1f} ms"),
    ("answers a second under load", lambda f: f.load.per_s, "{:.0f}"),
    ("answers a second in a burst", lambda f: f.burst.per_s, "{:.0f}"),
    ("answered of the burst", lambda f: f.burst.answered, "{}"),
    ("start to ready, 1 room", lambda f: f.start_s, "{:.2f} s"),
    (f"start to ready, {MANY_ROOMS} rooms", lambda f: f.start_many_s, "{:.2f} s"),
    ("memory, 1 room", lambda f: f.memory_mib, "{:.0f} MiB"),
    (f"memory, {MANY_ROOMS} rooms", lambda f: f.memory_many_mib, "{:.0f} MiB"),
]


def table(ours: Figures, nio: Figures) -> str:
    """The figures as a Markdown table."""
    lines = ["| | Surfaces | plain nio | ratio |", "| --- | ---: | ---: | ---: |"]
    for title, value, form in ROWS:
        mine, theirs = value(ours), value(nio)
        lines.append(f"| {title} | {form.format(mine)} | {form.format(theirs)} | {mine / theirs:.2f} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page that the README's figures come from."""
    return f"""# Figures

Written by `make bench`. Both are echo bots on the same in-memory homeserver, measured in the same minutes.
Surfaces stores every message durably (an fsync before it is acknowledged) and asks an agent; plain nio does
neither. Load: {LOAD_PER_ROOM} messages at once in each of {BURST_ROOMS} rooms; burst: {BURST_PER_ROOM} each, which is
more than one sync carries. Python {platform.python_version()}, {os.cpu_count()} cores.

{text}
"""


def main() -> None:
    """Measure both and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where the table goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="surfaces-bench-") as folder:
        ours, nio = [asyncio.run(measure(bot)) for bot in bots(Path(folder))]
    text = table(ours, nio)
    sys.stdout.write(f"{text}\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(text))


if __name__ == "__main__":
    main()
