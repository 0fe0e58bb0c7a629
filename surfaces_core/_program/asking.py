"""`surfaces queue`, `dead` and `export`: asked of the host that runs, or of its state while it rests."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from surfaces_core._config.config import load
from surfaces_core._config.discovery import make
from surfaces_core._config.settings import Config
from surfaces_core._engine import log
from surfaces_core._engine.journal import UNFINISHED, Journal, key
from surfaces_core._host import host
from surfaces_core._operating import control
from surfaces_core._operating.letters import Letters
from surfaces_core._operating.queue import stored
from surfaces_core._operating.requests import Asked, Line, Refusal, Request, answer
from surfaces_core._operating.spans import span
from surfaces_core._program.arguments import log_level
from surfaces_core._program.tables import cut, table
from surfaces_core.contracts import Context, Storage, Surface
from surfaces_core.errors import StateError

PATIENCE_S = 10.0
"""How long a state may be held by a host that does not open its door, as one that starts."""
NEEDED = ("storage", "host")
"""Sections of the config that matter here: nobody needs the secrets of the others to look into a queue."""
REPORTED = (*NEEDED, "surfaces")
"""A report may log in."""
REASON = 34
"""Characters of a reason that a table shows."""


def run(options: argparse.Namespace) -> int:
    """What was asked for; the exit code."""
    name = options.dead if options.command == "dead" else options.command
    return guarded(lambda: _COMMANDS[name](options))


def guarded(act: Callable[[], object]) -> int:
    """Do something, and say it where it was refused; the exit code."""
    try:
        act()
    except Refusal as error:
        return refused(error)
    return os.EX_OK


def refused(error: Refusal) -> int:
    """Say why not; the exit code."""
    sys.stderr.write(f"surfaces: {error.code}: {error}\n")
    return error.exit_code


def _queue(options: argparse.Namespace) -> None:
    lanes: list[Line] = []
    end = ask(options, Request(do="queue"), lanes.append)
    if options.json:
        _say(json.dumps({**end, "lanes": lanes}))
        return
    if lanes:
        head = ("BOX", "CONVERSATION", "DEPTH", "OLDEST", "STATE", "TRIES", "NEXT", "ERROR")
        _table([head, *map(_lane, lanes)])
    counts = {box: sum(lane["box"] == box for lane in lanes) for box in ("in", "out")}
    _say(
        f"inbox: {end['inbox']} in {counts['in']} conversations; outbox: {end['outbox']} in {counts['out']}; "
        f"dead letters: {end['dead_letters']}"
    )
    for reason in end["reasons"] if end["running"] else ["the host does not run"]:
        _say(f"! {reason}")


def _lane(lane: Line) -> Sequence[str]:
    return (
        lane["box"],
        _place(lane),
        str(lane["depth"]),
        span(lane["oldest_s"]),
        lane["state"],
        str(lane["tries"]),
        span(lane["next_s"]),
        cut(lane["error"], REASON),
    )


def _list(options: argparse.Namespace) -> None:
    letters: list[Line] = []
    ask(options, Request(do="list", conversation=options.conversation), letters.append)
    if options.json:
        _say(json.dumps({"letters": letters}))
        return
    if not letters:
        _say("no dead letters")
        return
    now = time.time()
    _table([("NUMBER", "CONVERSATION", "KIND", "DIED", "TRIES", "REASON"), *(_letter(one, now) for one in letters)])


def _letter(letter: Line, now: float) -> Sequence[str]:
    died = f"{span(max(0.0, now - letter['died_at']))} ago"
    reason = cut(letter["reason"], REASON)
    return str(letter["number"]), _place(letter), letter["kind"], died, str(letter["tries"]), reason


def _show(options: argparse.Namespace) -> None:
    request = Request(do="show", numbers=(options.number,), content=options.content)
    ask(options, request, lambda letter: _say(json.dumps(letter, indent=2)))  # which also makes it harmless to print


def _retry(options: argparse.Namespace) -> None:
    end = ask(options, _chosen("retry", options), lambda letter: _say(f"{letter['number']}: queued again"))
    _say(f"{end['retried']} queued again" + (f", {end['stuck']} cannot be tried again" if end["stuck"] else ""))


def _drop(options: argparse.Namespace) -> None:
    end = ask(options, _chosen("drop", options), lambda letter: _say(f"{letter['number']}: dropped"))
    _say(f"{end['dropped']} dropped")


def _chosen(do: str, options: argparse.Namespace) -> Request:
    return Request.model_validate({"do": do, "numbers": options.numbers, "conversation": options.conversation})


def _export(options: argparse.Namespace) -> None:
    ask(options, Request(do="export"), lambda row: _say(json.dumps(row)))


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "queue": _queue,
    "export": _export,
    "list": _list,
    "show": _show,
    "retry": _retry,
    "drop": _drop,
}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _table(rows: Sequence[Sequence[str]]) -> None:
    for line in table(rows, elastic=1):
        _say(line)


def _place(row: Line) -> str:
    return f"{row['surface']}/{row['conversation']}"


# Whom to ask --------------------------------------------------------------------------------------


def ask(options: argparse.Namespace, request: Request, each: Callable[[Line], None]) -> Line:
    """Ask whoever holds the state, or look into it: `each` gets every row; the end. Raises `Refusal`."""
    config, storage = _storage(options)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if storage.control is not None:
                return _running(storage, request, each)
        except control.NobodyThere:
            pass
        try:
            return asyncio.run(_resting(storage, options.config, config, request, each))
        except StateError as error:
            if error.exit_code != os.EX_TEMPFAIL:
                raise
            if storage.control is None:
                problem = f"{error}; a host that runs on this storage cannot be asked, so stop it first"
                raise StateError(problem, exit_code=os.EX_TEMPFAIL) from error
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)  # a host that starts holds the state before it opens its door


def ask_running(options: argparse.Namespace, request: Request) -> Line | None:
    """Ask the host that runs; the end, or None where none does. Raises `Refusal` and `StateError`."""
    _, storage = _storage(options)
    if storage.control is None:
        raise StateError("a host on this storage cannot be asked; see `ops.listen`", exit_code=os.EX_UNAVAILABLE)
    try:
        return _running(storage, request, lambda _: None)
    except control.NobodyThere:
        return None


def _storage(options: argparse.Namespace) -> tuple[Config, Storage]:
    config = load(options.config, needed=NEEDED)
    log.configure(log_level(options))
    context = Context(name="storage", log=log.logger(instance="storage"))
    return config, make("surfaces.storage", Storage, config.storage, context)


def _running(storage: Storage, request: Request, each: Callable[[Line], None]) -> Line:
    assert storage.control is not None
    for line in control.ask(storage.control, request):
        if "row" not in line:
            return dict(line["end"])
        each(line["row"])
    raise AssertionError("an answer that ends without its end")


def _surfaces(request: Request, path: Path, journal: Journal) -> Mapping[str, Surface]:
    """The surface that is asked for a report, as a start would make it. Raises `ConfigError`."""
    if request.do != "report":
        return {}
    return {request.surface: host.lone_surface(load(path, needed=REPORTED), journal, request.surface)}


async def _resting(
    storage: Storage, path: Path, config: Config, request: Request, each: Callable[[Line], None]
) -> Line:
    async with storage:
        async with storage.transaction() as tx:
            if await tx.get(key("meta", "layout")) is None and await tx.get(UNFINISHED) is None:
                raise Refusal("this state is empty: no host has run on it; paths in the config start at this folder")
        journal = Journal(storage, lease_s=config.host.lease_s)
        surfaces = _surfaces(request, path, journal)
        backlog = await journal.open()
        try:
            asked = Asked(
                journal=journal,
                letters=Letters(journal, dict.fromkeys(config.surfaces, lambda: "")),
                lanes=lambda: stored(backlog, journal.now()),
                reasons=lambda: (),
                running=False,
                surfaces=surfaces,
                folder=None if storage.control is None else storage.control.parent,
            )
            async with AsyncExitStack() as stack:
                for surface in surfaces.values():
                    await stack.enter_async_context(surface)
                return await _heard(asked, request, each)
        finally:
            await journal.lease.release()


async def _heard(host: Asked, request: Request, each: Callable[[Line], None]) -> Line:
    async with aclosing(answer(host, request)) as lines:
        async for line in lines:
            if "row" not in line:
                return dict(line["end"])
            each(line["row"])
    raise AssertionError("an answer that ends without its end")
