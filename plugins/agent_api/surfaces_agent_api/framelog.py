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
_CHUNK = "AGENT_EVENT_TEXT_CHUNK"
_LOOKS_BACK = 300
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?\b|secret|credential|authori[sz]ation|cookie|bearer|private|signature|"
    r"(?<![a-z])(api|access|refresh|id|auth|bot|session|csrf|_)?[_-]?(token|key)\b(?!s)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"""
      (?P<bearer> \b(?:bearer|basic)\s+ ) [\w.~+/=-]{6,}
    | (?P<login> \b[a-z][a-z0-9+.-]*:// ) [^\s/@]+@
    | (?P<named> \b[\w-]*
        (?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|credentials?|signature)
        ["']?\s*[:=]\s*["']? ) [^\s"',;&]+
    | (?P<short> \b(?:key|sig|session|auth|cookie)= ) [^\s"',;&]+
    | (?P<cookie> \b(?:set-)?cookie:\s* ) [^\r\n]+
    | \b(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|xox[abprs]|syt|hf|AKIA)[-_]?[\w-]{12,}
    | \beyJ[\w-]{8,}\.[\w-]+\.[\w-]*
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    """,
    re.IGNORECASE | re.VERBOSE,
)


def frame_logger(
    log: structlog.typing.FilteringBoundLogger, *, agent: str, context: str, turn: Callable[[], str]
) -> Callable[[str, str], None]:
    """What is to see every frame of a socket: a log of them where the environment asks for it, else nothing.

    `turn` is whose socket it is at that time; empty while it rests.
    """
    if os.environ.get(SWITCH) != "1":
        return _nothing

    streams = {"in": _Stream(), "out": _Stream()}

    def write(direction: str, frame: str) -> None:
        log.info(
            "agent_frame",
            turn_id=turn(),
            agent=agent,
            context=context,
            direction=direction,
            size=len(frame),
            frame=streams[direction].shown(frame),
        )

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
    return _kept(match) + _HIDDEN


def _kept(match: re.Match[str]) -> str:
    """The beginning of what was found that says what it is."""
    return next((group for group in match.groups() if group), "")


class _Stream:
    """Cuts secrets out of a text that comes in chunks: what a chunk is may stand in the one before."""

    def __init__(self) -> None:
        self._before = ""

    def shown(self, frame: str) -> object:
        """A frame as it may stand in a log."""
        value = shown(frame)
        if not (isinstance(value, dict) and value.get("type") == _CHUNK):
            self._before = ""
            return value
        text = str(load_object(frame).get("text", ""))[:_MAX_CHARS]
        whole, begins = self._before + text, len(self._before)
        self._before = whole[-_LOOKS_BACK:]
        spans = [(match.start() + len(_kept(match)), match.end()) for match in _SECRET_TEXT.finditer(whole)]
        for start, end in reversed(spans):
            if end > begins:
                whole = whole[: max(start, begins)] + _HIDDEN + whole[end:]
        return {**value, "text": whole[begins:]}


def _nothing(direction: str, frame: str) -> None:
    pass
