"""A look at the homeserver and the login before a start, for `surfaces check`; leaves no device behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

from yarl import URL

from surfaces_core import Finding, Unavailable
from surfaces_matrix.client import SKEW_S, Client
from surfaces_matrix.errors import LoggedOut, Refused
from surfaces_matrix.settings import MatrixSettings


async def examine(settings: MatrixSettings) -> AsyncIterator[Finding]:
    """Whether the homeserver answers, how its clock differs, whether the account can be used, and who is let in."""
    async with Client(settings.homeserver, settings.user_id, timeout_s=10.0) as client:
        try:
            versions = await client.call_as(None, "GET", "/versions")
        except (Unavailable, Refused) as error:
            said = f"{settings.homeserver}: {error}; is this the address of a homeserver, and does it run?"
            if settings.homeserver.startswith("https:"):
                said += " https was tried: where it speaks no TLS, write http"
            yield Finding(what="homeserver", said=said, level="wrong")
            return
        yield _homeserver(settings, versions)
        yield _clock(client.clock_ahead_s)
        yield await _login(settings, client)
    for pattern in settings.allow_users or ():
        if pattern in {"*", "@*", "@*:*"}:
            said = f"allow_users: {pattern} lets everybody of every homeserver in; name people or servers"
            yield Finding(what="people", said=said, level="doubtful")


def _homeserver(settings: MatrixSettings, versions: dict[str, Any]) -> Finding:
    known = versions.get("versions")
    if not isinstance(known, list) or not known:
        said = f"{settings.homeserver}: does not answer as a homeserver does; is this the address of its client API?"
        return Finding(what="homeserver", said=said, level="wrong")
    said = f"{settings.homeserver}: {str(known[-1])[:20]}"
    if not _private(settings.homeserver):
        return Finding(what="homeserver", said=f"{said}, without TLS over a network; use https", level="doubtful")
    return Finding(what="homeserver", said=said)


def _private(address: str) -> bool:
    """Nobody between can read along: TLS, this machine, or a network without public names and addresses."""
    url = URL(address)
    host = url.host or ""
    try:
        return url.scheme == "https" or ip_address(host).is_private
    except ValueError:
        return "." not in host


def _clock(ahead_s: float | None) -> Finding:
    if ahead_s is None:
        return Finding(what="clock", said="the homeserver does not say what time it is")
    if abs(ahead_s) <= SKEW_S:
        return Finding(what="clock", said="as the homeserver's")
    where = "ahead of" if ahead_s > 0 else "behind"
    said = f"{abs(ahead_s):.0f} s {where} the homeserver's; set it, for what is young and old is told by it"
    return Finding(what="clock", said=said, level="doubtful")


async def _login(settings: MatrixSettings, client: Client) -> Finding:
    what = "password" if settings.access_token is None else "access_token"
    try:
        found = await _whose(settings, client)
    except Unavailable as error:
        if not isinstance(error, LoggedOut):
            return Finding(what="login", said=f"cannot be tried now: {error}", level="doubtful")
        return Finding(
            what="login", said=f"{what}: the homeserver says that it is revoked or wrong; set a new one", level="wrong"
        )
    except Refused as error:
        said = f"{what}: the homeserver refused the login of {settings.user_id} ({error}); correct user_id or {what}"
        return Finding(what="login", said=said, level="wrong")
    if found != settings.user_id:
        return Finding(
            what="login",
            said=f"user_id: this account is {str(found)[:255]}; write that, or take a {what} of the other",
            level="wrong",
        )
    return Finding(what="login", said=settings.user_id)


async def _whose(settings: MatrixSettings, client: Client) -> object:
    """Whom a token, or a login that is ended at once, belongs to."""
    if settings.access_token is not None:
        token = settings.access_token.get_secret_value()
        return (await client.call_as(token, "GET", "/v3/account/whoami")).get("user_id")
    assert settings.password is not None
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": settings.user_id},
        "password": settings.password.get_secret_value(),
        "initial_device_display_name": "surfaces check",
    }
    answer = await client.call_as(None, "POST", "/v3/login", body, needs="access_token")
    await client.call_as(str(answer["access_token"]), "POST", "/v3/logout", {})
    return answer.get("user_id")
