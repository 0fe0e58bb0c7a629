"""What a homeserver's or aiohttp's failure means to the host; the one place where that is decided.

DriverError
├── Unavailable
│   ├── TooLarge     the answer is bigger than what was allowed
│   ├── Unexplained  an answer with a `status` alone: a proxy's page, or a homeserver that says too little
│   ├── ServerError  the homeserver itself failed at this request; it may not fail at others
│   └── LoggedOut    the access token is no longer good; `sync` decides what follows from that
└── Rejected
    ├── Refused      the homeserver said no, with `status` and `errcode`
    └── Encrypted    the room is encrypted, what would be said could be read by others
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from typing import Any

import aiohttp

from surfaces_core import Rejected, Unavailable
from surfaces_matrix.shapes import text

LIBRARY_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)
"""All that aiohttp raises for what the network or the far side does; `OSError` covers TLS and sockets."""

_LOGGED_OUT = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"})
_LATER = frozenset({"M_LIMIT_EXCEEDED", "M_USER_LOCKED", "M_NOT_YET_UPLOADED"})
_LATER_STATUS = frozenset({408, 425, 429})
_LONGEST_WAIT_S = 3600.0
"""Nobody means more than this: a longer wait is a mistake, and counts as none."""
_LONGEST_OUTAGE_S = 60.0
"""A server that is down only guesses when it is back: to look once a minute harms nobody."""


class TooLarge(Unavailable):
    """The far side sends more than was allowed; asking for less may work."""


class Unexplained(Unavailable):
    """An answer that is no success, without a Matrix error code."""

    def __init__(self, message: str, *, status: int, retry_after: float | None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status


class ServerError(Unavailable):
    """The homeserver answered, in Matrix's words, that it failed (status 500 and above)."""


class LoggedOut(Unavailable):
    """The access token is not, or no longer, good (Matrix spec, "Using access tokens")."""


class Refused(Rejected):
    """The homeserver refused a request and would refuse it again."""

    def __init__(self, message: str, *, status: int, errcode: str) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode


class Encrypted(Rejected):
    """Words would leave as plain text into a room whose people trust in encryption."""

    code = "ENCRYPTED"


def from_library(error: BaseException, what: str) -> Unavailable:
    """One of `LIBRARY_ERRORS`, raised while doing `what`."""
    if isinstance(error, TimeoutError):
        return Unavailable(f"{what}: no answer in time")
    return Unavailable(f"{what}: {type(error).__name__} {error}".rstrip())


def from_answer(status: int, headers: Mapping[str, str], answer: object, what: str) -> Unavailable | Refused:
    """An answer to `what` that is no success; `answer` is its parsed body, or None when it was no JSON.

    Without a Matrix error code it was not the homeserver that answered (a proxy's page, a wrong
    path): that may pass.
    """
    body: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    errcode = text(body.get("errcode"))
    leads_to = f", leads to {headers['Location'][:200]}" if "Location" in headers else ""
    said = f"{what}: {status} {errcode or 'without a Matrix error'}{leads_to}"
    if errcode in _LOGGED_OUT:
        return LoggedOut(said)
    retry_after = _retry_after(headers, body)
    if errcode is not None and status >= 500:
        return ServerError(said, retry_after=_briefly(retry_after))
    if status in _LATER_STATUS or errcode in _LATER:
        return Unavailable(said, retry_after=retry_after)
    if errcode is None:
        return Unexplained(said, status=status, retry_after=_briefly(retry_after))
    return Refused(f"{said} {str(body.get('error', ''))[:200]}".rstrip(), status=status, errcode=errcode)


def _briefly(retry_after: float | None) -> float | None:
    return None if retry_after is None else min(retry_after, _LONGEST_OUTAGE_S)


def _retry_after(headers: Mapping[str, str], body: Mapping[str, Any]) -> float | None:
    """Seconds from the header (RFC 9110, "Retry-After") or from `retry_after_ms`; None for what makes no sense."""
    told = _header_wait(headers.get("Retry-After", ""), headers.get("Date", ""))
    if told is None:
        milliseconds = body.get("retry_after_ms")
        if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
            told = milliseconds / 1000
    return told if told is not None and 0 <= told <= _LONGEST_WAIT_S else None


def _header_wait(value: str, date: str) -> float | None:
    """A number of seconds, or a date, which is compared with that of the answer: our clock may be another."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    then, now = http_date(value), http_date(date)
    return None if then is None else then - (time.time() if now is None else now)


@lru_cache(maxsize=8)
def http_date(value: str) -> float | None:
    """Unix seconds; kept, for a homeserver says the same for a second."""
    try:
        parts = parsedate_tz(value)
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
