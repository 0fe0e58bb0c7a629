"""Which package may import which: the contracts of import-linter, and what they cannot express."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import surfaces_core

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTRIBUTIONS = [ROOT, *PLUGINS]
COMPANIONS = {"pydantic_core": ["pydantic"], "yarl": ["aiohttp"]}
"""Packages that are part of another one's public interface."""
plugins = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
distributions = pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)


def package_of(folder: Path) -> Path:
    """The folder with the code of a distribution."""
    packages = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    return folder / str(packages["packages"][0])


def declarations(folder: Path) -> set[str]:
    """What a distribution depends on, its extras and itself."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    lines = [project["name"], *project["dependencies"], *extras]
    return {str(canonicalize_name(Requirement(line).name)) for line in lines}


def imports(package: Path) -> Iterator[tuple[Path, str, str]]:
    """Each absolute import below a folder, wherever in a file it stands: file, module, name or empty."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield from ((path, node.module or "", alias.name) for alias in node.names)


def test_layers_hold() -> None:
    """Every contract of import-linter in pyproject.toml is kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@plugins
def test_plugins_use_public_names(plugin: Path) -> None:
    """A plugin takes from the host only what its public root exports, or its testing package."""
    public = set(surfaces_core.__all__)
    strange = [
        f"{path.relative_to(ROOT)}: {module} {name}"
        for path, module, name in imports(package_of(plugin))
        if module.partition(".")[0] == "surfaces_core"
        and not module.startswith("surfaces_core.testing")
        and not (module == "surfaces_core" and name in public | {"", "testing"})
    ]
    assert strange == []


@plugins
def test_contracts_name_every_plugin(plugin: Path) -> None:
    """A plugin that is added is also added to the contracts of import-linter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    name = package_of(plugin).name
    lists = [contracts["root_packages"], contracts["contracts"][1]["modules"]]
    assert [name in names for names in [*lists, contracts["contracts"][2]["forbidden_modules"]]] == [True] * 3


@distributions
def test_imports_are_declared(folder: Path) -> None:
    """A distribution declares every package that it imports, so that it works where nothing else is installed."""
    declared = declarations(folder)
    if "surfaces-core" in declared:
        declared |= declarations(ROOT)  # Settings are pydantic's, logs are structlog's: part of the host's contracts.
    providers = {**packages_distributions(), **COMPANIONS}
    tops = {module.partition(".")[0] for _, module, _ in imports(package_of(folder))} - sys.stdlib_module_names
    assert {top for top in tops if not declared & set(map(canonicalize_name, providers.get(top, [top])))} == set()
