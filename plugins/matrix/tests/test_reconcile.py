"""What conversations there are is read from the rooms' state, and only the bot's own word is believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Address, Binding
from surfaces_matrix.reconcile import Snapshot, Space, bindings
from surfaces_matrix.state import BINDING, SPACE, BindingContent

ME = "@bot:e.org"
CONTENT = {
    "version": 1,
    "conversation": "C3",
    "owner": "@ann:e.org",
    "agent_id": "17",
    "context_id": "42",
    "created_ts": 1_750_000_000_123,
    "archived": False,
}


def state(kind: str, content: Any, *, sender: Any = ME, key: Any = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "state_key": key, "sender": sender, "content": content, **more}


def bound(**changes: Any) -> dict[str, Any]:
    return state(BINDING, {**CONTENT, **changes})


def space(owner: str = "@ann:e.org", created: int = 1) -> dict[str, Any]:
    return state(SPACE, {"version": 1, "owner": owner}, origin_server_ts=created)


def named(name: Any) -> dict[str, Any]:
    return state("m.room.name", {"name": name}, sender="@ann:e.org")


def read(**rooms: list[Any]) -> Snapshot:
    return bindings("work", ME, {f"!{name}": events for name, events in rooms.items()})


def expected(room: str, **changes: Any) -> Binding:
    fields: dict[str, Any] = {
        "address": Address(surface="work", conversation=room),
        "owner": "@ann:e.org",
        "number": 3,
        "name": "C3",
        "agent": "17",
        "context": "42",
        "created_at": 1_750_000_000.123,
    }
    return Binding(**{**fields, **changes})


def test_a_binding_is_restored_whole() -> None:
    """Number, owner, agent, context, time and name come back as they were."""
    assert read(a=[bound(), named("Trip")]).found == (expected("!a", name="Trip"),)
    assert read(a=[bound(archived=True)]).found == (expected("!a", archived=True),)


def test_what_is_written_is_what_is_read() -> None:
    """A binding that was put into a room comes back equal."""
    binding = expected("!a", archived=True, number=12, name="C12")
    content = BindingContent.of(binding).content()
    assert read(a=[state(BINDING, content)]).found == (binding,)
    assert set(content) == set(CONTENT)


@pytest.mark.parametrize("name", ["", "  ", None, 7, ["x"]])
def test_a_room_without_a_name_has_its_label(name: object) -> None:
    """No name, or one that is none, is the label."""
    assert read(a=[bound(), named(name)]).found[0].name == "C3"


def test_the_last_event_counts() -> None:
    """Where an event came after another of the same type, it is the state."""
    assert read(a=[bound(context_id="1"), bound(context_id="2")]).found[0].context == "2"


def test_spaces_are_found_by_owner() -> None:
    """A Space says whose it is and which rooms it shows; a child that was taken out does not count."""
    children = [
        state("m.space.child", {"via": ["e.org"]}, key="!x"),
        state("m.space.child", {}, key="!y"),
        state("m.space.child", {"via": ["e.org"]}, key="!z", sender="@eve:e.org"),
    ]
    found = read(a=[space(created=5), *children])
    assert found.spaces == {
        "@ann:e.org": Space(room="!a", owner="@ann:e.org", children=frozenset({"!x"}), created_at=5)
    }


SKIPPED: dict[str, tuple[list[Any], str]] = {
    "a room that people call from": ([named("Ann")], "unbound"),
    "no state at all": ([], "unbound"),
    "a binding of somebody else": ([{**bound(), "sender": "@eve:e.org"}], "foreign_sender"),
    "a binding over which somebody else wrote": ([bound(), {**bound(), "sender": "@eve:e.org"}], "foreign_sender"),
    "a Space of somebody else": ([{**space(), "sender": "@eve:e.org"}], "foreign_sender"),
    "no sender": ([{**bound(), "sender": None}], "foreign_sender"),
    "another state key": ([{**bound(), "state_key": "x"}], "unbound"),
    "a message dressed as a binding": ([{"type": BINDING, "sender": ME, "content": CONTENT}], "unbound"),
    "a newer version": ([bound(version=2)], "unknown_version"),
    "no version": ([state(BINDING, {k: v for k, v in CONTENT.items() if k != "version"})], "malformed"),
    "no owner": ([state(BINDING, {k: v for k, v in CONTENT.items() if k != "owner"})], "malformed"),
    "a version that is no number": ([bound(version="1")], "malformed"),
    "a version that is true": ([bound(version=True)], "malformed"),
    "nothing in it": ([state(BINDING, {})], "malformed"),
    "content of the wrong type": ([state(BINDING, [CONTENT])], "malformed"),
    "number zero": ([bound(conversation="C0")], "malformed"),
    "a number with zeros before": ([bound(conversation="C03")], "malformed"),
    "a line feed behind the number": ([bound(conversation="C3\n")], "malformed"),
    "an endless number": ([bound(conversation="C" + "9" * 400)], "malformed"),
    "digits of another script": ([bound(conversation="C٣")], "malformed"),
    "an owner that is none": ([bound(owner="ann")], "malformed"),
    "an agent that is a number": ([bound(agent_id=17)], "malformed"),
    "an empty agent": ([bound(agent_id="")], "malformed"),
    "a context with letters": ([bound(context_id="4x")], "malformed"),
    "a time with a fraction": ([bound(created_ts=1.5)], "malformed"),
    "an archived that is a word": ([bound(archived="no")], "malformed"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_is_not_believed_is_skipped_with_a_reason(name: str) -> None:
    """Each hostile or broken room is passed over, and the good one beside it is found."""
    events, reason = SKIPPED[name]
    found = read(bad=events, good=[bound()])
    assert found.skipped == {"!bad": reason}
    assert found.found == (expected("!good"),)


def test_two_rooms_of_one_number_are_both_shown() -> None:
    """Both conversations stay; the older one comes first, whatever the order of the rooms."""
    older, newer = [bound(created_ts=1)], [bound(created_ts=2)]
    assert read(a=newer, b=older).found == read(b=older, a=newer).found
    assert [one.address.conversation for one in read(a=newer, b=older).found] == ["!b", "!a"]


def test_of_two_spaces_the_older_one_counts() -> None:
    """A second Space of one person is skipped."""
    found = read(a=[space(created=2)], b=[space(created=1)], c=[space("@bob:e.org")])
    assert {owner: one.room for owner, one in found.spaces.items()} == {"@ann:e.org": "!b", "@bob:e.org": "!c"}
    assert found.skipped == {"!a": "duplicate_space"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*CONTENT, "via", "name"])
CONTENTS = JSON | st.dictionaries(KEYS, JSON) | st.dictionaries(KEYS, JSON).map(lambda spoilt: {**CONTENT, **spoilt})
EVENTS = JSON | st.builds(
    state,
    st.sampled_from([BINDING, SPACE, "m.room.name", "m.space.child"]) | JSON,
    CONTENTS,
    sender=st.just(ME) | JSON,
    key=st.just("") | JSON,
    origin_server_ts=JSON,
)


@given(st.dictionaries(st.text(max_size=5), st.lists(EVENTS, max_size=5), max_size=4))
def test_nothing_raises_and_each_room_is_accounted_for(rooms: dict[str, list[object]]) -> None:
    """Whatever the events hold, each room is a conversation, a Space or skipped, the same every time."""
    found = bindings("work", ME, rooms)
    seen = [one.address.conversation for one in found.found] + [one.room for one in found.spaces.values()]
    assert sorted([*seen, *found.skipped]) == sorted(rooms)
    assert found == bindings("work", ME, rooms)
    assert all(one.number > 0 and one.context.isdigit() and one.name for one in found.found)
