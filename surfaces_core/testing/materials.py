"""Owns what contract checks work on, made of as little as an author must tell: a class and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from surfaces_core.contracts import Context, Driver, Files, Storage, Surface, Transport
from surfaces_core.events import Agent
from surfaces_core.testing.checks.files import FilesBench
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.checks.transport import TransportBench
from surfaces_core.testing.driver_contexts import transport_context

BASES: Mapping[str, type[Driver]] = {
    "storage": Storage,
    "transport": Transport,
    "files": Files,
    "surface": Surface,
}
BENCHES = {"transport": TransportBench, "files": FilesBench, "surface": SurfaceBench}
LIMIT = 2 << 20
"""The size limit with which files drivers are checked."""


class NotReady(Exception):
    """The checks cannot begin; says what an author must tell them."""


def ready(kind: str, found: Any, again: Callable[[], Any]) -> Any:
    """What the checks of a kind take, of what an author's function gave; `again` calls that anew."""
    if kind == "storage":
        if isinstance(found, Storage):
            return again
        if not callable(found):
            raise NotReady(f"give an unopened storage, or a function that makes one for each call, not {found!r}")
        return found
    if kind == "hooks":
        return found
    bench = BENCHES[kind]
    if not isinstance(found, bench):
        raise NotReady(f"a function for a {kind} must give a {bench.__name__}, not {found!r}")
    return found


def of_class(kind: str, given: Any, parts: Mapping[str, Mapping[str, Any]]) -> Callable[..., Any]:
    """A function like an author's own for a driver's class, or for a hooks plugin."""
    if kind == "hooks":
        return lambda: given
    base = BASES[kind]
    if not (isinstance(given, type) and issubclass(given, base)):
        raise NotReady(f"{given!r} is no {base.__name__} class and no function")
    missing = sorted(getattr(given, "__abstractmethods__", ()))
    if missing:
        raise NotReady(f"{given.__name__} does not implement {', '.join(missing)}")
    makers: dict[str, Callable[..., Any]] = {"storage": _storage, "transport": _transport, "files": _files}
    if kind not in makers:
        raise NotReady(f"a {kind} needs more than its class: give a function with a {BENCHES[kind].__name__}")

    def function(tmp_path: Path) -> Any:
        return makers[kind](given, parts, tmp_path)

    function.__doc__ = f"{given.__name__} keeps the contract."
    return function


def _storage(given: type[Storage], parts: Mapping[str, Mapping[str, Any]], folder: Path) -> Callable[[], Storage]:
    settings = settings_in(given.Settings, folder, parts["settings"])
    return lambda: given(settings, _context("storage"))


def _transport(given: type[Transport], parts: Mapping[str, Mapping[str, Any]], folder: Path) -> TransportBench:
    settings = settings_in(given.Settings, folder, parts["settings"])
    context = transport_context()

    def agent(part: str) -> Agent:
        options = _filled(dict(parts[part]), folder)
        _valid(given.AgentSettings, options, part)
        return Agent(id=part, label=part.title(), transport="transport", workspace=f"/{part}", options=options)

    return TransportBench(
        make=lambda: given(settings, context),
        agent=agent("agent"),
        unreachable=agent("unreachable") if "unreachable" in parts else None,
        breaks_off=agent("breaks_off") if "breaks_off" in parts else None,
        **parts.get("bench", {}),
    )


def _files(given: type[Files], parts: Mapping[str, Mapping[str, Any]], folder: Path) -> FilesBench:
    model = given.Settings
    (root, *more) = [name for name, field in model.model_fields.items() if field.annotation is Path] or [""]
    if not root or more or "max_file_bytes" not in model.model_fields:
        raise NotReady(
            f"{given.__name__} has not just one Path and max_file_bytes among its settings: give a function with a "
            "FilesBench"
        )
    settings = settings_in(model, folder, {"max_file_bytes": LIMIT, **parts["settings"]})
    volume = Path(getattr(settings, root))
    volume.mkdir(parents=True, exist_ok=True)

    def write(workspace: str, path: str, data: bytes) -> None:
        target = volume / workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    return FilesBench(
        make=lambda: given(settings, _context("files")),
        workspace="one",
        other_workspace="other",
        write=write,
        limit=int(settings.model_dump()["max_file_bytes"]),
    )


def settings_in(model: type[BaseModel], folder: Path, given: Mapping[str, Any]) -> BaseModel:
    """Settings with `{tmp_path}` filled in; a required path that is not given gets a place of its own in the folder."""
    filled: dict[str, Any] = _filled(dict(given), folder)
    for name, field in model.model_fields.items():
        if field.is_required() and field.annotation is Path:
            filled.setdefault(field.alias or name, folder / name)
    return _valid(model, filled, "settings")


def _filled(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{tmp_path}", str(folder))
    if isinstance(value, Mapping):
        return {key: _filled(each, folder) for key, each in value.items()}
    return [_filled(each, folder) for each in value] if isinstance(value, list) else value


def _valid(model: type[BaseModel], values: Mapping[str, Any], part: str) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise NotReady(f"{part}: {wrong}") from error


def _context(name: str) -> Context:
    return Context(name=name, log=structlog.get_logger(name))
