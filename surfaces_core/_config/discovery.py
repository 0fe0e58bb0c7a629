"""Finds and loads what the config names; the only module that knows stevedore.

An installed plugin that the config does not name is listed from its metadata and never imported.
Every fault of a plugin becomes one line that names the distribution, the entry point and the remedy.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

import pluggy
from pydantic import BaseModel
from stevedore import DriverManager
from stevedore.exception import MultipleMatches, NoMatches

from surfaces_core._config.checking import all_of, validate
from surfaces_core._config.settings import AgentEntry, Config, Instance, Registry
from surfaces_core._config.sources import dotted
from surfaces_core.contracts import (
    CONTRACTS,
    AgentTool,
    Command,
    Companion,
    Driver,
    Files,
    Shaper,
    Storage,
    Surface,
    Transport,
)
from surfaces_core.errors import ConfigError
from surfaces_core.events import Agent
from surfaces_core.hooks import PROJECT, HookSpecs

DRIVERS: Mapping[str, type[Driver]] = {
    "surfaces.surface": Surface,
    "surfaces.transport": Transport,
    "surfaces.storage": Storage,
    "surfaces.files": Files,
}
HOOKS = "surfaces.hooks"
AGENT_KEYS = tuple(AgentEntry.model_fields)
GROUPS = (*DRIVERS, HOOKS)

D = TypeVar("D", bound=Driver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One entry point that some distribution offers, known without importing it."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    @property
    def kind(self) -> str:
        """What it is, like `storage`: a key of `CONTRACTS`."""
        return self.group.removeprefix("surfaces.")

    def __str__(self) -> str:
        """How errors name it."""
        return f"{self.distribution} {self.version}, entry point {self.group}:{self.name}"


def offers() -> Sequence[Offer]:
    """Everything that is installed, by group and name."""
    return _installed(tuple((path, _changed(path)) for path in sys.path))


@lru_cache(maxsize=1)
def _installed(_folders: tuple[tuple[str, int], ...]) -> Sequence[Offer]:
    # To look into every distribution takes long, and a start asks once for each plugin that the config names.
    entries = entry_points()
    found = [_offer(entry) for group in GROUPS for entry in entries.select(group=group)]
    return tuple(sorted(found, key=lambda offer: (GROUPS.index(offer.group), offer.name, offer.distribution)))


def _changed(path: str) -> int:
    """When something was last installed in a folder of the path."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _offer(entry: EntryPoint) -> Offer:
    name = entry.dist.name if entry.dist else "unknown distribution"
    version = entry.dist.version if entry.dist else "?"
    return Offer(group=entry.group, name=entry.name, value=entry.value, distribution=name, version=version)


def load(group: str, name: str) -> tuple[Offer, Any]:
    """Import what an entry point names. Raises `ConfigError` when there is none, several, or it fails."""
    matching = [offer for offer in offers() if (offer.group, offer.name) == (group, name)]
    if len(matching) > 1:
        names = " and ".join(offer.distribution for offer in matching)
        raise ConfigError("", f"{names} both offer {group}:{name}; uninstall one of them")
    if not matching:
        there = ", ".join(offer.name for offer in offers() if offer.group == group) or "none"
        raise ConfigError("", f"no installed plugin offers {group}:{name}; installed are: {there}")
    failures: list[BaseException] = []

    def note(_manager: object, _entry: EntryPoint, error: BaseException) -> None:
        failures.append(error)

    try:
        manager: DriverManager[Any] = DriverManager(group, name, invoke_on_load=False, on_load_failure_callback=note)
    except (NoMatches, MultipleMatches, RuntimeError) as error:
        raise _broken(matching[0], failures[0] if failures else error) from error
    return matching[0], manager.driver


def _broken(offer: Offer, error: BaseException) -> ConfigError:
    said = " ".join(str(error).split())
    problem = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        remedy = f"install what provides {error.name}, or reinstall {offer.distribution}"
    else:
        remedy = f"update or uninstall {offer.distribution}, or take it out of the config"
    return ConfigError("", f"{offer}: cannot be imported ({problem}); {remedy}")


def check_contract(offer: Offer, plugin: object) -> None:
    """Refuse a plugin that was built for another version of its kind's contract. Raises `ConfigError`."""
    wanted, ours = contract_of(plugin), CONTRACTS[offer.kind]
    if wanted != ours:
        remedy = "update surfaces-core" if isinstance(wanted, int) and wanted > ours else "update the plugin"
        raise ConfigError(
            "", f"{offer}: built for version {wanted} of the {offer.kind} contract, this host has {ours}; {remedy}"
        )


def contract_of(plugin: object) -> object:
    """The contract version that a plugin says it was built for."""
    return getattr(plugin, "surfaces_contract", 1)


def load_driver(group: str, name: str) -> tuple[Offer, type[Driver]]:
    """A driver's class, checked. Raises `ConfigError`."""
    offer, found = load(group, name)
    return offer, check_driver(offer, found)


def check_driver(offer: Offer, found: object) -> type[Driver]:
    """Refuse what is no driver of its kind, or not a whole one. Raises `ConfigError`."""
    base = DRIVERS[offer.group]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError("", f"{offer}: {offer.value} is no {base.__name__} class; fix the plugin's entry point")
    check_contract(offer, found)
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError("", f"{offer}: {found.__name__} does not implement {', '.join(missing)}; update the plugin")
    return found


def make(group: str, kind: type[D], instance: Instance, context: object) -> D:
    """An instance of the driver that the config names, its settings checked. Raises `ConfigError`."""
    try:
        _, found = load_driver(group, instance.use)
        if not issubclass(found, kind):  # the group says so already; this tells the type checker
            raise TypeError(found)
    except ConfigError as error:
        raise instance.source.error((*instance.place, "use"), error.problem) from error
    settings = validate(found.Settings, instance.options, instance.source, instance.place)
    try:
        return found(settings, context)
    except ConfigError as error:  # what the settings alone could not tell
        where = error.where.split(".") if error.where else ()
        raise instance.source.error((*instance.place, *where), error.problem) from error


def check_settings(group: str, instance: Instance) -> type[Driver]:
    """Load a driver and check its settings without making it. Raises `ConfigError`."""
    try:
        _, found = load_driver(group, instance.use)
    except ConfigError as error:
        raise instance.source.error((*instance.place, "use"), error.problem) from error
    validate(found.Settings, instance.options, instance.source, instance.place)
    return found


def check_agents(registry: Registry, models: Mapping[str, type[BaseModel]]) -> None:
    """Check every agent's further keys against its transport's model, if it is given. Raises `ConfigError`."""

    def check(agent: Agent) -> None:
        validate(models[agent.transport], agent.options, registry.source, registry.places[agent.id], AGENT_KEYS)

    all_of(partial(check, agent) for agent in registry.agents.values() if agent.transport in models)


def misnamed(person: str, surfaces: Iterable[Instance]) -> str:
    """Why no surface can know somebody by this id; empty: one may."""
    problems = {}
    for instance in surfaces:
        try:
            found = load_driver("surfaces.surface", instance.use)[1]
        except ConfigError:  # nobody can say
            return ""
        problems[instance.name] = found.misnamed(person) if issubclass(found, Surface) else ""
    if not problems or not all(problems.values()):
        return ""
    said = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return f"{person} can be nobody ({said})"


def check_accounts(surfaces: Iterable[Instance]) -> None:
    """Refuse two surfaces that speak for one account: each would answer everything. Raises `ConfigError`."""
    first: dict[tuple[type[Driver], str], Instance] = {}
    for instance in surfaces:
        found = check_settings("surfaces.surface", instance)
        settings = validate(found.Settings, instance.options, instance.source, instance.place)
        account = found.account(settings) if issubclass(found, Surface) else ""
        other = first.setdefault((found, account), instance) if account else instance
        if other is not instance:
            problem = f"speaks for {account}, as {dotted(other.place)} does; take one of the two out"
            raise instance.source.error(instance.place, problem)


# Hooks --------------------------------------------------------------------------------------------


class Hooks:
    """The loaded hook plugins: what they contributed, and the two that are called as messages pass."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(HookSpecs)
        self.commands: dict[str, Command] = {}
        """By name and alias; those of all surfaces."""
        self._own: dict[str, dict[str, Command]] = {}
        """By the surface's name: with those that it alone has."""
        self.shapers: list[Shaper] = []
        self.companions: list[Companion] = []
        self.tools: dict[str, AgentTool] = {}
        """By name: what agents may use."""

    def add(self, offer: Offer, plugin: object) -> None:
        """Register one plugin and take what it contributes. Raises `ConfigError`."""
        check_contract(offer, plugin)
        check_hooks(offer, plugin)
        if isinstance(plugin, type):
            plugin = plugin()
        try:
            self.manager.register(plugin, name=f"{offer.distribution}:{offer.name}")
            contributed = self._contributed(plugin)
        except pluggy.PluginValidationError as error:
            said = " ".join(str(error).split())
            raise ConfigError("", f"{offer}: {said}; update the plugin") from error
        except Exception as error:
            problem = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError("", f"{offer}: cannot say what it contributes ({problem}); update the plugin") from error
        for found in contributed:
            if isinstance(found, Command):
                _add(self.commands, str(offer), found)
            else:
                _add_tool(self.tools, str(offer), found)

    def _contributed(self, plugin: object) -> Sequence[Command | AgentTool]:
        callers = {name: self.manager.subset_hook_caller(name, self._others(plugin)) for name in _CONTRIBUTE}
        shapers = [shaper for some in callers["surfaces_shapers"]() for shaper in some]
        commands = [command for some in callers["surfaces_commands"]() for command in some]
        tools = [tool for some in callers["surfaces_tools"]() for tool in some]
        companions = [companion for some in callers["surfaces_companions"]() for companion in some]
        for odd in (
            *(found for found in (*shapers, *companions) if not callable(found)),
            *(found for found in commands if not isinstance(found, Command)),
            *(found for found in tools if not isinstance(found, AgentTool)),
        ):
            raise TypeError(f"{odd!r} is no command, shaper, tool or companion")
        self.shapers += shapers
        self.companions += companions
        return [*commands, *tools]

    def _others(self, plugin: object) -> list[object]:
        return [other for other in self.manager.get_plugins() if other is not plugin]

    def add_own(self, surface: str, commands: Sequence[Command]) -> None:
        """Take the commands that one surface alone has, after all plugins were added. Raises `ConfigError`."""
        self._own[surface] = dict(self.commands)
        for command in commands:
            _add(self._own[surface], f"surfaces.{surface}", command)

    def at(self, surface: str) -> Mapping[str, Command]:
        """The commands that there are at one surface, by name and alias."""
        return self._own.get(surface, self.commands)


def _add(commands: dict[str, Command], whose: str, command: Command) -> None:
    for name in (command.name, *command.aliases):
        if name in commands:
            raise ConfigError("", f"{whose}: the command {name} is there already; take one of the two out of hooks")
        if name != name.lower() or any(char.isspace() for char in name) or not name:
            raise ConfigError("", f"{whose}: a command cannot be named {name!r}; use lower case without spaces")
        commands[name] = command


_TOOL_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def _add_tool(tools: dict[str, AgentTool], whose: str, tool: AgentTool) -> None:
    if tool.name in tools:
        raise ConfigError("", f"{whose}: the tool {tool.name} is there already; take one of the two out of hooks")
    if not _TOOL_NAME.fullmatch(tool.name):
        raise ConfigError("", f"{whose}: a tool cannot be named {tool.name!r}; use 1 to 64 characters of a-z0-9_-")
    tools[tool.name] = tool


_CONTRIBUTE = ("surfaces_commands", "surfaces_shapers", "surfaces_tools", "surfaces_companions")


def check_hooks(offer: Offer, plugin: object) -> None:
    """Refuse what pluggy would only stumble over later, or not at all: async, unmarked, unknown and no hooks."""
    known = [name for name in vars(HookSpecs) if name.startswith("surfaces_")]
    found: dict[str, Callable[..., object]] = {
        name: value
        for name, value in inspect.getmembers(plugin, inspect.isroutine)
        if name.startswith("surfaces_") or hasattr(value, f"{PROJECT}_impl")
    }
    for name, function in found.items():
        if name not in known:
            raise ConfigError("", f"{offer}: unknown hook {name}; there are {', '.join(known)}")
        if not hasattr(function, f"{PROJECT}_impl"):
            raise ConfigError("", f"{offer}: {name} is not marked; put @hookimpl above it")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError("", f"{offer}: {name} is async; hooks are plain functions")
    if not found:  # more often the wrong object than one that is meant to do nothing
        raise ConfigError("", f"{offer}: {offer.value} has no hooks; name what has them, and install it again")


def load_hooks(config: Config, hooks: Hooks) -> None:
    """Load the plugins that `hooks:` names, in its order. Raises `ConfigError`."""

    def add(index: int, name: str) -> None:
        try:
            hooks.add(*load(HOOKS, name))
        except ConfigError as error:
            raise config.source.error(("hooks", index), error.problem) from error

    all_of(partial(add, index, name) for index, name in enumerate(config.hooks))
