"""Each provider is spoken to in its own way, with what is configured and nothing else; unused ones cost nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from surfaces_llm import LlmOptions, LlmSettings, settings
from surfaces_testing.models import CUT, ModelServer, Reply, ToolUse, busy, remembers

KEY = "sesame"
PROVIDERS = ["openai", "ollama", "deepseek", "moonshot", "anthropic", "google"]
WAYS = {"anthropic": "/v1/messages", "google": "/v1beta/models/m:streamGenerateContent"}


def spoken(provider: str, server: ModelServer) -> dict[str, Any]:
    """What is said of a model of this provider."""
    base = server.url if provider in WAYS else server.base_url
    return {"provider": provider, "model": "m", "base_url": base, "api_key": KEY, "vision": True}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_provider(provider: str, talking: Any):
    """Prompt, memory, pictures, tokens and failures, over the provider's own protocol."""
    server = ModelServer(key=KEY, port=0)
    async with server:
        entry = spoken(provider, server)
        async with talking(models={"small": entry}, options={"system_prompt": "Be kind."}) as talk:
            talk.files.contents["w"]["cat.png"] = b"\x89PNG\r\n\x1a\n" + bytes(50)
            assert (await talk.transport.check(talk.agent)).reachable
            first = await talk.ask("one", attachments=("cat.png",))
            assert (first.failure, first.text) == (None, "You said: [Picture cat.png]\n\none. (question 1)")
            assert first.tokens == 18
            assert (await talk.ask("two")).text == "You said: two. (question 2)"
            asked = server.record.asked[-1]
            assert asked.path == WAYS.get(provider, "/v1/chat/completions")
            assert (asked.model, asked.images) == ("m", 1)
            assert asked.said[0] == ("system", "Be kind.")
            server.faults = [busy("5")]
            assert (await talk.ask("three")).code == "LLM_BUSY"
            server.faults = [CUT]
            cut = await talk.ask("four")
            assert (cut.text, cut.code) == ("You", "LLM_CUT_OFF")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_nothing_of_the_environment_goes_to_a_server(
    provider: str, talking: Any, monkeypatch: pytest.MonkeyPatch
):
    """Neither accounts nor headers that are there for other programs, nor is a proxy of theirs asked."""
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.setenv(name, "leak")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Other: leak")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with ModelServer(key=KEY) as server, talking(models={"small": spoken(provider, server)}) as talk:
        assert (await talk.transport.check(talk.agent)).reachable
        assert (await talk.ask("one")).text == "You said: one. (question 1)"
        assert "leak" not in str(server.record.asked[0].headers)
        assert os.environ["OPENAI_ORG_ID"] == "leak"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_wrong_key(provider: str, talking: Any):
    """It is told by the look at the agent and by its first question, and stands in no log."""
    async with ModelServer(key="another") as server, talking(models={"small": spoken(provider, server)}) as talk:
        assert (await talk.transport.check(talk.agent)).code == "LLM_SETUP"
        heard = await talk.ask()
        assert heard.code == "LLM_SETUP"
        assert KEY not in str(heard.failure)


async def test_a_look_at_several_models(talking: Any):
    """One that is there is enough."""
    gone = {"base_url": "http://127.0.0.1:1/v1"}
    async with talking(options={"model": ["small", "large"]}, models={"small": gone}) as talk:
        assert (await talk.transport.check(talk.agent)).reachable
        alone = replace(talk.agent, options={"model": "small"})
        assert (await talk.transport.check(alone)).code == "LLM_UNREACHABLE"
        assert talk.server.record.asked == []


async def test_agents_whose_models_are_not_there(talking: Any):
    """`surfaces check` names them, without asking anybody."""
    async with talking() as talk:
        some = replace(talk.agent, id="b", options={"model": ["huge", "small"]})
        none = replace(talk.agent, id="c", options={"model": "huge"})
        found = await talk.transport.examine([talk.agent, some, none])
        assert [(finding.said, finding.level) for finding in found] == [
            ("agent b: no model is named huge; there are: large, small", "doubtful"),
            ("agent c: no model is named huge; there are: large, small", "wrong"),
        ]


async def test_what_is_published(talking: Any):
    """`!settings` names the model and what it remembers, in words for people."""
    async with talking() as talk:
        (section,) = await talk.transport.describe(talk.agent)
        assert section.markdown() == (
            "**Model**\n- Model: `small`\n- It remembers this conversation until it is cleared."
        )
        forgetful = replace(talk.agent, options={"model": ["small", "large"], "mode": "stateless"})
        (section,) = await talk.transport.describe(forgetful)
        assert section.lines == (
            "Model: `small`, `large`",
            "It keeps nothing: each time it reads the last 20 messages here.",
        )


# The library's own test models --------------------------------------------------------------------


async def with_model(talk: Any, model: Model) -> Any:
    """What the model answers in the place of `small`."""
    speakers = talk.transport._speaking._speakers
    speakers["small"] = replace(speakers["small"], model=model)
    return await talk.ask("hello")


async def test_the_librarys_test_model(talking: Any):
    """It answers, and its answer is kept."""
    async with talking() as talk:
        assert (await with_model(talk, TestModel(custom_output_text="canned words"))).text == "canned words"
        assert len(talk.store.rows) == 1


async def test_the_librarys_function_model(talking: Any):
    """It is told what any model is told."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield f"{len(messages)} "
        yield str(info.instructions)

    async with talking(options={"system_prompt": "Be kind."}) as talk:
        heard = await with_model(talk, FunctionModel(stream_function=stream))
        assert (heard.text, heard.pieces) == ("1 Be kind.", 2)


# Tools, as far as the loop goes -------------------------------------------------------------------


async def test_a_model_that_only_uses_tools_is_brought_to_an_end(talking: Any):
    """After so many steps it must say something; unknown tools are told to be unknown."""
    async with talking(options={"max_steps": 3}) as talk:
        talk.server.brain = lambda asked: Reply(tools=(ToolUse(name="weather"),))
        heard = await talk.ask()
        assert len(talk.server.record.asked) == 3
        assert heard.tokens == 54
        assert ("tool", '{"error":"There is no such tool."}') in talk.last
        talk.server.brain = remembers
        await talk.ask("and now?")
        called = [call["id"] for message in talk.sent for call in message.get("tool_calls", ())]
        assert called == [message["tool_call_id"] for message in talk.sent if message["role"] == "tool"]


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "missing"),
        ({"models": {}}, "at least 1"),
        ({"models": {"a b": {"provider": "ollama", "model": "m"}}}, "pattern"),
        ({"models": {"a": {"provider": "openai", "model": "m"}}}, "openai needs an api_key"),
        ({"models": {"a": {"provider": "nobody", "model": "m"}}}, "Input should be"),
        ({"models": {"a": {"provider": "ollama", "model": "m", "base_url": "ftp://x"}}}, "pattern"),
        ({"models": {"a": {"provider": "ollama", "model": "m", "base_url": "http://u:p@x"}}}, "pattern"),
        ({"models": {"a": {"provider": "ollama", "model": "m", "weight": 0}}}, "greater than 0"),
        ({"models": {"a": {"provider": "ollama", "model": "m", "visoin": True}}}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, Any], said: str):
    """They are refused at start."""
    with pytest.raises(ValidationError, match=said if said != "missing" else "Field required"):
        LlmSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"model": []}, {"model": ["a", "a"]}, {"model": "a", "mode": "both"}, {"model": "a", "max_steps": 0}],
)
def test_agents_that_cannot_work(wrong: dict[str, Any]):
    """So are they."""
    with pytest.raises(ValidationError):
        LlmOptions.model_validate(wrong)


@pytest.mark.parametrize("provider", ["anthropic", "google"])
def test_a_missing_extra_is_named(provider: str, monkeypatch: pytest.MonkeyPatch):
    """One line that says what to install."""
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=rf"surfaces-llm\[{provider}\]"):
        LlmSettings.model_validate({"models": {"a": {"provider": provider, "model": "m", "api_key": "k"}}})


def test_a_config_with_models_imports_no_model_library():
    """Checking the settings costs no second: the libraries are imported when the transport is opened."""
    code = (
        "import sys, surfaces_llm;"
        "surfaces_llm.LlmSettings.model_validate({'models': {'a': {'provider': 'ollama', 'model': 'm'}}});"
        "print([name for name in ('pydantic_ai', 'openai', 'httpx2', 'anthropic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
