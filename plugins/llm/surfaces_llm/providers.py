"""Owns how each provider's models are made: which class, which client, which address."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from ssl import SSLContext

import httpx2
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider as LibraryProvider

from surfaces_llm.settings import BASES, ModelSettings

NO_KEY = "none"
"""What is sent as a key where none is set; without any the libraries would look for one in the environment."""
STRICT = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
"""An answer that just ends was cut off."""


ENVIRONMENT = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")
"""How the variables begin in which the libraries look for keys, accounts, addresses and headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A model that can be asked."""

    name: str
    """The operator's."""
    settings: ModelSettings
    model: Model
    client: httpx2.AsyncClient


@asynccontextmanager
async def speaker(name: str, settings: ModelSettings) -> AsyncIterator[Speaker]:
    """A model with an HTTP client of its own, as long as the block lasts."""
    timeout = httpx2.Timeout(settings.first_timeout_s, connect=settings.connect_timeout_s)
    async with httpx2.AsyncClient(timeout=timeout, verify=_trusted(), trust_env=False) as client:
        with _no_environment():
            model = _model(settings, client)
        yield Speaker(name=name, settings=settings, model=model, client=client)


@contextmanager
def _no_environment() -> Iterator[None]:
    """What is configured is all that the libraries know: what else they find would go to any `base_url`."""
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(ENVIRONMENT)}
    try:
        yield
    finally:
        os.environ.update(hidden)


@cache
def _trusted() -> SSLContext:
    """The certificates that every client trusts: loading them for each would take most of its making."""
    return httpx2.create_ssl_context()


def _model(settings: ModelSettings, client: httpx2.AsyncClient) -> Model:
    key = settings.api_key.get_secret_value() if settings.api_key else NO_KEY
    match settings.provider:
        case "anthropic":
            return _anthropic(settings, key, client)
        case "google":
            return _google(settings, key, client)
        case _:
            provider = _openai_like(settings, key, client)
            return OpenAIChatModel(settings.model, provider=provider, profile=STRICT)


def _openai_like(settings: ModelSettings, key: str, client: httpx2.AsyncClient) -> LibraryProvider[AsyncOpenAI]:
    sdk = AsyncOpenAI(base_url=settings.address, api_key=key, http_client=client, max_retries=0)
    match settings.provider:
        case "ollama":
            from pydantic_ai.providers.ollama import OllamaProvider

            return OllamaProvider(openai_client=sdk)
        case "deepseek":
            from pydantic_ai.providers.deepseek import DeepSeekProvider

            return DeepSeekProvider(openai_client=sdk)
        case "moonshot":
            from pydantic_ai.providers.moonshotai import MoonshotAIProvider

            return MoonshotAIProvider(openai_client=sdk)
        case _ if settings.address == BASES["openai"]:
            from pydantic_ai.providers.openai import OpenAIProvider

            return OpenAIProvider(openai_client=sdk)
        case _:
            from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

            return OpenAICompatibleProvider("compatible", openai_client=sdk)


def _anthropic(settings: ModelSettings, key: str, client: httpx2.AsyncClient) -> Model:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    sdk = AsyncAnthropic(base_url=settings.address, api_key=key, http_client=client, max_retries=0)
    return AnthropicModel(settings.model, provider=AnthropicProvider(anthropic_client=sdk))


def _google(settings: ModelSettings, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    provider = GoogleProvider(api_key=key, http_client=client, base_url=settings.address)
    return GoogleModel(settings.model, provider=provider)
