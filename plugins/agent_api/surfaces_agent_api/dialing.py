"""Owns how a socket comes to be: dialling, and hearing `STATUS` before anything is sent."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp

from surfaces_agent_api import failures
from surfaces_agent_api.connection import CLOSE_TIMEOUT_S, Connection
from surfaces_agent_api.frames import BadFrame, Failed, Status, read_frame
from surfaces_agent_api.settings import AgentApiSettings
from surfaces_agent_api.wire import AgentSocket, tcp_socket
from surfaces_core import Rejected


def client_session() -> aiohttp.ClientSession:
    """A client without cookies, proxies, redirects and a limit on sockets. Make it inside a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=tcp_socket),
        ws_response_class=AgentSocket,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(_upgrade_or_nothing,),
    )


async def dial(session: aiohttp.ClientSession, address: str, settings: AgentApiSettings) -> AgentSocket:
    """A connected socket. Raises `Unavailable`."""
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            socket = await session.ws_connect(
                address,
                autoping=False,  # the reader answers pings, because it wants to see the answers to its own
                autoclose=False,  # nor answers aiohttp a close: it would read on without a break while more comes
                compress=0,
                max_msg_size=settings.max_frame_bytes + 1,  # aiohttp refuses from this size on
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
    except failures.CAUGHT as error:
        raise failures.translate(error, asked=False) from error
    assert isinstance(socket, AgentSocket), "the session makes no others"
    return socket


async def greet(connection: Connection, settings: AgentApiSettings) -> None:
    """Wait for `STATUS`. Raises `Unavailable` when none comes, `Rejected` when something else does."""
    try:
        async with asyncio.timeout(settings.status_timeout_s):
            raw = await connection.first()
    except TimeoutError:
        raise failures.unavailable(failures.NO_STATUS, "no STATUS in time") from None
    ending = connection.ending
    if raw is None and ending is not None and ending.code == failures.PROTOCOL:
        raise failures.rejected(failures.PROTOCOL, ending.detail)
    if raw is None:
        raise failures.unavailable(failures.NO_STATUS, "closed before STATUS" if ending is None else ending.detail)
    refusal = _refusal(raw)
    if refusal is not None:
        raise refusal


def _refusal(raw: str) -> Rejected | None:
    try:
        frame = read_frame(raw)
    except BadFrame as error:
        return failures.rejected(failures.PROTOCOL, f"instead of STATUS: {error}")
    match frame:
        case Status():
            return None
        case Failed(code=code, message=message):
            return failures.rejected(failures.ERROR, f"instead of STATUS, the agent's code: {code or 'none'}", message)
        case _:
            return failures.rejected(failures.PROTOCOL, f"instead of STATUS: {type(frame).__name__}")


async def _upgrade_or_nothing(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Stop at any other answer: a redirect would carry the question to a host that nobody configured.

    And ask once: aiohttp would ask again at once when the connection is lost, which strains an agent that fails.
    """
    try:
        response = await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"{type(error).__name__}: {error}") from error
    if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, (), status=response.status, message="no upgrade", headers=response.headers
        )
    return response
