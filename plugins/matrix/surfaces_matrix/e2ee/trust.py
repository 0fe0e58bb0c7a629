"""Keeps the trust half of one account's encryption going: its secrets, its identity, its backup, its verifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from structlog.typing import FilteringBoundLogger

from surfaces_core import Store, Unavailable
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.backup import Backup
from surfaces_matrix.e2ee.identity import OwnIdentity
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.secrets import Secrets
from surfaces_matrix.e2ee.vault import Vault
from surfaces_matrix.e2ee.verification import Rooms, Verification
from surfaces_matrix.errors import Refused
from surfaces_matrix.settings import MatrixSettings

REFUSED_AGAIN_S = 300.0
LOOK_S = 2.0
"""Between two looks for what cannot be read, while there is such a thing."""


class Trust:
    """All of it for one account. `name` is the surface's, for what is said of its settings."""

    def __init__(
        self,
        name: str,
        settings: MatrixSettings,
        machine: Machine,
        client: Client,
        store: Store,
        rooms: Rooms,
        log: FilteringBoundLogger,
        *,
        allowed: Callable[[str], bool],
        prefix: str,
        speaking: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._machine = machine
        self._log = log
        self._backoff = Backoff()
        self._trouble = ""
        self.settled = False
        """All is set up, or it is said why it cannot be."""
        self._asked: set[tuple[str, str]] = set()
        """Sessions that the backup was asked for in this life."""
        self.vault = Vault(
            name,
            Secrets(client),
            store,
            log,
            recovery_key=settings.recovery_key,
            recovery_key_file=settings.recovery_key_file,
            secret=None if settings.pickle_key is None else settings.pickle_key.get_secret_value(),
        )
        self.identity = OwnIdentity(name, machine, client, self.vault, log, password=settings.password)
        self.backup = Backup(name, machine, client, self.vault, self.identity, store, log)
        self.verification = Verification(
            machine, self.identity, rooms, log, allowed=allowed, prefix=prefix, speaking=speaking
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Why others cannot trust the bot, or it could not be recovered, each with what to do."""
        found = (self.vault.problem, self.identity.problem, self.backup.problem, self._trouble)
        return tuple(dict.fromkeys(problem for problem in found if problem))

    async def look(self) -> None:
        """Find out how all of it is, without making anything. Raises `Unavailable`, `Refused` and `ConfigError`."""
        await self.vault.load()
        await self.vault.look()
        await self.identity.look()
        await self.backup.look()

    async def run(self) -> None:
        """Set up what is missing and go on from there, until cancelled. Raises `ConfigError`."""
        await self._machine.opened()
        await self.vault.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.verification.run())
            await self._set_up()
            group.create_task(self.backup.run())
            await self._bring_back()

    async def _set_up(self) -> None:
        """Try until the homeserver has taken all of it; what it refuses is told to the operator."""
        while True:
            try:
                await self.vault.unlock()
                await self.identity.ensure()
                await self.backup.ensure()
            except (Unavailable, Refused) as error:
                await asyncio.sleep(self._failed(error))
            else:
                self._trouble, self.settled = "", True
                return

    def _failed(self, error: Unavailable | Refused) -> float:
        refused = isinstance(error, Refused)
        if not refused:
            self._log.debug("trust.waiting", error=str(error))
            return self._backoff.next(getattr(error, "retry_after", None))
        trouble = f"the homeserver does not take the bot's keys ({error})"
        if trouble != self._trouble:
            self._log.warning("trust.refused", error=str(error))
        self._trouble, self.settled = trouble, True
        return self._backoff.next(REFUSED_AGAIN_S)

    async def _bring_back(self) -> None:
        """Ask the backup for keys of what cannot be read, until cancelled."""
        while True:
            for room_id, session_id in await self._machine.missing():
                if (room_id, session_id) not in self._asked:
                    await self._ask(room_id, session_id)
            await asyncio.sleep(LOOK_S)

    async def _ask(self, room_id: str, session_id: str) -> None:
        try:
            if await self.backup.fetch(room_id, session_id):
                self._log.info("backup.brought_back", room=room_id)
        except Unavailable:
            return
        self._asked.add((room_id, session_id))
