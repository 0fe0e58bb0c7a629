"""The config file: read, filled from the environment, checked, every error with its place.

Operators name instances, `use:` picks the driver, the rest is that driver's own settings, which
are checked against its model only when the driver is loaded (discovery).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from surfaces_core._engine.inlet import PushSettings
from surfaces_core._engine.listening import check_listen, parted
from surfaces_core.contracts import Settings
from surfaces_core.errors import ConfigError
from surfaces_core.events import Agent

M = TypeVar("M", bound=BaseModel)
Place = tuple[str | int, ...]
"""Where in a file a value stands, from its root."""
DEEPEST = 20
"""How deep values of the config may be nested."""
TOP = (
    "storage",
    "files",
    "surfaces",
    "transports",
    "hooks",
    "agents",
    "agents_file",
    "user_agents",
    "default_agent",
    "host",
    "ops",
    "push",
)
"""The sections of the config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One config file: its name, and the line of every place in it."""

    file: str
    lines: Mapping[Place, int] = field(default_factory=dict)

    def error(self, place: Place, problem: str) -> ConfigError:
        """An error at a place, or at the nearest place around it that has a line."""
        around = place
        while around and around not in self.lines:
            around = around[:-1]
        return ConfigError(dotted(place), problem, file=self.file, line=self.lines.get(around, 1))


def dotted(place: Place) -> str:
    """A place as people write it: `agents[0].base_url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


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
        "127.0.0.1:9400", description="Where `/livez`, `/readyz` and `/metrics` answer, as address:port."
    )

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, value: str) -> str:
        return check_listen(value)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return parted(self.listen)


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

    def agent(self) -> Agent:
        """As the host uses it."""
        return Agent(
            id=self.id,
            label=self.label or self.id,
            transport=self.transport,
            workspace=self.workspace_path or self.id,
            options=self.model_extra or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One named driver of the config."""

    name: str
    use: str
    options: Mapping[str, Any]
    source: Source
    place: Place


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


def load(path: Path, environ: Mapping[str, str] | None = None, *, needed: Sequence[str] = TOP) -> Config:
    """Read and check a config file. Raises `ConfigError` with the file and line of the first problem.

    Outside of the sections that are `needed`, what the environment or a file should give may be missing.
    """
    environment = {**dotenv(path.parent / ".env"), **(os.environ if environ is None else environ)}
    source, data = read(path, environment, needed)
    check_keys(source, (), data, TOP)
    if "storage" not in data:
        raise source.error((), "storage: missing; say where state is kept, like `storage: {use: sqlite, path: …}`")
    surfaces = _named(source, data, "surfaces")
    if not surfaces:
        raise source.error((), "surfaces: missing; name at least one messenger account")
    agents_source, agents = _agents(path, source, data, environment, needed)
    registry = _registry(agents_source, agents, _named(source, data, "transports"))
    return Config(
        source=source,
        storage=_single(source, data, "storage"),
        files=_single(source, data, "files") if data.get("files") is not None else None,
        surfaces=surfaces,
        transports=_named(source, data, "transports"),
        hooks=_hooks(source, data),
        host=validate(HostSettings, _mapping(source, ("host",), data.get("host")), source, ("host",)),
        ops=None
        if data.get("ops") is None
        else validate(OpsSettings, _mapping(source, ("ops",), data["ops"]), source, ("ops",)),
        push=_push(source, data, registry) if "push" in needed else None,
        registry=registry,
    )


def _push(source: Source, data: Mapping[str, Any], registry: Registry) -> PushSettings | None:
    if data.get("push") is None:
        return None
    settings = validate(PushSettings, _mapping(source, ("push",), data["push"]), source, ("push",))
    for name, token in settings.tokens.items():
        for index, agent in enumerate(token.agents):
            if agent not in registry.agents:
                raise source.error(
                    ("push", "tokens", name, "agents", index),
                    f"no agent has the id {agent}; there are: {', '.join(registry.agents)}",
                )
    return settings


# Reading a file -----------------------------------------------------------------------------------


def dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; none when there is no file."""
    try:
        lines = path.read_text("utf8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError("", f"cannot be read: {_os_problem(error)}", file=str(path)) from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"\w+", name.strip()):
            raise ConfigError("", "write NAME=value", file=str(path), line=number)
        values[name.strip()] = value.strip().strip("'\"")
    return values


def read(path: Path, environment: Mapping[str, str], needed: Sequence[str] = TOP) -> tuple[Source, dict[str, Any]]:
    """A YAML file with its values filled in, and where each stands."""
    try:
        text = path.read_text("utf8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError("", f"cannot be read: {_os_problem(error)}", file=str(path)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError("", f"is no valid YAML: {error.problem}", file=str(path), line=line) from error
    except UnicodeDecodeError as error:
        raise ConfigError("", "is not UTF-8 text", file=str(path)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError("", "is no valid YAML", file=str(path)) from error
    lines: dict[Place, int] = {}
    source = Source(file=str(path), lines=lines)
    if root is None:
        raise source.error((), "the file is empty")
    data = _Reader(source, lines, environment, needed).value(root, ())
    if not isinstance(data, dict):
        raise source.error((), "the file must be a mapping of keys to values")
    return source, data


def _os_problem(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


class _Reader:
    """Turns YAML nodes into values, noting lines, refusing doubled keys, filling in the environment."""

    def __init__(
        self, source: Source, lines: dict[Place, int], environment: Mapping[str, str], needed: Sequence[str]
    ) -> None:
        self._source = source
        self._lines = lines
        self._environment = environment
        self._needed = needed
        self._scalars = yaml.SafeLoader("")

    def value(self, node: yaml.Node, place: Place) -> Any:
        if len(place) > DEEPEST:  # an alias may also contain itself
            raise self._source.error(place[:3], f"is nested more than {DEEPEST} deep")
        self._lines.setdefault(place, node.start_mark.line + 1)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise self._source.error(place, f"the tag {node.tag} means nothing here; take it out")
        if isinstance(node, yaml.MappingNode):
            return self._secret(self._pairs(node, place), place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*place, index)) for index, child in enumerate(node.value)]
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self._source.error(place, "this value cannot be read; put it in quotes") from error
        return self._fill(value, place) if isinstance(value, str) else value

    def _pairs(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            self._lines[(*place, str(name))] = key_node.start_mark.line + 1
            if name is None:
                raise self._source.error(place, "keys must be plain words")
            if name in result:
                raise self._source.error((*place, name), "stands here a second time; keep one")
            result[name] = self.value(value_node, (*place, name))
        return result

    def _fill(self, text: str, place: Place) -> str:
        def found(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            value = self._environment.get(name)
            if value is None or (value == "" and default is not None):
                value = default
            if value is None:
                return self._missing(place, f"the environment has no {name}; set it, or write ${{{name}:-default}}")
            return value

        filled = re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", found, text)
        if "${" in re.sub(r"\$\{\w+(?::-[^}]*)?\}", "", text):
            raise self._source.error(place, "${ is not closed; write ${NAME} or ${NAME:-default}")
        return filled

    def _missing(self, place: Place, problem: str) -> str:
        if not place or place[0] in self._needed:
            raise self._source.error(place, problem)
        return ""

    def _secret(self, pairs: dict[str, Any], place: Place) -> Any:
        if len(pairs) != 1 or not place:
            return pairs
        (kind, name), *_ = pairs.items()
        if kind == "env" and isinstance(name, str):
            if name not in self._environment:
                return self._missing(place, f"the environment has no {name}; set it")
            return self._environment[name]
        if kind == "file" and isinstance(name, str):
            try:
                secret = Path(name).read_text("utf8").strip()
            except (OSError, ValueError) as error:
                return self._missing(place, f"{name} cannot be read: {_os_problem(error)}")
            return secret or self._missing(place, f"{name} is empty")
        return pairs


# Checking -----------------------------------------------------------------------------------------


def check_keys(source: Source, place: Place, data: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse the first key that is not known, naming the nearest that is."""
    for name in data:
        if name not in known:
            raise source.error((*place, name), _unknown(name, known))


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown key, did you mean {near[0]}?" if near else f"unknown key; known are {', '.join(sorted(known))}"


def validate(model: type[M], options: Mapping[str, Any], source: Source, place: Place, also: Sequence[str] = ()) -> M:
    """Check options against a model. Raises `ConfigError` for the first problem; never shows a value.

    `also` are keys that stand beside the model's own.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # a misspelt key is also a missing one: name the slip, not what it caused
        first = next((detail for detail in found if detail["type"] == "extra_forbidden"), found[0])
        where: Place = (*place, *first["loc"])
        raise source.error(where, _problem(first, model, also)) from None


def _problem(detail: ErrorDetails, model: type[BaseModel], also: Sequence[str]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), [*_inner(model, detail["loc"][:-1]).model_fields, *also])
        case "tuple_type" | "list_type" | "set_type":
            return "must be a list"
        case "path_type":
            return "must be a path"
        case "string_pattern_mismatch":
            described = model.model_fields[str(detail["loc"][-1])].description if len(detail["loc"]) == 1 else None
            return f"cannot be so; {described}" if described else "cannot be so"
        case "missing":
            return "missing; this setting has no default"
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return detail["msg"][:1].lower() + detail["msg"][1:]


def _inner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    for part in loc:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model


def _mapping(source: Source, place: Place, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise source.error(place, "must be a mapping of keys to values")
    return value


def _instance(source: Source, place: Place, name: str, value: Any) -> Instance:
    options = dict(_mapping(source, place, value))
    use = options.pop("use", name)
    if not isinstance(use, str) or not use:
        raise source.error((*place, "use"), "must name a driver")
    return Instance(name=name, use=use, options=options, source=source, place=place)


def _single(source: Source, data: Mapping[str, Any], section: str) -> Instance:
    value = data[section]
    if value is None:
        raise source.error((section,), "is empty; say which driver, like `{use: …}`")
    if isinstance(value, dict) and "use" not in value:
        raise source.error((section,), "use: missing; it names the driver")
    return _instance(source, (section,), section, value)


def _named(source: Source, data: Mapping[str, Any], section: str) -> dict[str, Instance]:
    values = _mapping(source, (section,), data.get(section))
    for name in values:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name):
            raise source.error((section, name), "names are made of letters, digits, `_`, `-` and `.`")
    return {name: _instance(source, (section, name), name, value) for name, value in values.items()}


def _hooks(source: Source, data: Mapping[str, Any]) -> list[str]:
    names = [] if data.get("hooks") is None else data["hooks"]
    if not isinstance(names, list):
        raise source.error(("hooks",), "must be a list of names")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise source.error(("hooks", index), "must be a name")
        if name in names[:index]:
            raise source.error(("hooks", index), f"{name} stands here a second time; keep one")
    return names


# The agent registry -------------------------------------------------------------------------------


def _agents(
    path: Path, source: Source, data: Mapping[str, Any], environment: Mapping[str, str], needed: Sequence[str]
) -> tuple[Source, Mapping[str, Any]]:
    """The source and content of the registry: keys of the config itself, or the file that it names."""
    inline = {name: data[name] for name in ("agents", "user_agents", "default_agent") if name in data}
    named = data.get("agents_file")
    if named is None:
        return source, inline
    if not isinstance(named, str):
        raise source.error(("agents_file",), "must be a path")
    if "agents" in inline or "user_agents" in inline:
        raise source.error(("agents_file",), "stands beside agents or user_agents; keep one of the two ways")
    try:
        other, content = read(path.parent / named, environment, needed)
    except ConfigError as error:
        if error.where or (path.parent / named).exists():
            raise
        raise source.error(("agents_file",), f"{named} {error.problem}") from error
    check_keys(other, (), content, ("agents", "user_agents", "default_agent"))
    return other, {**inline, **content}


def _registry(source: Source, data: Mapping[str, Any], transports: Mapping[str, Instance]) -> Registry:
    agents: dict[str, Agent] = {}
    places: dict[str, Place] = {}
    open_to: dict[str, Sequence[str]] = {}
    for place, entry in _entries(source, data):
        agent = entry.agent()
        if agent.id in agents:
            raise source.error((*place, "id"), f"{agent.id} stands here a second time; ids must differ")
        if agent.transport not in transports:
            known = ", ".join(transports) or "none"
            raise source.error((*place, "transport"), f"no transport is named {agent.transport}; there are: {known}")
        agents[agent.id], places[agent.id], open_to[agent.id] = agent, place, entry.people
    if not agents:
        raise source.error(("agents",), "missing; name at least one agent")
    people = _mapping(source, ("user_agents",), data.get("user_agents"))
    for person, chosen in people.items():
        if not isinstance(chosen, str) or chosen not in agents:
            raise source.error(("user_agents", person), f"no agent has the id {chosen}")
    default = data.get("default_agent", next(iter(agents)))
    if default is not None and (not isinstance(default, str) or default not in (*agents, "none")):
        raise source.error(("default_agent",), f"no agent has the id {default}; or write none")
    default = None if default == "none" else default
    return Registry(agents=agents, people=people, default=default, source=source, places=places, open_to=open_to)


def _entries(source: Source, data: Mapping[str, Any]) -> Iterator[tuple[Place, AgentEntry]]:
    entries = [] if data.get("agents") is None else data["agents"]
    if not isinstance(entries, list):
        raise source.error(("agents",), "must be a list")
    for index, entry in enumerate(entries):
        place: Place = ("agents", index)
        yield place, validate(AgentEntry, _mapping(source, place, entry), source, place)
