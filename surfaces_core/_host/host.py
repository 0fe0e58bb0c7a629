"""The host as a program: a config becomes an engine, signals ask it to stop, one line says READY."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from surfaces_core._config.checking import all_of, each, together
from surfaces_core._config.discovery import Hooks, Offer, check_accounts, check_agents, check_settings, load_hooks, make
from surfaces_core._config.settings import Config, Instance, Registry
from surfaces_core._engine import basics, log
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.store import InstanceStore, NoFiles
from surfaces_core._host.ending import LAST_S, Deadline
from surfaces_core._host.lifecycle import Drivers, Engine
from surfaces_core._host.notify import beating, tell, tell_files
from surfaces_core._host.reloading import Reloading
from surfaces_core._operating import stacks
from surfaces_core._operating.watchdog import watching
from surfaces_core.contracts import (
    Context,
    Driver,
    Files,
    Storage,
    Surface,
    SurfaceContext,
    Transport,
    TransportContext,
)
from surfaces_core.errors import ConfigError

BASICS = Offer(group="surfaces.hooks", name="basics", value=basics.__name__, distribution="surfaces-core", version="")
UNWIND_S = 15.0
"""How long a host that fails may take to put away what it works on."""
COLLECT_EVERY = 10_000
"""So many new objects between two looks for rings of them: nearly all that a message makes goes without a look."""


def hooks_of(config: Config) -> Hooks:
    """Our own commands, then the plugins that the config names. Raises `ConfigError`."""
    hooks = Hooks()
    hooks.add(BASICS, basics)
    load_hooks(config, hooks)
    return hooks


def instances(config: Config) -> list[tuple[str, Instance]]:
    """Every driver that the config names, with its group."""
    found = [("surfaces.storage", config.storage)] if config.storage.use else []
    if config.files is not None:
        found.append(("surfaces.files", config.files))
    found += [("surfaces.transport", instance) for instance in config.transports.values()]
    found += [("surfaces.surface", instance) for instance in config.surfaces.values()]
    return found


def check(config: Config) -> list[ConfigError]:
    """Every problem of the plugins and their settings that can be found without starting them."""
    problems: list[ConfigError] = []
    transports: dict[str, type[Driver]] = {}
    for group, instance in instances(config):
        try:
            found = check_settings(group, instance)
            if group == "surfaces.transport":
                transports[instance.name] = found
        except ConfigError as error:
            problems += each(error)
    steps: list[Callable[[], object]] = [
        lambda: hooks_of(config),
        lambda: check_agents(config.registry, _agent_models(transports)),
    ]
    if not problems:
        steps.append(lambda: check_accounts(config.surfaces.values()))
    try:
        all_of(steps)
    except ConfigError as error:
        problems += each(error)
    return problems


def with_found(read: Sequence[ConfigError], config: Config) -> list[ConfigError]:
    """The problems that reading a config found, and those of its plugins that do not only follow from them."""
    return [*read, *(found for found in check(config) if not _follows(found, read))]


def _follows(found: ConfigError, problems: Sequence[ConfigError]) -> bool:
    """Whether a problem is another one again, or comes of something missing inside of its place."""
    known = [problem.where for problem in problems if problem.where]
    return found.where in known or any(where.startswith(f"{found.where}.") for where in known)


def _agent_models(transports: dict[str, type[Driver]]) -> dict[str, type[BaseModel]]:
    return {name: found.AgentSettings for name, found in transports.items() if issubclass(found, Transport)}


def _context(name: str) -> Context:
    return Context(name=name, log=log.logger(instance=name))


def build(config: Config) -> Engine:
    """Load, check and assemble everything that a config names; opens nothing. Raises `ConfigError`."""
    hooks = hooks_of(config)
    storage = make("surfaces.storage", Storage, config.storage, _context("storage"))
    files = make("surfaces.files", Files, config.files, _context("files")) if config.files else NoFiles()
    journal = Journal(storage, lease_s=config.host.lease_s)
    transports = {name: _transport(config, journal, name, files, hooks) for name in config.transports}
    check_agents(config.registry, {name: transport.AgentSettings for name, transport in transports.items()})
    languages = Languages(journal, config.host.locale)
    surfaces = {name: _surface(config, journal, name, files, languages) for name in config.surfaces}
    check_accounts(config.surfaces.values())
    return Engine(
        drivers=Drivers(storage=storage, files=files, transports=transports, surfaces=surfaces),
        journal=journal,
        settings=config.host,
        registry=config.registry,
        hooks=hooks,
        languages=languages,
        ops=config.ops,
        push=config.push,
        log=log.logger(),
    )


def lone_surface(config: Config, journal: Journal, name: str, files: Files | None = None) -> Surface:
    """One of the surfaces that a config names, without all else. Raises `ConfigError`."""
    return _surface(config, journal, name, files or NoFiles(), Languages(journal, config.host.locale))


def _surface(config: Config, journal: Journal, name: str, files: Files, languages: Languages) -> Surface:
    context = SurfaceContext(
        name=name,
        log=log.logger(surface=name),
        store=InstanceStore(journal, name),
        files=files,
        prefix=config.host.prefix,
        speaking=partial(languages.speaking, name),
    )
    return make("surfaces.surface", Surface, config.surfaces[name], context)


def _transport(config: Config, journal: Journal, name: str, files: Files, hooks: Hooks) -> Transport:
    context = TransportContext(
        name=name,
        log=log.logger(instance=name),
        store=InstanceStore(journal, name, kind="transport"),
        files=files,
        tools=hooks.tools,
    )
    return make("surfaces.transport", Transport, config.transports[name], context)


def check_registry(transports: Mapping[str, Transport], registry: Registry) -> None:
    """Whether the transports that run can reach every agent of a new registry. Raises `ConfigError`."""
    for agent in registry.agents.values():
        if agent.transport not in transports:
            place = (*registry.places[agent.id], "transport")
            raise registry.source.error(place, f"{agent.transport} does not run; start the host again")
    check_agents(registry, {name: transport.AgentSettings for name, transport in transports.items()})


def _built(config: Config) -> Engine:
    """As `build`, but what it refuses comes with all that is wrong beside it. Raises `ConfigError`."""
    try:
        return build(config)
    except ConfigError as error:
        refused = error
    found = check(config)
    raise together([*found, *(problem for problem in each(refused) if not _follows(problem, found))])


# Running it ---------------------------------------------------------------------------------------


async def run(config: Config, deadline: Deadline) -> None:
    """Build and run until a signal asks to stop; a second one cancels. Raises what ended it.

    Whatever happens, the end comes in time.
    """
    started = time.monotonic()
    gc.set_threshold(COLLECT_EVERY)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    engine: Engine | None = None

    def asked() -> None:
        if engine is None or engine.stopping or not engine.opened:
            deadline.within(LAST_S, 130 if engine is not None and engine.opened else os.EX_OK)
            if task is not None:
                task.cancel()
        if engine is not None:
            tell("STOPPING=1")
            deadline.within(engine.longest_stop_s + LAST_S)
            engine.stop()

    def reload() -> None:
        if engine is not None and engine.reloading is not None:
            engine.reloading.ask()

    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    deadline.loop = loop
    engine = _built(config)
    engine.reloading = Reloading(
        Path(config.source.file), config.registry, partial(check_registry, engine.drivers.transports), log.logger()
    )
    engine.on_failure = lambda error: deadline.within(UNWIND_S, error)
    _tell_of(engine, config, started)
    try:
        with watching(log.logger()), beating(loop, partial(_status, engine)):
            await engine.run()
    except asyncio.CancelledError:
        if engine.opened:  # the second signal; before it was open there is nothing to wait for
            raise
    except BaseException as error:
        deadline.within(LAST_S, error)
        raise
    finally:
        left = stacks.of_tasks(loop)
        if left:
            log.logger().warning("host.left_behind", tasks=left)
            deadline.within(LAST_S)


def _tell_of(engine: Engine, config: Config, started: float) -> None:
    """Have a host say when it is ready, and by which files it lives."""

    def ready() -> None:
        facts = {"version": version("surfaces-core"), "pid": os.getpid(), "surfaces": list(config.surfaces)}
        announce({**facts, "seconds": round(time.monotonic() - started, 3)})
        tell_files(config.source, config.registry.source)

        gc.freeze()  # what the start made stays: thousands of rooms need not be looked through again and again

    engine.on_ready = ready
    engine.on_registry = lambda registry: tell_files(config.source, registry.source)


def _status(engine: Engine) -> str:
    """How the host is, in one line."""
    if not engine.opened:
        return "Opening the state"
    report = engine.operations.health.report()
    said = "; ".join(report.reasons)
    return f"{'Ready' if report.ready else 'Not ready'}{': ' if said else ''}{said}"


def announce(facts: dict[str, object], word: str = "READY") -> None:
    """Say that the host is ready, or that it is held: one line on standard output; and a supervisor that asked."""
    log.Sink(sys.stdout).write(f"{word} {json.dumps(facts)}\n")
    tell("READY=1")
