"""What stands in a log: never what people say, what they call their files or what is secret, unless that is wanted."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from surfaces_core import CommandError, Unavailable
from surfaces_core._engine import log
from surfaces_core._engine.redaction import Content
from surfaces_core.testing.checks.examples import MESSAGES

SAID = "xylophone"


@pytest.fixture
def written() -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Configures the log; then all lines that were written since."""
    before, streams = (threading.excepthook, sys.unraisablehook), [io.StringIO()]
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def lines(*, content: bool | None = None) -> list[dict[str, Any]]:
        if content is not None:
            log.configure("debug", streams[0], content=content)
        return [json.loads(line) for line in streams[0].getvalue().splitlines()]

    yield lines
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    threading.excepthook, sys.unraisablehook = before
    log.shown.content = True


def chained() -> None:
    raise RuntimeError(SAID) from KeyError(SAID)


def grouped() -> None:
    raise ExceptionGroup(SAID, [ValueError(SAID), OSError(2, "No such file or directory", f"/agents/{SAID}")])


def noted() -> None:
    error = ValueError()
    error.add_note(SAID)
    raise error


def mistaken() -> None:
    raise CommandError(f"no {SAID}")


@pytest.mark.parametrize("fails", [chained, grouped, noted, mistaken])
def test_a_bug_is_logged_by_its_place(written: Any, fails: Callable[[], None]) -> None:
    """What an unexpected error quotes may be anything: its kind and its lines are logged, and those behind it."""
    written(content=False)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any
        fails()
    log.logger().error("a.bug", exc_info=raised.value)
    (line,) = written()
    assert SAID not in json.dumps(line)
    assert f"in {fails.__name__}" in line["exception"]
    if fails is chained:
        assert [kind in line["exception"] for kind in ("KeyError", "RuntimeError")] == [True, True]
    if fails is grouped:
        assert "FileNotFoundError: No such file or directory\n" in line["exception"] + "\n"


def test_what_the_host_expects_keeps_its_words(written: Any) -> None:
    """An error of ours says what is wrong with which server, and Python's own words about names in code stay."""
    written(content=False)
    for error in (Unavailable("a.example refuses", code="AWAY"), AttributeError("no attribute 'say'")):
        log.logger().error("a.bug", exc_info=error)
    assert ["refuses" in line["exception"] or "'say'" in line["exception"] for line in written()] == [True, True]


def test_values_are_judged_by_their_type(written: Any) -> None:
    """Messages, secrets and bytes have types that are not logged, however deep they are in something else."""
    written(content=False)
    secret = SecretStr(SAID)
    log.logger().info(
        "it", a=MESSAGES, b={"c": [secret, SAID.encode()]}, d=secret, e=Content(SAID), f=object(), g=3, h=["x"]
    )
    (line,) = written()
    assert SAID not in json.dumps(line)
    assert set(line["a"]) == {"[Inbound]"}
    assert (line["b"], line["g"], line["h"]) == ({"c": ["[secret]", "[9 bytes]"]}, 3, ["x"])
    assert "e" not in line


def test_what_libraries_and_threads_say(written: Any) -> None:
    """Of a library's sentence what it was made from, of a thread that a bug ends where that was."""
    written(content=False)

    def work() -> None:
        raise ValueError(SAID)

    library = logging.getLogger("library")
    library.error("cannot read %s", SAID)
    library.error("cannot read " + SAID)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {SAID}")  # noqa: G004
    logging.getLogger("asyncio").error(f"Exception in callback work({SAID!r}) at a.py:1")  # noqa: G004
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    lines = written()
    assert SAID not in json.dumps(lines)
    assert [line.get("message") for line in lines] == [
        "cannot read %s",
        "[cut]",
        "Task exception was never retrieved",
        "Exception in callback work",
        None,
    ]
    assert (lines[-1]["event"], "in work" in lines[-1]["exception"]) == ("thread.bug", True)


def test_content_where_it_is_wanted(written: Any) -> None:
    """With `log_content` all of it is there, and still no secret."""
    written(content=True)
    try:
        chained()
    except RuntimeError:
        log.logger().exception("a.bug", text=Content(SAID), secret=SecretStr(SAID))
    logging.getLogger("library").error("cannot read %s", SAID)
    bug, library = written()
    assert (bug["text"], bug["secret"], library["message"]) == (SAID, "[secret]", f"cannot read {SAID}")
    assert bug["exception"].count(f"RuntimeError: {SAID}") == 1


def test_a_terminal_is_left_alone(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from outside cannot move the cursor of whoever reads the log."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    log.configure(stream=stream)
    log.logger().info("it", room="!a\x1b[2J\x07:hs")
    assert "\x1b[2J" not in stream.getvalue()
    assert "\\x1b[2J" in stream.getvalue()
    log.logger().error("it", exc_info=Unavailable("no\x1b[2J way"))
    assert "no?[2J way" in stream.getvalue()
