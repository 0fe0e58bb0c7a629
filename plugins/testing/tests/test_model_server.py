"""The model server is one for OpenAI's own client: whatever that expects, it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from surfaces_testing.models import (
    CUT,
    GARBLED,
    REFUSED,
    ModelFault,
    ModelServer,
    Reply,
    ToolUse,
    busy,
    failing,
    waits,
)

WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """One that wants a key."""
    async with ModelServer(key="sesame") as server:
        yield server


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client, which knows the key."""
    async with AsyncOpenAI(base_url=server.base_url, api_key="sesame", max_retries=0) as client:
        yield client


def ask(client: AsyncOpenAI, text: str = "hello", **more: Any) -> Any:
    """A question."""
    return client.chat.completions.create(model="small", messages=[{"role": "user", "content": text}], **more)


async def pieces(stream: Any) -> list[str]:
    """The texts of a stream."""
    return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]


async def test_a_whole_answer(client: AsyncOpenAI):
    """Text, reason and usage in one piece."""
    answer = await ask(client)
    assert answer.choices[0].message.content == "You said: hello. (question 1)"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 18)


async def test_a_streamed_answer(client: AsyncOpenAI):
    """It comes in pieces that join to the whole, and ends with the usage where that was asked for."""
    stream = await ask(client, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "You said: hello. (question 1)"
    assert len([text for text in texts if text]) == 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 18


async def test_tools_are_called_in_pieces(server: ModelServer, client: AsyncOpenAI):
    """The client's own helper puts the arguments together."""
    server.brain = lambda asked: Reply(tools=(ToolUse(name="weather", arguments={"town": "Ulm"}, id="c7"),))
    messages: Any = [{"role": "user", "content": "rain?"}]
    async with client.chat.completions.stream(model="small", messages=messages, tools=[WEATHER]) as stream:
        answer = await stream.get_final_completion()
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("c7", "weather", '{"town": "Ulm"}')
    ]
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_the_list_of_models(client: AsyncOpenAI):
    """Both are there."""
    assert [model.id async for model in client.models.list()] == ["small", "large"]


async def test_a_wrong_key(server: ModelServer):
    """It is refused as OpenAI does it."""
    async with AsyncOpenAI(base_url=server.base_url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await ask(client)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (busy("7"), openai.RateLimitError),
        (failing(503), openai.InternalServerError),
        (REFUSED, openai.BadRequestError),
        (ModelFault(cut=True), openai.APIConnectionError),
    ],
    ids=["429", "503", "400", "cut"],
)
async def test_what_goes_wrong_before_the_answer(
    server: ModelServer, client: AsyncOpenAI, fault: ModelFault, error: type[Exception]
):
    """The client has its own error for each; the next request goes well."""
    server.faults = [fault]
    with pytest.raises(error) as caught:
        await ask(client, stream=True)
    if isinstance(caught.value, openai.RateLimitError):
        assert caught.value.response.headers["retry-after"] == "7"
    assert (await ask(client)).choices


async def test_an_error_within_the_stream(server: ModelServer, client: AsyncOpenAI):
    """What came before it stays."""
    server.faults = [ModelFault(pieces=2, error=True)]
    stream = await ask(client, stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(3)] == ["", "You", " said:"]
    with pytest.raises(openai.APIError):
        await anext(stream)


@pytest.mark.parametrize("fault", [CUT, GARBLED], ids=["cut", "garbled"])
async def test_a_stream_that_breaks(server: ModelServer, client: AsyncOpenAI, fault: ModelFault):
    """A lost connection and nonsense are failures, not ends."""
    server.faults = [fault]
    stream = await ask(client, stream=True)
    with pytest.raises(Exception, match=r"(?s).+"):
        await pieces(stream)


async def test_a_stream_without_an_end(server: ModelServer, client: AsyncOpenAI):
    """It ends, and no reason was given: it is for the client to notice."""
    server.faults = [ModelFault(pieces=1, ends=True)]
    assert await pieces(await ask(client, stream=True)) == ["", "You"]


async def test_hanging_up_is_noticed(server: ModelServer, client: AsyncOpenAI):
    """Whoever closes a stream early frees the server."""
    server.faults = [waits(asyncio.Event(), pieces=1)]
    stream = await ask(client, stream=True)
    assert (await anext(stream)).choices
    await stream.close()
    async with asyncio.timeout(5):
        await server.record.asked[0].hung_up.wait()
    assert not server.record.asked[0].answered
