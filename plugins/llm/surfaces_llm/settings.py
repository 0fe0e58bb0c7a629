"""Owns what operators may set: for the transport with its models, and for each of its agents in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, create_model, field_validator, model_validator

import surfaces_core
from surfaces_llm.toolbox.policy import Rule
from surfaces_llm.toolbox.servers import McpServer

Provider = Literal["openai", "anthropic", "google", "ollama", "deepseek", "moonshot"]
BASES: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434/v1",
    "deepseek": "https://api.deepseek.com",
    "moonshot": "https://api.moonshot.ai/v1",
}
"""Where each provider serves unless `base_url` says something else."""
EXTRAS: Mapping[str, str] = {"anthropic": "anthropic", "google": "google.genai"}
"""The library that a provider needs beyond what is always installed; the extra has the provider's name."""
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
SERVER_NAME = r"^[a-z0-9][a-z0-9-]{0,19}$"
Name = Annotated[str, Field(pattern=MODEL_NAME)]


class ModelSettings(surfaces_core.Settings):
    """One model that agents may be given; times in seconds."""

    provider: Provider = Field(
        description="How it is spoken to; `openai` is also right for every server that speaks as OpenAI's does."
    )
    model: str = Field(min_length=1, description="What the provider calls it.")
    base_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#\s@]+(/[^?#\s]*)?$",
        description="Where it serves, without a login; unless set, where the provider itself does "
        "(`ollama`: on this machine).",
    )
    api_key: SecretStr | None = Field(None, description="The key; servers of your own often need none.")
    vision: bool = Field(False, description="It understands pictures.")
    tools: bool = Field(True, description="It can use tools.")
    context_tokens: int = Field(
        32_000, ge=1000, description="How much it takes at once; what was said earliest is left out beyond that."
    )
    weight: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Its share of the conversations where an agent spreads them."
    )
    connect_timeout_s: float = Field(10, gt=0, allow_inf_nan=False, description="How long connecting may take.")
    first_timeout_s: float = Field(
        120, gt=0, allow_inf_nan=False, description="How long it may be silent at first, from the question on."
    )
    idle_timeout_s: float = Field(60, gt=0, allow_inf_nan=False, description="How long it may be silent after that.")

    @model_validator(mode="after")
    def _can_be_spoken_to(self) -> Self:
        library = EXTRAS.get(self.provider)
        if library is not None and not _is_installed(library):
            raise ValueError(f"{self.provider} needs the extra surfaces-llm[{self.provider}]; install it")
        if self.api_key is None and self.base_url is None and self.provider != "ollama":
            raise ValueError(f"{self.provider} needs an api_key")
        return self

    @property
    def address(self) -> str:
        """Where it serves."""
        return (self.base_url or BASES[self.provider]).rstrip("/")


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # what it is a part of is not there
        return False


class LlmSettings(surfaces_core.Settings):
    """Settings of the transport."""

    models: Mapping[Name, ModelSettings] = Field(
        min_length=1, description="The models, each under a name of your own by which agents are given it."
    )
    max_image_bytes: int = Field(5 << 20, ge=1, description="The largest picture that a model is shown, in bytes.")
    max_images: int = Field(
        10, ge=0, description="The most pictures of a conversation that a model is shown at once, the latest."
    )
    max_text_bytes: int = Field(64 << 10, ge=0, description="The largest text file that a model reads, in bytes.")
    tools: Mapping[str, Any] = Field(
        {},
        description="By a tool's name: who may use it (`policy`, `people`, `conversations`), and its own settings.",
    )
    mcp: Mapping[Annotated[str, Field(pattern=SERVER_NAME)], McpServer] = Field(
        {}, description="MCP servers, each under a name of your own, with which its tools begin: `name_tool`."
    )
    max_tool_calls: int = Field(25, ge=1, description="The most tool calls of one answer.")
    max_result_chars: int = Field(50_000, ge=100, description="Of a tool's result the model gets so many characters.")
    ask_timeout_s: float = Field(
        600, gt=0, le=1800, description="How long a person has to say whether a tool may be used."
    )
    max_kept_turns: int = Field(
        500, ge=1, description="The most questions and answers of a conversation that are kept; the oldest go first."
    )

    @model_validator(mode="after")
    def _servers_can_be_spoken_to(self) -> Self:
        if self.mcp and not _is_installed("fastmcp"):
            raise ValueError("mcp needs the extra surfaces-llm[mcp]; install it")
        return self


class LlmOptions(surfaces_core.Settings):
    """What the registry entry of an agent may say beside id, label and workspace."""

    model: tuple[Name, ...] = Field(
        min_length=1,
        description="One of the transport's `models`, or several: where one fails before anything shows, the "
        "next is asked.",
    )
    choose: Literal["in_order", "by_weight"] = Field(
        "in_order",
        description="Which of several is asked first: the first, or one by its `weight`, the same for all of a "
        "conversation.",
    )
    system_prompt: str = Field("", description="What the model is told ahead of every conversation.")
    mode: Literal["kept", "stateless"] = Field(
        "kept",
        description="`kept`: what was said is kept in the host's storage; `stateless`: it is read again from the "
        "messenger each time, and nothing is kept.",
    )
    history_messages: int = Field(20, ge=1, le=200, description="With `stateless`: how many messages are read again.")
    tools: Mapping[str, Rule] = Field(
        {},
        description="Tools that the model may use, as a list, or by name who may use each; `server_*` names a server.",
    )
    max_steps: int = Field(10, ge=1, le=100, description="How often it may be asked for one answer, tools included.")
    max_output_tokens: int | None = Field(None, ge=1, description="The longest answer; the provider's own unless set.")
    max_context_tokens: int | None = Field(
        None, ge=500, description="Take less of a conversation than the model could, which costs less."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="How freely it answers; the model's own unless set."
    )
    turn_timeout_s: float = Field(
        600, gt=0, allow_inf_nan=False, description="How long one answer may take altogether."
    )

    @field_validator("tools", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {name: {} for name in value} if isinstance(value, list | tuple) else value

    @field_validator("model", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a model twice")
        return value


def options_of(check: Callable[[str], None]) -> type[LlmOptions]:
    """The model of an agent's entry whose tools are checked by name. `check` raises `ConfigError`."""

    def there(tools: Mapping[str, Rule]) -> Mapping[str, Rule]:
        for name in tools:
            try:
                check(name)
            except surfaces_core.ConfigError as error:
                raise ValueError(str(error)) from error
        return tools

    return create_model("LlmOptions", __base__=LlmOptions, __validators__={"there": field_validator("tools")(there)})
