"""Plugins as a start meets them: found by entry point, checked, and every fault named in one line.

Each case installs a small distribution into a folder on the path of a real `surfaces` process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

CONFIG = """\
storage: {{use: sqlite, path: {path}/s.db}}
surfaces:
  home: {{use: probe}}
transports:
  agent_api: {{}}
hooks: {hooks}
agents:
  - {{id: a, base_url: "http://127.0.0.1:1"}}
"""
PROBE = """
import asyncio
from surfaces_core import Receipt, Surface, Unavailable
class Probe(Surface):
    async def run(self, intake):
        intake.ready()
        await asyncio.Event().wait()
    async def send(self, message):
        return Receipt(remote_id="x")
"""


@dataclass(frozen=True)
class Site:
    """A folder of installed distributions, and a config beside it."""

    folder: Path

    def install(self, module: str, source: str, group: str, *, dist: str = "", name: str = "") -> None:
        """Install one module as a distribution with one entry point."""
        (self.folder / f"{module}.py").write_text(dedent(source), "utf8")
        info = self.folder / f"{dist or module}-1.0.dist-info"
        info.mkdir()
        target = f"{module}:Probe" if group != "surfaces.hooks" else module
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist or module}\nVersion: 1.0\n", "utf8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name or module} = {target}\n", "utf8")

    def surfaces(self, *arguments: str, hooks: str = "[]") -> subprocess.CompletedProcess[str]:
        """Run the program here."""
        config = self.folder / "surfaces.yaml"
        config.write_text(CONFIG.format(path=self.folder, hooks=hooks), "utf8")
        return subprocess.run(
            [sys.executable, "-m", "surfaces_core.cli", *arguments, "-c", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder with a small working surface installed."""
    site = Site(tmp_path)
    site.install("probe", PROBE, "surfaces.surface")
    return site


HOOK = "from surfaces_core import hookimpl\n@hookimpl\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "import nowhere",
            "cannot be imported (ModuleNotFoundError: No module named 'nowhere'); install what provides nowhere",
        ),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero); update or uninstall broken"),
        (HOOK + "def surfaces_comands(): return []", "unknown hook surfaces_comands; there are surfaces_commands"),
        (HOOK + "async def surfaces_commands(): return []", "surfaces_commands is async; hooks are plain functions"),
        ("def surfaces_commands(): return []", "surfaces_commands is not marked; put @hookimpl above it"),
        (HOOK + "def surfaces_refuse(mesage): return None", "update the plugin"),
        ("class Plugin: pass", "has no hooks; name what has them, and install it again"),
        ("surfaces_contract = 2", "version 2 of the hooks contract, this host has 1; update surfaces-core"),
        ("surfaces_contract = 0", "version 0 of the hooks contract, this host has 1; update the plugin"),
        (
            "from surfaces_core import Command\n" + HOOK + "def surfaces_commands():\n"
            "    return [Command(name='help', help='x', handler=print)]",
            "the command help is there already",
        ),
    ],
)
def test_a_broken_hooks_plugin_stops_the_start_with_one_line(site: Site, source: str, said: str) -> None:
    """The line names the distribution, the entry point and the remedy; the exit code is 78."""
    site.install("broken", source, "surfaces.hooks")
    run = site.surfaces("run", hooks="[broken]")
    assert run.returncode == 78
    assert run.stderr.count("\n") == 1
    assert "broken 1.0, entry point surfaces.hooks:broken: " in run.stderr
    assert said in run.stderr
    assert f"{site.folder}/surfaces.yaml:6" in run.stderr


def test_a_broken_plugin_is_listed_as_broken(site: Site) -> None:
    """`plugins list` still works and says what is wrong."""
    site.install("broken", "import nowhere", "surfaces.hooks")
    run = site.surfaces("plugins", "list", hooks="[broken]")
    assert run.returncode == 0
    assert any(line.split() == ["hooks", "broken", "broken", "broken", "1.0"] for line in run.stdout.splitlines())
    assert "No module named 'nowhere'" in run.stdout


def test_a_plugin_that_the_config_does_not_name_is_never_imported(site: Site) -> None:
    """Neither a check nor a list imports it, and it shows as installed."""
    site.install("bystander", "raise SystemExit('imported')", "surfaces.hooks")
    assert site.surfaces("check").returncode == 0
    listed = site.surfaces("plugins", "list")
    assert "imported" not in listed.stdout + listed.stderr
    assert any(line.split()[:3] == ["hooks", "bystander", "installed"] for line in listed.stdout.splitlines())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Probe = 3", "probe:Probe is no Surface class; fix the plugin's entry point"),
        ("from surfaces_core import Surface\nclass Probe(Surface): pass", "Probe does not implement run, send"),
        (
            PROBE + "    surfaces_contract = 9",
            "version 9 of the surface contract, this host has 1; update surfaces-core",
        ),
        (
            PROBE.replace(
                "class Probe", "from surfaces_core import Settings\nclass S(Settings):\n    colour: str\nclass Probe"
            )
            + "    Settings = S",
            "surfaces.home.colour: missing; this setting has no default",
        ),
    ],
)
def test_a_wrong_driver_stops_the_start_with_one_line(tmp_path: Path, source: str, said: str) -> None:
    """A driver of the wrong kind, half made, for another contract or with wrong settings is refused."""
    site = Site(tmp_path)
    site.install("probe", source, "surfaces.surface")
    run = site.surfaces("run")
    assert (run.returncode, run.stderr.count("\n")) == (78, 1)
    assert said in run.stderr
    assert "surfaces.yaml:3" in run.stderr


def test_two_distributions_that_offer_one_name_are_refused(site: Site) -> None:
    """Nobody can tell which one was meant, so both are named."""
    site.install("one", "", "surfaces.hooks", name="same")
    site.install("two", "", "surfaces.hooks", name="same")
    run = site.surfaces("run", hooks="[same]")
    assert run.returncode == 78
    assert "one and two both offer surfaces.hooks:same; uninstall one of them" in run.stderr


def test_a_name_that_nothing_offers_lists_what_is_installed(site: Site) -> None:
    """A slip in `hooks:` shows the names there are."""
    run = site.surfaces("run", hooks="[contxt]")
    assert run.returncode == 78
    assert "hooks[0]: no installed plugin offers surfaces.hooks:contxt; installed are: chats, context" in run.stderr


def test_check_names_every_broken_plugin_at_once(site: Site) -> None:
    """`check` does not end at the first problem."""
    site.install("broken", "import nowhere", "surfaces.hooks")
    config = site.folder / "other.yaml"
    text = CONFIG.format(path=site.folder, hooks="[broken]").replace("use: probe", "use: probes")
    config.write_text(text.replace("base_url", "base_ulr"), "utf8")
    run = subprocess.run(
        [sys.executable, "-m", "surfaces_core.cli", "check", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site.folder)},
    )
    assert run.returncode == 78
    assert [word in run.stderr for word in ("surfaces.surface:probes", "nowhere", "did you mean base_url")] == [
        True
    ] * 3


def test_export_of_an_empty_state_says_so(site: Site) -> None:
    """A state on which no host has run has nothing to say, and that is said."""
    run = site.surfaces("export")
    assert run.returncode == 66
    assert run.stdout == ""
    assert "this state is empty" in run.stderr


def test_wrong_usage_exits_64(site: Site) -> None:
    """An unknown command is one line and exit code 64."""
    run = site.surfaces("fly")
    assert run.returncode == 64
    assert "invalid choice: 'fly'" in run.stderr
