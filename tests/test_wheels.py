"""Every distribution as a stranger gets it: its wheel in a clean environment with its own dependencies alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
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


BUILD = """
import sys
from hatchling.builders.wheel import WheelBuilder
for folder in sys.argv[2:]:
    list(WheelBuilder(folder).build(directory=sys.argv[1]))
"""
ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def run(*command: object, cwd: Path, env: Mapping[str, str] = os.environ) -> str:
    """What a program prints, away from the checkout; fails with all it said when it fails."""
    outside = {name: value for name, value in env.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@cache
def uv() -> dict[str, str]:
    """The variables that uv is started with, itself in `UV`, asked once; nothing where it cannot be had."""
    asked = [str(UV), "run", "--quiet", "--no-project", "--python", sys.executable, "python", "-c", ENVIRONMENT]
    told = subprocess.run(asked, capture_output=True, check=False)
    found: dict[str, str] = json.loads(told.stdout) if told.returncode == 0 else {}
    return found


@dataclass(frozen=True)
class Clean:
    """An environment with nothing in it but what is installed here, and a folder to work in."""

    folder: Path
    env: Path
    wheels: Path

    def install(self, *what: object) -> None:
        """Have these distributions, by name, and what they need; whatever else was there goes."""
        if not uv():
            run(sys.executable, "-m", "venv", "--clear", self.env, cwd=ROOT)
            self.add(*what)
            return
        if not self.env.exists():
            run(uv()["UV"], "venv", "--quiet", "--python", sys.executable, self.env, cwd=ROOT, env=uv())
        self.add("--exact", *what)

    def add(self, *what: object) -> None:
        """Install more of them: ours from their wheels, others as they are pinned."""
        options = ["--quiet", "--find-links", self.wheels, "--constraint", self.folder / "pins.txt"]
        if uv():
            python = self.env / "bin/python"
            run(uv()["UV"], "pip", "install", "--python", python, *options, *what, cwd=ROOT, env=uv())
        else:
            run(self.env / "bin/pip", "install", *options, *what, cwd=ROOT)

    def python(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run Python in the environment."""
        return run(self.env / "bin/python", *arguments, cwd=cwd or self.folder, env=self.variables)

    def program(self, name: str, *arguments: object) -> str:
        """Run an installed program."""
        return run(self.env / "bin" / name, *arguments, cwd=self.folder, env=self.variables)

    @property
    def variables(self) -> dict[str, str]:
        """Bytecode is kept elsewhere: of what is taken away no folder stays that could still be imported."""
        return {**os.environ, "PYTHONPYCACHEPREFIX": str(self.env.parent / "bytecode")}

    def states(self, *arguments: str) -> dict[str, str]:
        """What `surfaces plugins list` says of each entry point."""
        rows = [line.split() for line in self.program("surfaces", "plugins", "list", *arguments).splitlines()]
        return {row[1]: row[2] for row in rows if len(row) > 2}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution."""
    out = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-c", BUILD, out, ROOT, *PLUGINS, cwd=ROOT)
    return out


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests in turn have their environment: what each of them installs takes away what others did."""
    return tmp_path_factory.mktemp("clean") / "env"


@pytest.fixture
def clean(tmp_path: Path, env: Path, wheels: Path) -> Clean:
    """An environment of which nothing was installed yet."""
    folder = tmp_path / "work"
    folder.mkdir()
    pins = (ROOT / "requirements/dev.txt").read_text().splitlines()
    (folder / "pins.txt").write_text("\n".join(line.rstrip("\\") for line in pins if "==" in line))
    return Clean(folder, env, wheels)


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
    clean.python("-c", IMPORT_ALL, "surfaces_core")


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
    clean.python("-c", IMPORT_ALL, package)


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
    assert clean.python("-c", code).splitlines() == ["1 None", "2 b'value'"]


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
            clean.env / "bin/surfaces", "run", "-c", "matrix.yaml", cwd=clean.folder, stdout=quiet, stderr=quiet
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
    passed = clean.python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"^\d\d passed", passed, re.MULTILINE)
