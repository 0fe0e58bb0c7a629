"""Owns the errors of this driver: their codes, their sentences, and how the libraries' errors become them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx2
import openai
from pydantic_ai import exceptions

from surfaces_core import DriverError, Rejected, Sentence, Unavailable
from surfaces_llm import words

UNREACHABLE: Final = "LLM_UNREACHABLE"
BUSY: Final = "LLM_BUSY"
TIMEOUT: Final = "LLM_TIMEOUT"
OVERTIME: Final = "LLM_OVERTIME"
CUT_OFF: Final = "LLM_CUT_OFF"
PROTOCOL: Final = "LLM_PROTOCOL"
SETUP: Final = "LLM_SETUP"
QUOTA: Final = "LLM_QUOTA"
REFUSED: Final = "LLM_REFUSED"
FILTERED: Final = "LLM_FILTERED"
TOO_LONG: Final = "LLM_TOO_LONG"
CLOSED: Final = "LLM_CLOSED"
"""This side ended the turn: the driver ends."""

PUBLIC: Mapping[str, Sentence] = {
    UNREACHABLE: words.UNREACHABLE,
    BUSY: words.BUSY,
    TIMEOUT: words.TIMEOUT,
    OVERTIME: words.OVERTIME,
    CUT_OFF: words.CUT_OFF,
    PROTOCOL: words.PROTOCOL,
    SETUP: words.SETUP,
    QUOTA: words.QUOTA,
    REFUSED: words.REFUSED,
    FILTERED: words.FILTERED,
    TOO_LONG: words.TOO_LONG,
    CLOSED: words.CUT_OFF,
}
TRANSIENT = frozenset({UNREACHABLE, BUSY, TIMEOUT})
"""Later it may go well."""
FINAL = frozenset({REFUSED, FILTERED, TOO_LONG, CLOSED, OVERTIME})
"""Another model would not be asked the same with more luck, or there is no time for it."""

LIBRARY_ERRORS: Mapping[type[Exception], str] = {
    exceptions.ModelQuotaExceededError: QUOTA,
    exceptions.ModelRateLimitError: BUSY,
    exceptions.ModelUnavailableError: BUSY,
    exceptions.ModelServerError: UNREACHABLE,
    exceptions.ModelTimeoutError: TIMEOUT,
    exceptions.ModelConnectionError: UNREACHABLE,
    exceptions.ModelRequestTimeout: TIMEOUT,
    exceptions.ModelContextWindowExceededError: TOO_LONG,
    exceptions.ModelAuthenticationError: SETUP,
    exceptions.ModelNotFoundError: SETUP,
    exceptions.ModelRequestRejectedError: REFUSED,
    exceptions.ModelHTTPError: PROTOCOL,
    exceptions.ContentFilterError: FILTERED,
    exceptions.ModelAPIError: UNREACHABLE,
    exceptions.UnexpectedModelBehavior: PROTOCOL,
    exceptions.AgentRunError: PROTOCOL,
    exceptions.UserError: SETUP,
    httpx2.TimeoutException: TIMEOUT,
    httpx2.InvalidURL: SETUP,
    httpx2.HTTPError: UNREACHABLE,
    httpx2.StreamError: UNREACHABLE,
    openai.OpenAIError: PROTOCOL,
    TimeoutError: TIMEOUT,
    OSError: UNREACHABLE,
}
"""By base class, the special ones first: what an error means while nothing of an answer showed."""
CAUGHT: tuple[type[Exception], ...] = tuple(LIBRARY_ERRORS)
"""What asking a model may raise."""
LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a model gave no answer."""

    code: str
    detail: str
    """For the log: no texts of the conversation and no keys."""
    retry_after: float | None = None

    @property
    def passes_on(self) -> bool:
        """Whether another model is to be asked."""
        return self.code not in FINAL

    def error(self, *, came: bool) -> DriverError:
        """What the host is told; `came`: some of the answer showed, or a tool was used."""
        public = PUBLIC[self.code]()
        if came:
            code = CUT_OFF if self.code in TRANSIENT or self.code == PROTOCOL else self.code
            return Rejected(self.detail, code=code, public=PUBLIC[code](), interrupted=code == CUT_OFF)
        if self.code in TRANSIENT:
            return Unavailable(self.detail, code=self.code, public=public, retry_after=self.retry_after)
        return Rejected(self.detail, code=self.code, public=public)


def translate(error: Exception) -> Failure:
    """What one of the libraries' errors means."""
    code = next(code for kind, code in LIBRARY_ERRORS.items() if isinstance(error, kind))
    status = getattr(error, "status_code", None)
    if code == PROTOCOL and isinstance(status, int):
        code = _of_status(status)
    wait = getattr(error, "retry_after", None)
    return Failure(
        code=code,
        detail=_detail(error, status),
        retry_after=min(float(wait), LONGEST_WAIT_S) if isinstance(wait, int | float) and wait >= 0 else None,
    )


def _of_status(status: int) -> str:
    """For the statuses that no provider has a better word for."""
    if status in (408, 409, 425) or status >= 500:
        return UNREACHABLE
    if status == 429:
        return BUSY
    return SETUP if status in (401, 403, 404, 405) else REFUSED


def _detail(error: Exception, status: object) -> str:
    # messages of providers may repeat the question or parts of a key
    name = type(error).__name__
    cause = type(error.__cause__).__name__ if error.__cause__ is not None else ""
    provider = getattr(error, "provider_error_code", None)
    said = provider if isinstance(provider, str) and provider.replace("_", "").isalnum() else ""
    return " ".join(part for part in (name, str(status or ""), said, f"({cause})" if cause else "") if part)
