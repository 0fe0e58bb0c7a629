"""Names that people give themselves and their rooms: shown within our sentences, so they must not break them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_matrix.memberships import LONGEST_NAME, invites
from surfaces_matrix.shapes import one_line

ME, ANN = "@bot:hs", "@ann:hs"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann", "Ann"),
        ("  Ann\n\tB  ", "Ann B"),
        ("Ann \u202eevil\u2066 B", "Ann evil B"),
        ("\x00\x1b[31mred\x7f", "[31mred"),
        ("half \ud83d", "half"),
        ("👩\u200d👧 {braces}", "👩\u200d👧 {braces}"),
        ("ж" * 300, "ж" * LONGEST_NAME),
        ("\u202e", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_display_name_is_one_harmless_line(name: object, shown: str):
    """No line break, no control character, nothing that turns the rest of the sentence around."""
    member = {"type": "m.room.member", "sender": ANN, "content": {}}
    events = [
        {**member, "state_key": ANN, "content": {"membership": "join", "displayname": name}},
        {**member, "state_key": ME, "content": {"membership": "invite"}},
    ]
    [start] = invites("work", ME, {"rooms": {"invite": {"!r:hs": {"invite_state": {"events": events}}}}})
    assert start.sender_name == shown


@given(st.text(), st.integers(0, 300))
def test_a_line_is_what_it_says(text: str, longest: int):
    """Whatever is given: one line, trimmed, not too long, and the same when it is done again."""
    line = one_line(text, longest)
    assert len(line) <= longest
    assert line == " ".join(line.split())
    assert one_line(line, longest) == line
