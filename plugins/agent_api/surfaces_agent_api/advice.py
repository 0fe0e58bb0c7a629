"""Owns what an operator is told of an agent that was not reached: what it looks like from here, and what to look at."""

from __future__ import annotations

import aiohttp

from surfaces_agent_api import failures
from surfaces_core import DriverError

NOT_HEARD = {
    failures.NO_STATUS: "connected, but no STATUS came: is this an agent, and does its start-up finish?",
    failures.PROTOCOL: "something that does not speak AgentApi answers there: correct base_url",
}
HTTP = {
    401: "its door wants a login",
    403: "its door lets nobody in from here",
    404: "there is no agent at this path: correct base_url, or the routes of the proxy in front",
    429: "it has too much to do",
}


def advice(error: DriverError) -> str:
    """What to look at, for an error of connecting; empty where nothing is known."""
    cause = error.__cause__
    match cause:
        case aiohttp.ClientResponseError(status=status) if status >= 500:
            return "the agent, or the proxy in front of it, is not ready: look at its log"
        case aiohttp.ClientResponseError(status=status):
            return HTTP.get(status, "something else than an agent answers there: correct base_url")
        case aiohttp.ClientConnectorDNSError():
            return "no such host name is known here: correct base_url"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted here: use the name it is for, or let SSL_CERT_FILE name its issuer"
        case aiohttp.ClientSSLError():
            return "it does not speak TLS there: is it http:// instead of https://?"
        case aiohttp.ClientConnectorError():
            return "nothing listens there: is the agent started, and base_url right?"
        case aiohttp.ClientConnectionError():
            return "it hung up without an answer: is it https:// instead of http://?"
        case TimeoutError():
            return "no answer in time: is a firewall between, or is it overloaded?"
        case _:
            return NOT_HEARD.get(error.code, "")
