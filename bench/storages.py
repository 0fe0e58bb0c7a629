"""`python -m bench.storages`: what each storage does on this machine; writes `bench/storages.json`.

Each figure is the median of several rounds, in which the storages take turns. *Alone*: one transaction
after the other, each of one row of 300 bytes. *Together*: 64 tasks that do the same. *Events*: batches of
100 events as a surface hands them in, each stored as two rows, together with the cursor.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import structlog

from proof import servers
from surfaces_core import Context, Storage
from surfaces_storage_memory import MemoryStorage
from surfaces_storage_postgres import PostgresStorage
from surfaces_storage_redis import RedisStorage
from surfaces_storage_sqlite import SqliteStorage

RESULTS = Path(__file__).parent / "storages.json"
ROUNDS = 5
SECONDS = 1.0
TASKS = 64
EVENTS = 100
_VALUE = b"v" * 300


@contextmanager
def places() -> Iterator[dict[str, Callable[[str], Storage]]]:
    """Makers of storages, each for a state by its name."""
    with tempfile.TemporaryDirectory() as folder, servers.postgres() as postgres, servers.redis() as redis:
        yield {
            "sqlite": lambda name: made(SqliteStorage, path=Path(folder) / name),
            "postgres": lambda name: made(PostgresStorage, dsn=postgres.url, schema_name=name),
            "redis": lambda name: made(RedisStorage, url=redis.url, prefix=name),
            "memory": lambda name: made(MemoryStorage),
        }


def made(driver: type[Storage], **settings: object) -> Storage:
    """An unopened storage."""
    return driver(driver.Settings.model_validate(settings), Context(name="storage", log=structlog.get_logger()))


async def commit(storage: Storage, number: int) -> None:
    """One row in one transaction."""
    async with storage.transaction() as tx:
        await tx.put(b"row\0%09d" % number, _VALUE)


async def batch(storage: Storage, number: int) -> None:
    """Events with their cursor, of which none was seen before."""
    seen = [b"seen\0%09d\0%03d" % (number, event) for event in range(EVENTS)]
    async with storage.transaction() as tx:
        assert not any(await tx.get_many(seen))
        for event, key in enumerate(seen):
            await tx.put(key, b"")
            await tx.put(b"in\0%09d\0%03d" % (number, event), _VALUE)
        await tx.put(b"cursor", b"%d" % number)


async def rate(storage: Storage, step: Callable[[Storage, int], Awaitable[None]], tasks: int) -> float:
    """Steps a second."""
    numbers = iter(range(10**9))
    began = time.perf_counter()

    async def work() -> int:
        done = 0
        while time.perf_counter() - began < SECONDS:
            await step(storage, next(numbers))
            done += 1
        return done

    async with asyncio.TaskGroup() as group:
        all_of_them = [group.create_task(work()) for _ in range(tasks)]
    return sum(task.result() for task in all_of_them) / (time.perf_counter() - began)


@asynccontextmanager
async def opened(make: Callable[[str], Storage], name: str) -> AsyncIterator[Storage]:
    """A storage that has worked already."""
    async with make(name) as storage:
        await commit(storage, 10**8)
        yield storage


async def figures(make: Callable[[str], Storage], number: int) -> dict[str, float]:
    """One round of one storage."""
    async with opened(make, f"alone{number}") as storage:
        alone = await rate(storage, commit, 1)
    async with opened(make, f"together{number}") as storage:
        together = await rate(storage, commit, TASKS)
    async with opened(make, f"events{number}") as storage:
        events = EVENTS * await rate(storage, batch, 1)
    return {"alone_per_s": alone, "together_per_s": together, "events_per_s": events}


async def measured() -> dict[str, dict[str, float]]:
    """The medians, by storage."""
    with places() as makers:
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in makers}
        for number in range(ROUNDS):
            for kind, make in makers.items():
                found[kind].append(await figures(make, number))
    return {
        kind: {name: round(median(one[name] for one in rounds)) for name in rounds[0]} for kind, rounds in found.items()
    }


def main() -> None:
    """Measure and write."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    report: dict[str, Any] = {"machine": machine, "storages": asyncio.run(measured())}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(RESULTS.read_text())


if __name__ == "__main__":
    main()
