"""What earlier releases showed as examples still works: each plugin loads, and passes the checks of today."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RELEASES = sorted(path for path in (ROOT / "tests/releases").iterdir() if path.is_dir())
releases = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
pytestmark = pytest.mark.slow

CONFIG = """
storage: {use: lines, path: ./state}
files: {use: folders, root: ./agents}
surfaces: {socket: {path: ./socket}}
transports: {program: {}}
agents: [{id: cat, transport: program, command: [cat]}]
hooks: [ping, brief]
"""


def projects(release: Path) -> Mapping[Path, dict[str, Any]]:
    """The packages of a release, each with what its project says."""
    files = sorted(release.glob("*/pyproject.toml"))
    return {path.parent: tomllib.loads(path.read_text())["project"] for path in files}


def installed(release: Path, folder: Path) -> dict[str, str]:
    """The environment of a process to which the packages of a release are installed, as pip would."""
    for project in projects(release).values():
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        groups = [f"[{group}]\n{entry(names)}" for group, names in project["entry-points"].items()]
        (info / "entry_points.txt").write_text("".join(groups))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, *projects(release))))}


def entry(names: Mapping[str, str]) -> str:
    """The lines of a group of entry points."""
    return "".join(f"{name} = {value}\n" for name, value in names.items())


def run(release: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with the packages of a release."""
    command = [sys.executable, *map(str, arguments)]
    environment = installed(release, folder)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@releases
def test_a_release_has_an_example_of_every_kind(release: Path) -> None:
    """So that no contract can change unseen."""
    groups = {group for project in projects(release).values() for group in project["entry-points"]}
    assert groups == {f"surfaces.{kind}" for kind in ("storage", "files", "transport", "surface", "hooks")}


@releases
def test_the_examples_of_a_release_are_loaded(release: Path, tmp_path: Path) -> None:
    """A config that names all of them is well, and each says its contract version."""
    (tmp_path / "surfaces.yaml").write_text(CONFIG)
    checked = run(release, tmp_path, "-m", "surfaces_core.cli", "check")
    assert checked.returncode == 0, checked.stderr
    listed = run(release, tmp_path, "-m", "surfaces_core.cli", "plugins", "list").stdout.splitlines()
    rows = {row[1]: (row[2], row[-1]) for row in map(str.split, listed) if row[2] == "enabled"}
    names = {
        name for project in projects(release).values() for all_ in project["entry-points"].values() for name in all_
    }
    assert rows == dict.fromkeys(names, ("enabled", "1"))


@releases
def test_the_examples_of_a_release_pass_the_checks_of_today(release: Path, tmp_path: Path) -> None:
    """Their own tests too, as they were then."""
    files = sorted(release.glob("*/checks.py"))
    assert [path.parent for path in files] == list(projects(release))
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "--import-mode=importlib",
        "--rootdir",
        tmp_path,
    ]
    done = run(release, tmp_path, "-m", "pytest", *options, *files)
    assert done.returncode == 0, done.stdout


@releases
async def test_the_examples_of_a_release_talk(release: Path, tmp_path: Path) -> None:
    """A host made of nothing else answers a person, and after a restart shows the same and answers on."""
    (tmp_path / "surfaces.yaml").write_text(CONFIG)
    async with host(release, tmp_path):
        assert await talk(tmp_path, "1", "hello") == ["hello"]
    async with host(release, tmp_path):
        assert await talk(tmp_path, "2", "!ping a") == ["hello", "pong a"]


@asynccontextmanager
async def host(release: Path, folder: Path) -> AsyncIterator[None]:
    """One life of a host with the examples of a release, which ends well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "surfaces_core.cli", "run"),
        cwd=folder,
        env=installed(release, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).startswith(b"READY")
        yield
    finally:
        process.terminate()
        code = await process.wait()
    assert code == 0


async def talk(folder: Path, number: str, text: str) -> list[str]:
    """Say something on the socket; all that the bot says there, once that is more than before."""
    reader, writer = await asyncio.open_unix_connection(folder / "socket")
    writer.write(json.dumps({"id": number, "text": text}).encode() + b"\n")
    said: list[str] = []
    async with asyncio.timeout(30):
        seen = False
        while not seen or len(said) < int(number):
            told = json.loads(await reader.readline())
            seen = seen or told.get("seen") == number
            said += [told["text"]] if "text" in told else []
    writer.close()
    return said
