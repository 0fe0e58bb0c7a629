"""The documents: what is generated is current, what is shown works, what is linked is there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import surfaces_core
from surfaces_core._config.config import TOP
from surfaces_core.hooks import HookSpecs
from surfaces_core.testing.bot import TestBot
from tools import pictures
from tools.documents import contents
from tools.documents.parts import GENERATED

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / page for page in contents.pages()]
FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ENVIRONMENT = {
    "MATRIX_PASSWORD": "x",
    **{f"{name}_API_KEY": "x" for name in ("ANTHROPIC", "DEEPSEEK", "GEMINI", "MOONSHOT", "OPENAI")},
    "NOTES_KEY": "x",
    "WIKI_TOKEN": "x",
    "MATRIX_RECOVERY_KEY": "x",
    "PUSH_TOKEN": "x" * 32,
    "SURFACES_DSN": "postgresql://x@localhost/x",
    "SURFACES_REDIS": "redis://localhost",
}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `file` where the page says what it is called."""

    language: str
    file: str
    text: str


@cache
def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(*match) for match in FENCE.findall(page.read_text())]


def file_of(page: Path, name: str) -> str:
    """The content of a file that a page shows."""
    return next(block.text for block in blocks(page) if block.file == name)


def install(page: Path, folder: Path) -> None:
    """Write the files that a page shows, and make the plugin among them known as pip would."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
    if (folder / "pyproject.toml").exists():
        project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = folder / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
            for group, names in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("".join(groups))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder whose modules and plugins it knows."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_generated_pages_are_current() -> None:
    """What `make docs` would write stands in the repository already."""
    checked = run(ROOT, "tools/docs.py", "--check")
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def test_every_page_has_one_place_in_the_order() -> None:
    """Whoever adds a page names it in the list of its folder's index, and so on the site."""
    assert (contents.orphans(), contents.named_twice()) == (set(), [])


def test_the_reference_is_generated() -> None:
    """No page of the reference but its list is written by hand: what stands there cannot be older than the code."""
    by_hand = [page.name for page in ROOT.glob("docs/reference/*.md") if GENERATED not in page.read_text()]
    assert by_hand == ["index.md"]


def test_pictures_show_pages_as_they_are() -> None:
    """No page was changed after its pictures were taken: after a change, run `make pictures`."""
    assert pictures.noted() == pictures.made_of()


def headings(page: Path) -> set[str]:
    """The headings of a page, without their backticks."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {heading.replace("`", "") for heading in found}


def test_every_public_name_is_documented() -> None:
    """Each name of `surfaces_core` has a heading of its own in the reference."""
    documented = set().union(*map(headings, ROOT.glob("docs/reference/*.md")))
    assert set(surfaces_core.__all__) <= documented


def test_every_hook_is_documented() -> None:
    """Each hook has its heading, and no page speaks of another."""
    hooks = {name for name in vars(HookSpecs) if name.startswith("surfaces_")}
    assert {name for name in headings(ROOT / "docs/reference/hooks.md") if name.startswith("surfaces_")} == hooks


@pages
def test_snippets_can_be_read(page: Path) -> None:
    """Python compiles, YAML and TOML parse."""
    readers: dict[str, Callable[[str], object]] = {"python": ast.parse, "yaml": yaml.safe_load, "toml": tomllib.loads}
    for block in blocks(page):
        if block.language in readers:
            readers[block.language](block.text)


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file, and a heading in it where it names one."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, fragment = link.partition("#")
        there = (page.parent / path) if path else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not there.exists() or (fragment and fragment not in map(anchor, headings(there))):
            broken.append(link)
    assert broken == []


def is_config(block: Block) -> bool:
    """A block that shows a config, or some keys of one."""
    data = yaml.safe_load(block.text) if block.language == "yaml" else None
    return isinstance(data, dict) and set(data) <= set(TOP)


CHECK = """
import os, sys
from importlib.metadata import entry_points
from pathlib import Path
import surfaces_core._program.check, surfaces_core._program.commands
from surfaces_core.cli import main

for group in ("storage", "files", "transport", "surface", "hooks"):
    for entry in entry_points(group=f"surfaces.{group}"):
        entry.load()


def check(folder):
    os.chdir(folder)
    sys.path.insert(0, folder)  # with the plugins that the page shows
    codes = [(path, main(["check", "--offline", "-c", str(path)])) for path in sorted(Path().glob("config-*.yaml"))]
    wrong = [str(path) for path, code in codes if code == os.EX_CONFIG]
    sys.exit(f"the configs {wrong} of this page are wrong" if wrong else 0)


failed = []
for folder in sys.argv[1:]:
    print(f"{folder}:", file=sys.stderr)
    if (pid := os.fork()) == 0:
        check(folder)
    if os.waitpid(pid, 0)[1]:
        failed.append(Path(folder).name)
sys.exit(f"wrong pages: {failed}" if failed else 0)
"""
"""Each page in a process of its own, from one that has loaded the installed plugins."""


def test_configs_pass_the_check(tmp_path: Path) -> None:
    """No config on a page is wrong by itself; some keys of one are not when they replace those of the README's."""
    whole = yaml.safe_load(file_of(ROOT / "README.md", "surfaces.yaml"))
    folders = []
    for page in PAGES:
        shown = list(filter(is_config, blocks(page)))
        if not shown:
            continue
        folder = tmp_path / str(page.relative_to(ROOT)).replace("/", ":")
        folder.mkdir()
        folders.append(str(folder))
        install(page, folder)
        for number, block in enumerate(shown):
            config = block.text if block.file else yaml.safe_dump({**whole, **yaml.safe_load(block.text)})
            (folder / f"config-{number:02}.yaml").write_text(config)
    checked = run(tmp_path, "-c", CHECK, *folders)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial/first-bot.md"])
async def test_the_eight_lines_answer(name: str) -> None:
    """The smallest plugin has eight lines at most, and answers."""
    source = file_of(ROOT / name, "surfaces_ping.py")
    assert len([line for line in source.splitlines() if line]) <= 8
    module = ModuleType("surfaces_ping")
    exec(source, module.__dict__)
    async with TestBot(hooks=[module]).running() as bot:
        await bot.push("!ping a b")
        assert await bot.pop() == "pong a b"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tutorial/commands", "how-to/test-a-plugin", "how-to/give-agents-tools"])
def test_the_tests_of_the_guides_pass(name: str, tmp_path: Path) -> None:
    """What a guide tells its reader to write passes the tests that it tells them to run.

    Those of the other tutorials are what `surfaces plugins new` writes, which test_scaffold.py runs.
    """
    install(ROOT / f"docs/{name}.md", tmp_path)
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed", done.stdout, re.MULTILINE)
