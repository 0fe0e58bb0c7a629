"""Writes the package of a new plugin, from the templates beside this module."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from surfaces_core.errors import ConfigError

NAME = re.compile(r"[a-z](?:_?[a-z0-9]){0,29}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """What the packages of a kind have in common; `$name` and `$Name` stand for the name."""

    group: str
    target: str
    """The entry point's object, behind the module."""
    description: str
    config: str
    pydantic: bool = True


SORTS: Mapping[str, Sort] = {
    "commands": Sort(
        group="surfaces.hooks",
        target="",
        description="The command !$name for Surfaces",
        config="hooks: [$name]",
        pydantic=False,
    ),
    "hooks": Sort(
        group="surfaces.hooks",
        target="",
        description="Hooks for Surfaces that refuse what is too long and say who asks",
        config="hooks: [$name]",
        pydantic=False,
    ),
    "storage": Sort(
        group="surfaces.storage",
        target=":${Name}Storage",
        description="State of Surfaces in one file, to which each transaction adds a line",
        config="storage: {use: $name, path: ./var/$name.state}",
    ),
    "files": Sort(
        group="surfaces.files",
        target=":${Name}Files",
        description="Files of Surfaces in a folder for each agent",
        config="files: {use: $name, root: /agents}",
    ),
    "transport": Sort(
        group="surfaces.transport",
        target=":${Name}Transport",
        description="Programs on this machine as agents of Surfaces",
        config="transports: {$name: {}}\nagents: [{id: cat, transport: $name, command: [cat]}]",
    ),
    "surface": Sort(
        group="surfaces.surface",
        target=":${Name}Surface",
        description="Conversations with Surfaces over a UNIX socket",
        config="surfaces: {$name: {path: ./$name.socket}}",
    ),
}


def new(kind: str, name: str, folder: Path | None = None) -> tuple[Path, list[str]]:
    """Write a package; its folder and the names of its files. Raises `ConfigError`, and then nothing is written."""
    check_name(name)
    folder = folder or Path(distribution_of(name))
    package = dict(package_of(kind, name))
    try:
        folder.mkdir(parents=True)
        for path, text in package.items():
            (folder / path).write_text(text, "utf8")
    except FileExistsError:
        raise ConfigError("", f"{folder} is there already; name another place with --to") from None
    except OSError as error:
        raise ConfigError("", f"{folder} cannot be written ({error.strerror}); name another place with --to") from error
    return folder, list(package)


def check_name(name: str) -> None:
    """Refuse what cannot name a plugin, or names one that is installed. Raises `ConfigError`."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            "", f"{name!r} cannot name a plugin: write at most 30 of a-z, 0-9 and single _, beginning with a letter"
        )
    if keyword.iskeyword(name):
        raise ConfigError("", f"{name!r} cannot name a plugin: it is a word of Python; choose another")
    if find_spec(module_of(name)) is not None:
        raise ConfigError("", f"a plugin named {name} is installed already; choose another name")


def package_of(kind: str, name: str) -> Iterator[tuple[str, str]]:
    """Each file of a package and what it holds."""
    sort, module = SORTS[kind], module_of(name)
    span = _span()
    dependencies = [f"surfaces-core{span}", *(["pydantic>=2.11,<3"] if sort.pydantic else [])]
    words = {
        "name": name,
        "Name": "".join(part.title() for part in name.split("_")),
        "module": module,
        "kind": kind,
        "group": sort.group,
        "distribution": distribution_of(name),
        "range": span,
        "dependencies": ", ".join(f'"{each}"' for each in dependencies),
    }
    for key in ("description", "config", "target"):
        words[key] = Template(getattr(sort, key)).substitute(words)
    words["target"] = module + words["target"]
    for path, template in {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": f"{kind}/module.py",
        f"test_{name}.py": f"{kind}/test.py",
    }.items():
        text = files("surfaces_core._program").joinpath(f"templates/{template}.tmpl").read_text("utf8")
        yield path, Template(text).substitute(words)


def module_of(name: str) -> str:
    """What `import` calls it."""
    return f"surfaces_{name}"


def distribution_of(name: str) -> str:
    """What pip calls it."""
    return f"surfaces-{name.replace('_', '-')}"


def _span() -> str:
    """The versions of the host that a new plugin is for: from this one on, up to the next that may break anything."""
    major, minor = version("surfaces-core").split(".")[:2]
    return f">={major}.{minor},<{int(major) + 1}"
