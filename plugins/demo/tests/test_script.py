"""The script's own judgement: when an answer is whole, and which errors are the demo's to explain."""

from __future__ import annotations

import pytest

from surfaces_demo.children import DemoError
from surfaces_demo.person import NotSeen
from surfaces_demo.play import expected
from surfaces_demo.program import main
from surfaces_demo.script import NUMBERS, first_line, in_order


def test_an_answer_is_whole_with_every_number_once_and_in_order() -> None:
    """The end of a long answer is recognised, whatever stands before it."""
    assert in_order(f"You said: “{' '.join(NUMBERS)}”")


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(NUMBERS[:-1], id="cut off"),
        pytest.param([*NUMBERS[:5], *NUMBERS[6:]], id="one missing"),
        pytest.param([*NUMBERS, NUMBERS[-1]], id="one doubled"),
        pytest.param([*NUMBERS, *NUMBERS], id="all doubled"),
        pytest.param(NUMBERS[::-1], id="out of order"),
    ],
)
def test_an_answer_that_is_not_whole_is_seen(numbers: list[str]) -> None:
    """Cut, incomplete, doubled or shuffled is not whole."""
    assert not in_order(" ".join(numbers))


def test_long_texts_show_in_one_line() -> None:
    """What is shown of an answer is one line that says where it was cut."""
    assert first_line("one\n two") == "one two"
    assert first_line("x" * 100, most=10) == "x" * 9 + "…"


def test_failures_are_found_in_groups() -> None:
    """A failure of the demo is explained even when a task group carries it; a bug is not taken for one."""
    failure = NotSeen("a greeting")
    assert expected(BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [failure])])) is failure
    assert isinstance(expected(DemoError("no")), DemoError)
    assert expected(BaseExceptionGroup("", [ValueError()])) is None


def test_help_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` says what the demo does and ends with 0."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--once" in capsys.readouterr().out
