"""Owns who may use which tool: `allow`, `ask` or `deny`, by person, conversation and agent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from surfaces_core import AgentRequest, AgentTool, ConfigError, Settings, ToolPolicy

STRICTNESS: tuple[ToolPolicy, ...] = ("allow", "ask", "deny")


class Rule(Settings):
    """Who may use a tool. A policy alone, like `ask`, is one for everybody."""

    policy: ToolPolicy | None = Field(None, description="For everybody who is not named; without it the tool's own.")
    people: Mapping[str, ToolPolicy] = Field({}, description="By the native id of a person.")
    conversations: Mapping[str, ToolPolicy] = Field({}, description="By the native id of a conversation.")

    @model_validator(mode="before")
    @classmethod
    def _for_everybody(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    def says(self, request: AgentRequest) -> ToolPolicy | None:
        """What holds for a request: of person and conversation, where both are named, the stricter."""
        named = [
            said
            for said in (self.people.get(request.sender), self.conversations.get(request.conversation))
            if said is not None
        ]
        return max(named, key=STRICTNESS.index) if named else self.policy


Rules = Mapping[str, Rule]
"""By the tool's name."""


def decide(tool: str, default: ToolPolicy, request: AgentRequest, agents: Rules, transports: Rules) -> ToolPolicy:
    """What holds for a tool. An agent has those that its own rules name, and no other.

    Where its rule says something, that stands in the place of the transport's; the tool's own is the last.
    Where it is not known who asks, nothing is allowed.
    """
    mine = found(agents, tool)
    if mine is None or not request.sender:
        return "deny"
    rule = mine if mine != Rule() else found(transports, tool)
    return (rule.says(request) if rule is not None else None) or default


def found(rules: Rules, tool: str) -> Rule | None:
    """The rule for a tool: by its name, or by `server_*` for all of an MCP server."""
    patterns = [name for name in rules if name.endswith("*") and tool.startswith(name[:-1])]
    return rules.get(tool) or (rules[max(patterns, key=len)] if patterns else None)


def parted(
    tools: Mapping[str, Any], there: Mapping[str, AgentTool], servers: Collection[str]
) -> tuple[Rules, Mapping[str, BaseModel]]:
    """The rules of a transport's `tools:`, and the settings of each tool that can be used. Raises `ConfigError`."""
    rules: dict[str, Rule] = {}
    settings: dict[str, BaseModel] = {}
    for name, said in tools.items():
        check_name(name, there, servers)
        entry = {"policy": said} if isinstance(said, str) else dict(said or {})
        own = {key: entry.pop(key) for key in [*entry] if key not in Rule.model_fields}
        rules[name] = _valid(Rule, entry, name)
        if name in there:
            settings[name] = _valid(there[name].settings, own, name)
        elif own:
            raise ConfigError(f"tools.{name}.{next(iter(own))}", "unknown key")
    for name, tool in there.items():
        if name not in settings and not any(field.is_required() for field in tool.settings.model_fields.values()):
            settings[name] = tool.settings()
    return rules, settings


def check_name(name: str, there: Mapping[str, AgentTool], servers: Collection[str]) -> None:
    """Refuse a rule for a tool that cannot be. Raises `ConfigError`."""
    if name not in there and not any(name.startswith(f"{server}_") for server in servers):
        known = ", ".join([*there, *(f"{server}_…" for server in servers)]) or "none"
        raise ConfigError(f"tools.{name}", f"no such tool; there are: {known}")


M = TypeVar("M", bound=BaseModel)


def _valid(model: type[M], value: Any, tool: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("tools", tool, *first["loc"]))
        raise ConfigError(where, first["msg"].removeprefix("Value error, ")) from error
