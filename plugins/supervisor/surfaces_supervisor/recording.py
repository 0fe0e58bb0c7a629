"""Writes down what a host lives by: `python -m surfaces_supervisor.recording FOLDER FILES [well]`.

The agents and people of it go into the releases that are there. With `well` it is a release itself. Prints the id of
that, or why it cannot be.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from surfaces_supervisor.lines import say
from surfaces_supervisor.releases import File, Release, Releases, digest_of
from surfaces_supervisor.versions import installed_versions

Told = Mapping[str, Sequence[str]]
"""What a host said of its files: for each its path, its digest and that of what is no registry."""


class Changed(Exception):
    """A file is not what the host has read."""


def main(arguments: Sequence[str]) -> int:
    """Record what a host lives by; the exit code."""
    releases, told, well = Releases(Path(arguments[0])), json.loads(arguments[1]), arguments[2:] == ["well"]
    try:
        if not well:
            _take_up(releases, told)
            return 0
        release = _release(told)
        _take_up(releases, told)
        releases.keep(release)
    except (Changed, KeyError) as error:
        say(f"not as the host has read it: {error}")
        return 1
    except FileNotFoundError as error:
        say(f"not as the host has read it: {error.filename} is gone")
        return 1
    except OSError as error:
        say(f"{arguments[0]}: {error.strerror}")
        return 1
    say(release.id)
    return 0


def _release(told: Told) -> Release:
    return Release(
        config=_taken(told["config"]),
        registry=_taken(told["registry"]) if _apart(told) else None,
        versions=installed_versions(),
        prefix=sys.prefix,
        ready_at=time.time(),
        settings=_settings(told),
    )


def _take_up(releases: Releases, told: Told) -> None:
    """The agents and people that the host lives with are those of the releases now."""
    if _apart(told):
        releases.take_up(told["config"][0], registry=_taken(told["registry"]))
    else:
        releases.take_up(told["config"][0], config=_taken(told["config"]), settings=_settings(told))


def _apart(told: Told) -> bool:
    """Whether agents and people have a file of their own."""
    return "registry" in told and told["registry"][0] != told["config"][0]


def _settings(told: Told) -> str:
    return "".join(told["config"][2:3])


def _taken(told: Sequence[str]) -> File:
    path, digest = told[:2]
    content = Path(path).read_bytes()
    if digest_of(content) != digest:
        raise Changed(path)
    return File(path=path, text=content.decode("utf8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
