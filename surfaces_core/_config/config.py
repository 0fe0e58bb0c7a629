"""The config file: read and checked, every error with its place.

Operators name instances, `use:` picks the driver, the rest is that driver's own settings, which
are checked against its model only when the driver is loaded (discovery).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from surfaces_core._config.checking import as_meant, check_keys, each, together, validate
from surfaces_core._config.settings import (
    AgentEntry,
    Config,
    HostSettings,
    Instance,
    OpsSettings,
    PushSettings,
    Registry,
)
from surfaces_core._config.sources import Place, Source, dotenv, read
from surfaces_core.errors import ConfigError
from surfaces_core.events import Agent

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
TOP = (
    "storage",
    "files",
    "surfaces",
    "transports",
    "hooks",
    "agents",
    "agents_file",
    "user_agents",
    "default_agent",
    "host",
    "ops",
    "push",
)
"""The sections of the config."""
REMEDIES = {
    errno.ENOENT: "make one with `surfaces init`, or name another with -c",
    errno.EACCES: "give the user of this process the right to read it",
    errno.EISDIR: "name the file in it",
}
"""What to do when there is no reading it."""


class _Pass:
    """One pass over a config: goes on behind a problem, so that all are found at once."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = list(problems)

    def part(self, read: Callable[[], T], otherwise: T) -> T:
        """What is read, or something to go on with."""
        try:
            return read()
        except ConfigError as error:
            known = [problem.where for problem in self.problems if problem.where]
            self.problems += [problem for problem in each(error) if problem.where not in known]
            return otherwise


def load(
    path: Path,
    environ: Mapping[str, str] | None = None,
    *,
    needed: Collection[str] = TOP,
    surfaces_instead: Mapping[str, Any] | None = None,
) -> Config:
    """Read and check a config file. Raises `ConfigError` with file and line: the first problem, with the `others`.

    Outside of the sections that are `needed`, what the environment or a file should give may be missing.
    `surfaces_instead` stands in the place of the config's own `surfaces`, which then need nothing either.
    """
    config, problems = survey(path, environ, needed=needed, surfaces_instead=surfaces_instead)
    if problems:
        raise together(problems)
    return config


def survey(
    path: Path,
    environ: Mapping[str, str] | None = None,
    *,
    needed: Collection[str] = TOP,
    surfaces_instead: Mapping[str, Any] | None = None,
) -> tuple[Config, Sequence[ConfigError]]:
    """A config as far as it can be understood, and all problems of it. Raises `ConfigError` where it is no config."""
    environment = {**dotenv(path.parent / ".env"), **(os.environ if environ is None else environ)}
    if surfaces_instead is not None:
        needed = [section for section in needed if section != "surfaces"]
    source, data, problems = _read(path, environment, needed)
    if surfaces_instead is not None:
        data["surfaces"] = surfaces_instead
    found = _Pass(problems)
    found.part(lambda: check_keys(source, (), data, TOP), None)
    source, data = as_meant(source, data, TOP)
    unnamed: dict[str, Instance] = {}
    transports = found.part(lambda: _transports(source, data), unnamed)
    nobody = Registry(agents={}, people={}, default=None, source=source, places={})
    registry = found.part(lambda: _whole_registry(path, source, data, environment, needed, transports, found), nobody)
    config = Config(
        source=source,
        storage=found.part(
            lambda: _storage(source, data), Instance(name="", use="", options={}, source=source, place=())
        ),
        files=found.part(lambda: None if data.get("files") is None else _single(source, data, "files"), None),
        surfaces=found.part(lambda: _surfaces(source, data), unnamed),
        transports=transports,
        hooks=found.part(lambda: _hooks(source, data), list[str]()),
        host=found.part(lambda: _section(HostSettings, source, data, "host"), HostSettings()),
        ops=found.part(lambda: _optional(OpsSettings, source, data, "ops"), None),
        push=found.part(lambda: _push(source, data, registry.agents), None) if "push" in needed else None,
        registry=registry,
    )
    return config, found.problems


def _read(
    path: Path, environment: Mapping[str, str], needed: Collection[str]
) -> tuple[Source, dict[str, Any], list[ConfigError]]:
    try:
        return read(path, environment, needed)
    except ConfigError as error:
        remedy = REMEDIES.get(error.__cause__.errno or 0) if isinstance(error.__cause__, OSError) else None
        if remedy is None:
            raise
        raise ConfigError("", f"{error.problem}; {remedy}", file=str(path)) from error.__cause__


def _storage(source: Source, data: Mapping[str, Any]) -> Instance:
    if "storage" not in data:
        raise source.error((), "storage: missing; say where state is kept, like `storage: {use: sqlite, path: …}`")
    return _single(source, data, "storage")


def _surfaces(source: Source, data: Mapping[str, Any]) -> dict[str, Instance]:
    surfaces = _named(source, data, "surfaces")
    if not surfaces:
        raise source.error((), "surfaces: missing; name at least one messenger account")
    return surfaces


def _section(model: type[M], source: Source, data: Mapping[str, Any], name: str) -> M:
    return validate(model, _mapping(source, (name,), data.get(name)), source, (name,))


def _optional(model: type[M], source: Source, data: Mapping[str, Any], name: str) -> M | None:
    return None if data.get(name) is None else _section(model, source, data, name)


def _push(source: Source, data: Mapping[str, Any], agents: Collection[str]) -> PushSettings | None:
    settings = _optional(PushSettings, source, data, "push")
    for name, token in settings.tokens.items() if settings is not None else ():
        for index, agent in enumerate(token.agents):
            if agent not in agents:
                raise source.error(
                    ("push", "tokens", name, "agents", index),
                    f"no agent has the id {agent}; there are: {', '.join(agents)}",
                )
    return settings


def _mapping(source: Source, place: Place, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise source.error(place, "must be a mapping of keys to values")
    return value


def _instance(source: Source, place: Place, name: str, value: Any) -> Instance:
    options = dict(_mapping(source, place, value))
    use = options.pop("use", name)
    if not isinstance(use, str) or not use:
        raise source.error((*place, "use"), "must name a driver")
    return Instance(name=name, use=use, options=options, source=source, place=place)


def _single(source: Source, data: Mapping[str, Any], section: str) -> Instance:
    value = data[section]
    if value is None:
        raise source.error((section,), "is empty; say which driver, like `{use: …}`")
    if isinstance(value, dict) and "use" not in value:
        raise source.error((section,), "use: missing; it names the driver")
    return _instance(source, (section,), section, value)


def _named(source: Source, data: Mapping[str, Any], section: str) -> dict[str, Instance]:
    values = _mapping(source, (section,), data.get(section))
    for name in values:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name):
            raise source.error((section, name), "names are made of letters, digits, `_`, `-` and `.`")
    return {name: _instance(source, (section, name), name, value) for name, value in values.items()}


def _transports(source: Source, data: Mapping[str, Any]) -> dict[str, Instance]:
    return {name: _with_defaults(instance) for name, instance in _named(source, data, "transports").items()}


def _with_defaults(transport: Instance) -> Instance:
    """A transport whose `agent_defaults` are apart from its settings; what the environment left empty is not said."""
    place = (*transport.place, "agent_defaults")
    options = dict(transport.options)
    defaults = _mapping(transport.source, place, options.pop("agent_defaults", None))
    said = {key: value for key, value in defaults.items() if value != ""}
    return replace(transport, options=options, agent_defaults=said)


def _hooks(source: Source, data: Mapping[str, Any]) -> list[str]:
    names = [] if data.get("hooks") is None else data["hooks"]
    if not isinstance(names, list):
        raise source.error(("hooks",), "must be a list of names")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise source.error(("hooks", index), "must be a name")
        if name in names[:index]:
            raise source.error(("hooks", index), f"{name} stands here a second time; keep one")
    return names


def _agents(
    path: Path, source: Source, data: Mapping[str, Any], environment: Mapping[str, str], needed: Collection[str]
) -> tuple[Source, Mapping[str, Any]]:
    """The source and content of the registry: keys of the config itself, or the file that it names."""
    inline = {name: data[name] for name in ("agents", "user_agents", "default_agent") if name in data}
    named = data.get("agents_file")
    if named is None:
        return source, inline
    if not isinstance(named, str):
        raise source.error(("agents_file",), "must be a path")
    if "agents" in inline or "user_agents" in inline:
        raise source.error(("agents_file",), "stands beside agents or user_agents; keep one of the two ways")
    try:
        other, content, problems = read(path.parent / named, environment, needed)
    except ConfigError as error:
        if error.where or (path.parent / named).exists():
            raise
        raise source.error(("agents_file",), f"{named} {error.problem}") from error
    if problems:
        raise together(problems)
    check_keys(other, (), content, ("agents", "user_agents", "default_agent"))
    return other, {**inline, **content}


def _whole_registry(
    path: Path,
    source: Source,
    data: Mapping[str, Any],
    environment: Mapping[str, str],
    needed: Collection[str],
    transports: Mapping[str, Instance],
    found: _Pass,
) -> Registry:
    agents_source, agents = _agents(path, source, data, environment, needed)
    return _registry(agents_source, agents, transports, found)


def _registry(source: Source, data: Mapping[str, Any], transports: Mapping[str, Instance], found: _Pass) -> Registry:
    """Whoever can be told from it; the others are among the problems that were found."""
    agents: dict[str, Agent] = {}
    places: dict[str, Place] = {}
    open_to: dict[str, Sequence[str]] = {}
    named: set[str] = set()
    for place, raw in _entries(source, data):
        named |= {str(raw["id"])} if isinstance(raw, dict) and "id" in raw else set()
        entry = found.part(partial(_entry, source, place, raw, agents, transports), None)
        if entry is not None:
            agent = entry.agent(transports[entry.transport].agent_defaults)
            agents[agent.id], places[agent.id], open_to[agent.id] = agent, place, entry.people
    if not named and not found.problems:
        raise source.error(("agents",), "missing; name at least one agent")
    known = ", ".join(sorted(named))
    people = found.part(lambda: _mapping(source, ("user_agents",), data.get("user_agents")), dict[str, Any]())
    for person, chosen in people.items():
        if not isinstance(chosen, str) or chosen not in named:
            problem = f"no agent has the id {chosen}; there are: {known}"
            found.problems.append(source.error(("user_agents", person), problem))
    default = data.get("default_agent", next(iter(agents), None))
    if default is not None and (not isinstance(default, str) or default not in (*named, "none")):
        problem = f"no agent has the id {default}; there are: {known}; or write none"
        found.problems.append(source.error(("default_agent",), problem))
    default = None if default == "none" else default
    return Registry(agents=agents, people=people, default=default, source=source, places=places, open_to=open_to)


def _entry(
    source: Source, place: Place, raw: Any, agents: Mapping[str, Agent], transports: Mapping[str, Instance]
) -> AgentEntry:
    entry = validate(AgentEntry, _mapping(source, place, raw), source, place)
    if entry.id in agents:
        raise source.error((*place, "id"), f"{entry.id} stands here a second time; ids must differ")
    if entry.transport not in transports:
        known = ", ".join(transports) or "none"
        raise source.error((*place, "transport"), f"no transport is named {entry.transport}; there are: {known}")
    return entry


def _entries(source: Source, data: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    entries = [] if data.get("agents") is None else data["agents"]
    if not isinstance(entries, list):
        raise source.error(("agents",), "must be a list")
    for index, entry in enumerate(entries):
        yield ("agents", index), entry
