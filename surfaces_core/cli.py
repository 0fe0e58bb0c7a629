"""The `surfaces` program: what it was asked for is imported only then, so that `--help` is quick.

Exit codes are those of sysexits.h: 0 clean stop, 64 wrong usage, 65 state unreadable or newer, 66 no
such dead letter, 69 a needed service is gone for good, 70 a bug, 74 input/output, 75 another process
holds the state, 77 file rights, 78 configuration or revoked credentials; 130 a second signal cut the
stop short.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from itertools import takewhile
from pathlib import Path

from surfaces_core._program import plugged
from surfaces_core._program.arguments import LOUD, Parser, add_config

OWN = frozenset(
    [
        "agents",
        "backup",
        "check",
        "dead",
        "export",
        "plugins",
        "queue",
        "restore",
        "run",
        "status",
        "storage",
        "version",
    ]
)
"""Commands that no plugin is asked for."""
PROGRAMS = {
    "chat": "talk to the agents of a config in this terminal",
    "demo": "show everything on this machine with nothing prepared",
    "supervise": "run the host and start it again when it dies; `supervise status` says how it is",
    "releases": "which configs and versions have run well under the supervisor",
    "rollback": "bring back the last of these",
    "resume": "let a host that is held start again",
}
"""Commands that distributions of their own have; everything behind one belongs to it."""
KINDS = ("commands", "hooks", "storage", "files", "transport", "surface")
"""Of what a new plugin may be."""
EPILOG = "Some surfaces have reports for their operator, like `surfaces matrix doctor`; each has a --help."


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = Parser(top=True, prog="surfaces", description="Connects messengers to AI agents.", epilog=EPILOG)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)

    init = commands.add_parser("init", help="write a commented config, made of what is installed and a few answers")
    init.add_argument("--use", action="append", metavar="KIND=NAME", help="a plugin, like storage=postgres")
    init.add_argument("--set", action="append", metavar="PLACE=VALUE", help="an answer, like surfaces.matrix.user_id=…")
    init.add_argument("--yes", action="store_true", help="ask nothing; what is not said is left to the environment")
    add_config(init)
    run = commands.add_parser("run", help="run the host")
    add_config(run)
    run.add_argument("--surfaces", metavar="YAML", help="run these in the place of the config's surfaces")
    run.add_argument("--agent", metavar="ID", help="give everybody this agent")
    run.add_argument("--hold", metavar="REASON", help="open the state for operators, and start nothing else")
    for name, about in PROGRAMS.items():
        program = commands.add_parser(name, help=about, add_help=False)
        program.add_argument("rest", nargs=argparse.REMAINDER)
    _plugins(commands.add_parser("plugins", help="what is installed, and how to write more"))
    check = commands.add_parser("check", help="check the config and its plugins")
    add_config(check)
    _examining(check)
    status = commands.add_parser("status", help="whether people are served, and if not, why and what to do")
    add_config(status)
    _json(status)
    queue = commands.add_parser("queue", help="what waits to be answered and to be sent, oldest first")
    add_config(queue)
    _json(queue)
    _dead(commands.add_parser("dead", help="what was given up"))
    export = commands.add_parser("export", help="print every stored row as JSON lines")
    add_config(export)
    _storage(commands.add_parser("storage", help="move a state from one storage to another"))
    _agents(commands.add_parser("agents", help="who has which agent"))
    backup = commands.add_parser("backup", help="write state, keys and config into one archive, while the host runs")
    backup.add_argument("archive", type=Path, metavar="TO", help="the archive to write, like surfaces.tar.gz")
    add_config(backup)
    restore = commands.add_parser("restore", help="put a backup into an empty storage, and read it back")
    restore.add_argument("archive", type=Path, metavar="FROM", help="what `surfaces backup` has written")
    add_config(restore)
    reset = commands.add_parser("reset", help="throw the state away, for development")
    reset.add_argument("--mode", required=True, choices=("local-only", "server-leave-forget"), help="how much")
    reset.add_argument("--dry-run", action="store_true", help="only say what would be done")
    reset.add_argument("--yes", action="store_true", help="do it without asking")
    add_config(reset)
    commands.add_parser("version", help="versions of everything")
    return whole


def _plugins(plugins: argparse.ArgumentParser) -> None:
    inner = plugins.add_subparsers(dest="plugins", metavar="COMMAND", required=True)
    listed = inner.add_parser("list", help="every installed plugin, enabled or not")
    add_config(listed)
    show = inner.add_parser("show", help="one plugin: its settings, commands and hooks")
    show.add_argument("name", help="the name of an entry point, like matrix, or GROUP:NAME")
    add_config(show)
    new = inner.add_parser("new", help="write the package of a new plugin, which works and passes its tests")
    new.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    new.add_argument("name", metavar="NAME", help="what the config is to call it, like lines")
    new.add_argument("--to", type=Path, metavar="FOLDER", help="where to; default: surfaces-NAME in this folder")
    check = inner.add_parser("check", help="whether a plugin keeps what operators and the host rely on; for its author")
    check.add_argument("target", metavar="FOLDER_OR_DISTRIBUTION", help="a folder with a pyproject.toml, or a name")
    check.add_argument("--quick", action="store_true", help="without its tests and the contract checks")
    check.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KIND.KEY=VALUE",
        help="a setting for the contract checks, like --surfaces-set of pytest",
    )
    _json(check)


def _dead(dead: argparse.ArgumentParser) -> None:
    inner = dead.add_subparsers(dest="dead", metavar="COMMAND", required=True)
    listed = inner.add_parser("list", help="all dead letters, oldest first")
    _conversation(listed)
    _json(listed)
    show = inner.add_parser("show", help="everything about one dead letter")
    show.add_argument("number", type=_number, metavar="NUMBER", help="its number in the list")
    show.add_argument("--content", action="store_true", help="with what was said in it")
    retry = inner.add_parser("retry", help="queue dead letters again, behind what waits")
    drop = inner.add_parser("drop", help="remove dead letters for good")
    for command in (retry, drop):
        command.add_argument("numbers", type=_number, nargs="*", metavar="NUMBER", help="its number in the list")
        command.add_argument("--all", action="store_true", help="every dead letter, or every one of the conversation")
        _conversation(command)
        command.set_defaults(refuse=command.error)
    for command in (listed, show, retry, drop):
        add_config(command)


def _storage(storage: argparse.ArgumentParser) -> None:
    inner = storage.add_subparsers(dest="storage", metavar="COMMAND", required=True)
    copy = inner.add_parser("copy", help="copy a resting state into an empty storage, and read it back")
    copy.add_argument("source", type=Path, metavar="FROM", help="the config whose `storage:` holds the state")
    copy.add_argument("target", type=Path, metavar="TO", help="the config whose `storage:` is still empty")


def _examining(check: argparse.ArgumentParser) -> None:
    check.add_argument("--offline", action="store_true", help="look at nothing that needs a network")
    check.add_argument("--agents", action="store_true", help="connect to every agent and wait until it greets")
    check.add_argument("--agent", action="append", metavar="ID", help="connect to this agent; may be repeated")
    check.add_argument("--message", metavar="TEXT", help="put this to each of these agents, in a whole turn")
    check.add_argument("--timeout", type=_more_than_0, metavar="S", help="seconds that each agent may take (15)")
    check.add_argument("--concurrency", type=_at_least_1, metavar="N", help="how many agents are asked at once (8)")
    check.add_argument("--context-base", type=_number, metavar="N", help="the context of the first turn; others follow")
    _json(check)


def _agents(agents: argparse.ArgumentParser) -> None:
    inner = agents.add_subparsers(dest="agents", metavar="COMMAND", required=True)
    listed = inner.add_parser("list", help="all agents and whose they are")
    _json(listed)
    add = inner.add_parser("add", help="add an agent to the registry")
    add.add_argument("id", help="its name in the registry")
    add.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="its further keys, like base_url=http://…")
    move = inner.add_parser("move", help="give a person another agent; a running host moves their conversations")
    move.add_argument("person", help="the person's native id, like @ann:example.org")
    move.add_argument("agent", help="an agent's id, or `default` to take the person's entry away")
    for command in (listed, add, move):
        add_config(command)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return int(text)


def _at_least_1(text: str) -> int:
    value = _number(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return value


def _more_than_0(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds")
    return value


def _conversation(command: argparse.ArgumentParser) -> None:
    command.add_argument("--conversation", metavar="ID", help="only those of one conversation")


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as one JSON document, for programs")


def _is_driver(name: str) -> bool:
    """Whether a surface's driver is named, which may have reports."""
    if not name or name in OWN or name.startswith("-"):
        return False
    from importlib.metadata import entry_points

    return bool(entry_points(group="surfaces.surface", name=name))


def _check(options: argparse.Namespace) -> None:
    """What argparse cannot say: which letters to retry or drop must be clear."""
    refuse = getattr(options, "refuse", None)
    if refuse is not None and bool(options.numbers) == bool(options.all or options.conversation):
        refuse("name dead letters by their numbers, or else say --all or --conversation")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = argparse.Namespace(verbose=False, debug=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal cannot show must not end what is said on it
            stream.reconfigure(errors="replace")
    try:
        return _done(arguments, options)
    except SystemExit:  # the command line: what was to be said of it is said
        raise
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # noqa: BLE001 - the outermost edge: every end gets its line and its code
        from surfaces_core._host import ending

        return ending.explain(error, verbose=options.verbose, debug=options.debug)


def _done(arguments: Sequence[str], options: argparse.Namespace) -> int:
    """Do what the arguments say; they are noted in the options."""
    loud = list(takewhile(LOUD.__contains__, arguments))
    name, behind = "".join(arguments[len(loud) : len(loud) + 1]), arguments[len(loud) + 1 :]
    if name in PROGRAMS:  # everything behind it belongs to that program, `--help` included
        Parser(prog="surfaces").parse_args(loud, options)
        return plugged.program(name, behind)
    if _is_driver(name):
        options.command, options.driver = "report", name
        plugged.reports_parser(name).parse_args([*loud, *behind], options)
    else:
        parser().parse_args(arguments, options)
        _check(options)
    if options.command == "run":
        _stop_before_it_begins()

    from surfaces_core._program import commands

    return commands.dispatch(options)


def _stop_before_it_begins() -> None:
    """End on SIGTERM at once while everything is loaded; the first process of a container would be deaf to it."""
    with suppress(ValueError):  # in a thread
        signal.signal(signal.SIGTERM, lambda *_: os._exit(os.EX_OK))


if __name__ == "__main__":
    sys.exit(main())
