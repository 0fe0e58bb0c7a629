"""`surfaces backup` and `restore`: a state copied while the host talks goes on elsewhere, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proof.house import House, Person
from proof.processes import HOST, Agent, Program, reference_agent
from surfaces_core._program.backups import Manifest, _put_back
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all."""
    async with reference_agent(tmp_path_factory.mktemp("agents")) as agent:
        yield agent


@pytest.fixture
async def house(agent: Agent, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver and a config."""
    folder = tmp_path / "first"
    folder.mkdir()
    async with FakeHomeserver() as homeserver:
        yield House(homeserver, agent, folder)


async def command(house: House, *words: str, config: Path | None = None, code: int = 0) -> str:
    """What a command prints; for another exit code its one line on standard error."""
    words = (*words, "-c", str(config or house.config))
    async with Program((*HOST, *words), log=house.folder / "command.log") as program:
        printed = await program.rest()
        assert await program.ended() == code, program.log()
    return printed if code == 0 else program.log()


async def test_a_backup_of_a_running_host_goes_on_elsewhere(house: House, tmp_path: Path) -> None:
    """Made while the host talks, restored into another folder: the same conversations, and nothing is said twice."""
    archive = tmp_path / "surfaces.tar.gz"
    async with house.host(name="first") as host:
        person = Person(house)
        await person.enter()
        person.say("before")
        await person.hears("You said: before. (message 1 in this context)")
        said = await command(house, "backup", str(archive))
        assert "surfaces.yaml" in said
        assert await host.stop() == 0
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600

    other = tmp_path / "second" / "surfaces.yaml"
    moved = json.loads(house.config.read_text())
    moved["storage"]["path"] = str(other.parent / "state" / "surfaces.db")
    other.parent.mkdir()
    other.write_text(json.dumps(moved))
    restored = await command(house, "restore", str(archive), config=other)
    assert restored.count("sha256") == 1
    refused = await command(house, "restore", str(archive), config=other, code=os.EX_DATAERR)
    assert "holds a state already" in refused

    house.config.write_text(other.read_text())
    async with house.host(name="second") as host:
        person.say("after")
        await person.hears("You said: after. (message 2 in this context)")
        assert await host.stop() == 0
    assert person.heard == [
        "You said: before. (message 1 in this context)",
        "You said: after. (message 2 in this context)",
    ]


async def test_a_backup_brings_its_config(house: House, tmp_path: Path) -> None:
    """Where there is none the config comes back beside its secrets, readable by its owner alone."""
    (house.config.parent / ".env").write_text("SOMETHING=x\n")
    async with house.host() as host:
        await host.ready()
        assert await host.stop() == 0
    archive = tmp_path / "surfaces.tar.gz"
    await command(house, "backup", str(archive))
    house.database.unlink()
    there = tmp_path / "there" / "surfaces.yaml"
    await command(house, "restore", str(archive), config=there)
    assert there.read_text() == house.config.read_text()
    assert stat.S_IMODE((there.parent / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize(("named", "is_told"), [("agents.yaml", False), ("/nowhere/agents.yaml", True)])
def test_only_a_registry_that_is_not_found_has_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str, *, is_told: bool
) -> None:
    """Where the config names it where it was put nothing is left to do."""
    config = tmp_path / "surfaces.yaml"
    files = {"agents.yaml": b"agents: []", "surfaces.yaml": f"agents_file: {named}".encode()}
    manifest = Manifest(
        format=1, version="", made_at=0.0, rows=0, sha256="", config="surfaces.yaml", files=tuple(files)
    )
    _put_back(files, manifest, config)
    assert (tmp_path / "agents.yaml").exists()
    assert ("has to name it" in capsys.readouterr().out) is is_told


async def test_an_archive_is_never_written_over(house: House, tmp_path: Path) -> None:
    """What is there already may be the only good one."""
    archive = tmp_path / "there"
    archive.write_text("x")
    assert "name another file" in await command(house, "backup", str(archive), code=os.EX_CONFIG)
    assert archive.read_text() == "x"
    elsewhere = str(tmp_path / "missing" / "a.tar.gz")
    assert "make it" in await command(house, "backup", elsewhere, code=os.EX_CONFIG)


async def test_what_is_damaged_or_foreign_is_refused(house: House, tmp_path: Path) -> None:
    """65 and one line, before anything is stored: other rows than were counted, a cut file, another archive."""
    async with house.host() as host:
        await host.ready()
        assert await host.stop() == 0
    archive = tmp_path / "surfaces.tar.gz"
    await command(house, "backup", str(archive))
    house.database.unlink()
    with tarfile.open(archive) as whole:
        members = [(member, whole.extractfile(member).read()) for member in whole.getmembers()]  # type: ignore[union-attr]
    bad = {
        "changed": [(name, body[:-1] + b"?" if name.name == "state" else body) for name, body in members],
        "foreign": [(member, body) for member, body in members if member.name != "manifest.json"],
        "stateless": [(member, body) for member, body in members if member.name != "state"],
        "configless": [(member, body) for member, body in members if member.name != house.config.name],
        "longer": [(member, body + b"abc" if member.name == "state" else body) for member, body in members],
    }
    for name, content in bad.items():
        with tarfile.open(tmp_path / name, "w:gz") as made:
            for member, body in content:
                member.size = len(body)
                made.addfile(member, io.BytesIO(body))
    (tmp_path / "cut").write_bytes(archive.read_bytes()[:-200])
    there = tmp_path / "there" / house.config.name
    for name in (*bad, "cut"):
        said = await command(house, "restore", str(tmp_path / name), config=there, code=os.EX_DATAERR)
        assert said.count("\n") == 1
        assert name in said
    assert not there.parent.exists()
    assert not house.database.exists()
