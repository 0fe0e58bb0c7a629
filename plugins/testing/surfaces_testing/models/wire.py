"""Owns how answers look on the wire, for each of the providers' ways of speaking.

Every `…_events` gives the JSON objects of a stream, with None where a piece of text ends: faults happen there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from surfaces_testing.models.replies import Reply

Json = Mapping[str, Any]
ANTHROPIC_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
GEMINI_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def openai_events(model: str, reply: Reply, *, usage: bool) -> Iterator[Json | None]:
    """Chat completion chunks."""

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**_openai_head(model, "chat.completion.chunk"), "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in reply.pieces:
        yield None
        yield chunk({"content": piece})
    for index, use in enumerate(reply.tools):
        text = json.dumps(use.arguments)
        call = {"index": index, "id": use.id, "type": "function", "function": {"name": use.name, "arguments": ""}}
        yield chunk({"tool_calls": [call]})
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
    yield None
    yield chunk({}, reply.reason)
    if usage:
        yield {**_openai_head(model, "chat.completion.chunk"), "choices": [], "usage": _openai_usage(reply)}


def openai_whole(model: str, reply: Reply) -> Json:
    """A chat completion in one piece."""
    calls = [
        {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.arguments)}}
        for use in reply.tools
    ]
    message = {"role": "assistant", "content": reply.text or None, "refusal": None}
    choice = {"index": 0, "message": {**message, **({"tool_calls": calls} if calls else {})}, "logprobs": None}
    return {
        **_openai_head(model, "chat.completion"),
        "choices": [{**choice, "finish_reason": reply.reason}],
        "usage": _openai_usage(reply),
    }


def _openai_head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": model}


def _openai_usage(reply: Reply) -> Json:
    total = reply.tokens_in + reply.tokens_out
    return {"prompt_tokens": reply.tokens_in, "completion_tokens": reply.tokens_out, "total_tokens": total}


def anthropic_events(model: str, reply: Reply) -> Iterator[Json | None]:
    """The events of a message."""
    head: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    usage = {"input_tokens": reply.tokens_in, "output_tokens": 0}
    yield {"type": "message_start", "message": {**head, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for piece in reply.pieces:
        yield None
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    for index, use in enumerate(reply.tools, 1):
        block = {"type": "tool_use", "id": use.id, "name": use.name, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": block}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(use.arguments)}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield None
    reason = ANTHROPIC_REASONS.get(reply.reason, "end_turn")
    ending = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": reply.tokens_out}}
    yield {"type": "message_stop"}


def gemini_events(model: str, reply: Reply) -> Iterator[Json | None]:
    """The chunks of generated content."""

    def chunk(parts: list[Json], **more: Any) -> Json:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
        return {"candidates": [candidate], "modelVersion": model, "responseId": "r1"}

    for piece in reply.pieces:
        yield None
        yield chunk([{"text": piece}])
    for use in reply.tools:
        yield chunk([{"functionCall": {"name": use.name, "args": dict(use.arguments)}}])
    yield None
    usage = {
        "promptTokenCount": reply.tokens_in,
        "candidatesTokenCount": reply.tokens_out,
        "totalTokenCount": reply.tokens_in + reply.tokens_out,
    }
    last = chunk([{"text": ""}], finishReason=GEMINI_REASONS.get(reply.reason, "STOP"))
    yield {**last, "usageMetadata": usage}
