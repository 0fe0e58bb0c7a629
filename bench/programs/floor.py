"""The journal's own floor: the commits that messages need, and nothing else of a host.

SQLite with WAL and synchronous=FULL, one writer thread that commits in groups all that waits, an event loop that
waits for it. A message needs four changes, each durable before the next step (docs/explanation/delivery.md): it
comes in with the cursor; its try is counted, which goes with the first where nothing is before it; its answer is
queued; its answer is forgotten when it shows.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

ROOMS, TURNS, DELIVERIES = 100, 64, 32
"""What is worked on side by side, as the host does by default."""
ENTRY, PART, TURN = b"e" * 430, b"p" * 330, "t" * 22
"""About as big as the host's rows are for a short message."""
Rows = Sequence[tuple[str, bytes | None]]
Job = tuple[Rows, "asyncio.Future[None]"]


class Journal:
    """A table of keys and values, and the thread that changes it."""

    def __init__(self, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._seq = 0
        self.opened: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._live, args=[path], daemon=True).start()

    def number(self) -> int:
        """The next one."""
        self._seq += 1
        return self._seq

    def change(self, *rows: tuple[str, bytes | None]) -> asyncio.Future[None]:
        """Done when it is durable."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((rows, done))
        return done

    def _live(self, path: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        self._loop.call_soon_threadsafe(self.opened.set_result, None)
        while True:
            group = [self._jobs.get()]
            while not self._jobs.empty():
                group.append(self._jobs.get())
            rows = {key.encode(): value for job in group for key, value in job[0]}
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [row for row in rows.items() if row[1] is not None],
            )
            connection.executemany("DELETE FROM kv WHERE key = ?", [[key] for key in rows if rows[key] is None])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, [job[1] for job in group])


def _tell(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


class Message:
    """One message and its answer."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._entry, self._part = journal.number(), journal.number()

    def came(self) -> list[tuple[str, bytes | None]]:
        """It is there, and is not taken twice."""
        return [(f"in\0{self._entry:016d}", ENTRY), (f"seen\0{TURN}{self._entry}", b"1700000000")]

    async def answer(self, *, counted: bool) -> None:
        """Count the try, and queue what is said."""
        if not counted:
            await self._journal.change((f"in\0{self._entry:016d}", ENTRY))
        said = (f"out\0{self._part:016d}", PART)
        await self._journal.change((f"in\0{self._entry:016d}", None), said, _seq(self._part))

    async def shown(self) -> None:
        """Forget it."""
        await self._journal.change((f"out\0{self._part:016d}", None))


def _seq(number: int) -> tuple[str, bytes]:
    return "meta\0seq", str(number).encode()


async def trickle(journal: Journal, count: int) -> dict[str, float]:
    """One message after the other; the round trip ends where the answer would be sent."""
    times = []
    cpu = time.process_time()
    for number in range(count):
        begun, message = time.perf_counter(), Message(journal)
        await journal.change(*message.came(), ("cursor", b"c" * 150), _seq(number))
        await message.answer(counted=True)
        times.append(time.perf_counter() - begun)
        await message.shown()
    spent = time.process_time() - cpu
    return {"round_trip_ms": statistics.median(times) * 1000, "trickle_cpu_ms": spent / count * 1000}


async def load(journal: Journal, per_room: int) -> tuple[float, float]:
    """So many in each of many rooms at one instant; the processor time and the time that it takes."""
    began, cpu = time.perf_counter(), time.process_time()
    lanes = [[Message(journal) for _ in range(per_room)] for _ in range(ROOMS)]
    coming = [row for lane in lanes for message in lane for row in message.came()]
    await journal.change(*coming, ("cursor", b"c" * 150), _seq(ROOMS))
    turns, deliveries = asyncio.Semaphore(TURNS), asyncio.Semaphore(DELIVERIES)

    async def deliver(message: Message) -> None:
        async with deliveries:
            await message.shown()

    async def work(number: int, lane: Sequence[Message]) -> None:
        for place, message in enumerate(lane):
            async with turns:
                await message.answer(counted=place == 0 and number < TURNS)
            group.create_task(deliver(message))

    async with asyncio.TaskGroup() as group:
        for number, lane in enumerate(lanes):
            group.create_task(work(number, lane))
    return time.process_time() - cpu, time.perf_counter() - began


async def main() -> None:
    """Measure in the folder, with so many messages one at a time and so many waves; print the figures."""
    folder, count, waves, per_room = sys.argv[1], *map(int, sys.argv[2:])
    journal = Journal(str(Path(folder) / "floor.db"))
    await journal.opened
    await trickle(journal, 10)
    figures = await trickle(journal, count)
    spent = [(await load(journal, 5))[0] for _ in range(waves)]
    figures["load_cpu_ms"] = sum(spent) / waves / (5 * ROOMS) * 1000
    figures["burst_per_s"] = per_room * ROOMS / (await load(journal, per_room))[1]
    sys.stdout.write(f"READY {json.dumps(figures)}\n")


asyncio.run(main())
