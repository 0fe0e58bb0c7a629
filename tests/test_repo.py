"""The repository as a whole: what every package has, that versions agree and that nothing names a machine."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTRIBUTIONS = [ROOT, *PLUGINS]
REQUIREMENTS = sorted(ROOT.glob("requirements/*.txt"))
plugins = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
distributions = pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)

# Put together from pieces, so that this file does not name them itself.
REGISTRIES = [
    "pypi" + ".org",
    "files.python" + "hosted",
    "registry.npm" + "js",
    "registry.yarn" + "pkg",
    "proxy.gol" + "ang",
]
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:root|home|Users|work)/[\w.-]+|/tmp/s[c]ratch")


def project(folder: Path) -> dict[str, object]:
    """The project table of a distribution."""
    return dict(tomllib.loads((folder / "pyproject.toml").read_text())["project"])


def tracked() -> list[tuple[str, str]]:
    """Every tracked text file as it stands in the work tree: its name and content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [(str(path.relative_to(ROOT)), path.read_text(errors="replace")) for path in files if path.is_file()]


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's own configuration."""
    assert [(name, host) for name, text in tracked() for host in REGISTRIES if host in text] == []


def test_no_file_names_a_place_on_a_machine() -> None:
    """No tracked file depends on the folders of the machine it was written on."""
    found = [(name, match.group()) for name, text in tracked() for match in MACHINE_PATHS.finditer(text)]
    assert found == []


@plugins
def test_plugins_are_complete(plugin: Path) -> None:
    """Every plugin has its README, its tests and the marker that its types are to be believed."""
    packages = sorted(path.parent for path in plugin.glob("surfaces_*/__init__.py"))
    assert packages == sorted(path.parent for path in plugin.glob("surfaces_*/py.typed"))
    assert (plugin / "README.md").is_file()
    assert list(plugin.glob("tests/test_*.py"))


@plugins
def test_plugins_are_named_alike(plugin: Path) -> None:
    """The folder, the distribution and the package of a plugin have one name."""
    assert project(plugin)["name"] == f"surfaces-{plugin.name.replace('_', '-')}"
    assert (plugin / f"surfaces_{plugin.name}").is_dir()


def test_versions_agree() -> None:
    """All distributions of this repository are released together, and the change log speaks of that version."""
    versions = {str(project(folder)["version"]) for folder in DISTRIBUTIONS}
    assert len(versions) == 1
    assert f"## {versions.pop()}" in (ROOT / "CHANGELOG.md").read_text()


@distributions
def test_licences_agree(folder: Path) -> None:
    """Every distribution names the licence of the repository."""
    assert project(folder)["license"] == "Apache-2.0"


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_by_hash(path: Path) -> None:
    """Each requirement has one version and at least one hash."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_node_packages_are_pinned_by_hash() -> None:
    """Each Node package has one version and a hash, and says nowhere where it comes from."""
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert packages
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


@distributions
def test_requirements_are_up_to_date(folder: Path) -> None:
    """What a distribution depends on is pinned within its own bounds: after a change, run `make lock`."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))
    own = {str(project(other)["name"]) for other in DISTRIBUTIONS}
    wanted = [Requirement(str(line)) for line in project(folder)["dependencies"]]  # type: ignore[attr-defined]
    missing = [
        str(requirement)
        for requirement in wanted
        if requirement.name not in own
        and not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert missing == []


def test_test_files_have_names_of_their_own() -> None:
    """Two test files of one name would hide each other in reports."""
    names = [path.name for folder in DISTRIBUTIONS for path in folder.glob("tests/**/test_*.py")]
    assert sorted(names) == sorted(set(names))
