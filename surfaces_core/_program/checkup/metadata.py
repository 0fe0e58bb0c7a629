"""What a distribution says of itself: read from its folder or where it is installed, and judged."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from surfaces_core._config.discovery import GROUPS, Offer
from surfaces_core._program.checkup.findings import Finding, Subject
from surfaces_core._program.plugged import PROGRAMS, REPORTS
from surfaces_core.errors import ConfigError

OTHERS = (PROGRAMS, REPORTS)
"""Groups that the program looks into by itself."""
HOST = "surfaces-core"


def subject(target: str) -> Subject:
    """The plugin in a folder, or else the installed distribution of that name. Raises `ConfigError`."""
    folder = Path(target)
    if (folder / "pyproject.toml").is_file():
        return _of_folder(folder.resolve())
    if folder.is_dir():
        raise ConfigError("", f"{target} has no pyproject.toml; name the folder of a plugin, or one that is installed")
    try:
        return _of_installed(importlib.metadata.distribution(target))
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError("", f"{target} is no folder and no installed distribution; install it first") from None


def _of_folder(folder: Path) -> Subject:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf8")).get("project", {})
    except (OSError, ValueError) as error:
        raise ConfigError("", f"{folder}/pyproject.toml cannot be read: {error}") from error
    groups: Mapping[str, Mapping[str, str]] = project.get("entry-points", {})
    name, version = str(project.get("name", "")), str(project.get("version", ""))
    if "version" in project.get("dynamic", ()):
        version = "dynamic"
    return Subject(
        name=name,
        version=version,
        requires_python=str(project.get("requires-python", "")),
        requirements=tuple(project.get("dependencies", ())),
        groups=tuple(groups),
        offers=_offers(name, version, [(group, key, groups[group][key]) for group in groups for key in groups[group]]),
        folder=folder,
    )


def _of_installed(found: importlib.metadata.Distribution) -> Subject:
    said: Any = found.metadata
    entries = [(entry.group, entry.name, entry.value) for entry in found.entry_points]
    return Subject(
        name=found.name,
        version=found.version,
        requires_python=said["Requires-Python"] or "",
        requirements=tuple(line for line in found.requires or () if "extra ==" not in line),
        groups=tuple(dict.fromkeys(group for group, _, _ in entries)),
        offers=_offers(found.name, found.version, entries),
    )


def _offers(name: str, version: str, entries: list[tuple[str, str, str]]) -> tuple[Offer, ...]:
    return tuple(
        Offer(group=group, name=key, value=value, distribution=name, version=version)
        for group, key, value in entries
        if group in GROUPS
    )


def judged(subject: Subject) -> Iterator[Finding]:
    """What is wrong with what a distribution says of itself; one good word where nothing is."""
    found = [*_identity(subject), *_needs(subject), *_entry_points(subject)]
    yield from found
    if not any(finding.level == "wrong" for finding in found):
        names = ", ".join(f"{offer.group}:{offer.name}" for offer in subject.offers)
        yield Finding(level="ok", about="metadata", said=f"{subject.name} {subject.version} offers {names}")


def _identity(subject: Subject) -> Iterator[Finding]:
    if not subject.name:
        yield _wrong("it has no name", "give [project] a name")
    try:
        if subject.version != "dynamic":
            Version(subject.version)
    except InvalidVersion:
        yield _wrong(f"its version is {subject.version!r}", "give [project] a version like 0.1.0")
    try:
        python = SpecifierSet(subject.requires_python)
    except InvalidSpecifier:
        yield _wrong(f"its requires-python is {subject.requires_python!r}", 'write requires-python = ">=3.11"')
        return
    if not subject.requires_python:
        yield _wrong("it does not say which Python it needs", 'write requires-python = ">=3.11"')
    elif not python.contains(platform.python_version(), prereleases=True):
        yield _wrong(f"it does not take this Python {platform.python_version()}", "widen requires-python")


def _needs(subject: Subject) -> Iterator[Finding]:
    needs: dict[str, Requirement] = {}
    for line in subject.requirements:
        try:
            needs[Requirement(line).name.lower()] = Requirement(line)
        except InvalidRequirement:
            yield _wrong(f"its dependency {line!r} cannot be read", "write it like name>=1.0,<2")
    host, installed = needs.get(HOST), importlib.metadata.version(HOST)
    if host is None:
        yield _wrong(f"it does not require {HOST}", f'put "{HOST}>=0.1,<1" among its dependencies')
    elif not host.specifier.contains(installed, prereleases=True):
        yield _wrong(f"it requires {host}, and this is {installed}", "try it with this version, and widen the range")
    elif not any(part.operator in ("<", "<=", "~=", "==") for part in host.specifier):
        remedy = f'write "{HOST}>=0.1,<1", so that nobody gets it with a host that it was not made for'
        yield Finding(level="note", about="metadata", said=f"it takes any later {HOST}", remedy=remedy)


def _entry_points(subject: Subject) -> Iterator[Finding]:
    for group in subject.groups:
        if group.startswith("surfaces") and group not in (*GROUPS, *OTHERS):
            near = get_close_matches(group, GROUPS, 1)
            there = f"did you mean {near[0]}?" if near else f"there are {', '.join(GROUPS)}"
            yield _wrong(f"no group of entry points is called {group}", there)
    if not subject.offers:
        yield _wrong("it offers no plugin", 'name one in [project.entry-points."surfaces.…"]')
    if subject.folder and subject.name:
        yield from _installed(subject)


def _installed(subject: Subject) -> Iterator[Finding]:
    """A folder that is installed for editing still offers what it offered when it was installed."""
    try:
        found = _of_installed(importlib.metadata.distribution(subject.name))
    except importlib.metadata.PackageNotFoundError:
        return
    offered = {(offer.group, offer.name): offer.value for offer in found.offers}
    for offer in subject.offers:
        installed = offered.get((offer.group, offer.name))
        if installed != offer.value:
            there = f"{installed or 'nothing'} where it is installed"
            yield _wrong(
                f"{offer.group}:{offer.name} is {offer.value} here and {there}", "install it again (pip install -e .)"
            )


def _wrong(said: str, remedy: str) -> Finding:
    return Finding(level="wrong", about="metadata", said=said, remedy=remedy)
