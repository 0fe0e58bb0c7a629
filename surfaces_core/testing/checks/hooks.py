"""Owns the contract checks of hooks plugins: what one promises, one function for each promise.

Each check is given the plugin as its entry point names it: a module, or a class that is made without
arguments. A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, get_args
from unittest import SkipTest

import pluggy
from pydantic import BaseModel

from surfaces_core._config.discovery import Hooks, Offer, check_hooks
from surfaces_core._engine import basics
from surfaces_core.contracts import AgentTool, Command, ToolPolicy
from surfaces_core.errors import ConfigError
from surfaces_core.events import AgentRequest
from surfaces_core.hooks import PROJECT, HookSpecs
from surfaces_core.i18n import LANGUAGES, language
from surfaces_core.testing.checks.examples import MESSAGES, OBSERVED, REQUESTS
from surfaces_core.testing.watching import watched

HooksCheck = Callable[[Any], Awaitable[None]]
_OFFER = Offer(group="surfaces.hooks", name="checked", value="checked", distribution="the plugin", version="0")
_TOOL_NAME = re.compile(r"[a-z0-9_-]{1,64}")
LONGEST_S = 10.0
"""A companion that has nothing to do is entered and left in this time."""
_WHO = ("owner", "anyone", "operator")
_IMPORT = """
import importlib, sys
import surfaces_core
from surfaces_core.testing.watching import watched
with watched() as deeds:
    importlib.import_module(sys.argv[1])
sys.exit("; ".join(dict.fromkeys(deeds)) or 0)
"""


async def check_marked(plugin: Any) -> None:
    """Every hook is a plain function that the host knows, marked with `hookimpl`."""
    try:
        check_hooks(_OFFER, plugin)
    except ConfigError as error:
        raise AssertionError(error.problem.removeprefix(f"{_OFFER}: ")) from None


async def check_import(plugin: Any) -> None:
    """Importing it connects to nothing, starts nothing, and touches no file but those of its package."""
    name = inspect.getmodule(plugin).__name__ if inspect.getmodule(plugin) else ""  # type: ignore[union-attr]
    if not _is_importable(name):
        raise SkipTest(f"another process cannot import {name or 'it'}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-B", "-c", _IMPORT, name]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    said = done.stderr.strip().rpartition("\n")[2]
    _promise(done.returncode == 0, f"importing {name} must go well and do nothing outside: {said}")


async def check_made_again(plugin: Any) -> None:
    """A host that starts anew gets the same commands and tools, and as many shapers and companions."""
    first, again = ([*map(repr, _described(plugin))] for _ in range(2))
    _promise(first == again, f"what is contributed must be the same each time, not {first} and then {again}")


async def check_contributions(plugin: Any) -> None:
    """It contributes sequences, of `Command`s, of `AgentTool`s and of functions that shape."""
    for hook, kind in (("surfaces_commands", Command), ("surfaces_tools", AgentTool)):
        for found in _contributed(plugin, hook):
            _promise(isinstance(found, kind), f"{hook} must give {kind.__name__}s, not {found!r}")
    for found in _contributed(plugin, "surfaces_shapers"):
        right = callable(found) and not inspect.iscoroutinefunction(found) and _takes(found, 2)
        _promise(right, f"surfaces_shapers must give plain functions of a request and a message, not {found!r}")


async def check_command_names(plugin: Any) -> None:
    """Commands have names of lower-case letters without spaces, each for one command."""
    seen: set[str] = set()
    for command in _commands(plugin):
        for name in (command.name, *command.aliases):
            right = name[:1].isalnum() and name == name.lower() and not any(map(str.isspace, name))
            _promise(right, f"a command must be named in lower case, without spaces and without a prefix, not {name!r}")
            _promise(name not in seen, f"only one command may be named {name!r}")
            seen.add(name)


async def check_command_help(plugin: Any) -> None:
    """Every command says in one line, without a full stop, what it does, in each language."""
    for command in _commands(plugin):
        for code in LANGUAGES:
            for part, text in (
                ("help", _in_language(code, command.help)),
                ("usage", _in_language(code, command.usage)),
            ):
                place = f"the {part} of {command.name} ({code}) must be"
                _promise(bool(text.strip()) or part == "usage", f"{place} there")
                _promise("\n" not in text and text == text.strip(), f"{place} one line, not {text!r}")
                _promise(
                    part == "usage" or not text.endswith((".", "。")), f"{place} without a full stop, not {text!r}"
                )


async def check_command_handlers(plugin: Any) -> None:
    """A command's handler is an async function of its call, and `answered` one of call and question."""
    for command in _commands(plugin):
        right = _is_async(command.handler) and _takes(command.handler, 1)
        _promise(right, f"the handler of {command.name} must be an async function of a CommandCall")
        follows = command.answered
        right = follows is None or (_is_async(follows) and _takes(follows, 2))
        _promise(right, f"`answered` of {command.name} must be an async function of a CommandCall and a Question")


async def check_command_rights(plugin: Any) -> None:
    """Every command is for the owner, for anyone or for operators, and says plainly whether it is urgent."""
    for command in _commands(plugin):
        _promise(command.who in _WHO, f"{command.name} must be for one of {', '.join(_WHO)}, not {command.who!r}")
        _promise(isinstance(command.urgent, bool), f"urgent of {command.name} must be True or False")


async def check_beside_the_host(plugin: Any) -> None:
    """The host takes it beside its own commands."""
    hooks = Hooks()
    hooks.add(replace(_OFFER, name="host"), basics)
    try:
        hooks.add(_OFFER, _fresh(plugin))
    except ConfigError as error:
        raise AssertionError(error.problem.removeprefix(f"{_OFFER}: ")) from None


async def check_tools(plugin: Any) -> None:
    """A tool has a name, words for the agent, arguments that can be told it, and an async function of its call."""
    for tool in _tools(plugin):
        _promise(bool(_TOOL_NAME.fullmatch(tool.name)), f"a tool cannot be named {tool.name!r}; use a-z0-9_-")
        _promise(bool(tool.description.strip()), f"the tool {tool.name} must say to agents what it does")
        models: tuple[Any, ...] = (tool.arguments, tool.settings)
        for model in models:
            right = isinstance(model, type) and issubclass(model, BaseModel)
            _promise(right, f"arguments and settings of {tool.name} must be pydantic models, not {model!r}")
        tool.arguments.model_json_schema()
        right = _is_async(tool.handler) and _takes(tool.handler, 1)
        _promise(right, f"the handler of {tool.name} must be an async function of a ToolCall")
        policies = get_args(ToolPolicy)
        _promise(tool.policy in policies, f"{tool.name} must have a policy of {policies}, not {tool.policy!r}")
        _promise(tool.timeout_s > 0, f"{tool.name} must have some time")


async def check_shapers_pure(plugin: Any) -> None:
    """A shaper makes of the same request and message the same request, and changes neither of them."""
    for shape in _shapers(plugin):
        for request, message in zip(REQUESTS, MESSAGES, strict=True):
            given = deepcopy((request, message))
            made = shape(*given)
            _promise(isinstance(made, AgentRequest), f"a shaper must give an AgentRequest, not {made!r}")
            _promise(given == (request, message), "a shaper must not change what it is handed")
            _promise(shape(*given) == made, "a shaper must make the same of the same, as a turn may be asked again")


async def check_shapers_keep_the_turn(plugin: Any) -> None:
    """A shaper leaves a request its turn, its agent and its context."""
    for shape in _shapers(plugin):
        for request, message in zip(REQUESTS, MESSAGES, strict=True):
            made = shape(request, message)
            kept = (made.turn, made.agent, made.context) == (request.turn, request.agent, request.context)
            _promise(kept, "a shaper must not change the turn, the agent or the context of a request")


async def check_refusals(plugin: Any) -> None:
    """A message of any shape is refused with a sentence or let through with None."""
    hook = _manager(plugin).hook
    for message in deepcopy(MESSAGES):
        answer = hook.surfaces_refuse(message=message)
        right = answer is None or (isinstance(answer, str) and bool(answer.strip()))
        _promise(right, f"surfaces_refuse must answer a sentence or None, not {answer!r}")


async def check_observing(plugin: Any) -> None:
    """Whatever happens may be watched; nothing is raised, answered or changed by it."""
    manager = _manager(plugin)
    for event in OBSERVED:
        given = deepcopy(event)
        answers = manager.hook.surfaces_observe(event=given)
        _promise(answers == [], f"surfaces_observe must answer nothing, not {answers}")
        _promise(given == event, "surfaces_observe must not change what it sees")


async def check_companions(plugin: Any) -> None:
    """What lives beside a host can be entered and left, again and again, and leaves no task behind."""
    for made in _contributed(plugin, "surfaces_companions"):
        _promise(callable(made), f"surfaces_companions must give functions that make a block, not {made!r}")
        for _ in range(2):
            before = asyncio.all_tasks()
            block = made()
            right = isinstance(block, AbstractAsyncContextManager)
            _promise(right, f"a companion must make an async context manager, not {block!r}")
            async with asyncio.timeout(LONGEST_S), block:
                pass
            _promise(asyncio.all_tasks() <= before, "a companion must leave no task behind")


async def check_quick(plugin: Any) -> None:
    """Hooks do no input or output: they neither wait nor connect, and open nothing."""
    manager = _manager(plugin)
    with watched() as deeds:
        shapers = [shape for some in manager.hook.surfaces_shapers() for shape in some]
        manager.hook.surfaces_commands()
        manager.hook.surfaces_companions()
        for message, request in zip(MESSAGES, REQUESTS, strict=True):
            manager.hook.surfaces_refuse(message=message)
            for shape in shapers:
                shape(request, message)
        for event in OBSERVED:
            manager.hook.surfaces_observe(event=event)
    _promise(not deeds, f"hooks must do no input or output; this one {', '.join(dict.fromkeys(deeds))}")


HOOKS_CHECKS: tuple[HooksCheck, ...] = (
    check_marked,
    check_import,
    check_contributions,
    check_made_again,
    check_command_names,
    check_command_help,
    check_command_handlers,
    check_command_rights,
    check_tools,
    check_beside_the_host,
    check_shapers_pure,
    check_shapers_keep_the_turn,
    check_refusals,
    check_observing,
    check_companions,
    check_quick,
)
"""Every check; a hooks plugin keeps the contract when it passes all of them."""


def _promise(kept: bool, sentence: str) -> None:
    if not kept:  # an assert statement would be gone under python -O
        raise AssertionError(sentence)


def _fresh(plugin: Any) -> Any:
    """The plugin as a host that starts gets it."""
    return plugin() if isinstance(plugin, type) else plugin


def _manager(plugin: Any) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    manager.register(_fresh(plugin))
    return manager


def _contributed(plugin: Any, hook: str) -> Iterator[Any]:
    for some in getattr(_manager(plugin).hook, hook)():
        _promise(isinstance(some, Sequence) and not isinstance(some, str), f"{hook} must give a sequence, not {some!r}")
        yield from some


def _commands(plugin: Any) -> list[Command]:
    return [found for found in _contributed(plugin, "surfaces_commands") if isinstance(found, Command)]


def _shapers(plugin: Any) -> list[Any]:
    return [found for found in _contributed(plugin, "surfaces_shapers") if callable(found)]


def _tools(plugin: Any) -> list[AgentTool]:
    return [found for found in _contributed(plugin, "surfaces_tools") if isinstance(found, AgentTool)]


def _described(plugin: Any) -> Iterator[object]:
    """What it contributes, as far as two lives of it can be compared."""
    for command in _commands(plugin):
        yield command.name, command.aliases, str(command.help), str(command.usage), command.who, command.urgent
    for tool in _tools(plugin):
        yield tool.name, tool.description, tool.policy, tool.timeout_s
    yield len(_shapers(plugin))
    yield len(list(_contributed(plugin, "surfaces_companions")))


def _in_language(code: str, text: object) -> str:
    token = language.set(code)
    try:
        return str(text)
    finally:
        language.reset(token)


def _is_async(function: Any) -> bool:
    inner = inspect.unwrap(getattr(function, "func", function))  # of a partial, too
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


def _is_importable(name: str) -> bool:
    try:
        return bool(name) and name != "__main__" and find_spec(name) is not None
    except (ImportError, ValueError):
        return False
