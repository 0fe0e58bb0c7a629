"""The config file: what it may say, and what is said about each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import ConfigError
from surfaces_core._config.config import load, survey

GOOD = """\
storage: {use: sqlite, path: ./var/surfaces.db}
files:   {use: volume, root: /agents}
surfaces:
  work: {use: matrix, homeserver: "https://example.org", password: {env: SECRET}}
transports:
  agent_api: {use: agent_api}
hooks: [context, chats]
agents:
  - {id: a-0, base_url: "${BASE:-http://agents.example}/a-0", workspace_path: /agents/0}
  - {id: a-1, base_url: "http://agents.example/a-1"}
user_agents: {"@ann:example.org": a-1}
host: {max_concurrent_turns: 8}
"""


def written(folder: Path, text: str) -> Path:
    """A config file with this text."""
    path = folder / "surfaces.yaml"
    path.write_text(text, "utf8")
    return path


def problem(folder: Path, text: str) -> str:
    """What is said about a config."""
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text), {"SECRET": "s3cret"})
    return str(caught.value).replace(f"{folder}/", "")


def test_a_good_config_is_read_whole(tmp_path: Path) -> None:
    """Instances, hooks, agents and people come out as written, with the environment filled in."""
    config = load(written(tmp_path, GOOD), {"SECRET": "s3cret", "BASE": "http://other.example"})
    assert config.storage.options == {"path": "./var/surfaces.db"}
    assert config.surfaces["work"].use == "matrix"
    assert config.surfaces["work"].options["password"] == "s3cret"
    assert config.hooks == ["context", "chats"]
    assert config.host.max_concurrent_turns == 8
    assert config.registry.agents["a-0"].options == {"base_url": "http://other.example/a-0"}
    assert config.registry.agents["a-0"].workspace == "/agents/0"
    assert config.registry.of("@ann:example.org") is config.registry.agents["a-1"]
    assert config.registry.of("@eve:example.org") is config.registry.agents["a-0"]


def test_the_registry_may_stand_in_its_own_file(tmp_path: Path) -> None:
    """`agents_file` is read beside the config, and its errors name that file."""
    text = GOOD[: GOOD.index("agents:\n")] + "agents_file: ./agents.yaml\n"
    (tmp_path / "agents.yaml").write_text("agents:\n  - id: a-0\n    labl: x\n  - id: a-0\n", "utf8")
    assert problem(tmp_path, text) == "agents[1].id: a-0 stands here a second time; ids must differ (agents.yaml:4)"


def test_nobody_without_an_entry_is_served_when_the_default_is_none(tmp_path: Path) -> None:
    """`default_agent: none` leaves a person without an entry without an agent."""
    config = load(written(tmp_path, GOOD + "default_agent: none\n"), {"SECRET": "x"})
    assert config.registry.of("@eve:example.org") is None


def test_values_come_from_the_dotenv_file_and_the_environment_wins(tmp_path: Path) -> None:
    """`.env` beside the config is read; the real environment is stronger."""
    (tmp_path / ".env").write_text("# a comment\nSECRET='from file'\nexport BASE=http://file.example\n", "utf8")
    config = load(written(tmp_path, GOOD), {"BASE": "http://real.example"})
    assert config.surfaces["work"].options["password"] == "from file"
    assert config.registry.agents["a-0"].options["base_url"] == "http://real.example/a-0"


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    """`{file: path}` is replaced by the file's text without its line end."""
    (tmp_path / "secret").write_text("s3cret\n", "utf8")
    config = load(written(tmp_path, GOOD.replace("{env: SECRET}", f"{{file: {tmp_path}/secret}}")), {})
    assert config.surfaces["work"].options["password"] == "s3cret"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("storage:", "storag:"), "storag: unknown key, did you mean storage? (surfaces.yaml:1)"),
        (("{use: sqlite, path", "{path"), "storage: use: missing; it names the driver (surfaces.yaml:1)"),
        (
            ("hooks: [context, chats]", "hooks: [a, a]"),
            "hooks[1]: a stands here a second time; keep one (surfaces.yaml:7)",
        ),
        (("hooks: [context, chats]", "hooks: context"), "hooks: must be a list of names (surfaces.yaml:7)"),
        (
            ("{env: SECRET}", "{env: NOPE}"),
            "surfaces.work.password: the environment has no NOPE; set it (surfaces.yaml:4)",
        ),
        (
            ("{env: SECRET}", "{file: /nowhere}"),
            "surfaces.work.password: /nowhere cannot be read: No such file or directory (surfaces.yaml:4)",
        ),
        (
            ("${BASE:-http://agents.example}", "${BASE}"),
            "agents[0].base_url: the environment has no BASE; set it, or write ${BASE:-default} (surfaces.yaml:9)",
        ),
        (
            ("max_concurrent_turns: 8", "max_concurrent_turn: 8"),
            "host.max_concurrent_turn: unknown key, did you mean max_concurrent_turns? (surfaces.yaml:12)",
        ),
        (
            ("max_concurrent_turns: 8", "max_concurrent_turns: many"),
            (
                "host.max_concurrent_turns: must be a valid integer, unable to parse string as an integer "
                "(surfaces.yaml:12)"
            ),
        ),
        (("id: a-1", "id: a-0"), "agents[1].id: a-0 stands here a second time; ids must differ (surfaces.yaml:10)"),
        (("id: a-1,", ""), "agents[1].id: missing; this setting has no default (surfaces.yaml:10)"),
        (
            ("id: a-1,", "id: a-1, transport: pigeon,"),
            "agents[1].transport: no transport is named pigeon; there are: agent_api (surfaces.yaml:10)",
        ),
        (
            ('"@ann:example.org": a-1', '"@ann:example.org": a-9'),
            "user_agents.@ann:example.org: no agent has the id a-9; there are: a-0, a-1 (surfaces.yaml:11)",
        ),
        (
            ("  work:", "  work space:"),
            "surfaces.work space: names are made of letters, digits, `_`, `-` and `.` (surfaces.yaml:4)",
        ),
        (("storage:", "surfaces: {}\nstorage:"), "surfaces: stands here a second time; keep one (surfaces.yaml:4)"),
        (("hooks: [", "hooks: {["), "is no valid YAML"),
        (
            ("host:", "\thost:"),
            "is no valid YAML: found character '\\t' that cannot start any token; indent with",
        ),
        (
            ("{env: SECRET}", "@x"),
            "is no valid YAML: found character '@' that cannot start any token; put the value in quotes",
        ),
        (
            ("{env: SECRET}", "\x07"),
            "is no valid YAML: the character U+0007 may not stand there; take it out (surfaces.yaml:4)",
        ),
        (("host:", "---\nhost:"), "is no valid YAML: a second document begins here (`---`); keep one"),
        (("host:", f"#{'x' * (8 << 20)}\nhost:"), "is larger than 8 MiB, which no config is; name another file"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """Every wrong key, type, missing secret, unreadable file or doubled name is one line with file and line."""
    text = problem(tmp_path, GOOD.replace(*change, 1))
    assert text.startswith(said)
    assert "\n" not in text


@pytest.mark.parametrize("text", ["", "[]", "just words", "storage: {use: sqlite}\n", "\t", "a: &x [*x]", "? [a]\n: b"])
def test_what_is_no_config_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    """Empty files, other shapes and odd YAML end in one line."""
    assert "\n" not in problem(tmp_path, text)


def test_a_config_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The missing file is named, and how to make one."""
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; make one with `surfaces init`"):
        load(tmp_path / "surfaces.yaml", {})


SLIPS = (
    ("storage:", "storag:"),
    ("https://example.org", "${X"),
    ("host:", "hots:"),
    ("max_concurrent_turns: 8", "max_concurrent_turns: 8, locale: fr"),
    ("id: a-1,", "id: a-0,"),
    ('"@ann:example.org": a-1', '"@ann:example.org": a-9, "@ann:example.org": a-0'),
    ("hooks: [context, chats]", "hooks: !fine [context]\nhooks: []"),
)


def test_every_slip_is_found_in_one_pass(tmp_path: Path) -> None:
    """One that hides another is read as it was meant, so that nobody has to come back for the next."""
    text = GOOD
    for change in SLIPS:
        assert change[0] in text
        text = text.replace(*change, 1)
    _, problems = survey(written(tmp_path, text), {"SECRET": "x"})
    places = [problem.where for problem in problems]
    assert set(places) >= {
        *("storag", "surfaces.work.homeserver", "hots", "host.locale", "agents[1].id", "hooks"),
        "user_agents.@ann:example.org",
    }
    assert len([place for place in places if place == "hooks"]) == 2, "its tag, and that it stands there twice"


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    """A secret in the wrong place is not repeated."""
    assert "hunter2" not in problem(tmp_path, GOOD.replace("max_concurrent_turns: 8", "max_concurrent_turns: hunter2"))


@given(st.text(alphabet="abc:{}[]-'\"&*!|> \n\t#%@`,?", max_size=60))
def test_any_text_is_a_config_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever stands in the file, it never ends in anything but `ConfigError`."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.raises(ConfigError):
        load(written(folder, text), {})
