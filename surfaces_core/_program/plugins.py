"""What each command of `surfaces plugins` does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from importlib.util import find_spec

from pydantic import BaseModel

from surfaces_core._config.config import load as load_config
from surfaces_core._config.discovery import DRIVERS, HOOKS, Hooks, Offer, contract_of, load, load_driver, offers
from surfaces_core._config.settings import Config
from surfaces_core._host import host
from surfaces_core._program import scaffold
from surfaces_core._program.tables import say
from surfaces_core.contracts import Driver, Transport
from surfaces_core.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """`surfaces plugins …`; the exit code."""
    match options.plugins:
        case "list":
            return listed(options)
        case "new":
            return new(options)
        case "check":
            return check(options)
        case _:
            return shown(options)


def _enabled(config: Config) -> set[tuple[str, str]]:
    named = {(group, instance.use) for group, instance in host.instances(config)}
    return named | {(HOOKS, name) for name in config.hooks}


def _loaded(offer: Offer) -> object:
    """Import and check one offer as a start would. Raises `ConfigError`."""
    if offer.group in DRIVERS:
        return load_driver(offer.group, offer.name)[1]
    found = load(offer.group, offer.name)[1]
    Hooks().add(offer, found)
    return found


def new(options: argparse.Namespace) -> int:
    """`surfaces plugins new KIND NAME`."""
    folder, names = scaffold.new(options.kind, options.name, options.to)
    say(f"{folder}: written, with {', '.join(names)}")
    say(f"try it:  cd {folder} && pip install -e '.[testing]' && pytest")
    return os.EX_OK


def check(options: argparse.Namespace) -> int:
    """`surfaces plugins check PATH_OR_DISTRIBUTION`."""
    if find_spec("pytest_asyncio") is None:
        raise ConfigError("", "the checks need more than a host does; pip install 'surfaces-core[testing]'")
    from surfaces_core._program.checkup import report  # it needs what only authors have installed

    return report.run(options)


def listed(options: argparse.Namespace) -> int:
    """`surfaces plugins list`: only what the config names is imported."""
    rows = [("KIND", "NAME", "STATE", "DISTRIBUTION", "CONTRACT")]
    notes: list[str] = []
    enabled: set[tuple[str, str]] = set()
    if options.config.exists():
        try:
            enabled = _enabled(load_config(options.config))
        except ConfigError as error:  # who mends a config wants to see what there is
            notes.append(f"nothing is enabled: {error}")
    for offer in offers():
        state, contract = "installed", ""
        if (offer.group, offer.name) in enabled:
            state = "enabled"
            try:
                contract = str(contract_of(_loaded(offer)))
            except ConfigError as error:
                state = "broken"
                notes.append(f"broken: {error}")
        rows.append((offer.kind, offer.name, state, f"{offer.distribution} {offer.version}", contract))
    there = {(offer.group, offer.name) for offer in offers()}
    for group, name in sorted(enabled - there):
        rows.append((group.removeprefix("surfaces."), name, "missing", "no installed distribution offers it", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in notes:
        say(note)
    return os.EX_OK


def shown(options: argparse.Namespace) -> int:
    """`surfaces plugins show NAME`."""
    group, _, name = options.name.rpartition(":")
    group = group if group.startswith("surfaces.") or not group else f"surfaces.{group}"
    chosen = [offer for offer in offers() if offer.name == name and group in ("", offer.group)]
    if not chosen:
        there = ", ".join(sorted({offer.name for offer in offers()})) or "none"
        raise ConfigError("", f"no plugin is named {options.name}; installed are: {there}")
    for offer in chosen:
        for line in described(offer):
            say(line)
    return os.EX_OK


def described(offer: Offer) -> Iterator[str]:
    """One plugin in words. Raises `ConfigError` when it cannot be loaded."""
    found = _loaded(offer)
    yield f"{offer.name} ({offer.kind}), {offer.distribution} {offer.version}"
    yield f"  {offer.kind} contract {contract_of(found)}, {offer.value}"
    if isinstance(found, type) and issubclass(found, Driver):
        yield from _settings_lines("settings", found.Settings)
        if issubclass(found, Transport):
            yield from _settings_lines("per agent", found.AgentSettings)
        return
    hooks = Hooks()
    hooks.add(offer, found)
    names = [caller.name for caller in hooks.manager.get_hookcallers(hooks.manager.get_plugins().pop()) or ()]
    yield f"  hooks: {', '.join(sorted(names)) or 'none'}"
    for command in sorted(set(hooks.commands.values()), key=lambda command: command.name):
        yield f"  !{command.name} {command.usage}".rstrip() + f" – {command.help}"


def _settings_lines(title: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"  {title}:" + ("" if model.model_fields else " none")
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        yield f"    {name}: {default}" + (f" – {field.description}" if field.description else "")
