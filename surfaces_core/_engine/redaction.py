"""What may stand in a log: values by their type, and errors without what they quote.

A text of unknown origin is a plugin's own word for it. What the host hands out as content is of types that
are not logged, and what an unexpected error says may quote anything, so its place is logged and not its text.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, WrappedLogger

from surfaces_core._config.plain import printable
from surfaces_core._engine.foreign import PluginBug
from surfaces_core.errors import CommandError, SurfacesError

CUT = "[cut]"
_DEPTH = 6
_SAYS_NAMES_ONLY = (AttributeError, NameError, ImportError)
"""The interpreter's words about names in the code."""


@dataclass(frozen=True, slots=True)
class Content:
    """What people or agents say, and how their files are called: logged only where the operator wants that."""

    value: object

    def __bool__(self) -> bool:
        return bool(self.value)


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut out what is secret."""
    for name, value in event.items():
        if name != "exc_info":
            event[name] = _plain(value, content=True)
    return event


def without_content(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut out what is secret, and what is said."""
    for name, value in list(event.items()):
        if isinstance(value, Content):
            del event[name]
        elif name != "exc_info":
            event[name] = _plain(value, content=False)
    return event


def _plain(value: object, *, content: bool, depth: int = 0) -> object:
    """The same in types that hold no secrets, and no content unless that is wanted."""
    match value:
        case SecretStr() | SecretBytes():
            return "[secret]"
        case bytes():
            return f"[{len(value)} bytes]"
        case Enum() | PurePath():
            return str(value)
        case None | str() | int() | float():
            return value
        case Content():
            return _plain(value.value, content=content, depth=depth) if content else CUT
        case _ if depth > _DEPTH:
            return "…"
        case Mapping():
            return {str(name): _plain(item, content=content, depth=depth + 1) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, content=content, depth=depth + 1) for item in value]
        case SurfacesError():
            return str(value)
        case _:
            return str(value) if content else f"[{type(value).__name__}]"


def traceback_of(error: BaseException | None, *, content: bool) -> str:
    """Where an error came from, with those behind it; nothing in it moves a terminal's cursor."""
    if error is None:
        return ""
    lines = traceback.format_exception(error) if content else _lines(error, set())
    return "\n".join(map(printable, "".join(lines).rstrip("\n").split("\n")))


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "\nThe cause of:\n\n" if error.__cause__ else "\nMeanwhile:\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{_name(error)}{_reason(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if id(inner) not in seen:
                yield from ("  " + line for line in "".join(_lines(inner, seen)).splitlines(keepends=True))


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _reason(error: BaseException) -> str:
    """What an error says where that is known to quote nothing."""
    match error:
        case CommandError():
            return f": {error.code}"
        case SurfacesError():
            return f": {error.code}: {error}"
        case PluginBug():
            return f": {error}"
        case OSError(strerror=str(said)):
            return f": {said}"  # and not of which file
        case _ if isinstance(error, _SAYS_NAMES_ONLY):
            return f": {error}"
        case _:
            return ""
