"""A config looked at before a start: each driver from outside, each agent at its real address; nothing is kept."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from surfaces_core._config.checking import is_secret
from surfaces_core._config.discovery import check_settings, make, misnamed
from surfaces_core._config.listening import obstacle, parted
from surfaces_core._config.settings import Config, Instance
from surfaces_core._config.sources import dotted
from surfaces_core._engine import log
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.store import NoFiles
from surfaces_core._host import host
from surfaces_core._operating.control import is_kept
from surfaces_core.contracts import AgentTool, Context, Driver, Files, Finding, Storage, Transport, TransportContext
from surfaces_core.errors import DriverError, SurfacesError
from surfaces_core.events import Agent, AgentRequest, Confirm, Text

TIMEOUT_S = 15.0
CONCURRENCY = 8
CONTEXT_BASE = 900_000_000
"""Contexts of turns that only check begin here: no conversation has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was looked at, and what was found there."""

    kind: str
    """`host`, `storage`, `files`, `surface`, `transport` or `agent`."""
    name: str
    finding: Finding
    code: str = ""
    """Why an agent does not answer, as a stable word."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How agents are asked."""

    agents: Sequence[Agent]
    message: str | None = None
    """Put to each in a whole turn; without it none is asked anything."""
    timeout_s: float = TIMEOUT_S
    concurrency: int = CONCURRENCY
    context_base: int = CONTEXT_BASE


async def examine(config: Config, *, online: bool, probe: Probe | None) -> list[Look]:
    """Look at everything that a checked config names; what needs a network only when `online`."""
    agents = tuple(config.registry.agents.values())
    journal = Journal(storage := make("surfaces.storage", Storage, config.storage, _context("storage")))
    files = make("surfaces.files", Files, config.files, _context("files")) if config.files is not None else NoFiles()
    tools = host.hooks_of(config).tools
    transports = {name: _transport(config, name, files, tools) for name in config.transports}
    drivers: list[tuple[str, str, Driver]] = [("files", "files", files)]
    if online or not storage.remote:
        drivers.insert(0, ("storage", config.storage.use, storage))
    drivers += [("transport", name, transport) for name, transport in transports.items()]
    if online:
        drivers += [("surface", name, host.lone_surface(config, journal, name, files)) for name in config.surfaces]
    looks = [Look(kind="host", name="host", finding=finding) for finding in _own(config)]
    looks += [Look(kind="host", name="host", finding=finding) for finding in _taken(config, storage)]
    if not storage.lasting:
        said = "keeps nothing beyond the end of the process: for demos and tests alone"
        finding = Finding(what="lasting", said=said, level="doubtful")
        looks.append(Look(kind="storage", name=config.storage.use, finding=finding))
    looks += [look for driver in drivers for look in await _driver(*driver, agents)]
    if probe is not None:
        looks += await _probed(transports, probe)
    return looks


def _context(name: str) -> Context:
    return Context(name=name, log=log.logger(instance=name))


def _transport(config: Config, name: str, files: Files, tools: Mapping[str, AgentTool]) -> Transport:
    context = TransportContext(name=name, log=log.logger(instance=name), store=Scratch(), files=files, tools=tools)
    return make("surfaces.transport", Transport, config.transports[name], context)


class Scratch:
    """A store that lasts as long as the check: what is said in one is nobody's memory."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """A value, or None."""
        return self._rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        self._rows[key] = value

    async def delete(self, key: str) -> None:
        """Remove a key."""
        self._rows.pop(key, None)

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        """Every value whose key begins so."""
        return {key: value for key, value in sorted(self._rows.items()) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set and remove several."""
        for key, value in changes.items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value


# The host's own settings --------------------------------------------------------------------------


def _own(config: Config) -> Iterator[Finding]:
    listens = {"ops": config.ops, "push": config.push}
    for name, settings in listens.items():
        if settings is not None and not _loopback(settings.listen):
            said = f"{settings.listen} is open to the network, and without TLS; listen on 127.0.0.1 behind a proxy"
            yield Finding(what=f"{name}.listen", said=said, level="doubtful")
    secrets = Path(config.source.file).parent / ".env"
    if secrets.exists() and stat.S_IMODE(secrets.stat().st_mode) & 0o077:
        said = f"{secrets} may be read by others on this machine; chmod 600 it"
        yield Finding(what="secrets", said=said, level="doubtful")
    yield from _readable_secrets(config)
    yield from _misnamed(config)
    if os.environ.get("SURFACES_DEBUG_WS"):
        said = "SURFACES_DEBUG_WS is set: what people and agents say is logged; unset it"
        yield Finding(what="log", said=said, level="doubtful")
    if config.host.log_content:
        said = "host.log_content is on: what people and agents say is logged; take it out once you have seen enough"
        yield Finding(what="log_content", said=said, level="doubtful")


def _misnamed(config: Config) -> Iterator[Finding]:
    """Entries that never will be anybody's."""
    named = {"user_agents": config.registry.people, "host.operators": config.host.operators}
    for place, people in named.items():
        for person in people:
            if said := misnamed(person, config.surfaces.values()):
                yield Finding(what=place, said=said, level="doubtful")


def _taken(config: Config, storage: Storage) -> Iterator[Finding]:
    """Addresses that a start could not have."""
    for name, settings in {"ops": config.ops, "push": config.push}.items():
        error = None if settings is None else obstacle(settings.listen)
        if settings is None or error is None:
            continue
        if error.errno != errno.EADDRINUSE:
            said = f"{settings.listen} cannot be had: {error.strerror or error}; name another address"
            yield Finding(what=f"{name}.listen", said=said, level="wrong")
        elif storage.control is None:
            said = f"{settings.listen} is taken; if that is not this host, which runs already, name a free one"
            yield Finding(what=f"{name}.listen", said=said, level="doubtful")
        elif not is_kept(storage.control):
            said = f"{settings.listen} is taken, and not by a host on this state; stop who has it, or name a free one"
            yield Finding(what=f"{name}.listen", said=said, level="wrong")


def _readable_secrets(config: Config) -> Iterator[Finding]:
    """Secrets that everybody on this machine may read; what an engine mounts into a container is read by it alone."""
    for path in config.source.secret_files:
        if path.exists() and not path.resolve().is_relative_to("/run/secrets") and _open_to_all(path):
            yield Finding(what="secrets", said=f"{path} may be read by everybody here; chmod 600 it", level="doubtful")
    source = Path(config.source.file)
    inside = [place for group, instance in host.instances(config) for place in _plain_secrets(group, instance)]
    if inside and _open_to_all(source):
        said = f"{source} holds {', '.join(inside)} and may be read by everybody here; chmod 600 it, or use {{env: …}}"
        yield Finding(what="secrets", said=said, level="doubtful")


def _plain_secrets(group: str, instance: Instance) -> Iterator[str]:
    """Settings whose secret stands in the config itself."""
    model = check_settings(group, instance).Settings
    for name, info in model.model_fields.items():
        if is_secret(info) and instance.options.get(name) and (*instance.place, name) not in instance.source.filled:
            yield dotted((*instance.place, name))


def _open_to_all(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH)


def _loopback(listen: str) -> bool:
    address, _ = parted(listen)
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


# Drivers and agents -------------------------------------------------------------------------------


async def _driver(kind: str, name: str, driver: Driver, agents: Sequence[Agent]) -> list[Look]:
    own = [agent for agent in agents if agent.transport == name] if kind == "transport" else agents
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            findings = await driver.examine(own)
    except TimeoutError:
        findings = [Finding(what="answer", said=f"nothing came in {TIMEOUT_S:.0f} s", level="wrong")]
    except SurfacesError as error:
        findings = [Finding(what="settings", said=str(error), level="wrong")]
    seconds = round(time.monotonic() - began, 3)
    return [Look(kind=kind, name=name, finding=finding, seconds=seconds) for finding in findings]


async def _probed(transports: Mapping[str, Transport], probe: Probe) -> list[Look]:
    """Every agent of a probe, so many at once, in the order of the registry."""
    room = asyncio.Semaphore(probe.concurrency)

    async def one(agent: Agent, context: int) -> Look:
        async with room:
            return await _agent(transports[agent.transport], agent, str(context), probe)

    async with AsyncExitStack() as stack:
        for name in {agent.transport for agent in probe.agents}:
            await stack.enter_async_context(transports[name])
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(agent, probe.context_base + number)) for number, agent in enumerate(probe.agents)
            ]
    return [task.result() for task in tasks]


async def _agent(transport: Transport, agent: Agent, context: str, probe: Probe) -> Look:
    began = time.monotonic()
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.message is None:
                said, code = await _reached(transport, agent)
            else:
                said, code = await _asked(transport, agent, context, probe.message), ""
    except TimeoutError:
        said = f"no answer in {probe.timeout_s:g} s: does it ever greet, or is it overloaded? --timeout waits longer"
        code = "CHECK_TIMEOUT"
    except DriverError as error:
        said, code = str(error), error.code
    finding = Finding(what="answer", said=said, level="wrong" if code else "well")
    seconds = round(time.monotonic() - began, 3)
    return Look(kind="agent", name=agent.id, finding=finding, code=code, seconds=seconds)


async def _reached(transport: Transport, agent: Agent) -> tuple[str, str]:
    """What is to be said of an agent, and the code of what is wrong."""
    health = await transport.check(agent)
    if health.reachable is None:
        return "cannot be told without asking it something; --message does", ""
    return ("reachable", "") if health.reachable else (health.detail, health.code or "AGENT_UNREACHABLE")


async def _asked(transport: Transport, agent: Agent, context: str, message: str) -> str:
    """A whole turn; what the agent asks leave for is refused."""
    request = AgentRequest(turn=f"check-{context}-{time.time_ns()}", agent=agent, context=context, text=message)
    letters = 0
    async with aclosing(transport.run(request)) as events:
        async for event in events:
            if isinstance(event, Text):
                letters += len(event.text)
            if isinstance(event, Confirm):
                await transport.answer(request, event.id, approved=False)
    await transport.forget(agent, context)
    return f"answered, {letters} characters"
