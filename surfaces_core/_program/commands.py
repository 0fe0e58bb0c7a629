"""What each command of the `surfaces` program does, and what its errors look like."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import yaml

from surfaces_core._config.checking import together, validate
from surfaces_core._config.config import load as load_config
from surfaces_core._config.config import survey
from surfaces_core._config.discovery import load_driver, misnamed, offers
from surfaces_core._config.settings import AgentEntry, Config
from surfaces_core._engine import log
from surfaces_core._engine.foreign import PluginBug
from surfaces_core._host import holding, host
from surfaces_core._host.ending import LAST_S, Deadline, explain, first, say_why
from surfaces_core._program import (
    asking,
    backups,
    check,
    copying,
    init,
    plugins,
    reports,
    reset,
    roster,
    status,
)
from surfaces_core._program.tables import say
from surfaces_core.contracts import CONTRACTS, Transport
from surfaces_core.errors import ConfigError


def dispatch(options: argparse.Namespace) -> int:
    """Do what was asked; the exit code."""
    return COMMANDS[options.command](options)


# Commands -----------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """`surfaces run`."""
    try:
        config = holding.load(options.config) if options.hold else _chosen(options)
    except ConfigError as error:
        say_why(error)
        raise
    level = "debug" if options.debug or options.verbose else config.host.log_level
    log.configure(level, content=config.host.log_content)
    deadline, code = Deadline(log.logger()), os.EX_OK
    living = holding.hold(config, options.hold, deadline) if options.hold else host.run(config, deadline)
    try:
        asyncio.run(living)
    except BaseException as error:  # noqa: BLE001 - the process may be kept now, so what is to be said is said at once
        code = explain(_unasked(error), verbose=options.verbose, debug=options.debug)
        say_why(_unasked(error))
    deadline.within(LAST_S, code)
    return code


def _unasked(error: BaseException) -> BaseException:
    """A plugin that ends the process with `sys.exit` must not look like a clean stop."""
    if not isinstance(first(error), SystemExit):
        return error
    bug = PluginBug("a plugin called sys.exit")
    bug.__cause__ = error
    return bug


def _chosen(options: argparse.Namespace) -> Config:
    """The config with what the command line puts in the place of some of it."""
    instead = None if options.surfaces is None else _mapping(options.surfaces)
    config, problems = survey(options.config, surfaces_instead=instead)
    if problems:
        raise together(host.with_found(problems, config))
    if options.agent is None:
        return config
    return replace(config, registry=config.registry.given_to_all(options.agent))


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError("", "--surfaces wants a mapping like the config's, as in '{terminal: {}}'")
    return value


def agents(options: argparse.Namespace) -> int:
    """`surfaces agents list|add|move`."""
    config = load_config(options.config, needed=("agents", "agents_file", "user_agents"))
    if options.agents == "list":
        return _agents_listed(config, as_json=options.json)
    path = Path(config.registry.source.file)
    text = path.read_text("utf8")
    if options.agents == "add":
        text = roster.with_agent(text, _new_agent(config, options))
    else:
        if options.agent != "default" and options.agent not in config.registry.agents:
            known = ", ".join(config.registry.agents)
            raise ConfigError("", f"no agent has the id {options.agent}; there are: {known}")
        if options.agent != "default" and (problem := misnamed(options.person, config.surfaces.values())):
            raise ConfigError("", f"{problem}; write the whole id")
        text = roster.with_person(text, options.person, None if options.agent == "default" else options.agent)
    roster.write(path, text)
    say(f"{path}: written; a running host takes it up by itself")
    return os.EX_OK


def _agents_listed(config: Config, *, as_json: bool) -> int:
    registry = config.registry
    rows = [
        {
            "id": agent.id,
            "label": agent.label,
            "transport": agent.transport,
            "default": agent.id == registry.default,
            "people": [person for person, chosen in registry.people.items() if chosen == agent.id],
        }
        for agent in registry.agents.values()
    ]
    if as_json:
        say(json.dumps(rows, ensure_ascii=False))
        return os.EX_OK
    for row in rows:
        whose = ", ".join([*(["everybody else"] if row["default"] else []), *map(str, row["people"])])  # type: ignore[call-overload]
        say(f"{row['id']}  {row['label']}  ({row['transport']})  {whose or 'nobody'}")
    return os.EX_OK


def _new_agent(config: Config, options: argparse.Namespace) -> dict[str, str]:
    """The entry of an agent that is to be added, checked as a start would. Raises `ConfigError`."""
    pairs = [key.partition("=") for key in options.keys]
    for key, equals, _ in pairs:
        if not key or not equals or key == "id":
            raise ConfigError("", "write the keys of an agent as KEY=VALUE")
    entry = {"id": options.id, **{key: value for key, _, value in pairs}}
    if options.id in config.registry.agents:
        raise ConfigError("", f"an agent has the id {options.id} already")
    known = validate(AgentEntry, entry, config.registry.source, ("agents", options.id))
    instance = config.transports.get(known.transport)
    if instance is None:
        raise ConfigError("", f"no transport is named {known.transport}; there are: {', '.join(config.transports)}")
    agent = known.agent(instance.agent_defaults)
    found = load_driver("surfaces.transport", instance.use)[1]
    if issubclass(found, Transport):
        validate(found.AgentSettings, agent.options, config.registry.source, ("agents", options.id))
    return entry


def versions(options: argparse.Namespace) -> int:
    """`surfaces version`."""
    contracts = ", ".join(f"{kind} {number}" for kind, number in CONTRACTS.items())
    say(f"surfaces-core {version('surfaces-core')} (contracts: {contracts}; Python {platform.python_version()})")
    plugins = {offer.distribution: offer.version for offer in offers()}
    ours = {found.name: found.version for found in distributions() if found.name.startswith("surfaces-")}
    for name, number in sorted({**ours, **plugins}.items()):
        if name != "surfaces-core":
            say(f"{name} {number}")
    return os.EX_OK


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "agents": agents,
    "backup": backups.backup,
    "check": check.run,
    "dead": asking.run,
    "export": asking.run,
    "init": init.run,
    "plugins": plugins.run,
    "queue": asking.run,
    "report": reports.run,
    "reset": reset.run,
    "restore": backups.restore,
    "run": run,
    "status": status.run,
    "storage": copying.run,
    "version": versions,
}
