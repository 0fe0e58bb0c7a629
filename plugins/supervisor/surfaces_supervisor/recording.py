"""Writes down a release: `python -m surfaces_supervisor.recording FOLDER FILES`; prints its id, or why it cannot."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from surfaces_supervisor.lines import say
from surfaces_supervisor.releases import File, Release, Releases, digest_of
from surfaces_supervisor.versions import installed_versions


class Changed(Exception):
    """A file is not what the host has read."""


def main(arguments: Sequence[str]) -> int:
    """Record what a host runs by; the exit code."""
    folder, told = Path(arguments[0]), json.loads(arguments[1])
    try:
        config, registry = _taken(told["config"]), _taken(told.get("registry", told["config"]))
    except (Changed, KeyError, OSError) as error:
        say(f"not as the host has read it: {error}")
        return 1
    release = Release(
        config=config,
        registry=None if registry.path == config.path else registry,
        versions=installed_versions(),
        prefix=sys.prefix,
        ready_at=time.time(),
    )
    try:
        Releases(folder).keep(release)
    except OSError as error:
        say(f"{folder}: {error.strerror}")
        return 1
    say(release.id)
    return 0


def _taken(told: Sequence[str]) -> File:
    path, digest = told
    content = Path(path).read_bytes()
    if digest_of(content) != digest:
        raise Changed(path)
    return File(path=path, text=content.decode("utf8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
