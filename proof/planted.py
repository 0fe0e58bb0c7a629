"""The host with a bug planted into it: `python planted.py BUG run -c FILE`. A sweep that cannot fail proves nothing."""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections.abc import Callable
from typing import Any

from surfaces_core._engine import journal
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.journal import Journal
from surfaces_core.cli import main
from surfaces_matrix.client import Client


def replace(owner: Any, name: str, bug: Callable[..., Any]) -> None:
    """Put a function in the place of another one."""
    setattr(owner, name, bug)


def random_turns() -> None:
    """A turn gets another name at each try."""
    original = Journal.begin

    async def renamed(self: Journal, entry: Any) -> Any:
        return await original(self, dataclasses.replace(entry, turn=secrets.token_hex(13)))

    replace(Journal, "begin", renamed)


def random_transactions() -> None:
    """Every request to send has another transaction id."""
    original = Client.call

    async def forgetful(self: Client, method: str, path: str, *rest: Any, **options: Any) -> Any:
        changed = path + secrets.token_hex(4) if "/send/" in path else path
        return await original(self, method, changed, *rest, **options)

    replace(Client, "call", forgetful)


def cursor_first() -> None:
    """The cursor is stored before what lies before it."""
    original = Journal.accept

    async def eager(self: Journal, surface: str, batch: Any, cursor: str, *rest: Any) -> Any:
        await self.write({journal.key("cursor", surface): cursor.encode()})
        return await original(self, surface, batch, cursor, *rest)

    replace(Journal, "accept", eager)


def delivered_before_sent() -> None:
    """A part leaves the outbox before the messenger has it."""
    original = Delivery._send

    async def hasty(self: Delivery, part: Any) -> Any:
        await self._journal.delivered(part)
        return await original(self, part)

    replace(Delivery, "_send", hasty)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug for bug in (random_turns, random_transactions, cursor_first, delivered_before_sent)
}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
