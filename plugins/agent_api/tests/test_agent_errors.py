"""Every error of the library has a meaning here."""

from __future__ import annotations

import inspect
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError
from yarl import URL

from surfaces_agent_api import AgentApi, AgentApiSettings, AgentOptions
from surfaces_agent_api.failures import CAUGHT, LIBRARY_ERRORS, PUBLIC, translate
from surfaces_core import Rejected, Unavailable

LIBRARY = [
    error
    for error in vars(aiohttp.client_exceptions).values()
    if inspect.isclass(error) and issubclass(error, Exception) and error is not aiohttp.ClientError
]


@pytest.mark.parametrize("error", LIBRARY, ids=lambda error: error.__name__)
def test_library_errors(error: type[Exception]):
    """Each error class of aiohttp's client is caught and has a code of its own or of a base class."""
    assert issubclass(error, CAUGHT)
    assert issubclass(error, tuple(LIBRARY_ERRORS))


def test_walk_finds_errors():
    """The walk goes over what the library has."""
    assert aiohttp.WSServerHandshakeError in LIBRARY
    assert aiohttp.ClientConnectorDNSError in LIBRARY
    assert len(LIBRARY) > 20


def handshake(status: int, retry_after: str) -> aiohttp.WSServerHandshakeError:
    headers = CIMultiDictProxy(CIMultiDict({"Retry-After": retry_after}))
    info = aiohttp.RequestInfo(URL("ws://u:secret@a/"), "GET", headers, URL("ws://u:secret@a/"))
    return aiohttp.WSServerHandshakeError(info, (), status=status, message="no", headers=headers)


@pytest.mark.parametrize(
    ("value", "wait"),
    [("7", 7), ("0", 0), ("", None), ("-1", None), ("Wed, 21 Oct", None), ("9" * 9, 3600), ("²", None)],
)
def test_retry_after(value: str, wait: float | None):
    """A wait in seconds is passed on, bounded; anything else is none."""
    error = translate(handshake(503, value), asked=False)
    assert isinstance(error, Unavailable)
    assert error.retry_after == wait


def test_no_password():
    """A refused upgrade says nothing of a login in the address, not even in the log."""
    assert "secret" not in str(translate(handshake(401, ""), asked=False))
    assert "secret" not in str(translate(aiohttp.InvalidURL("ws://u:secret@a/"), asked=False))


def test_asked():
    """An agent that may have seen the question is never Unavailable."""
    for error, code in ((ConnectionResetError(), "AGENT_CUT_OFF"), (TimeoutError(), "AGENT_TIMEOUT")):
        translated = translate(error, asked=True)
        assert isinstance(translated, Rejected)
        assert translated.code == code


def test_sentences():
    """Every code has a sentence for people that names no internals."""
    for code, sentence in PUBLIC.items():
        assert code not in sentence()
        assert sentence().endswith(".")


def test_agent_options():
    """An agent needs an address that can be one, and nothing that is not known."""
    assert AgentApi.AgentSettings is AgentOptions
    options = AgentOptions.model_validate({"base_url": "http://a.example"})
    assert (options.send_message_id, options.supports_cancel) == (False, False)
    for wrong in ({}, {"base_url": "a.example"}, {"base_url": "http://a.example", "send_messageid": True}):
        with pytest.raises(ValidationError):
            AgentOptions.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status_timeout_s": 0},
        {"idle_timeout_s": float("inf")},
        {"connect_timeout_s": float("nan")},
        {"keepalive_s": -1},
        {"max_frame_bytes": 0},
        {"max_reply_chars": 0},
        {"max_reply_char": 5},
    ],
)
def test_settings(wrong: dict[str, Any]):
    """Settings that cannot work are refused at start."""
    with pytest.raises(ValidationError):
        AgentApiSettings.model_validate(wrong)
