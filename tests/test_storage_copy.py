"""`surfaces storage copy` moves a resting state whole, or leaves something that nobody takes for one."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proof import servers
from surfaces_core._engine import lease
from surfaces_core._engine.journal import LAYOUT, UNFINISHED, key
from surfaces_core._program import copying
from surfaces_core.cli import main

pytestmark = pytest.mark.slow
REST = {
    "surfaces": {"work": {"use": "nowhere"}},
    "transports": {"nobody": {}},
    "agents": [{"id": "none", "transport": "nobody"}],
}
ROWS = {
    key("meta", "layout"): LAYOUT,
    **{b"conv\0%05d" % number: bytes([number % 256]) * 1000 for number in range(2500)},
    b"\xff\xff": b"",
}


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Desk:
    """A folder with configs, and the program."""

    def __init__(self, folder: Path, said: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._said = said

    def config(self, name: str, storage: dict[str, Any]) -> Path:
        """Write one."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({**REST, "storage": storage}))
        return path

    def run(self, *arguments: str | Path) -> Said:
        """The program, in this process."""
        self._said.readouterr()
        code = main([*map(str, arguments)])
        return Said(code, *self._said.readouterr())

    def copy(self, source: Path, target: Path) -> Said:
        """The command."""
        return self.run("storage", "copy", source, target)

    def rows(self, config: Path) -> dict[bytes, bytes]:
        """What a storage holds."""

        async def read() -> dict[bytes, bytes]:
            async with copying.Place(config).storage as storage, storage.transaction() as tx:
                return {row: value async for row, value in tx.scan(b"") if row != lease.ROW}

        return asyncio.run(read())


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A place to work at."""
    return Desk(tmp_path, capsys)


@pytest.fixture
def source(desk: Desk) -> Path:
    """A state in SQLite."""
    path = desk.config("old", {"use": "sqlite", "path": str(desk.folder / "old.db")})

    async def fill() -> None:
        async with copying.Place(path).storage as storage, storage.transaction() as tx:
            for row, value in ROWS.items():
                await tx.put(row, value)

    asyncio.run(fill())
    return path


@pytest.fixture(scope="module")
def postgres() -> Iterator[servers.Server]:
    """A PostgreSQL server."""
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[servers.Server]:
    """A Redis server that persists every write."""
    with servers.redis() as server:
        yield server


def test_a_state_goes_round(desk: Desk, source: Path, postgres: servers.Server, redis: servers.Server) -> None:
    """From SQLite to PostgreSQL to Redis and back: the same rows, count and checksum, and each source as it was."""
    places = [
        source,
        desk.config("postgres", {"use": "postgres", "dsn": postgres.url}),
        desk.config("redis", {"use": "redis", "url": redis.url}),
        desk.config("back", {"use": "sqlite", "path": str(desk.folder / "back.db")}),
    ]
    said = set()
    for old, new in itertools.pairwise(places):
        done = desk.copy(old, new)
        assert done.code == 0, done.err
        (found,) = re.findall(r"^(\d+ rows, sha256 [0-9a-f]{64}): read back from", done.out, re.MULTILINE)
        said.add(found)
    (line,) = said
    assert line.startswith(f"{len(ROWS)} rows")
    assert all(desk.rows(place) == ROWS for place in places)


def test_a_copy_that_was_killed_is_no_state(desk: Desk, source: Path) -> None:
    """Killed half-way: the target is refused as a state, the source is whole, and a repeat works."""
    target = desk.config("new", {"use": "sqlite", "path": str(desk.folder / "new.db")})
    command = [sys.executable, "-m", "surfaces_core.cli", "storage", "copy", str(source), str(target)]
    killed = subprocess.run(command, env={**os.environ, "SURFACES_KILL_AT": "copy.chunk:2"})
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(desk.rows(target)) < len(ROWS)
    refused = desk.run("queue", "-c", target)
    assert (refused.code, refused.out) == (65, "")
    assert "a copy that was not finished" in refused.err
    assert desk.copy(target, source).code == 65
    assert desk.rows(source) == ROWS
    with closing(sqlite3.connect(desk.folder / "new.db", isolation_level=None)) as database:
        database.execute("INSERT INTO kv VALUES (?, ?)", (b"left over", b"x"))
    assert desk.copy(source, target).code == 0
    assert desk.rows(target) == ROWS


def test_what_is_not_read_back_is_no_copy(desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that keeps something else than it was given stays marked, and the command says so."""
    # The only place where a storage could lie is below it: a byte is changed on its way in.
    target = desk.config("new", {"use": "sqlite", "path": str(desk.folder / "new.db")})
    put = copying._put

    async def spoiled(storage: Any, rows: list[tuple[bytes, bytes]]) -> None:
        await put(storage, [(row, value.replace(b"\x07", b"\x08")) for row, value in rows])

    monkeypatch.setattr(copying, "_put", spoiled)
    spoilt = desk.copy(source, target)
    assert (spoilt.code, "differs" in spoilt.err) == (74, True)
    assert UNFINISHED in desk.rows(target)


def test_a_target_that_holds_a_state_is_left_alone(desk: Desk, source: Path) -> None:
    """Nothing is written over, and nothing is copied onto itself."""
    target = desk.config("new", {"use": "sqlite", "path": str(desk.folder / "new.db")})
    assert desk.copy(source, target).code == 0
    again = desk.copy(source, target)
    assert (again.code, "name an empty one" in again.err) == (65, True)
    assert desk.rows(target) == ROWS
    same = desk.copy(source, source)
    assert (same.code, "same storage" in same.err) == (78, True)
    (desk.folder / "link.db").symlink_to(desk.folder / "new.db")
    other = desk.config("other", {"use": "sqlite", "path": str(desk.folder / "link.db")})
    again = desk.copy(target, other)
    assert (again.code, "same storage" in again.err) == (78, True)


def test_nothing_is_copied_to_or_from_memory(desk: Desk, source: Path) -> None:
    """What keeps nothing is refused before anything is opened."""
    refused = desk.copy(source, desk.config("memory", {"use": "memory"}))
    assert (refused.code, "keeps nothing" in refused.err) == (78, True)


def test_a_running_host_is_not_copied(desk: Desk, source: Path) -> None:
    """While somebody holds the state, the command says in one line that the host must rest."""
    target = desk.config("new", {"use": "sqlite", "path": str(desk.folder / "new.db")})

    async def try_while_held() -> Said:
        async with copying.Place(source).storage:
            return await asyncio.to_thread(desk.copy, source, target)

    refused = asyncio.run(try_while_held())
    assert refused.code == os.EX_TEMPFAIL
    (line,) = refused.err.splitlines()
    assert "the host must rest" in line
    assert str(os.getpid()) in line
    assert not (desk.folder / "new.db").exists()
