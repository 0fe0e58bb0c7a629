"""What a config says: the host's own settings, the drivers it names, and whose agents are whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

from surfaces_core._config.listening import check_listen, parted
from surfaces_core._config.sources import Place, Source
from surfaces_core.contracts import Settings
from surfaces_core.errors import ConfigError
from surfaces_core.events import Agent


class LimitSettings(Settings):
    """`host.limits:` in the config: what each person may do, over all their conversations. Operators may do more."""

    messages_per_minute: int | None = Field(
        None, ge=1, description="How many messages are taken of a person in a minute; further ones are declined."
    )
    concurrent_turns: int | None = Field(
        None, ge=1, description="How many turns of a person run side by side; further ones wait for these."
    )
    queue_depth: int | None = Field(
        None, ge=1, description="How many messages of a person may wait; further ones are declined."
    )


class OpsSettings(Settings):
    """`ops:` in the config."""

    listen: str = Field(
        "127.0.0.1:9400",
        description="Where `/` (a page for operators), `/livez`, `/readyz` and `/metrics` answer, as address:port.",
    )

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, value: str) -> str:
        return check_listen(value)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return parted(self.listen)


class PushToken(Settings):
    """One of `push.tokens`."""

    secret: SecretStr = Field(min_length=16, description="What its holder sends as `Authorization: Bearer …`.")
    agents: tuple[str, ...] = Field((), description="Ids of the agents in whose conversations it may speak; none: all.")


class PushSettings(Settings):
    """`push:` in the config."""

    listen: str = Field("127.0.0.1:9401", description="Where `POST /v1/push` is taken, as address:port.")
    tokens: Mapping[str, PushToken] = Field(min_length=1, description="Who may push, each under a name of your own.")
    per_minute: int = Field(120, ge=1, description="How many pushes of one token are taken in a minute.")
    max_bytes: int = Field(65_536, ge=1024, le=1_048_576, description="The largest push.")

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, value: str) -> str:
        return check_listen(value)


class HostSettings(Settings):
    """`host:` in the config."""

    locale: Literal["en", "ru", "zh"] = Field(
        "en", description="The language of people who have not chosen one with `!language`."
    )
    max_concurrent_turns: int = Field(64, ge=1, le=10_000, description="How many turns run side by side.")
    show_tools: Literal["off", "compact", "full"] = Field(
        "compact",
        description="What a running answer shows of the agent's tools: nothing, the present one, or all so far.",
    )
    edit_window_s: float = Field(
        300.0, ge=0, description="How long after a message an edit of it restarts its turn, while that still runs."
    )
    max_lane_depth: int = Field(100, ge=1, description="How many messages of one conversation may wait.")
    limits: LimitSettings = Field(LimitSettings(), description="Limits for each person; without them there are none.")
    shutdown_grace_s: float = Field(20, ge=0, description="How long running turns may go on after SIGTERM.")
    agent_choice: Literal["fixed", "per_person", "per_conversation"] = Field(
        "fixed",
        description="Whether people may choose their agent with `!agent`: not at all, one for all of their "
        "conversations, or one for each.",
    )
    contact: str = Field("", description="Whom people without an agent are told to ask, like an address or a name.")
    operators: tuple[str, ...] = Field((), description="Native ids of people who may use operator commands.")
    prefix: str = Field("!", pattern=r"^[^\w\s]{1,3}$", description="What commands begin with: one to three signs.")
    max_tries: int = Field(8, ge=1, description="Tries of a turn whose agent cannot be reached.")
    retry_base_s: float = Field(1.0, gt=0, description="The first wait between tries; it doubles each time.")
    retry_cap_s: float = Field(60.0, gt=0, description="The longest wait between tries.")
    on_interrupt: Literal["auto", "retry", "notify"] = Field(
        "auto",
        description="After a crash in the middle of an answer: ask the agent again, or say so. `auto` asks again "
        "where nothing of the answer was shown and the agent recognises a repeat.",
    )
    save_prompt: str = Field(
        "Write down what matters of our conversation so far, so that you can go on from it later without anything "
        "else: facts, decisions, open points, wishes. Answer with nothing but that.",
        min_length=1,
        max_length=4000,
        description="What an agent is asked for a save point.",
    )
    load_prompt: str = Field(
        "What follows you wrote down of an earlier conversation with me. Take it as known from now on, and tell me in "
        "one or two sentences where we stand.",
        min_length=1,
        max_length=4000,
        description="What an agent is told before the text of a save point.",
    )
    keep_done_s: float = Field(7 * 86400.0, gt=0, description="How long events are remembered to drop repeats.")
    keep_dead_s: float = Field(90 * 86400.0, gt=0, description="How long dead letters are kept.")
    lease_s: float = Field(
        30.0,
        ge=1,
        description="How long after its last sign of life a host is taken for dead, where the storage lets several in.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_content: bool = Field(
        False, description="Log what people and agents say, the names of files, and what unexpected errors quote."
    )


class AgentEntry(BaseModel):
    """One entry of `agents:`; further keys belong to its transport."""

    model_config = {"extra": "allow", "frozen": True}

    id: str = Field(
        min_length=1, max_length=200, description="Its name in the config and in bindings; it must not change later."
    )
    label: str = Field("", description="What people read; the id unless set.")
    transport: str = Field("agent_api", description="The name of the transport that reaches it.")
    people: tuple[str, ...] = Field(
        (),
        description="Who may choose it with `!agent`, beside those whose it is: native ids, where `*` stands for "
        "anything.",
    )
    workspace_path: str = Field("", description="Its folder, as the files driver understands it; the id unless set.")

    def agent(self, defaults: Mapping[str, Any]) -> Agent:
        """As the host uses it; `defaults` are its transport's `agent_defaults`."""
        return Agent(
            id=self.id,
            label=self.label or self.id,
            transport=self.transport,
            workspace=self.workspace_path or self.id,
            options={**defaults, **(self.model_extra or {})},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One named driver of the config."""

    name: str
    use: str
    options: Mapping[str, Any]
    source: Source
    place: Place
    agent_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of a transport: what its agents' entries say where they do not say it themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Which agents there are, and whose they are."""

    agents: Mapping[str, Agent]
    people: Mapping[str, str]
    """Native id of a person → id of an agent."""
    default: str | None
    source: Source
    places: Mapping[str, Place]
    """Where each agent stands in the file."""
    open_to: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Patterns of who may choose an agent, by its id."""
    everybodys: str = ""
    """The agent that the command line gave everybody; a registry that is read anew gives them the same one."""

    def given_to_all(self, agent: str) -> Registry:
        """The same agents, one of them everybody's. Raises `ConfigError` where it is not there."""
        if agent not in self.agents:
            raise ConfigError("", f"no agent has the id {agent}; there are: {', '.join(self.agents)}")
        return replace(self, people={}, default=agent, everybodys=agent)

    def of(self, person: str) -> Agent | None:
        """The agent of a person; None when they have none."""
        chosen = self.people.get(person, self.default)
        return None if chosen is None else self.agents.get(chosen)

    def may_use(self, person: str, agent: str) -> bool:
        """Whether a person may have an agent: it is theirs, everybody's, or open to them."""
        if agent not in self.agents:
            return False
        mine = agent in (self.people.get(person), self.default if person not in self.people else None)
        return mine or any(fnmatchcase(person, pattern) for pattern in self.open_to.get(agent, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole config, checked as far as it can be without loading a plugin."""

    source: Source
    storage: Instance
    files: Instance | None
    surfaces: Mapping[str, Instance]
    transports: Mapping[str, Instance]
    hooks: Sequence[str]
    host: HostSettings
    registry: Registry
    ops: OpsSettings | None
    """None: nothing listens."""
    push: PushSettings | None = None
    """None: nothing is taken."""
