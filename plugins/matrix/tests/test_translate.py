"""Foreign events become ours or are skipped with a reason, whatever they hold."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Address, Attachment, Inbound, Kind
from surfaces_matrix.saying import Reason, Skipped
from surfaces_matrix.translate import translate

ME = "@bot:e.org"
CASES = json.loads(Path(__file__).with_name("translations.json").read_text())


def read(event: object) -> Inbound | Skipped:
    return translate("work", "!room:e.org", event, me=ME)


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_table(case: dict[str, Any]) -> None:
    """Each line of translations.json: a foreign event and what it is to us."""
    if "skipped" in case:
        assert read(case["event"]) == Skipped(case["skipped"])
        return
    assert read(case["event"]) == Inbound(
        address=Address(surface="work", conversation="!room:e.org"),
        event_id="$e1",
        sender="@ann:e.org",
        sent_at=1_750_000_000.0,
        **{
            **case["want"],
            "kind": Kind(case["want"].get("kind", "message")),
            "attachments": tuple(Attachment(**each) for each in case["want"].get("attachments", [])),
        },
    )


def test_the_table_knows_every_reason() -> None:
    """No reason for skipping is without an example."""
    assert {case["skipped"] for case in CASES if "skipped" in case} == set(get_args(Reason))


@pytest.mark.parametrize(
    "claimed", [None, True, "1750000000000", -1, 0, 7, 2**53, 10**400, [], 99_999_999_999_999, 1.5]
)
def test_impossible_times_are_now(claimed: object) -> None:
    """A message that claims an impossible time counts as new: as old it would never be answered."""
    before = time.time()
    found = read({**CASES[0]["event"], "origin_server_ts": claimed})
    assert isinstance(found, Inbound)
    assert before <= found.sent_at <= time.time()


def test_the_biggest_body_is_taken_whole() -> None:
    """A body as big as an event may be is neither cut nor slow."""
    found = read({**CASES[0]["event"], "content": {"msgtype": "m.text", "body": "> \x00\r" * 16_384}})
    assert isinstance(found, Inbound)
    assert found.text == "> \n" * 16_384


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, inner in below for place in places(inner, (*here, key)))]


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    changed = value.copy()
    changed[place[0]] = replaced(value[place[0]], place[1:], new)
    return changed


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    event = draw(st.sampled_from(CASES))["event"]
    for _ in range(draw(st.integers(1, 3))):
        event = replaced(event, draw(st.sampled_from(places(event))), draw(JSON))
    return event


@given(JSON | spoilt())
def test_nothing_raises(event: object) -> None:
    """Any JSON, and any event with wrong things in any place, is translated or skipped."""
    found = read(event)
    if isinstance(found, Inbound):
        assert found.sender not in ("", ME)
        assert found.text.strip() or found.attachments or found.kind in (Kind.REDACTION, Kind.EDIT)
        assert bool(found.target) is (found.kind is not Kind.MESSAGE)
        assert not (found.quote or found.thread) or found.kind is Kind.MESSAGE
        assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in found.text)
        assert not any(ord(sign) < 32 for each in found.attachments for sign in each.name)
