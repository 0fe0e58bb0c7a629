"""Waits out what a homeserver does wrong, for as long as it takes, and logs in again where that is what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError, Unavailable
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.errors import LoggedOut, Refused
from surfaces_matrix.login import Login

AWAY_S = 60.0
"""An outage this long counts as having been away."""
LONGEST_WAIT_S = 60.0
"""Whatever a homeserver asks for: to look once a minute harms nobody, and a wrong number would make the bot deaf."""

_T = TypeVar("_T")


class Patience:
    """What one account has had to bear. Trouble is logged once when it begins and once when it is over."""

    def __init__(self, login: Login, backoff: Backoff, log: FilteringBoundLogger) -> None:
        self.backoff = backoff
        self.trouble = "NOT_TRIED"
        """Why the last exchange failed, as a stable word; empty when it went well."""
        self.calm = False
        """Nothing has gone wrong since whoever asks set this."""
        self._login = login
        self._log = log
        self._down_at: float | None = None
        """When it began to fail, on the monotonic clock; None while it goes well."""
        self._may_log_in_again = False

    @property
    def away(self) -> bool:
        """It has failed for so long that people count as having waited for somebody who was away."""
        return self._down_at is not None and time.monotonic() - self._down_at > AWAY_S

    async def log_in(self) -> None:
        """Log in; as `Login`."""
        try:
            await self._login()
        except Unavailable as error:
            self.trouble = error.code
            raise

    async def __call__(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What comes of an attempt in the end. `ConfigError` where the account can't be used any more."""
        while True:
            began = time.monotonic()
            try:
                result = await attempt()
            except LoggedOut as error:
                await self._log_in_again(error)
            except Unavailable as error:
                await self._wait_out(error, began)
            except Refused as error:
                await self._wait_out(Unavailable(str(error), code=error.errcode), began)
            else:
                self._went_well()
                return result

    async def _log_in_again(self, error: LoggedOut) -> None:
        """The token is no longer good. `ConfigError` when a new login can't or did not help."""
        if self._login.settings.access_token is None and not self._may_log_in_again:
            raise ConfigError(
                f"surfaces.{self._login.name}.password", "the homeserver logs the bot out after each login"
            )
        self._log.warning("login.revoked", error=str(error))
        self._may_log_in_again = False
        while True:
            began = time.monotonic()
            try:
                return await self._login()
            except Unavailable as trouble:
                await self._wait_out(trouble, began)

    async def _wait_out(self, error: Unavailable, began: float) -> None:
        """Wait before the next try; one that hung has used up some of the time."""
        self.calm, self.trouble = False, error.code
        if self._down_at is None:
            self._down_at = time.monotonic()
            self._log.warning("sync.down", code=error.code, error=str(error))
        told_s = None if error.retry_after is None else min(error.retry_after, LONGEST_WAIT_S)
        wait_s = self.backoff.next(told_s)
        if told_s is None:
            wait_s = max(min(wait_s, self.backoff.least_s), wait_s - (time.monotonic() - began))
        await asyncio.sleep(wait_s)

    def _went_well(self) -> None:
        self._may_log_in_again, self.trouble = True, ""
        if self._down_at is not None:
            self._log.info("sync.back", seconds=round(time.monotonic() - self._down_at, 1))
            self._down_at = None
