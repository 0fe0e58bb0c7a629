"""`surfaces reset`: a state thrown away, for development; says what it did and what a person still has to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from surfaces_core._config.config import load
from surfaces_core._config.discovery import make
from surfaces_core._config.settings import Config
from surfaces_core._engine import log
from surfaces_core._engine.journal import Journal
from surfaces_core._host import host
from surfaces_core._program.tables import say, shown
from surfaces_core.contracts import Context, Storage
from surfaces_core.errors import ConfigError, Rejected

BY_HAND = (
    "Rooms and Spaces stay on the homeserver, for whoever is in them: each person leaves them in their own client.",
    "What agents remember and the files in their folders are untouched.",
    "The bot's login stays in the list of its account's sessions: log it out there.",
)


def run(options: argparse.Namespace) -> int:
    """`surfaces reset`; the exit code."""
    log.configure("debug" if options.debug else "error")
    leaves = options.mode == "server-leave-forget"
    config = load(options.config, needed=("storage", "host", *(["surfaces"] if leaves else [])))
    if not options.dry_run:
        _confirm(options, config)
    asyncio.run(_reset(config, leaves=leaves, pretend=options.dry_run))
    for line in BY_HAND:
        say(f"by hand: {line}")
    return os.EX_OK


def _confirm(options: argparse.Namespace, config: Config) -> None:
    """Raises `ConfigError` where nobody agrees."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("", "this throws state away for good: say --yes, or look first with --dry-run")
    say(
        f"This removes all state of {options.config} ({config.storage.use}) for good, with the keys of encrypted rooms."
    )
    if input("Type yes to go on: ").strip() != "yes":
        raise ConfigError("", "nothing was done")


async def _reset(config: Config, *, leaves: bool, pretend: bool) -> None:
    storage = make(
        "surfaces.storage", Storage, config.storage, Context(name="storage", log=log.logger(instance="storage"))
    )
    if leaves:
        async with aclosing(_departed(config, storage, pretend=pretend)) as lines:
            async for line in lines:
                say(shown(line))
    if pretend:
        say(f"would remove the state: {config.storage.use}")
    else:
        say(f"removed the state: {await storage.erase()}")


async def _departed(config: Config, storage: Storage, *, pretend: bool) -> AsyncGenerator[str, None]:
    """Before the state is gone: with it a login is known, and no new one has to be made."""
    async with storage:
        journal = Journal(storage, lease_s=config.host.lease_s)
        await journal.open()
        try:
            for name in config.surfaces:
                async with host.lone_surface(config, journal, name) as surface:
                    try:
                        async for line in surface.depart(pretend=pretend):
                            yield f"{name}: {line}"
                    except Rejected as error:
                        yield f"{name}: {error}"
        finally:
            await journal.lease.release()
