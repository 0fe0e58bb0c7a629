"""`surfaces status`: whether the running host serves people, for a terminal."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence

from surfaces_core._config.plain import printable
from surfaces_core._operating.requests import Line, Refusal, Request
from surfaces_core._operating.spans import span
from surfaces_core._program import asking
from surfaces_core._program.tables import say, table

NOBODY = "no host runs on this state; start it, or wait until it is open (a supervisor's log says why it is away)"


def run(options: argparse.Namespace) -> int:
    """What was asked for; 69 where nobody is served."""
    try:
        told = asking.ask_running(options, Request(do="status"))
    except Refusal as error:
        return asking.refused(error)
    if told is None:
        verdict = f"Not served: {NOBODY}."
        say(json.dumps({"state": "not served", "verdict": verdict}) if options.json else verdict)
        return os.EX_UNAVAILABLE
    if options.json:
        say(json.dumps(told))
    else:
        for line in _lines(told):
            say(line)
    return os.EX_UNAVAILABLE if told["state"] == "not served" else os.EX_OK


def _lines(told: Line) -> Iterator[str]:
    yield printable(told["verdict"])
    for why in told["reasons"]:
        yield printable(f"! {why['problem']}: {why['remedy']}" if len(told["reasons"]) > 1 else f"! {why['remedy']}")
    if told["surfaces"]:
        yield ""
        yield from table(_surfaces(told))
    if told["agents"]:
        yield ""
        yield from table(_agents(told), elastic=3)
    if told["agents_left_out"]:
        yield f"and {told['agents_left_out']} more agents"
    yield ""
    yield f"inbox: {_depth(told, 'inbox')}; outbox: {_depth(told, 'outbox')}; dead letters: {_dead(told)}"
    yield f"state: {_state(told)}"
    late = "" if told["loop_lag_s"] is None else f", event loop late by {told['loop_lag_s'] * 1000:.0f} ms"
    yield f"host: {told['version']}, running for {span(told['uptime_s'])}, {told['resident_mib']} MiB{late}"


def _surfaces(told: Line) -> Sequence[Sequence[str]]:
    rows = [("SURFACE", "CONNECTED", "ADMITS", "DECRYPTS", "LAST EXCHANGE", "TO SEND")]
    for name, state in told["surfaces"].items():
        flags = (_yes(state["connected"]), _yes(state["admits"]), _yes(state["decrypts"]))
        rows.append((name, *flags, _ago(state["exchanged_s"]), str(state["outbox"])))
    return rows


def _agents(told: Line) -> Sequence[Sequence[str]]:
    rows = [("AGENT", "ANSWERS", "LAST ANSWER", "LAST FAILURE", "RUNNING", "WAITING", "OLDEST")]
    for row in told["agents"]:
        failure = f"{row['failure']}, {_ago(row['failed_s'])}" if row["failure"] else "-"
        work = (str(row["running"]), str(row["waiting"]), span(row["oldest_s"]) if row["oldest_s"] else "-")
        rows.append((row["id"], row["answers"], _ago(row["answered_s"]), failure, *work))
    return rows


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{span(seconds)} ago"


def _depth(told: Line, box: str) -> str:
    return f"{told[box]}, the oldest for {span(told[f'{box}_oldest_s'])}" if told[box] else "0"


def _dead(told: Line) -> str:
    return f"{told['dead_letters']} (`surfaces dead list`)" if told["dead_letters"] else "0"


def _state(told: Line) -> str:
    facts = ["writable" if told["writable"] else "cannot be written"]
    if told["write_s"] is not None:
        facts.append(f"one commit {told['write_s'] * 1000:.1f} ms")
    if told["free_mib"] is not None:
        facts.append(f"{told['free_mib']} MiB of disk free")
    return ", ".join(facts)
