"""`surfaces plugins check`: what is wrong with a plugin is found and named with its remedy; ours have nothing wrong."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from surfaces_core import cli
from surfaces_core._program import scaffold
from surfaces_core._program.checkup import imports, metadata
from surfaces_core._program.checkup.findings import Finding, Subject

ROOT = Path(__file__).parents[1]


def offers_something(folder: Path) -> bool:
    """Whether a distribution of ours offers the host a plugin."""
    groups = tomllib.loads((folder / "pyproject.toml").read_text())["project"].get("entry-points", {})
    return any(group.startswith("surfaces.") and group not in metadata.OTHERS for group in groups)


PLUGINS = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml")) if offers_something(path.parent)]

PROJECT = """
[project]
name = "surfaces-wild"
version = "one"
dependencies = ["pydantic"]
[project.entry-points."surfaces.storages"]
wild = "surfaces_wild:Wild"
[project.entry-points."surfaces.transport"]
wild = "surfaces_wild:Wild"
later = "surfaces_wild:Later"
half = "surfaces_wild:Half"
gone = "surfaces_wild:Gone"
"""
WILD = """
import socket
from pydantic import BaseModel, Field, SecretStr
from surfaces_core import Settings, Transport
try:
    socket.create_connection(("127.0.0.1", 9), timeout=0.1)
except OSError:
    pass

class Inner(Settings):
    token: str = Field(description="A secret.")
    max_token: int = Field(default=1, description="A number.")
    api_key: SecretStr = Field(description="Another.")

class Loose(BaseModel):
    url: str
    inner: list[Inner] = Field(default=[], description="More.")

class Half(Transport):
    pass

class Wild(Transport):
    AgentSettings = Loose
    async def run(self, request):
        yield

class Later(Wild):
    surfaces_contract = 2
"""


def written(folder: Path, project: str, module: str, name: str = "wild") -> Subject:
    """A distribution of one module in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(project)
    (folder / f"surfaces_{name}.py").write_text(module)
    return metadata.subject(str(folder))


def said(findings: list[Finding], level: str = "wrong") -> set[str]:
    """What was found at a level, each with what it is about."""
    return {f"{finding.about}: {finding.said}" for finding in findings if finding.level == level}


def test_what_the_metadata_lacks_is_named(tmp_path: Path) -> None:
    """Each with a remedy."""
    findings = list(metadata.judged(written(tmp_path, PROJECT, WILD)))
    assert said(findings) == {
        "metadata: its version is 'one'",
        "metadata: it does not say which Python it needs",
        "metadata: it does not require surfaces-core",
        "metadata: no group of entry points is called surfaces.storages",
    }
    assert all(finding.remedy for finding in findings)
    assert any(finding.remedy == "did you mean surfaces.storage?" for finding in findings)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("surfaces-core>=9", "it requires surfaces-core>=9, and this is"),
        ("surfaces-core>=0.1", "it takes any later surfaces-core"),
        ("surfaces core", "its dependency 'surfaces core' cannot be read"),
    ],
)
def test_a_dependency_on_the_host_has_a_sensible_range(line: str, found: str, tmp_path: Path) -> None:
    """One that fits this host, and ends before the next that may break anything."""
    subject = written(tmp_path, PROJECT.replace("pydantic", line), WILD)
    assert any(finding.said.startswith(found) and finding.remedy for finding in metadata.judged(subject))


def test_an_entry_point_that_changed_since_it_was_installed_is_named(tmp_path: Path) -> None:
    """Installed for editing, the host goes on with the old one."""
    offered = '[project]\nname = "surfaces-storage-memory"\n[project.entry-points."surfaces.storage"]\n'
    found = said(list(metadata.judged(written(tmp_path, offered + 'memory = "other:Memory"', ""))))
    assert any("surfaces.storage:memory is other:Memory here and surfaces_storage_memory" in each for each in found)


@pytest.mark.slow
def test_what_an_import_shows_is_named(tmp_path: Path) -> None:
    """Sockets, contract versions, missing methods, loose settings, plain secrets and entry points to nowhere."""
    findings = list(imports.judged(written(tmp_path, PROJECT, WILD)))
    wrong = said(findings)
    assert {
        "transport:wild: importing it does socket.connect",
        "transport:wild: agent takes unknown keys, so a typing error passes unseen",
        "transport:wild: agent.url has no description",
        "transport:wild: agent.inner.token sounds like a secret and is plain text",
        "transport:later: built for version 2 of the transport contract, this host has 1; update surfaces-core",
        "transport:half: Half does not implement run; update the plugin",
    } <= wrong
    assert any(
        line.startswith("transport:gone: surfaces_wild:Gone cannot be imported (AttributeError") for line in wrong
    )
    assert not any("max_token" in line or "api_key" in line for line in wrong)
    assert all(finding.remedy for finding in findings if finding.level == "wrong")


@pytest.mark.slow
def test_an_import_that_ends_the_interpreter_is_named(tmp_path: Path) -> None:
    """Whatever a module does, the check goes on to say it."""
    (finding,) = imports.judged(written(tmp_path, PROJECT, "import os\nos._exit(3)"))
    assert (finding.level, finding.about) == ("wrong", "import")
    assert "it ended the interpreter (3)" in finding.said


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_our_own_plugins_have_nothing_wrong(plugin: Path) -> None:
    """Their contract checks are among their own tests; here is the rest."""
    subject = metadata.subject(str(plugin))
    findings = [*metadata.judged(subject), *imports.judged(subject)]
    assert [finding.line() for finding in findings if finding.level == "wrong"] == []


@pytest.mark.slow
def test_a_broken_promise_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The author's own tests tell it, and where they do not the contract checks do; the exit code is 1."""
    folder, _ = scaffold.new("commands", "shout", tmp_path / "shout")
    module = folder / "surfaces_shout.py"
    module.write_text(module.read_text().replace('name="shout"', 'name="SHOUT"'))
    assert cli.main(["plugins", "check", str(folder), "--json"]) == 1
    whole = json.loads(capsys.readouterr().out)
    told = [finding for finding in whole["findings"] if finding["level"] == "wrong"]
    assert (whole["name"], whole["version"]) == ("surfaces-shout", "0.1.0")
    assert any("use lower case" in finding["said"] and finding["about"] == "hooks:shout" for finding in told)
    assert any("test_it_answers fails" in finding["said"] for finding in told)


@pytest.mark.slow
def test_an_installed_plugin_without_tests_is_held_to_its_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """By its name; what could not be tried is said, and the exit code is 0."""
    assert cli.main(["plugins", "check", "surfaces-transport-echo"]) == 0
    *_, told, summary = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"ok +transport:echo: \d+ of \d+ tests pass, left out: .*\bmemory\b.*", told)
    assert summary == "all is well"


def test_what_is_no_plugin_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a project, a name that nothing has, and a distribution that offers nothing."""
    for target, problem in ((str(tmp_path), "has no pyproject.toml"), ("surfaces-nowhere", "is no folder and no")):
        assert cli.main(["plugins", "check", target]) == 78
        line = capsys.readouterr().err
        assert problem in line
        assert line.count("\n") == 1
    assert "metadata: it offers no plugin" in said(list(metadata.judged(metadata.subject("pytest"))))
