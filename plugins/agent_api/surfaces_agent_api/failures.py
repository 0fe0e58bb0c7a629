"""Owns the errors of this driver: their codes, their sentences, and how aiohttp's errors become them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from surfaces_agent_api import words
from surfaces_core import DriverError, Rejected, Sentence, Unavailable

UNREACHABLE: Final = "AGENT_UNREACHABLE"
NO_STATUS: Final = "AGENT_NO_STATUS"
TIMEOUT: Final = "AGENT_TIMEOUT"
OVERTIME: Final = "AGENT_OVERTIME"
CUT_OFF: Final = "AGENT_CUT_OFF"
PROTOCOL: Final = "AGENT_PROTOCOL"
ERROR: Final = "AGENT_ERROR"
CLOSED: Final = "AGENT_CLOSED"
"""This side closed the socket in mid-turn: the context was forgotten or the driver ends."""
NOT_ASKED: Final = "AGENT_NOT_ASKED"

PUBLIC: Mapping[str, Sentence] = {
    UNREACHABLE: words.UNREACHABLE,
    NO_STATUS: words.NO_STATUS,
    TIMEOUT: words.TIMEOUT,
    OVERTIME: words.OVERTIME,
    CUT_OFF: words.CUT_OFF,
    PROTOCOL: words.PROTOCOL,
    ERROR: words.ERROR,
    CLOSED: words.CUT_OFF,
    NOT_ASKED: words.NOT_ASKED,
}

LIBRARY_ERRORS: Mapping[type[Exception], str] = {
    aiohttp.ClientConnectionError: UNREACHABLE,
    aiohttp.ClientResponseError: UNREACHABLE,
    aiohttp.ClientPayloadError: UNREACHABLE,
    aiohttp.RedirectClientError: UNREACHABLE,
    aiohttp.NonHttpUrlClientError: UNREACHABLE,
    aiohttp.InvalidURL: UNREACHABLE,
    aiohttp.client_exceptions.UploadAbortedError: CUT_OFF,
    aiohttp.WSMessageTypeError: PROTOCOL,
    OSError: UNREACHABLE,
    TimeoutError: UNREACHABLE,
    ValueError: UNREACHABLE,  # a host name that cannot be encoded
}
"""By base class: what an error of the library means while the agent has seen nothing of the question."""

CAUGHT: tuple[type[Exception], ...] = (aiohttp.ClientError, *LIBRARY_ERRORS)
"""What connecting and sending may raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a socket is over: CUT_OFF, PROTOCOL or CLOSED, and the particulars for the log."""

    code: str
    detail: str


def rejected(code: str, detail: str, public: str = "") -> Rejected:
    """A failure that trying again by itself does not mend."""
    return Rejected(detail, code=code, public=public or PUBLIC[code](), interrupted=code == CUT_OFF)


def unavailable(code: str, detail: str, retry_after: float | None = None) -> Unavailable:
    """A failure while the agent has seen nothing of the question."""
    return Unavailable(detail, code=code, public=PUBLIC[code](), retry_after=retry_after)


def translate(error: Exception, *, asked: bool) -> DriverError:
    """Our error for one of the library's. `asked`: the agent may have seen the question."""
    code = next((code for kind, code in LIBRARY_ERRORS.items() if isinstance(error, kind)), UNREACHABLE)
    detail = f"{type(error).__name__}: {_detail(error)}"
    if code == PROTOCOL:
        return rejected(PROTOCOL, detail)
    if asked:
        return rejected(TIMEOUT if isinstance(error, TimeoutError) else CUT_OFF, detail)
    return unavailable(UNREACHABLE, detail, _retry_after(error))


def _detail(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):  # its own text holds the address, maybe with a password
        return f"{error.status} {error.message}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is no address"
    return str(error)


def _retry_after(error: Exception) -> float | None:
    """The wait in whole seconds that a 429 or 503 names (RFC 9110, section 10.2.3); a date is not read."""
    if not isinstance(error, aiohttp.ClientResponseError) or error.headers is None:
        return None
    value = error.headers.get("Retry-After", "")
    return min(float(value), 3600.0) if value.isdecimal() and len(value) < 10 else None
