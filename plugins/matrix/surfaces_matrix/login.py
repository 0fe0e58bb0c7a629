"""Gets an access token for the account: the configured one, the kept one, or one for the password."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import string
from dataclasses import dataclass, field
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from surfaces_core import ConfigError, Store, Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.errors import LoggedOut, Refused
from surfaces_matrix.settings import MatrixSettings

_ROW = "login"


class _Kept(BaseModel):
    """What is kept of a login; a token is good for one account on one homeserver only."""

    homeserver: str
    user_id: str
    device_id: str
    access_token: str | None = None


@dataclass(kw_only=True)
class Login:
    """Logs one account in, and in again. `name` is the surface's, for what is said of its settings."""

    name: str
    settings: MatrixSettings
    client: Client
    store: Store
    session: str = field(default="", init=False)
    """Names the login under which the homeserver recognises repeated transaction ids; empty where it never does.

    Made from the token: a device that is logged out and in again keeps its id, but what it sent is forgotten.
    """
    _done: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def recall(self) -> None:
        """Take the session to be that of the last life, until the homeserver is asked."""
        configured = self.settings.access_token
        token = (await self._kept()).access_token if configured is None else configured.get_secret_value()
        self.session = "" if token is None else session_of(token)

    async def confirmed(self, timeout_s: float) -> str:
        """The session once a login of this life went well. `Unavailable` when that takes too long."""
        if not self._done.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._done.wait()
            except TimeoutError:
                raise Unavailable("not logged in to the homeserver yet") from None
        return self.session

    async def __call__(self) -> None:
        """Authorize the client; repeating it finds out whether the token is still good.

        Raises `ConfigError` when the settings cannot work, `Unavailable` when the homeserver does not answer.
        """
        try:
            if self.settings.access_token is not None:
                await self._with_configured_token(self.settings.access_token.get_secret_value())
            else:
                await self._with_password()
        except Unavailable as error:
            # It may pass, or the address is wrong: only who reads the log can tell, and has to know where to look.
            where = f"surfaces.{self.name}.homeserver, {self.settings.homeserver}"
            raise Unavailable(f"{error} ({where})", code=error.code, retry_after=error.retry_after) from error

    async def _with_configured_token(self, token: str) -> None:
        try:
            device_id = await self._who_am_i(token)
        except LoggedOut:
            self._fail("access_token", "the homeserver says that this token is revoked or wrong; set a new one")
        wanted = self.settings.device_id
        if wanted is not None and wanted != device_id:
            self._fail("device_id", f"the access token belongs to the device {device_id or 'without a name'}")
        self._authorize(device_id, token)

    async def _with_password(self) -> None:
        kept = await self._kept()
        if kept.access_token is not None:
            try:
                await self._who_am_i(kept.access_token)
            except LoggedOut:
                kept = kept.model_copy(update={"access_token": None})
        if kept.access_token is None:
            # The device is kept before it is made: a crash in between leaves no stray device behind.
            await self._keep(kept)
            kept = kept.model_copy(update={"access_token": await self._password_login(kept.device_id)})
            await self._keep(kept)
        self._authorize(kept.device_id, str(kept.access_token))

    def _authorize(self, device_id: str, token: str) -> None:
        """Use a token from now on; one without a device has no transaction ids that last."""
        self.client.authorize(device_id, token)
        self.session = session_of(token) if device_id else ""
        self._done.set()

    async def _who_am_i(self, token: str) -> str:
        """The token's device, once its user is known to be ours (Matrix spec, `/account/whoami`)."""
        try:
            answer = await self.client.call_as(token, "GET", "/v3/account/whoami", needs="user_id")
        except Refused as error:
            if self._done.is_set():  # it did before: this is trouble, not a wrong address
                raise Unavailable(str(error), code=error.errcode) from error
            self._fail("homeserver", f"it does not answer as a Matrix homeserver does ({error})")
        self._check_user(answer.get("user_id"))
        return str(answer.get("device_id") or "")

    async def _password_login(self, device_id: str) -> str:
        """A new token (Matrix spec, `/login`); a login with a known device id replaces that device's token."""
        assert self.settings.password is not None
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.settings.user_id},
            "password": self.settings.password.get_secret_value(),
            "device_id": device_id,
            "initial_device_display_name": self.settings.device_name,
        }
        try:
            answer = await self.client.call_as(None, "POST", "/v3/login", body, needs="access_token")
        except (Refused, LoggedOut) as error:
            said = f"the homeserver refused the login of {self.settings.user_id} ({error})"
            self._fail("password", f"{said}; correct user_id or password")
        self._check_user(answer.get("user_id"))
        return str(answer["access_token"])

    def _check_user(self, user_id: object) -> None:
        if user_id != self.settings.user_id:
            self._fail("user_id", f"the homeserver says that this account is {str(user_id)[:255]}")

    def _fail(self, key: str, problem: str) -> NoReturn:
        raise ConfigError(f"surfaces.{self.name}.{key}", problem) from None

    async def _kept(self) -> _Kept:
        """What the store holds for these settings, or a new device without a token."""
        row, settings = await self.store.get(_ROW), self.settings
        try:
            kept = None if row is None else _Kept.model_validate_json(row)
        except ValidationError:
            kept = None
        fits = (
            kept is not None
            and (kept.homeserver, kept.user_id) == (settings.homeserver, settings.user_id)
            and settings.device_id in (None, kept.device_id)
        )
        if kept is not None and fits:
            return kept
        device_id = settings.device_id or "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))
        return _Kept(homeserver=settings.homeserver, user_id=settings.user_id, device_id=device_id)

    async def _keep(self, kept: _Kept) -> None:
        await self.store.put(_ROW, kept.model_dump_json().encode())


def session_of(token: str) -> str:
    """A name that tells nothing about the token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]
