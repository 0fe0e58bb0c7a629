"""Who may use which tool."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field

from surfaces_core import Agent, AgentRequest, AgentTool, ConfigError, Settings, ToolCall, ToolPolicy
from surfaces_llm.toolbox.policy import Rule, check_name, decide, parted

AGENT = Agent(id="a", label="A", transport="llm", workspace="17")


def request(sender: str = "@ann:hs.test", conversation: str = "!c1") -> AgentRequest:
    return AgentRequest(turn="t", agent=AGENT, context="1", text="?", sender=sender, conversation=conversation)


def rule(said: object) -> Rule:
    return Rule.model_validate(said)


@pytest.mark.parametrize(
    ("agents", "transports", "expected"),
    [
        ({}, {}, "deny"),
        ({}, {"look": "allow"}, "deny"),
        ({"look": {}}, {}, "ask"),
        ({"look": "allow"}, {}, "allow"),
        ({"look": {}}, {"look": "allow"}, "allow"),
        ({"look": "deny"}, {"look": {"people": {"@ann:hs.test": "allow"}}}, "deny"),
        ({"look": {"policy": "deny", "people": {"@ann:hs.test": "allow"}}}, {}, "allow"),
        ({"look": {"policy": "allow", "people": {"@ann:hs.test": "deny"}}}, {}, "deny"),
        ({"look": {"people": {"@bob:hs.test": "allow"}}}, {}, "ask"),
        ({"look": {"policy": "deny", "conversations": {"!c1": "ask"}}}, {}, "ask"),
        ({"look": {"people": {"@ann:hs.test": "allow"}, "conversations": {"!c1": "deny"}}}, {}, "deny"),
        ({"look": {"people": {"@ann:hs.test": "deny"}, "conversations": {"!c1": "allow"}}}, {}, "deny"),
        ({"look": {"people": {"ann": "allow"}, "policy": "deny"}}, {}, "deny"),
        ({"lo*": "allow"}, {}, "allow"),
        ({"lo*": "allow", "look": "deny"}, {}, "deny"),
        ({"l*": "allow", "loo*": "ask"}, {}, "ask"),
    ],
)
def test_the_most_specific_wins(agents: dict[str, object], transports: dict[str, object], expected: ToolPolicy):
    """Agent before transport, who is named before everybody, of two that are named the stricter; unnamed is denied."""
    decided = decide(
        "look",
        "ask",
        request(),
        {name: rule(said) for name, said in agents.items()},
        {name: rule(said) for name, said in transports.items()},
    )
    assert decided == expected


def test_where_nobody_asks_nothing_is_allowed():
    """A request of nobody's may use nothing, whatever the rules say of everybody."""
    assert decide("look", "allow", request(sender=""), {"look": rule("allow")}, {}) == "deny"


class Kit(Settings):
    place: str = Field(description="Where.")
    most: int = 3


class Loose(Settings):
    most: int = 3


async def nothing(call: ToolCall) -> str:
    return ""


def tool(name: str, settings: type[BaseModel]) -> AgentTool:
    return AgentTool(name=name, description="x", arguments=BaseModel, handler=nothing, settings=settings)


THERE = {"look": tool("look", Loose), "dig": tool("dig", Kit)}


def test_a_tools_own_settings_stand_beside_its_rule():
    """What is no part of a rule is the tool's; a tool with something required is off until that is said."""
    rules, settings = parted({"look": {"policy": "allow", "most": 5}, "files_read": "allow"}, THERE, ["files"])
    assert rules["look"].policy == "allow"
    assert (settings["look"], "dig" in settings) == (Loose(most=5), False)
    _, settings = parted({"dig": {"place": "here"}}, THERE, [])
    assert settings == {"look": Loose(), "dig": Kit(place="here")}


@pytest.mark.parametrize(
    ("tools", "where", "problem"),
    [
        ({"lok": "allow"}, "tools.lok", "no such tool; there are: look, dig, files_"),
        ({"look": "maybe"}, "tools.look.policy", "allow"),
        ({"look": {"moost": 3}}, "tools.look.moost", "xtra"),
        ({"look": {"most": "x"}}, "tools.look.most", "integer"),
        ({"dig": {}}, "tools.dig.place", "required"),
        ({"files_read": {"most": 3}}, "tools.files_read.most", "unknown key"),
    ],
)
def test_a_slip_of_the_pen_stops_the_start(tools: dict[str, object], where: str, problem: str):
    """A tool that is not there, a policy that is none, a setting that is unknown: each is one line with its place."""
    with pytest.raises(ConfigError) as caught:
        parted(tools, THERE, ["files"])
    assert caught.value.where == where
    assert problem in caught.value.problem


def test_patterns_are_for_servers():
    """All tools of a server can be named at once, and of nothing else."""
    check_name("files_*", THERE, ["files"])
    with pytest.raises(ConfigError):
        check_name("loo*", THERE, ["files"])
