"""The config for containers is filled from the environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from surfaces_core import ConfigError
from surfaces_core._config.config import load, survey
from surfaces_core._host.host import check

CONFIG = Path(__file__).parents[1] / "compose/surfaces.yaml"
AGENTS = """\
user_agents: {"@ann:example.org": own}
agents:
  - {id: own, base_url: "http://agents.example:7000/agent_0/", workspace_path: /agents/0}
  - {id: without}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a platform sets, every name of it."""
    (tmp_path / "agents.yaml").write_text(AGENTS)
    return {
        "MATRIX_HOMESERVER": "https://matrix.example.org",
        "MATRIX_USER_ID": "@bot:example.org",
        "MATRIX_PASSWORD": "a password",
        "MATRIX_DEVICE_ID": "BOT",
        "MATRIX_DB_PATH": "/var/lib/bot.db",
        "MATRIX_STORE_PATH": "/var/lib/keys",
        "MATRIX_AGENT_REGISTRY_PATH": str(tmp_path / "agents.yaml"),
        "AGENT_BASE_URL": "ws://fallback.example/",
        "SURFACES_WORKSPACE_DIR": "/srv/agents",
    }


def test_every_name_arrives(environment: dict[str, str]) -> None:
    """Each variable is where it belongs, an agent without an address has the common one, and all of it is in order."""
    config = load(CONFIG, environment)
    matrix = config.surfaces["matrix"].options
    assert (matrix["homeserver"], matrix["user_id"]) == ("https://matrix.example.org", "@bot:example.org")
    assert (matrix["password"], matrix["access_token"], matrix["device_id"]) == ("a password", "", "BOT")
    assert matrix["recovery_key_file"] == "/var/lib/keys/recovery-key"
    assert config.storage.options["path"] == "/var/lib/bot.db"
    assert config.files is not None
    assert config.files.options["root"] == "/srv/agents"
    urls = {agent.id: agent.options["base_url"] for agent in config.registry.agents.values()}
    assert urls == {"own": "http://agents.example:7000/agent_0/", "without": "ws://fallback.example/"}
    assert config.registry.people == {"@ann:example.org": "own"}
    assert check(config) == []


def test_a_token_instead_of_a_password(environment: dict[str, str]) -> None:
    """Either will do; with neither, or with both, one line says so."""
    del environment["MATRIX_PASSWORD"]
    (problem,) = check(load(CONFIG, environment))
    assert "set either password or access_token" in str(problem)
    environment["MATRIX_ACCESS_TOKEN"] = "a token"
    assert check(load(CONFIG, environment)) == []


def test_secrets_in_files(environment: dict[str, str], tmp_path: Path) -> None:
    """A file stands for the name that is unset or empty; a name that is set goes first."""
    (tmp_path / "secret").write_text("from a file\n")
    environment["MATRIX_PASSWORD_FILE"] = str(tmp_path / "secret")
    assert load(CONFIG, environment).surfaces["matrix"].options["password"] == "a password"
    environment["MATRIX_PASSWORD"] = ""
    config = load(CONFIG, environment)
    assert config.surfaces["matrix"].options["password"] == "from a file"
    assert config.source.secret_files == [tmp_path / "secret"]
    del environment["MATRIX_PASSWORD"]
    environment["MATRIX_PASSWORD_FILE"] = ""
    environment["MATRIX_ACCESS_TOKEN_FILE"] = str(tmp_path / "secret")
    assert load(CONFIG, environment).surfaces["matrix"].options["access_token"] == "from a file"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match=r"surfaces.matrix.access_token: .*secret cannot be read: No such file"):
        load(CONFIG, environment)


def test_an_agent_without_any_address(environment: dict[str, str]) -> None:
    """Where there is no common address either, the agent's place in the registry is named."""
    del environment["AGENT_BASE_URL"]
    (problem,) = check(load(CONFIG, environment))
    assert "agents[1].base_url: missing" in str(problem)
    assert "agents.yaml:4" in str(problem)


def test_what_must_be_set_is_named_at_once(environment: dict[str, str]) -> None:
    """An empty environment is told of every variable that it lacks."""
    registry = environment["MATRIX_AGENT_REGISTRY_PATH"]
    with pytest.raises(ConfigError) as refused:
        load(CONFIG, {"MATRIX_AGENT_REGISTRY_PATH": registry})
    said = [str(problem) for problem in (refused.value, *refused.value.others)]
    assert any("either password or access_token: neither" in str(problem) for problem in check(survey(CONFIG, {})[0]))
    assert [name for name in ("MATRIX_HOMESERVER", "MATRIX_USER_ID") if not any(name in line for line in said)] == []
