"""Long answers are cut into parts that fit a Matrix event, without losing a word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson
import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from surfaces_matrix.markdown import to_html
from surfaces_matrix.split import size, split

from .conftest import patient

CORPUS = json.loads(Path(__file__).with_name("markdown.json").read_text())
SMALL = 1_500
TRIES = 8


def edit(text: str) -> bytes:
    """The biggest event that a part becomes, with an envelope as servers make it."""
    html = to_html(text)
    form = {"body": text, "formatted_body": html, "format": "org.matrix.custom.html", "msgtype": "m.text"}
    content = {
        **form,
        "body": f"* {text}",
        "m.new_content": {**form, "m.mentions": {}, "io.surfaces.id": {"turn": "t" * 64, "part": 1}},
        "m.mentions": {},
        "io.surfaces.id": {"turn": "t" * 64, "part": 1},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$" + "e" * 43},
    }
    envelope = {
        "sender": "@" + "s" * 254,
        "room_id": "!" + "r" * 254,
        "auth_events": ["$" + "e" * 43] * 10,
        "prev_events": ["$" + "e" * 43] * 20,
        "signatures": {"s" * 230: {"ed25519:k": "s" * 86}},
        "hashes": {"sha256": "h" * 43},
    }
    return orjson.dumps({**envelope, "content": content})


def paragraphs(count: int, words: int = 60) -> str:
    return "\n\n".join(f"**{n}.** " + " ".join(f"word{n}x{m}" for m in range(words)) for n in range(count))


TEXTS = {
    "paragraphs": paragraphs(150),
    "one line": "word " * 8_000,
    "one word": "w" * 70_000,
    "chinese": "好" * 30_000,
    "chinese paragraphs": "**好**好好好。\n\n" * 2_500,
    "emoji": "👩‍🚀 " * 6_000,
    "quotes and control characters": '"\\\x01' * 6_000,
    "code": "```python\n" + "print('hello')\n" * 3_000 + "```",
    "code in a list": "- a\n\n    ```py\n" + "    print('hello')\n" * 2_000 + "    ```\n",
    "one line of code": "~~~~\n" + "x" * 70_000 + "\n~~~~",
    "table": "a|b\n-|-\n" + "1|2\n" * 3_000,
    "table that fills up": ("a|" * 60 + "\n" + "-|" * 60 + "\n" + "x\n" * 100 + "\n") * 50,
    "blank lines": "\n" * 70_000,
    "fence without end": "`" * 70_000,
    "fence with a long name": "```" + "n" * 70_000 + "\ncode",
    **{repr(piece): piece * (18_000 // len(piece)) for piece in CORPUS["repeated"]},
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_part_fits_an_event(name: str) -> None:
    """Every part, sent as an edit in both forms, stays under the limit of an event, and parts are not tiny.

    The work is what is rendered to measure it: a few tries for each part, whatever the text.
    """
    to_html.cache_clear()
    parts = split(TEXTS[name])
    assert to_html.cache_info().misses <= 1 + TRIES * len(parts)
    assert all(len(edit(part)) <= 65_536 for part in parts)
    assert len(parts) <= 2 + len(TEXTS[name]) / 2_000


def test_short_answers_are_one_part() -> None:
    """What fits is left exactly as it is."""
    for text in ("", "hi", "  hi\n", "**hi**\n\n\n", paragraphs(20)):
        assert split(text) == [text]


def test_cuts_are_between_paragraphs() -> None:
    """Where there are paragraphs, parts are made of whole ones."""
    text = paragraphs(150)
    assert "\n\n".join(split(text)) == text


def test_cuts_without_paragraphs_are_between_lines() -> None:
    """Where there are only lines, parts are made of whole ones."""
    text = "\n".join(f"line {n} *here*" for n in range(2_500))
    assert "\n".join(split(text)) == text


def test_cuts_without_lines_are_between_words() -> None:
    """In one long line no word is cut."""
    text = " ".join(f"word{n}" for n in range(10_000))
    assert "".join(split(text)) == text
    assert {part[:4] for part in split(text)} == {"word"}


def test_nested_list_entries_stay_with_their_list() -> None:
    """A part does not begin with an indented line, which would become code."""
    text = "\n".join(f"- entry {n}\n    - below {n}" for n in range(1_500))
    assert not any(part.startswith(" ") for part in split(text))


@pytest.mark.parametrize("opening", ["```python", "~~~~ text", "  ```js", "```"])
def test_code_blocks_are_closed_and_opened_again(opening: str) -> None:
    """Each part of a long code block is a code block of the same language."""
    marks = opening.split()[0].rstrip("pythonjs")
    lines = [f"print({n})" for n in range(4_000)]
    parts = split("\n".join([opening, *lines, marks]))
    assert len(parts) > 2
    shown = []
    for part in parts:
        first, *middle, last = part.split("\n")
        assert (first, last.strip()) == (opening, marks)
        shown += middle
        assert (to_html(part) or "").startswith("<pre><code")
        assert (to_html(part) or "").endswith("</code></pre>")
    assert lines == shown


@pytest.mark.parametrize("head", ["| n | square |\n|---|--:|", "n|square\n-|-", " | a | b | \n  |:-:|:--| "])
def test_each_part_of_a_table_has_its_head(head: str) -> None:
    """No row is lost or doubled, and none stands without the names of its columns."""
    rows = [f"| {n} | {n * n} |" for n in range(300)]
    parts = split("Squares:\n\n" + "\n".join([head, *rows]) + "\n\nThat is all.", max_bytes=4_000)
    assert len(parts) > 2
    shown = []
    for part in parts:
        before, found, table = part.partition(head)
        assert found
        assert before in ("", "Squares:\n\n")
        shown += [line for line in table.split("\n") if line.startswith("|")]
        assert "<table>" in (to_html(part) or "")
    assert shown == rows
    assert parts[-1].endswith("That is all.")


def test_a_table_is_not_cut_within_its_head() -> None:
    """Where the head would be the last that fits, it goes to the next part with its first rows."""
    text = "\n".join(["x" * 10 for _ in range(60)] + ["a|b", "-|-", *(f"{n}|{n}" for n in range(400))])
    for part in split(text, max_bytes=SMALL):
        lines = part.split("\n")
        assert lines[-1] not in ("a|b", "-|-")
        assert ("a|b" in lines) is any(line.partition("|")[0].isdigit() for line in lines)


@pytest.mark.parametrize(
    "link", ["[a word or two](https://e.org/{})", "https://e.org/{}_x_y", "![i](https://e.org/{}(x))"]
)
def test_links_stay_whole(link: str) -> None:
    """Cut between words, but not between those of a link."""
    links = [link.format("p" * (n % 90)) for n in range(300)]
    for separator in (" ", "、"):
        parts = split(separator.join(links), max_bytes=3_000)
        assert len(parts) > 5
        assert sum(part.count(each) for each in set(links) for part in parts) >= len(links)


CHARACTERS = [
    "a",
    " ",
    "e\u0301",
    "👩\u200d👩\u200d👧",
    "👍🏽",
    "🇷🇺",
    "🇨🇳",
    "1\ufe0f\u20e3",
    "한",
    "\u1112\u1161\u11ab",
    "好",
    "🏴\U000e0067\U000e007f",
]


@patient
@given(st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=20).map(lambda some: "".join(some) * 30))
def test_no_character_is_cut(text: str) -> None:
    """A family, a flag, a letter with its accent: each stays in one part."""
    parts = split(text, max_bytes=400)
    edges = {found.end() for found in regex.finditer(r"\X", text)}
    at = 0
    for part in parts:
        at = text.index(part, at) + len(part)
        assert at in edges
    assert sum(map(len, parts)) >= len(text.strip()) - len(parts)


def test_text_behind_a_code_block_is_no_code() -> None:
    """The state of a code block ends where the block ends."""
    text = "```py\n" + "x = 1\n" * 3_000 + "```\n\n" + paragraphs(60)
    assert split(text)[-1].startswith("**")
    assert "```" not in split(text)[-1]


def test_half_characters_become_a_sign() -> None:
    """Half of a surrogate pair, which JSON can carry and an event cannot, is replaced."""
    assert split("a\ud800b") == ["a\ufffdb"]


LINES = st.lists(
    st.sampled_from(
        ["", "", "Ab cd", "- Ef", "    gh ij", "## Kl", "a|b", "-|-", "**B** c", "好", "好" * 300, "z" * 700]
    ),
    max_size=60,
).map("\n".join)
CODE = LINES.map(lambda code: f"```1\n{code}\n```")
WHITE_OR_MARK = re.compile(r"[\s`]")


@patient
@given(st.lists(LINES | CODE, max_size=8))
def test_nothing_is_lost(blocks: list[str]) -> None:
    """Joined, the parts have every character of the answer in order, but for white space and fences."""
    text = "\n\n".join(blocks)
    parts = split(text, max_bytes=SMALL)
    joined = re.sub(r"^```1$", "", "\n".join(parts), flags=re.MULTILINE)
    assert WHITE_OR_MARK.sub("", joined) == WHITE_OR_MARK.sub("", re.sub(r"^```1$", "", text, flags=re.MULTILINE))
    assert all(size(part) <= SMALL for part in parts)
    assert parts == split(text, max_bytes=SMALL)


@settings(patient, max_examples=30)
@given(st.lists(st.sampled_from(CORPUS["fragments"]) | st.text(max_size=3), min_size=60, max_size=150).map("".join))
def test_any_text_is_cut(text: str) -> None:
    """Whatever the text, every part fits and no letter or digit is lost."""
    parts = split(text, max_bytes=SMALL)
    assert all(size(part) <= SMALL for part in parts)
    kept = "".join(parts)
    # Fences that are opened again repeat their names; all else is there as often as before.
    for letter in set("éb好x.@"):
        assert kept.count(letter) >= text.count(letter)
