"""`surfaces plugins new`: every kind of package works as it is written, and what cannot be written is one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from surfaces_core import ConfigError, cli
from surfaces_core._program import scaffold

ROOT = Path(__file__).parents[1]
LINES = {"commands": 10, "hooks": 25, "transport": 60, "surface": 105, "storage": 110, "files": 120}
"""How long the module of each kind may be, to be read in a minute."""
SHORTEST, LONGEST = "x", "a_name_of_thirty_letters_or_so"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of each kind, each in the folder of its kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in cli.KINDS:
        assert cli.main(["plugins", "new", kind, f"my_{kind}", "--to", str(folder / kind)]) == 0
    return folder


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program of the tools, in a folder."""
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)


def test_every_kind_can_be_written(packages: Path) -> None:
    """The program's choices are the kinds that have templates, and each entry point leads to what is there."""
    assert set(cli.KINDS) == set(scaffold.SORTS) == set(LINES)
    for kind in cli.KINDS:
        project = tomllib.loads((packages / kind / "pyproject.toml").read_text())["project"]
        (names,) = project["entry-points"].values()
        module, _, target = names[f"my_{kind}"].partition(":")
        source = (packages / kind / f"{module}.py").read_text()
        assert not target or f"class {target}(" in source
        assert project["dependencies"][0] == project["optional-dependencies"]["testing"][0].replace("[testing]", "")


@pytest.mark.parametrize("kind", cli.KINDS)
def test_a_new_module_is_read_in_a_minute(packages: Path, kind: str) -> None:
    """No module is longer than it must be."""
    lines = (packages / kind / f"surfaces_my_{kind}.py").read_text().splitlines()
    assert len(lines) <= LINES[kind]


@pytest.mark.slow
def test_new_packages_pass_their_tests(packages: Path) -> None:
    """Contract checks included; each file of tests is run as it was written."""
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", packages]
    done = run(sys.executable, "-m", "pytest", *options, *sorted(packages.glob("*/test_*.py")), cwd=packages)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed, done.stdout
    assert int(passed[1]) > 100


@pytest.mark.slow
def test_new_packages_pass_the_type_checker(packages: Path) -> None:
    """Strictly, tests included."""
    files = sorted(packages.glob("*/*.py"))
    cache = ROOT / ".mypy_cache/new"
    done = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, *files, cwd=packages)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [SHORTEST, LONGEST])
def test_new_packages_are_in_good_style(tmp_path: Path, name: str) -> None:
    """However long the name is."""
    for kind in cli.KINDS:
        scaffold.new(kind, name, tmp_path / kind)
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        done = run(ruff, *command, "--no-cache", tmp_path, cwd=tmp_path)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", cli.KINDS)
def test_the_readme_shows_a_config(packages: Path, kind: str) -> None:
    """With the name under which it was written."""
    text = (packages / kind / "README.md").read_text()
    assert f"my_{kind}" in text.split("```yaml")[1]
    assert "$" not in text


@pytest.mark.parametrize("name", ["", "Lines", "1st", "my-lines", "a__b", "_a", "a_", "x" * 31, "ö", "../up", "a b"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    """In one line, and nothing is written."""
    with pytest.raises(ConfigError, match="cannot name a plugin: write at most 30 of a-z"):
        scaffold.new("storage", name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"), [("class", "it is a word of Python"), ("matrix", "installed already"), ("core", "installed")]
)
def test_a_name_that_is_taken_is_refused(name: str, said: str, tmp_path: Path) -> None:
    """By Python, by a plugin, or by the host itself."""
    with pytest.raises(ConfigError, match=said):
        scaffold.new("storage", name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it; the program says so in one line and ends with the code for a wrong configuration."""
    assert cli.main(["plugins", "new", "commands", "shout", "--to", str(tmp_path)]) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path} is there already; name another place with --to" in said
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_there_is_not_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names those that there are."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["plugins", "new", "database", "lines"])
    assert ended.value.code == 64
    assert "'storage'" in capsys.readouterr().err
