"""The program that proves the delivery promise: what its judge sees, what it plans, what it writes down."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from proof import __main__ as program
from proof import restart
from proof.campaign import campaign_cases, plan
from proof.cases import Case, Tally, run_all
from proof.lives import Outcome
from proof.nursery import Nursery
from proof.parts import Orders, Prove
from proof.points import Point, catalogue, spread
from proof.report import Part
from proof.verdict import Said, Verdict, Want, begins, compare, echo, exactly
from surfaces_core._engine import words

# The judge --------------------------------------------------------------------------------------------

WANTS = (exactly("one two three"), exactly("four"), begins("five"))


def judged(*texts: str, wants: Sequence[Want] = WANTS) -> Verdict:
    """The verdict on messages that all have marks of their own."""
    return compare("here", [Said(text=text, mark=(text, number)) for number, text in enumerate(texts)], wants)


def wrong(verdict: Verdict) -> dict[str, int]:
    """What is wrong, without what is not."""
    return {kind: count for kind, count in verdict.counts().items() if count}


def test_all_answers_once_and_in_order_are_good() -> None:
    """Nothing is wrong when everybody reads what they are owed."""
    assert judged("one two three", "four", "five and more").good


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["one two three", "five!"], {"lost": 1}),
        ([], {"lost": 3}),
        (["one two three", "four", "four", "five!"], {"doubled": 1}),
        (["four", "one two three", "five!"], {"out_of_order": 1}),
        (["one two", "four", "five!"], {"torn": 1}),
        (["one …", "four", "five!"], {"torn": 1}),
        (["one two three", "…", "four", "five!"], {"torn": 1}),
        (["one two three", "what?", "four", "five!"], {"other": 1}),
        ([words.INTERRUPTED(), "four", "five!"], {"lost": 1, "other": 1}),
    ],
)
def test_each_kind_of_wrong_has_its_name(texts: Sequence[str], expected: dict[str, int]) -> None:
    """Lost, doubled, out of order, torn and uncalled for are told apart."""
    assert wrong(judged(*texts)) == expected


def test_one_part_as_two_messages_is_doubled() -> None:
    """The mark that a message carries counts, whatever it says."""
    said = [
        Said(text="one two three", mark=("t", 0)),
        Said(text="four", mark=("t", 0)),
        Said(text="five!", mark=("t", 1)),
    ]
    assert wrong(compare("here", said, WANTS)) == {"doubled": 1}


def test_a_notice_stands_where_it_may_and_is_counted() -> None:
    """A question that is put aside is answered by the notice, with its further parts, and by no other notice."""
    wants = (
        Want(pattern="first", or_notice=frozenset({"poison"})),
        Want(pattern="a file", further=True),
        exactly("four"),
    )
    verdict = judged(words.POISON(), "four", wants=wants)
    assert verdict.good
    assert verdict.notices == {"poison": 1}
    assert wrong(judged(words.GAVE_UP(), "four", wants=wants)) == {"lost": 2, "other": 1}
    assert wrong(judged("first", "four", wants=wants)) == {"lost": 1}


def test_a_question_that_the_agent_heard_twice_shows_in_its_number() -> None:
    """The answer is there, but not the one that was owed."""
    assert wrong(judged("You said: x. (message 2 in this context)", wants=[echo("x", 1)])) == {"other": 1}


# The plans --------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_plan() -> None:
    """Nothing but the seed decides."""
    assert [plan(seed) for seed in range(50)] == [plan(seed) for seed in range(50)]
    assert len({str(plan(seed)) for seed in range(50)}) == 50


def test_plans_are_as_wide_as_they_should_be() -> None:
    """Three to six conversations, one to three kills, and every kind of point and trouble among them."""
    plans = [plan(seed) for seed in range(1, 301)]
    assert {sum(map(len, plan.people)) for plan in plans} == {3, 4, 5, 6}
    assert {len(plan.kills) for plan in plans} == {1, 2, 3}
    points = Counter(point.name for plan in plans for point in plan.kills)
    assert len(points) > 20
    assert {plan.trouble > 0 for plan in plans} == {plan.cuts > 0 for plan in plans} == {True, False}


def test_occurrences_are_spread_from_the_first_to_the_last() -> None:
    """All of a few, and of many the ends and what lies between."""
    assert list(spread(3, None)) == [1, 2, 3]
    assert list(spread(9, 3)) == [1, 5, 9]
    points = list(catalogue({"send": 2, "open.after": 1}, None))
    assert points == [
        Point(name="open.after", count=1),
        Point(name="send", count=1, side="before"),
        Point(name="send", count=1, side="after"),
        Point(name="send", count=2, side="before"),
        Point(name="send", count=2, side="after"),
    ]


async def test_all_runs_are_counted_with_what_went_wrong() -> None:
    """The sums are those of the verdicts, and a failure is kept by its name."""

    async def bad() -> Outcome:
        return Outcome(kills=2, landed=1, verdict=Verdict(lost=("x", "y"), notices={"poison": 1}))

    async def good() -> Outcome:
        return Outcome(kills=1, landed=1, verdict=Verdict())

    told: list[int] = []

    def tell(tally: Tally, count: int) -> None:
        told.append(tally.runs * 10 + count)

    tally = await run_all([Case(name="b", run=bad), Case(name="g", run=good)], 2, tell)
    assert (tally.runs, tally.kills, tally.landed, tally.wrong["lost"]) == (2, 3, 2, 2)
    assert tally.notices == {"poison": 1}
    assert tally.failures == {"b": "lost: x\nlost: y"}
    assert not tally.good
    assert told == [12, 22]


# The program ------------------------------------------------------------------------------------------


def known(**found: Part | Exception) -> dict[str, Prove]:
    """Parts that need no minutes: what the program makes of them is looked at here, and not they."""

    def stand_in(part: Part | Exception) -> Prove:
        async def run(_orders: Orders) -> Part:
            if isinstance(part, Exception):
                raise part
            return part

        return run

    return {name: stand_in(part) for name, part in found.items()}


GOOD = Part(name="sweep", good=True, figures={"runs": 3, "lost": 0})
BAD = Part(name="double", good=False, figures={"runs": 2, "lost": 1}, wrong={"a+b": "lost: x"}, repeat="again {}")


def test_a_good_proof_exits_with_0_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file names the form, the machine without its name, and each part."""
    assert program.main(["--quick", "--out", str(tmp_path / "proof.json")], known(sweep=GOOD)) == 0
    text = (tmp_path / "proof.json").read_text()
    report = json.loads(text)
    assert (report["form"], report["good"]) == ("quick", True)
    assert report["parts"] == {"sweep": {"good": True, "runs": 3, "lost": 0}}
    assert report["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert report["machine"]["kernel"] == platform.release()
    assert "/" not in text
    assert socket.gethostname() not in text
    assert "sweep" in capsys.readouterr().out


def test_anything_wrong_exits_with_1_and_says_how_to_see_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other parts run all the same, also behind one that could not run at all."""
    parts = known(order=RuntimeError("no tracing here"), double=BAD, sweep=GOOD)
    assert program.main(["--out", str(tmp_path / "proof.json")], parts) == 1
    said = capsys.readouterr().out
    assert "again a+b" in said
    assert "no tracing here" in said
    report = json.loads((tmp_path / "proof.json").read_text())
    assert [(name, part["good"]) for name, part in report["parts"].items()] == [
        ("order", False),
        ("double", False),
        ("sweep", True),
    ]


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Which names there are is said."""
    with pytest.raises(SystemExit):
        program.main(["--only", "sweep,nonsense"])
    assert "nonsense" in capsys.readouterr().err


# The real thing ---------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where hosts come from."""
    async with Nursery() as nursery:
        yield nursery


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 5, 9])
@pytest.mark.asyncio(loop_scope="module")
async def test_seeded_runs_lose_and_double_nothing(nursery: Nursery, first: int) -> None:
    """People talk, homeserver and agent misbehave, the host is killed; in the end everything is answered once."""
    tally = await run_all(list(campaign_cases(nursery, range(first, first + 4))), 4)
    assert tally.failures == {}
    assert tally.landed >= tally.runs


@pytest.mark.slow
async def test_what_waited_at_a_kill_is_answered_once_and_in_order() -> None:
    """However much it is."""
    found = await restart.measure(people=4, each=25)
    assert found.outcome.good, str(found.outcome)
    assert found.questions == 100


@pytest.mark.slow
def test_one_run_of_the_sweep_by_its_name(tmp_path: Path) -> None:
    """A failure's command repeats that run alone."""
    out = tmp_path / "proof.json"
    assert program.main(["--only", "sweep", "--case", "complete.after-2", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())["parts"]["sweep"]
    assert (figures["runs"], figures["landed"], figures["lost"]) == (1, 1, 0)
