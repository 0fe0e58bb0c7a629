"""`surfaces reset`: a state thrown away, for development; says what it did and what a person still has to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from surfaces_core._config.checking import is_secret
from surfaces_core._config.config import load
from surfaces_core._config.discovery import load_driver, make
from surfaces_core._config.plain import printable
from surfaces_core._config.settings import Config, Instance
from surfaces_core._config.sources import Place, dotted
from surfaces_core._engine import log
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.lease import Lease
from surfaces_core._host import host
from surfaces_core._program.arguments import log_level
from surfaces_core._program.tables import say
from surfaces_core.contracts import Context, Storage, Surface
from surfaces_core.errors import ConfigError, Rejected

ALWAYS = "What agents remember and the files in their folders are untouched."


def run(options: argparse.Namespace) -> int:
    """`surfaces reset`; the exit code."""
    log.configure(log_level(options))
    leaves = options.mode == "server-leave-forget"
    config = load(options.config, needed=("storage", "host", *(["surfaces"] if leaves else [])))
    traces = [_traces(instance) for instance in config.surfaces.values()]
    if not options.dry_run:
        _confirm(options, config)
    asyncio.run(_reset(config, leaves=leaves, pretend=options.dry_run))
    for path in dict.fromkeys(path for trace in traces for path in trace.residue):
        _removed(path, pretend=options.dry_run)
    for line in dict.fromkeys([ALWAYS, *(line for trace in traces for line in trace.by_hand)]):
        say(f"by hand: {line}")
    return os.EX_OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a surface leaves behind outside of the storage."""

    residue: Sequence[Path] = ()
    by_hand: Sequence[str] = ()


def _traces(instance: Instance) -> Trace:
    """Known from its driver. Raises `ConfigError` where that is not there."""
    _, found = load_driver("surfaces.surface", instance.use)
    if not issubclass(found, Surface):
        return Trace()
    unknown = sorted(dotted(place) for place in _unknown(instance, found.Settings))
    if unknown:  # what an empty value names may be anything, up to the whole disk
        where = f"nothing gave {', '.join(unknown)}, which may name them"
        line = f"Files of {instance.name} beside the state are still there: {where}."
        return Trace(by_hand=(*found.by_hand, line))
    try:
        settings = found.Settings.model_validate(dict(instance.options))
    except ValidationError:  # a secret that only a login needs may be missing
        return Trace(by_hand=found.by_hand)
    return Trace(residue=found.residue(settings), by_hand=found.by_hand)


def _unknown(instance: Instance, model: type[BaseModel]) -> Iterator[Place]:
    """Settings that could not be filled in, but for secrets: no place is called by one."""
    depth = len(instance.place)
    for place in instance.source.missing:
        info = model.model_fields.get(str(place[depth])) if len(place) > depth else None
        if place[:depth] == instance.place and not (info and is_secret(info)):
            yield place


def _removed(path: Path, *, pretend: bool) -> None:
    if not path.exists():
        return
    if pretend:
        say(f"would remove {path.resolve()}")
        return
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    say(f"removed {path.resolve()}")


def _confirm(options: argparse.Namespace, config: Config) -> None:
    """Raises `ConfigError` where nobody agrees."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("", "this throws state away for good: say --yes, or look first with --dry-run")
    say(
        f"This removes all state of {options.config} ({config.storage.use}) for good, with the keys of encrypted rooms."
    )
    try:
        answer = input("Type yes to go on: ").strip()
    except EOFError:  # who hangs up does not agree
        say("")
        answer = ""
    if answer != "yes":
        raise ConfigError("", "nothing was done")


async def _reset(config: Config, *, leaves: bool, pretend: bool) -> None:
    storage = make(
        "surfaces.storage", Storage, config.storage, Context(name="storage", log=log.logger(instance="storage"))
    )
    if not storage.exclusive or (pretend and (storage.control is None or storage.control.exists())):
        await _rests(storage, config.host.lease_s)
    if leaves:
        async with aclosing(_departed(config, storage, pretend=pretend)) as lines:
            async for line in lines:
                say(printable(line))
    if pretend:
        say(f"would remove the state: {storage.place or config.storage.use}")
    else:
        say(f"removed the state: {await storage.erase()}")


async def _rests(storage: Storage, lease_s: float) -> None:
    """Refuse, also in a dry run, what a host that runs would have refused. Raises `StateError`."""
    async with storage:
        lease = Lease(storage, lease_s)
        if not storage.exclusive:
            await lease.take()
            await lease.release()


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
