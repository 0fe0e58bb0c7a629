"""The pages for those who run the host: settings, programs and chat commands."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from surfaces_core import Driver, Transport, cli
from surfaces_core._config import config, settings
from surfaces_core._config.discovery import DRIVERS, GROUPS, HOOKS, Hooks, Offer
from surfaces_core._config.settings import OpsSettings, PushSettings, PushToken
from surfaces_core._engine import basics
from tools.documents.parts import GENERATED, ROOT, Page, table


def offers() -> list[Offer]:
    """What the distributions of this repository offer, whatever else is installed."""
    found = []
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
        project = tomllib.loads(path.read_text())["project"]
        for group, names in project.get("entry-points", {}).items():
            found += [
                Offer(group=group, name=name, value=value, distribution=project["name"], version=project["version"])
                for name, value in names.items()
                if group in GROUPS
            ]
    return sorted(found, key=lambda offer: (GROUPS.index(offer.group), offer.name))


def loaded(offer: Offer) -> Any:
    """What an entry point names."""
    module, _, name = offer.value.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)


# Settings -----------------------------------------------------------------------------------------

TOP = {
    "storage": "where state is kept: `use:` and the driver's settings; required",
    "files": "how attachments move; without it there are none",
    "surfaces": "messenger accounts, each under a name of your own; at least one",
    "transports": "ways to reach agents, each under a name of your own",
    "hooks": "names of command sets and other hook plugins, in the order in which they are asked",
    "agents": "the agent registry, a list; at least one agent, here or in `agents_file`",
    "agents_file": "a file that holds `agents`, `user_agents` and `default_agent` instead, relative to this one",
    "user_agents": "whose agent is whose: native id of a person → id of an agent",
    "default_agent": "the agent of people who are not in `user_agents`; the first unless set, `none` for none",
    "host": "the host's own settings",
    "ops": "where supervisors may ask how the host is; without it nothing listens",
    "push": "where agents may say something by themselves; without it nothing is taken",
}


def settings_page() -> Page:
    """Every setting there is."""
    yield from ("# Settings", "", GENERATED, "")
    yield "One YAML file, by default `surfaces.yaml`. Unknown keys are errors. `${NAME}` and `${NAME:-default}` are"
    yield "filled from the environment and from a `.env` beside the file; a value may also be `{env: NAME}` or"
    yield "`{file: path}`. Relative paths are relative to the folder in which the host is started; only `agents_file`"
    yield "is relative to the config."
    yield from ("", "## Top of the file", "")
    yield from table(("key", "meaning"), *((f"`{name}`", TOP[name]) for name in config.TOP))
    yield "Under `storage`, `files` and each name in `surfaces` and `transports`, `use:` names the driver (for the"
    yield "latter two it is the instance's own name unless set); every other key is a setting of that driver."
    yield "In a transport, `agent_defaults:` holds what its agents' entries need not say, like a common `base_url`."
    yield from ("", "## `host:`", "", *model_table(settings.HostSettings))
    yield from ("## `ops:`", "", *model_table(OpsSettings))
    yield from ("## `push:`", "", *model_table(PushSettings))
    yield from ("### `push.tokens`", "", "Each entry, under its name.", "", *model_table(PushToken))
    yield from ("## `agents:`", "", "Each entry; further keys belong to its transport, see below.", "")
    yield from model_table(settings.AgentEntry)
    for offer in offers():
        if offer.group in DRIVERS:
            yield from _driver_settings(offer, loaded(offer))
        if offer.group == HOOKS:
            for tool in hooked(loaded(offer)).tools.values():
                yield from (f"## `tools: {{{tool.name}: …}}`", "", f"Tool of `{offer.distribution}`, under a transport")
                yield from ("that gives its agents tools.", "", *model_table(tool.settings))


def _driver_settings(offer: Offer, driver: type[Driver]) -> Page:
    yield from (f"## `use: {offer.name}`", "", f"{DRIVERS[offer.group].__name__} of `{offer.distribution}`.", "")
    yield from model_table(driver.Settings)
    if issubclass(driver, Transport):
        yield from (f"### Agents of `{offer.name}`", "", "Further keys of their entries under `agents:`.", "")
        yield from model_table(driver.AgentSettings)


def model_table(model: type[BaseModel]) -> Page:
    """One row for each field of a model."""
    rows = list(_rows(model))
    yield from table(("setting", "type", "default", "meaning"), *rows) if rows else ("No settings.", "")


def _rows(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, ...]]:
    """The rows of a model; settings inside a setting have both names."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _rows(field.annotation, f"{above}{name}.")
            continue
        inner = get_args(field.annotation)[-1:] if get_origin(field.annotation) is Mapping else ()
        if inner and isinstance(inner[0], type) and issubclass(inner[0], BaseModel):
            yield f"`{above}{name}`", "settings under names of your own", default(field), meaning(name, field)
            yield from _rows(inner[0], f"{above}{name}.….")
        else:
            yield f"`{above}{name}`", *shape(name, field), meaning(name, field)


def shape(name: str, field: FieldInfo) -> tuple[str, str]:
    """The type and the default of a setting, as they would stand in the file."""
    if name == "mode" and isinstance(field.default, int):  # people write and read file modes in octal digits
        return "octal digits", f'`"{field.default:04o}"`'
    return kind(field.annotation) + bounds(field), default(field)


def meaning(name: str, field: FieldInfo) -> str:
    """What a setting does. Raises `LookupError` when nothing says so."""
    if not field.description:
        raise LookupError(f"the setting {name} has no description: add Field(description=…)")
    return sentence(field.description)


def default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    match value:
        case _ if field.is_required():
            return "required"
        case None | () | "":
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case float() if value.is_integer():
            return f"`{int(value)}`"
        case _:
            return f"`{value}`"


NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", SecretStr: "secret"}


def kind(annotation: Any) -> str:
    """A type as operators think of it."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(inside[0])
    if origin in (Union, types.UnionType):
        return " or ".join(kind(part) for part in inside if part is not types.NoneType)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in inside)
    if origin is Mapping:
        return "mapping of names to values"
    if origin in (tuple, list):
        return f"list of {kind(inside[0])}"
    return NAMES[annotation]


def bounds(field: FieldInfo) -> str:
    """The limits of a number."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [(sign, getattr(limit, name, None)) for limit in field.metadata for name, sign in signs.items()]
    return "".join(f", {sign} {limit}" for sign, limit in found if limit is not None)


# The program --------------------------------------------------------------------------------------


def cli_page() -> Page:
    """Every command of the programs."""
    yield from ("# The programs", "", GENERATED, "", "Each has `--help`. Exit codes are in [errors](errors.md).", "")
    yield from _parser("surfaces", cli.parser())
    for offer in offers():
        if offer.group == "surfaces.surface" and loaded(offer).reports:
            yield from (f"## `surfaces {offer.name}`", "", *_help("-m", "surfaces_core.cli", offer.name))
    yield from ("## `surfaces-agent`", "", *_help("-m", "surfaces_agent_api.reference"))


def _parser(title: str, parser: argparse.ArgumentParser, about: str = "") -> Page:
    yield from (f"## `{title}`", "")
    program = title.removeprefix("surfaces ")
    if program in cli.PROGRAMS:  # everything behind it belongs to that program, so it explains itself
        yield from _help("-m", "surfaces_core.cli", program)
        return
    yield from (sentence(about or parser.description or ""), "")
    actions = parser._actions  # noqa: SLF001 - argparse has no public way to list what it knows
    listed = [action for action in actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    plain = [action for action in listed if not isinstance(action.choices, dict)]
    if plain:
        yield from table(("argument", "meaning"), *((_argument(action), _meaning(action)) for action in plain))
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            helps = {choice.dest: choice.help for choice in action._get_subactions()}  # noqa: SLF001 - as above
            for name, inner in action.choices.items():
                yield from _parser(f"{title} {name}", inner, helps[name] or "")


def sentence(text: str) -> str:
    """Help in the form of a sentence."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _argument(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest}"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"


def _meaning(action: argparse.Action) -> str:
    return (action.help or "") % {"default": f"`{action.default}`"}


def _help(*arguments: str) -> Page:
    run = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, *arguments, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    yield from ("```text", *run.stdout.strip().splitlines(), "```", "")


# Commands people write ----------------------------------------------------------------------------


def commands_page() -> Page:
    """Every chat command of this repository."""
    yield from ("# Commands in a chat", "", GENERATED, "")
    yield "The prefix is `!` unless `host.prefix` says otherwise. Who may use a command: `owner` of the conversation,"
    yield "`anyone` in it, or an `operator` (`host.operators`). An urgent command does not wait for a running answer."
    yield ""
    yield from ("## Always there", "", *_commands(basics))
    for offer in offers():
        if offer.group == HOOKS and hooked(loaded(offer)).commands:
            yield from (f"## `hooks: [{offer.name}]`", "", f"From `{offer.distribution}`.", "")
            yield from _commands(loaded(offer))


def hooked(plugin: Any) -> Hooks:
    """What a hooks plugin contributes."""
    hooks = Hooks()
    hooks.add(Offer(group=HOOKS, name="x", value="x", distribution="x", version="0"), plugin)
    return hooks


def _commands(plugin: Any) -> Page:
    hooks = hooked(plugin)
    rows = [
        (
            ", ".join(
                f"`!{name}{' ' * bool(command.usage)}{command.usage}`" for name in (command.name, *command.aliases)
            ),
            sentence(str(command.help)),
            command.who,
            "yes" if command.urgent else "",
        )
        for command in sorted(set(hooks.commands.values()), key=lambda command: command.name)
    ]
    yield from table(("command", "what it does", "who", "urgent"), *rows)
