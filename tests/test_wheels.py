"""Every distribution as a stranger gets it: its wheel in a clean environment with its own dependencies alone."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from surfaces_testing.homeserver import PASSWORD, FakeHomeserver

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
UV = ROOT / "tools/uv"

# One worker builds the wheels and uses them.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheels")]

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
assert "site-packages" in package.__file__, package.__file__
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    for_authors = module.name.startswith(("surfaces_core.testing", "surfaces_core._program.checkup"))
    if not for_authors and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

PING = """
from surfaces_core import Command, CommandCall, hookimpl

async def ping(call: CommandCall) -> str:
    return "pong " + " ".join(call.args)

@hookimpl
def surfaces_commands():
    return [Command(name="ping", help="answers pong", handler=ping)]
"""
PING_TEST = """
import pytest
import surfaces_ping

@pytest.fixture
def surfaces_hooks():
    return [surfaces_ping]

async def test_ping(testbot):
    await testbot.push("!ping a")
    assert await testbot.pop() == "pong a"
"""
PING_PROJECT = """
[project]
name = "surfaces-ping"
version = "1.0"
dependencies = ["surfaces-core"]

[project.entry-points."surfaces.hooks"]
ping = "surfaces_ping"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
CONFIG = """
storage: {use: sqlite, path: ./surfaces.db}
surfaces: {work: {use: nowhere}}
transports: {nobody: {}}
agents: [{id: none, transport: nobody}]
hooks: [ping]
"""

MATRIX_CONFIG = """
storage: {{use: sqlite, path: ./surfaces.db}}
surfaces: {{matrix: {{homeserver: "{url}", user_id: "@bot:hs.test", password: "{password}"}}}}
transports: {{agent_api: {{}}}}
agents: [{{id: nobody, base_url: "http://127.0.0.1:9"}}]
hooks: [ping]
"""


def run(*command: object, cwd: Path) -> str:
    """What a program prints, away from the checkout; fails with all it said when it fails."""
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@cache
def has_uv() -> bool:
    """Whether environments can be made the quick way."""
    return subprocess.run([UV, "--version"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Clean:
    """An environment with nothing in it but what is installed here, and a folder to work in."""

    folder: Path
    wheels: Path

    def install(self, *what: object) -> None:
        """Make the environment, and install distributions by name."""
        if has_uv():
            run(UV, "venv", "--quiet", "--python", sys.executable, self.folder, cwd=ROOT)
        else:
            run(sys.executable, "-m", "venv", self.folder, cwd=ROOT)
        self.add(*what)

    def add(self, *what: object) -> None:
        """Install more of them: ours from their wheels, others as they are pinned."""
        options = ["--quiet", "--find-links", self.wheels, "--constraint", self.folder.parent / "pins.txt"]
        if has_uv():
            run(UV, "pip", "install", "--python", self.folder / "bin/python", *options, *what, cwd=ROOT)
        else:
            run(self.folder / "bin/pip", "install", *options, *what, cwd=ROOT)

    def python(self, code: str, *arguments: object) -> str:
        """Run a piece of Python in the environment."""
        return run(self.folder / "bin/python", "-c", code, *arguments, cwd=self.folder)

    def program(self, name: str, *arguments: object) -> str:
        """Run an installed program."""
        return run(self.folder / "bin" / name, *arguments, cwd=self.folder)

    def states(self, *arguments: str) -> dict[str, str]:
        """What `surfaces plugins list` says of each entry point."""
        rows = [line.split() for line in self.program("surfaces", "plugins", "list", *arguments).splitlines()]
        return {row[1]: row[2] for row in rows if len(row) > 2}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution."""
    out = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    builds = [subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) for folder in [ROOT, *PLUGINS]]
    assert [build.wait() for build in builds] == [0] * len(builds)
    return out


@pytest.fixture
def clean(tmp_path: Path, wheels: Path) -> Clean:
    """An environment that is still empty."""
    pins = (ROOT / "requirements/dev.txt").read_text().splitlines()
    (tmp_path / "pins.txt").write_text("\n".join(line.rstrip("\\") for line in pins if "==" in line))
    return Clean(tmp_path / "env", wheels)


def entry_points(folder: Path, group: str) -> list[str]:
    """The names that a distribution offers in a group of entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return list(project.get("entry-points", {}).get(group, {}))


def extras_of(folder: Path) -> list[str]:
    """The extras of a distribution that some of its modules need."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return [name for name in project.get("optional-dependencies", {}) if name not in ("homeserver", "testing")]


def test_the_host_works_alone(clean: Clean) -> None:
    """The host installs and runs with no plugin at all, and each of its modules imports."""
    clean.install("surfaces-core")
    assert clean.program("surfaces", "version").startswith("surfaces-core ")
    assert "sqlite" not in clean.program("surfaces", "plugins", "list")
    clean.python(IMPORT_ALL, "surfaces_core")


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_work_alone(clean: Clean, plugin: Path) -> None:
    """A plugin installs with its own dependencies alone and can be shown; with its extras all of it imports."""
    package = f"surfaces_{plugin.name}"
    clean.install(package.replace("_", "-"))
    states = clean.states()
    for group in ("surface", "transport", "storage", "files", "hooks"):
        for name in entry_points(plugin, f"surfaces.{group}"):
            assert states[name] == "installed"
            assert clean.program("surfaces", "plugins", "show", f"{group}:{name}").startswith(name)
    extras = extras_of(plugin)
    if extras:
        clean.add(f"{package.replace('_', '-')}[{','.join(extras)}]")
    clean.python(IMPORT_ALL, package)


def test_the_demo_brings_its_chat_page(wheels: Path) -> None:
    """The built page is in the wheel, encryption included, though git does not keep it."""
    names = zipfile.ZipFile(next(wheels.glob("surfaces_demo-*.whl"))).namelist()
    page = {name.removeprefix("surfaces_demo/page/") for name in names if name.startswith("surfaces_demo/page/")}
    assert page >= {"index.html", "main.js", "page.css", "pkg/matrix_sdk_crypto_wasm_bg.wasm"}


def test_authors_can_test_their_plugin(clean: Clean) -> None:
    """With the testing extra a stranger's plugin is tested against a whole host, with no line of set-up."""
    clean.install("surfaces-core[testing]")
    (clean.folder / "surfaces_ping.py").write_text(PING)
    (clean.folder / "test_ping.py").write_text(PING_TEST)
    assert "1 passed" in clean.program("pytest", "-o", "asyncio_mode=auto", "test_ping.py")


def test_sqlite_keeps_state_from_its_wheel(clean: Clean) -> None:
    """The storage driver that the host finds in a clean environment makes and reads a database."""
    clean.install("surfaces-storage-sqlite")
    code = """
import asyncio, structlog, sys
from pathlib import Path
from surfaces_core import Context
from surfaces_storage_sqlite import SqliteStorage

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    settings = SqliteStorage.Settings(path=Path("state.db"))
    for turn in (1, 2):
        async with SqliteStorage(settings, Context(name="storage", log=structlog.get_logger())) as storage:
            async with storage.transaction() as tx:
                print(turn, await tx.get(b"key"))
                await tx.put(b"key", b"value")

asyncio.run(main())
"""
    assert clean.python(code).splitlines() == ["1 None", "2 b'value'"]


@pytest.fixture
def ping(tmp_path: Path) -> Path:
    """A plugin of eight lines in a folder outside the repository."""
    assert len([line for line in PING.splitlines() if line]) <= 8
    project = tmp_path / "ping"
    project.mkdir()
    (project / "surfaces_ping.py").write_text(PING)
    (project / "pyproject.toml").write_text(PING_PROJECT)
    return project


async def test_a_strangers_plugin_answers_in_the_room(clean: Clean, ping: Path) -> None:
    """Installed with pip beside the wheels and named in the config, it answers a person in Matrix."""
    clean.install("surfaces-storage-sqlite", "surfaces-matrix", "surfaces-agent-api", ping)
    quiet = asyncio.subprocess.DEVNULL
    async with FakeHomeserver() as homeserver:
        homeserver.register("@bot:hs.test")
        (clean.folder / "matrix.yaml").write_text(MATRIX_CONFIG.format(url=homeserver.url, password=PASSWORD))
        ann = homeserver.person("@ann:hs.test", display_name="Ann")
        host = await asyncio.create_subprocess_exec(
            clean.folder / "bin/surfaces", "run", "-c", "matrix.yaml", cwd=clean.folder, stdout=quiet, stderr=quiet
        )
        try:
            room = ann.create_dm("@bot:hs.test")
            await homeserver.until(lambda: homeserver.members(room).get("@bot:hs.test") == "join", timeout=20)
            ann.say(room, "!ping a 'b c'")
            answered = "pong a b c"
            await homeserver.until(lambda: answered in [shown.body for shown in homeserver.shown(room)], timeout=20)
        finally:
            host.terminate()
            code = await host.wait()
    assert code == 0


def test_a_strangers_plugin_of_eight_lines_is_found(clean: Clean, ping: Path) -> None:
    """A plugin in a folder outside the repository installs with pip; only the config enables it."""
    clean.install("surfaces-storage-sqlite", ping)
    (clean.folder / "surfaces.yaml").write_text(CONFIG)
    assert clean.states("-c", "elsewhere.yaml")["ping"] == "installed"
    assert clean.states()["ping"] == "enabled"
    assert "!ping" in clean.program("surfaces", "plugins", "show", "ping")


def test_a_new_plugin_is_built_installed_and_enabled(clean: Clean, tmp_path: Path) -> None:
    """What `plugins new` writes, from its wheel: its own tests pass as it configures them, and a host takes it."""
    clean.install("surfaces-core[testing]")
    project = tmp_path / "lines"
    clean.program("surfaces", "plugins", "new", "storage", "lines", "--to", project)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=project)
    clean.add(*tmp_path.glob("surfaces_lines-*.whl"))
    (clean.folder / "surfaces.yaml").write_text(CONFIG.replace("use: sqlite", "use: lines").replace("[ping]", "[]"))
    assert clean.states()["lines"] == "enabled"
    (project / "surfaces_lines.py").unlink()  # so that it is the installed one that is tested
    passed = run(clean.folder / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"^\d\d passed", passed, re.MULTILINE)
