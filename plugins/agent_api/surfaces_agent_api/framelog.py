"""Owns the log of frames that `SURFACES_DEBUG_WS=1` asks for, with secrets cut out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import structlog

from surfaces_agent_api.frames import BadFrame, load_object

SWITCH = "SURFACES_DEBUG_WS"
_HIDDEN = "[cut]"
_MAX_DEPTH = 6
_MAX_CHARS = 2000
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?\b|secret|credential|authori[sz]ation|cookie|bearer|private|signature|"
    r"(?<![a-z])(api|access|refresh|id|auth|bot|session|csrf|_)?[_-]?(token|key)\b(?!s)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"""
      (?P<bearer> \b(?:bearer|basic)\s+ ) [\w.~+/=-]{6,}
    | (?P<login> \b[a-z][a-z0-9+.-]*:// ) [^\s/@:]*:[^\s/@]+@
    | (?P<named> \b[\w-]*(?:password|passwd|secret|token|api[_-]?key|apikey)["']?\s*[:=]\s*["']? ) [^\s"',;&]+
    | \b(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|xox[abprs]|syt|hf|AKIA)[-_]?[\w-]{12,}
    | \beyJ[\w-]{8,}\.[\w-]+\.[\w-]*
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def frame_logger(log: structlog.typing.FilteringBoundLogger, *, agent: str, context: str) -> Callable[[str, str], None]:
    """What is to see every frame of a socket: a log of them where the environment asks for it, else nothing."""
    if os.environ.get(SWITCH) != "1":
        return _nothing

    def write(direction: str, frame: str) -> None:
        log.info("agent_frame", agent=agent, context=context, direction=direction, size=len(frame), frame=shown(frame))

    return write


def shown(frame: str) -> object:
    """A frame as it may stand in a log; one that cannot be read is left out."""
    try:
        return without_secrets(load_object(frame))
    except BadFrame as error:
        return f"({error})"


def without_secrets(value: object, depth: int = 0) -> object:
    """The same with everything cut out that is named or looks like a secret."""
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_hide, value[:_MAX_CHARS])
    if isinstance(value, dict):
        return {
            _SECRET_TEXT.sub(_hide, str(name)[:100]): _HIDDEN
            if _SECRET_NAME.search(str(name))
            else without_secrets(item, depth + 1)
            for name, item in list(value.items())[:50]
        }
    if isinstance(value, list):
        return [without_secrets(item, depth + 1) for item in value[:50]]
    return value


def _hide(match: re.Match[str]) -> str:
    kept = match.group("bearer") or match.group("login") or match.group("named") or ""
    return kept + _HIDDEN


def _nothing(direction: str, frame: str) -> None:
    pass
