"""The host with its promises in a wrong order: `python planted_order.py BUG run -c FILE`. Each must be flagged.

None of them shows to people while nothing crashes.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from surfaces_core._engine import journal, turns
from surfaces_core._engine.journal import Entry, Journal
from surfaces_core._engine.store import InstanceStore
from surfaces_core._engine.turns import Turns
from surfaces_core.cli import main
from surfaces_matrix.login import Login
from surfaces_matrix.making import Made, Maker
from surfaces_storage_sqlite import file


def plant(owner: Any, name: str, bug: Callable[..., Any]) -> None:
    """Put a function in the place of another one."""
    setattr(owner, name, bug)


def unsynced() -> None:
    """The database survives a crash of the process, and no power cut."""
    original = file._prepare

    def prepare(connection: sqlite3.Connection, path: Path) -> None:
        original(connection, path)
        connection.execute("PRAGMA synchronous=NORMAL")

    plant(file, "_prepare", prepare)


def sent_before_complete() -> None:
    """An answer is sent, and then stored."""
    original = Turns._finish

    async def finish(self: Turns, entry: Entry, outcome: Any, *rest: Any) -> None:
        for part in await self._answers.freeze(entry, outcome.says):
            await self._surfaces[part.address.surface].send(part)
        await original(self, entry, outcome, *rest)

    plant(Turns, "_finish", finish)


def cursor_behind() -> None:
    """A cursor is used, and stored with the batch behind it."""
    original = Journal.accept
    before: dict[str, str] = {}

    async def accept(self: Journal, surface: str, batch: Any, cursor: str, *rest: Any) -> Any:
        stored = before.get(surface, cursor)
        before[surface] = cursor
        return await original(self, surface, batch, stored, *rest)

    plant(Journal, "accept", accept)


def unmarked() -> None:
    """The agent is asked, and nothing says that it was."""
    original = journal.begun

    def begun(entry: Entry) -> Entry:
        return replace(original(entry), asked=False)

    plant(journal, "begun", begun)
    plant(turns, "begun", begun)


def unmarked_draft() -> None:
    """A draft shows, and nothing says any more that it may."""
    original = Journal.mark_shown

    async def mark_shown(self: Journal, entry: Entry, **options: Any) -> Entry:
        marked = await original(self, entry, **options)
        await self.keep(entry)
        return marked

    plant(Journal, "mark_shown", mark_shown)


def unkept_upload() -> None:
    """A file is named to people, and its address in the media repository is not kept."""
    _keep_all_but("uploaded:")


def unkept_mark() -> None:
    """A host marks the account as its own, and will not know its mark again."""
    _keep_all_but("instance")


def _keep_all_but(prefix: str) -> None:
    original = InstanceStore.put

    async def put(self: InstanceStore, key: str, value: bytes) -> None:
        if not key.startswith(prefix):
            await original(self, key, value)

    plant(InstanceStore, "put", put)


def unkept_login() -> None:
    """A login is used, and not kept."""

    async def keep(self: Login, kept: Any) -> None:
        return None

    plant(Login, "_keep", keep)


def unkept_room() -> None:
    """A room is made under a name that is stored when it is there."""
    original = Maker._keep

    async def keep(self: Maker, key: str, made: Made) -> Made:
        return made if made.room is None else await original(self, key, made)

    plant(Maker, "_keep", keep)


def unsynced_file() -> None:
    """A person's file is named to the agent while it is in the cache alone."""
    plant(os, "fsync", lambda fd: None)  # SQLite does not call it by this name


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        unsynced,
        sent_before_complete,
        cursor_behind,
        unmarked,
        unmarked_draft,
        unkept_upload,
        unkept_mark,
        unkept_login,
        unkept_room,
        unsynced_file,
    )
}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
