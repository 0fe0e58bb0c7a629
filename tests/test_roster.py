"""Changes to the registry's file: the text around them stays as it was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from surfaces_core import ConfigError
from surfaces_core._program import roster
from surfaces_core.cli import main

BLOCK = """\
# Who has which
user_agents:
  "@ann:example.org": agent-0  # since May
agents:  # all of them
  - id: agent-0
    label: "Agent 0"  # the first
    base_url: "http://agents.example:7000/agent_0/"

# the end
default_agent: agent-0
"""
ENTRY = {"id": "agent-1", "label": "Agent: 1", "base_url": "http://agents.example/1"}
TEXTS = [
    BLOCK,
    "agents: [{id: agent-0}]\nuser_agents: {}\n",
    "agents: [{id: agent-0}]\nuser_agents: {'@x:y': agent-0}",
    "agents:\n- id: agent-0",
    "agents:\n  - id: agent-0\nuser_agents:\ndefault_agent: none\n",
    "default_agent: none\nagents: []\n",
]
texts = pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))


def comments(text: str) -> list[str]:
    """What stands behind `#`."""
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


@texts
def test_an_agent_is_added(text: str) -> None:
    """It stands behind the others, and everything else is as it was, comments too."""
    before, after = yaml.safe_load(text), roster.with_agent(text, ENTRY)
    assert yaml.safe_load(after) == {**before, "agents": [*before["agents"], ENTRY]}
    assert comments(after) == comments(text)


@texts
@pytest.mark.parametrize("person", ["@ann:example.org", "@eve:example.org", "#room: 'odd'"])
def test_a_person_is_moved_and_back(text: str, person: str) -> None:
    """A person gets an agent, another one, and none."""
    before = yaml.safe_load(text).get("user_agents") or {}
    for agent in ("agent-0", "agent-1", None, None):
        text = roster.with_person(text, person, agent)
        people = yaml.safe_load(text).get("user_agents") or {}
        assert people == {
            **{key: value for key, value in before.items() if key != person},
            **({person: agent} if agent else {}),
        }


def test_comments_stay() -> None:
    """Only the line in question is another."""
    after = roster.with_person(BLOCK, "@ann:example.org", "agent-1")
    assert after == BLOCK.replace('org": agent-0', 'org": agent-1')


def test_what_cannot_be_changed_is_left_alone() -> None:
    """Where an edit would come to something else than was meant, it is refused."""
    with pytest.raises(ConfigError, match="by hand"):
        roster.with_person("agents: []\nuser_agents: &same {}\nother: *same\n", "@ann", "agent-0")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The rights and the link stay; nothing is left beside it."""
    path, link = tmp_path / "agents.yaml", tmp_path / "link.yaml"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    roster.write(link, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["agents.yaml", "link.yaml"]


def test_the_program_changes_the_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`surfaces agents` lists, adds and moves; what would not start is refused and changes nothing."""
    (tmp_path / "agents.yaml").write_text(BLOCK)
    config = tmp_path / "surfaces.yaml"
    config.write_text(
        "storage: {use: sqlite, path: ./x.db}\nsurfaces: {work: {use: matrix}}\n"
        "transports: {agent_api: {}}\nagents_file: agents.yaml\n"
    )

    def surfaces(*arguments: str) -> tuple[int, str]:
        code = main(["agents", *arguments, "-c", str(config)])
        return code, "".join(capsys.readouterr())

    assert surfaces("add", "agent-1", "base_url=http://agents.example/1", "label=Agent 1")[0] == 0
    assert surfaces("move", "@bob:example.org", "agent-1")[0] == 0
    code, listed = surfaces("list")
    assert (code, listed.splitlines()[1]) == (0, "agent-1  Agent 1  (agent_api)  @bob:example.org")
    before = (tmp_path / "agents.yaml").read_text()
    for wrong in (("add", "agent-1"), ("add", "agent-2"), ("add", "agent-2", "base=x"), ("move", "@bob:hs", "agent-9")):
        assert surfaces(*wrong)[0] == os.EX_CONFIG
    code, said = surfaces("move", "bob", "agent-1")
    assert (code, "bob can be nobody (work: people are @name:server there)" in said) == (os.EX_CONFIG, True)
    assert (tmp_path / "agents.yaml").read_text() == before
    assert comments(before) == comments(BLOCK)
