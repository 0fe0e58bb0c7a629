"""The report shows each step with a mark, plainly where it is not on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from surfaces_demo.report import Report


class Terminal(io.TextIOWrapper):
    """Text output that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def out(kind: type[io.TextIOWrapper] = io.TextIOWrapper, encoding: str = "utf-8") -> io.TextIOWrapper:
    return kind(io.BytesIO(), encoding=encoding)


def written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def test_a_step_that_was_seen_is_marked_and_counted() -> None:
    """A step prints one line with a mark, its time and below it what was noted."""
    stream = out()
    report = Report(stream)
    with report.step("asks") as step:
        step.note("an answer")
    assert re.fullmatch(r"  ✓ asks  \d+\.\d s\n      an answer\n", written(stream))
    assert report.steps == 1


def test_a_step_that_failed_is_marked_and_goes_on_upwards() -> None:
    """A failing step shows as failed, is not counted, and its error is not swallowed."""
    stream = out()
    report = Report(stream)
    with pytest.raises(KeyError), report.step("asks"):
        raise KeyError
    assert "  ✗ asks" in written(stream)
    assert report.steps == 0


def test_marks_are_words_where_signs_cannot_be_written() -> None:
    """An output that is not UTF-8 gets plain words."""
    stream = out(encoding="ascii")
    with Report(stream).step("asks"):
        pass
    assert written(stream).startswith("  ok asks")


def test_terminals_get_colours_and_see_a_step_run() -> None:
    """On a terminal the running step shows at once and its line is then replaced."""
    stream = out(Terminal)
    with Report(stream).step("asks"):
        stream.flush()
    assert "  … asks\r\033[K  \033[32m✓\033[0m asks" in stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
