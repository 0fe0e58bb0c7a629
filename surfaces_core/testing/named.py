"""Owns `pytest --surfaces-contract KIND=MODULE:NAME`: the contract checks of a plugin without a file of tests."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from surfaces_core.testing import contract, promises
from surfaces_core.testing.materials import NotReady

PARTS = ("agent", "unreachable", "breaks_off", "bench")


def is_alone(config: pytest.Config) -> bool:
    """Whether only named plugins are to be checked: no file of tests was asked for."""
    return bool(named(config)) and config.args_source is not pytest.Config.ArgsSource.ARGS


def named(config: pytest.Config) -> list[str]:
    """The values of `--surfaces-contract`."""
    values: list[str] = config.getoption("--surfaces-contract")
    return values


def tests(session: pytest.Session) -> Iterator[pytest.Item]:
    """All tests of the plugins that were named."""
    for value in named(session.config):
        collector = Named.from_parent(session, name=value, path=session.config.rootpath, nodeid=value)
        yield from session.genitems(collector)


class Named(pytest.Module):
    """A file of tests that is not there: one plugin's contract."""

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType("surfaces_contract")
        try:
            module.test = _tests(self.name, self.config.getoption("--surfaces-set"))  # type: ignore[attr-defined]
        except NotReady as error:
            raise self.CollectError(f"--surfaces-contract {self.name}: {error}") from error
        return module


def _tests(value: str, settings: list[str]) -> Any:
    kind, _, place = value.partition("=")
    if kind not in promises.KINDS or not place:
        raise NotReady(f"write KIND=MODULE:NAME, where KIND is one of {', '.join(promises.KINDS)}")
    return contract.of(kind, _found(place), _parts(kind, settings))


def _found(place: str) -> Any:
    name, _, attributes = place.partition(":")
    try:
        found: Any = import_module(name)
    except ImportError as error:
        hint = "; `python -m pytest` finds what lies in this folder" if error.name == name.partition(".")[0] else ""
        raise NotReady(f"{name} cannot be imported ({error}){hint}") from error
    for attribute in filter(None, attributes.split(".")):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            raise NotReady(f"{name} has no {attributes}") from error
    return found


def _parts(kind: str, given: list[str]) -> dict[str, dict[str, Any]]:
    """The keywords for `contract`: `storage.path=x` is a setting, `agent.base_url=x` an option of an agent."""
    parts: dict[str, dict[str, Any]] = {"settings": {}, **({"agent": {}} if kind == "transport" else {})}
    for each in given:
        key, equals, text = each.partition("=")
        owner, *path = key.split(".")
        if not equals or not path or owner not in (*promises.KINDS, *PARTS):
            raise NotReady(f"--surfaces-set {each}: write KIND.KEY=VALUE, or one of {', '.join(PARTS)} instead of KIND")
        if owner == kind or (owner in PARTS and kind == "transport"):
            _put(parts.setdefault("settings" if owner == kind else owner, {}), path, _value(text))
    return parts


def _put(where: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        where = where.setdefault(key, {})
    where[path[-1]] = value


def _value(text: str) -> Any:
    """JSON where it is that, otherwise the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
