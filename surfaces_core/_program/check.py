"""`surfaces check`: every problem of a config in one pass, and whether what it names can be reached."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence

from surfaces_core._config.config import survey
from surfaces_core._config.plain import printable
from surfaces_core._config.settings import Config
from surfaces_core._engine import log
from surfaces_core._host import host
from surfaces_core._host.examination import CONCURRENCY, CONTEXT_BASE, TIMEOUT_S, Look, Probe, examine
from surfaces_core._program.arguments import log_level
from surfaces_core._program.tables import say, table
from surfaces_core.errors import ConfigError
from surfaces_core.events import Agent

MARKS = {"well": "ok", "doubtful": "warning", "wrong": "ERROR"}


def run(options: argparse.Namespace) -> int:
    """Look, say what was found; the exit code: 0 all is well, 78 the config is wrong, 69 something else is."""
    log.configure(log_level(options))
    try:
        config, problems = survey(options.config)
    except ConfigError as error:
        if not options.json:
            raise
        return _refused([error], as_json=True)  # a program reads no other stream
    problems = [*host.with_found(problems, config), *_unknown(config, options.agent or ())]
    if problems:
        return _refused(problems, as_json=options.json)
    looks = asyncio.run(examine(config, online=not options.offline, probe=_probe(config, options)))
    well = all(look.finding.level != "wrong" for look in looks)
    if options.json:
        say(json.dumps({"ok": well, "problems": [], "looks": [_row(look) for look in looks]}, ensure_ascii=False))
    else:
        _show(options, config, looks, well=well)
    return os.EX_OK if well else os.EX_UNAVAILABLE


def _refused(problems: Sequence[ConfigError], *, as_json: bool) -> int:
    if as_json:
        say(json.dumps({"ok": False, "problems": [str(problem) for problem in problems], "looks": []}))
    else:
        for problem in problems:
            sys.stderr.write(f"surfaces: {problem.code}: {printable(str(problem))}\n")
    return os.EX_CONFIG


def _probe(config: Config, options: argparse.Namespace) -> Probe | None:
    """Which agents are asked, and how; None: none is."""
    if not (options.agents or options.agent or options.message is not None):
        return None
    return Probe(
        agents=_chosen(config, options.agent),
        message=options.message,
        timeout_s=options.timeout or TIMEOUT_S,
        concurrency=options.concurrency or CONCURRENCY,
        context_base=CONTEXT_BASE if options.context_base is None else options.context_base,
    )


def _unknown(config: Config, names: Sequence[str]) -> list[ConfigError]:
    known = config.registry.agents
    there = f"there are: {', '.join(known)}"
    return [ConfigError("", f"no agent has the id {name}; {there}") for name in names if name not in known]


def _chosen(config: Config, names: Sequence[str] | None) -> Sequence[Agent]:
    return [agent for agent in config.registry.agents.values() if not names or agent.id in names]


def _row(look: Look) -> dict[str, object]:
    return {
        "kind": look.kind,
        "name": look.name,
        "what": look.finding.what,
        "level": look.finding.level,
        "said": look.finding.said,
        "code": look.code,
        "seconds": look.seconds,
    }


def _show(options: argparse.Namespace, config: Config, looks: Sequence[Look], *, well: bool) -> None:
    rows = [("", "WHERE", "WHAT", "FOUND"), *_cells(looks)]
    for line in table(rows) if looks else ():
        say(line)
    drivers = ", ".join(f"{instance.name} ({instance.use})" for _, instance in host.instances(config))
    say(f"{options.config}: {'all is well' if well else 'not all is well'}")
    say(f"  drivers: {drivers}")
    say(f"  hooks:   {', '.join(config.hooks) or 'none'}")
    say(f"  agents:  {', '.join(config.registry.agents)}")


def _cells(looks: Sequence[Look]) -> Iterator[tuple[str, str, str, str]]:
    for look in looks:
        said = f"{look.code}: {look.finding.said}" if look.code else look.finding.said
        where = look.name if look.kind in (look.name, "host") else f"{look.kind} {look.name}"
        yield MARKS[look.finding.level], where, look.finding.what, said
