"""Parsing what homeservers send: whole where it can be, piece by piece where it can't."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_matrix import breath, parsing
from surfaces_matrix.parsing import LARGEST_PIECE, parse

from .conftest import patient

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@pytest.fixture(scope="module", autouse=True, params=[64, parsing.SMALL_PIECE])
def _in_pieces(request: pytest.FixtureRequest):
    """Nothing is small enough to be parsed at once; parts of it may be."""
    whole, small = parsing.WHOLE_BYTES, parsing.SMALL_PIECE
    parsing.WHOLE_BYTES, parsing.SMALL_PIECE = -1, request.param
    yield
    parsing.WHOLE_BYTES, parsing.SMALL_PIECE = whole, small


def parsed(raw: bytes) -> Any:
    """What comes of some bytes."""
    return asyncio.run(parse(raw))


@patient
@given(value=VALUES, indent=st.none() | st.integers(0, 3), plain=st.booleans())
def test_good_json_is_what_it_is(value: Any, indent: int | None, plain: bool):
    """Taken apart or not, however it is written."""
    raw = json.dumps(value, indent=indent, ensure_ascii=plain).encode()
    assert parsed(raw) == orjson.loads(raw)


@patient
@given(value=VALUES, share=st.floats(0, 1, exclude_max=True))
def test_a_part_is_none_at_all(value: Any, share: float):
    """An answer that was cut off is never taken for a whole one."""
    raw = orjson.dumps({"value": value})
    assert parsed(raw[: int(len(raw) * share)]) is None


@patient
@given(raw=st.binary() | st.text(alphabet='{}[]",:\\\\ab1 \n').map(str.encode))
def test_nothing_raises(raw: bytes):
    """Any bytes are a value or none."""
    value = parsed(raw)
    try:
        assert value == orjson.loads(raw)
    except orjson.JSONDecodeError:
        orjson.dumps(value)


BROKEN = [
    b'"half \\ud83d"',
    b'{"a": {"b": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
    b'"\x00"',
    b"1" * 5000,
    b"NaN",
    b'"' + b"x" * (LARGEST_PIECE + 1) + b'"',
    b"{'a': 1}",
    b"nul",
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_hides_nothing_else(broken: bytes):
    """Two good events stand where they stood, though one between them would be refused with all of the answer."""
    events = b'[{"n": 1}, %s, {"n": 2}]' % broken
    raw = b'{"rooms": {"join": {"!a:hs": {"timeline": {"events": %s, "limited": false}}}}, "next_batch": "s1"}' % events
    value = parsed(raw)
    timeline = value["rooms"]["join"]["!a:hs"]["timeline"]
    good = [event for event in timeline["events"] if isinstance(event, dict) and "n" in event]
    assert (good, timeline["limited"], value["next_batch"]) == ([{"n": 1}, {"n": 2}], False, "s1")


def test_a_half_character_becomes_a_sign():
    """Nobody could store or send it, and the rest of the text is as it was."""
    assert parsed(b'{"a\\udc00": ["x\\ud83dy", "\\ud83d\\ude00"]}') == {"a\ufffd": ["x\ufffdy", "😀"]}


def test_padding_costs_nothing():
    """A text that no event could hold is passed over."""
    assert parsed(b'{"pad": "%s", "next_batch": "s1"}' % (b"x" * 20_000_000)) == {"next_batch": "s1"}


async def test_others_run_meanwhile(monkeypatch: pytest.MonkeyPatch):
    """A big answer is worked on in small slices."""
    monkeypatch.setattr(breath, "LONGEST_S", 0.001)  # else it would have to be bigger
    event = {"type": "m.room.message", "content": {"body": "x" * 100}}
    raw = orjson.dumps({"rooms": {"join": {f"!{n}:hs": {"timeline": {"events": [event] * 50}} for n in range(200)}}})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        value = await parse(raw)
        counting.cancel()
    assert value == orjson.loads(raw)
    assert turns > 3
