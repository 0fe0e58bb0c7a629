"""The registry of a running host: read again when a signal asks for it or its file has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.config import TOP, load
from surfaces_core._config.settings import Registry
from surfaces_core.errors import ConfigError

LOOK_S = 2.0
"""How often the file is looked at."""
NEEDED = [section for section in TOP if section != "surfaces"]
"""The messengers stay as they are, so what only they take from the environment may be gone."""
Stamp = tuple[int, int, int]


class Reloading:
    """Looks after one config's registry. What is wrong with a new one is said, and the old one stays."""

    def __init__(
        self, config: Path, registry: Registry, check: Callable[[Registry], None], log: FilteringBoundLogger
    ) -> None:
        self._config = config
        self._registry = registry
        self._check = check
        self._log = log
        self._asked = asyncio.Event()
        self._stamp = self._look()

    def ask(self) -> None:
        """Read it now, changed or not."""
        self._asked.set()

    async def run(
        self, use: Callable[[Registry], Awaitable[None]], refused: Callable[[ConfigError | None], None]
    ) -> None:
        """Hand each new registry on, and what is wrong with one; None: nothing any more. Until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            stamp, asked = self._look(), self._asked.is_set()
            if not asked and stamp == self._stamp:
                continue
            self._asked.clear()
            self._stamp = stamp
            try:
                registry = load(self._config, needed=NEEDED).registry
                if self._registry.everybodys:
                    registry = registry.given_to_all(self._registry.everybodys)
                self._check(registry)
            except ConfigError as error:
                self._log.warning("registry.refused", error=str(error))
                refused(error)
                continue
            self._registry = registry
            refused(None)
            await use(registry)
            self._log.info("registry.loaded", agents=len(registry.agents), people=len(registry.people))

    def _look(self) -> Stamp | None:
        try:
            stat = Path(self._registry.source.file).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
