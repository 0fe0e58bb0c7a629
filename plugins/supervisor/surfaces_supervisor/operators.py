"""What operators say to a supervisor and ask of it: `surfaces supervise status`, `releases`, `rollback`, `resume`.

A rollback is done by the process of this command, with the rights of whoever calls it; the supervisor ends the host
before and starts it after. Where none runs it is done all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from surfaces_supervisor import rolling
from surfaces_supervisor.arguments import Parser, complain
from surfaces_supervisor.door import Line, NobodyThere, Words
from surfaces_supervisor.lines import say
from surfaces_supervisor.places import folder_of
from surfaces_supervisor.releases import Release, Releases
from surfaces_supervisor.rolling import Plan
from surfaces_supervisor.versions import CannotInstall, installed_versions

LOOK_S = 0.1
NOBODY = "no supervisor listens in {folder}; is it started with another --folder?"
BY_HAND = "no supervisor runs here: start the host again yourself, like `systemctl restart surfaces`"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a command is about."""

    config: Path
    folder: Path

    @classmethod
    def of(cls, options: argparse.Namespace) -> Place:
        """What was said on the command line."""
        return cls(config=options.config.resolve(), folder=folder_of(options.config, options.folder))

    def status(self) -> Words:
        """How the supervisor is. Raises `NobodyThere`."""
        with Line(self.folder) as line:
            return line.ask("status")

    def releases(self) -> tuple[Sequence[Release], bool]:
        """Those of this config, and whether nobody but this user can have written them."""
        known, own = Releases(self.folder).read()
        return [one for one in known if one.config.path == str(self.config)], own


def status(rest: Sequence[str]) -> int:
    """`surfaces supervise status`."""
    parser = Parser("supervise status", "How the supervisor of a config is, and the host under it.")
    parser.add_argument("--json", action="store_true", help="as one JSON document, for programs")
    options = parser.parse_args(rest)
    place = Place.of(options)
    try:
        found = place.status()
    except NobodyThere:
        return complain(NOBODY.format(folder=place.folder), os.EX_UNAVAILABLE)
    if options.json:
        say(json.dumps(found))
        return os.EX_OK
    say(_in_words(found))
    say(f"starts: {found['starts']}; unclean ends: {found['unclean']}; release: {found['release'] or 'not recorded'}")
    if found["state"] == "held":
        served = "`surfaces queue`, `dead` and `export` work" if found["operators_served"] else "the host cannot start"
        say(f"{served}; when it is mended: `surfaces resume`, or `surfaces rollback`")
    return os.EX_OK


def _in_words(found: Words) -> str:
    reason = f": {found['reason']}" if found["reason"] else ""
    after = f" {found['next_start_s']:g} s" if found["state"] == "waiting" and found["next_start_s"] else ""
    return f"{found['state']}{after} since {_moment(found['since'])}{reason}{_last_end(found)}"


def _last_end(found: Words) -> str:
    last = found.get("last_end")
    if last is None:
        return ""
    ago = f"the last end {max(0.0, time.time() - last['at']):.0f} s ago"
    return f"; {ago}" if last["how"] in found["reason"] else f"; {ago}: {last['how']}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"


def resume(rest: Sequence[str]) -> int:
    """`surfaces resume`."""
    options = Parser("resume", "Let a host that is held, or that waits, start again now.").parse_args(rest)
    place = Place.of(options)
    try:
        with Line(place.folder) as line:
            answer = line.ask("resume")
    except NobodyThere:
        return complain(NOBODY.format(folder=place.folder), os.EX_UNAVAILABLE)
    if "error" in answer:
        return complain(answer["error"], os.EX_USAGE)
    say("the host starts again; `surfaces supervise status` says how it goes")
    return os.EX_OK


def releases(rest: Sequence[str]) -> int:
    """`surfaces releases`."""
    parser = Parser("releases", "Configs and versions with which the host ran well, the last one first.")
    parser.add_argument("--json", action="store_true", help="as one JSON document, for programs")
    options = parser.parse_args(rest)
    place = Place.of(options)
    try:
        running = place.status()["release"]
    except NobodyThere:
        running = ""
    known, _ = place.releases()
    rows = [
        {
            "release": one.id,
            "ready_at": one.ready_at,
            "runs": one.id == running,
            "differs": rolling.changes(one, known[number + 1]) if number + 1 < len(known) else [],
        }
        for number, one in enumerate(known)
    ]
    if options.json:
        say(json.dumps(rows))
        return os.EX_OK
    for one, row in zip(known, rows, strict=True):
        differs = "; ".join(row["differs"]) if isinstance(row["differs"], list) else ""
        say(f"{one.id}  ready {_moment(one.ready_at)}  {'runs' if row['runs'] else '    '}  {differs}".rstrip())
    if not known:
        say(f"none in {place.folder}: a host is recorded there once it has run well under `surfaces supervise`")
    return os.EX_OK


def rollback(rest: Sequence[str]) -> int:
    """`surfaces rollback`."""
    parser = Parser("rollback", "Bring back the config and the versions with which the host last ran well.")
    parser.add_argument("release", nargs="?", metavar="RELEASE", help="which one; default: the last that differs")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--wait-s", type=float, default=60.0, metavar="N", help="how long to watch the host start")
    options = parser.parse_args(rest)
    place = Place.of(options)
    known, own = place.releases()
    try:
        made = _chosen(known, options.release)
        for line in [f"release {made.release.id}, ready {_moment(made.release.ready_at)}:", *made.lines()]:
            say(line)
        if options.dry_run:
            return os.EX_OK
        rolling.refuse_doubtful(made, place.config, own=own)
        return _carried_out(place, made, options.wait_s, otherwise=_otherwise(known, made))
    except (CannotInstall, LookupError) as error:
        return complain(str(error.args[0]), os.EX_UNAVAILABLE if isinstance(error, CannotInstall) else os.EX_NOINPUT)


def _chosen(known: Sequence[Release], wanted: str | None) -> Plan:
    """How to come to a release. Raises `LookupError`."""
    present = installed_versions()
    plans = [rolling.plan(release, known, present) for release in known if wanted in (None, release.id)]
    if not plans:
        what = "nothing was recorded yet" if wanted is None else f"there is no release {wanted}"
        raise LookupError(f"{what}; `surfaces releases` lists what there is")
    for made in plans:
        if not made.empty:
            return made
        if made.release.prefix not in (sys.prefix, os.path.realpath(sys.prefix)):  # to go on would be to go too far
            one = made.release
            raise LookupError(
                f"release {one.id} has this config and these versions, and ran in {one.prefix}: start that"
            )
    raise LookupError(
        f"release {plans[0].release.id} is what is there now, and no other is known that can be brought back: "
        "what was installed anew under the same version numbers, put back by hand"
    )


def _otherwise(known: Sequence[Release], made: Plan) -> str:
    """What to do where this release cannot be installed: the next one that could be gone back to."""
    present = installed_versions()
    further = known[[one.id for one in known].index(made.release.id) + 1 :]
    for one in further:
        if not rolling.plan(one, known, present).empty and one.versions != made.release.versions:
            return f"`surfaces rollback {one.id}` goes back to the one before, ready {_moment(one.ready_at)}"
    return "no release of other versions is known before it"


def _carried_out(place: Place, made: Plan, wait_s: float, *, otherwise: str) -> int:
    with ExitStack() as stack:
        line: Line | None = None
        try:
            line = stack.enter_context(Line(place.folder))
            answer = line.ask("pause")
            if "error" in answer:
                return complain(answer["error"], os.EX_TEMPFAIL)
        except NobodyThere:
            line = None
        try:
            replaced = rolling.carry_out(made)
        except CannotInstall as error:
            raise CannotInstall(
                f"release {made.release.id} is not brought back, nothing changed: {error}; {otherwise}"
            ) from error
        for kept in replaced:
            say(f"what was there is kept as {kept}")
        if line is None:
            say(BY_HAND)
            return os.EX_OK
        with suppress(NobodyThere):
            line.ask("go")
    return _watched(place, wait_s)


def _watched(place: Place, wait_s: float) -> int:
    """Say what became of the host; the exit code."""
    end, found = time.monotonic() + wait_s, Words()
    while time.monotonic() < end and found.get("state") not in ("ready", "held"):
        time.sleep(LOOK_S)
        try:
            found = place.status()
        except NobodyThere:  # it is becoming the program that is installed now
            continue
    if not found:
        return complain("the supervisor has not come back; start it again", os.EX_UNAVAILABLE)
    say(_in_words(found))
    if f"exit code {os.EX_DATAERR}" in found["reason"]:
        say("the newer version has moved the state on: `surfaces restore` brings back a backup from before it")
    return os.EX_OK if found["state"] in ("ready", "starting") else os.EX_UNAVAILABLE
