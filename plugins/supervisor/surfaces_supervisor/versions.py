"""What is installed in this environment, and how other versions come into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

MODULE = ("-P", "-m")
"""Runs a module, and never one of the folder in which an operator happens to stand."""
SAFE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
SAFE_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")


def normal(name: str) -> str:
    """A distribution's name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_versions() -> Mapping[str, str]:
    """All distributions, by their normal names."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            found.setdefault(normal(name), distribution.version)  # the first on the path is what is imported
    return dict(sorted(found.items()))


def differences(wanted: Mapping[str, str], present: Mapping[str, str]) -> Mapping[str, str]:
    """What has to be installed, by name; what is there beside that is left alone."""
    return {name: version for name, version in wanted.items() if present.get(name) != version}


class CannotInstall(Exception):
    """There is no way to bring in these versions, or none worked; nothing was changed."""


def check_names(changes: Mapping[str, str]) -> None:
    """Refuse what is no name and no version. Raises `CannotInstall`."""
    for name, version in changes.items():
        if not SAFE_NAME.fullmatch(name) or not SAFE_VERSION.fullmatch(version):
            raise CannotInstall(f"{name!r} {version!r} is no version of a distribution")


def install(changes: Mapping[str, str]) -> None:
    """Install exactly these, from wherever pip and uv get their packages; wheels alone, so nothing is built here."""
    check_names(changes)
    wanted = [f"{name}=={version}" for name, version in changes.items()]
    kept = Path(f"{sys.prefix}-wheels")  # where deploy/install leaves what no index has
    places = ["--find-links", str(kept)] if kept.is_dir() else []
    command = [*installer(), "--no-deps", "--only-binary", ":all:", *places, *wanted]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - names and versions were checked
        raise CannotInstall(f"this did not work: {' '.join(command)}")


def installer() -> Sequence[str]:
    """How things are installed into this very environment. Raises `CannotInstall`."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if find_spec("pip") is not None:
        return [sys.executable, *MODULE, "pip", "install", *quiet]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, *MODULE, "pip", "--version"], capture_output=True, check=False).returncode == 0:  # noqa: S603
        return [base, *MODULE, "pip", "--python", sys.executable, "install", *quiet]
    raise CannotInstall(f"there is neither pip nor uv; {Path(base).name} -m ensurepip brings one")
