"""What agents write to deceive or to hurt leaves as harmless HTML, as another parser sees it."""

from __future__ import annotations

import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import html5lib  # type: ignore[import-untyped]
import pytest

from surfaces_matrix.content import edit_content, text_content
from surfaces_matrix.markdown import MAX_CHARS, _cleaner, to_html
from surfaces_matrix.split import split

from .test_markdown import ATTRIBUTES, TAGS

CASES = json.loads(Path(__file__).with_name("markdown_hostile.json").read_text())
HOSTS = re.compile(r"(?:https?://|www\.)([\w.-]+)|^([\w-]+\.com)\b", re.IGNORECASE)
SHORT = MAX_CHARS // 4
CALLS = 200
"""For each character, of functions; what no bound holds needs many more."""
GROWTH = 10.0
"""Four times the text may take so many times as long; where time is quadratic it is sixteen times."""
NOTHING_S = 1.0
"""Of processor time. Less is no harm, however it grows."""
TRIES = 8
"""So often a part is rendered to find out how much of the text fits."""


def text_of(case: dict[str, Any]) -> str:
    return str(case["text"] * case.get("times", 1))


def elements(html: str) -> Iterator[Any]:
    """What a browser makes of it."""
    if not html:
        return
    tree = html5lib.parseFragment(html, container="body", treebuilder="etree", namespaceHTMLElements=False)
    yield from (element for element in tree.iter() if element is not tree)


def check(html: str) -> None:
    for element in elements(html):
        assert element.tag in TAGS
        assert set(element.attrib) <= ATTRIBUTES.get(element.tag, set())
        if "href" in element.attrib:
            check_link(element.attrib["href"], "".join(element.itertext()))


def check_link(target: str, words: str) -> None:
    address = urlsplit(target)
    assert address.scheme in ("http", "https", "ftp", "mailto", "magnet")
    assert "@" not in address.netloc
    assert address.netloc.isascii()
    plain = (
        unicodedata.normalize("NFKC", re.sub("[\u200b-\u200f\u202a-\u202e]", "", words)).replace("\u3002", ".").strip()
    )
    shown = HOSTS.search(plain)
    if shown is not None:
        host = str(shown[1] or shown[2]).lower().removeprefix("www.")
        assert (address.hostname or "").removeprefix("www.").endswith(host)


def calls(text: str) -> int:
    """How many functions a text has called."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1

    to_html.cache_clear()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        to_html(text)
    finally:
        sys.setprofile(before)
    return seen


def seconds(text: str) -> float:
    """Of processor time that a text takes."""
    to_html.cache_clear()
    began = time.process_time()
    to_html(text)
    return time.process_time() - began


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_hostile_text_becomes_harmless(case: dict[str, Any]) -> None:
    """Allowed tags, attributes and addresses alone, links that lead where they say."""
    text = text_of(case)
    check(to_html(text[:SHORT]) or "")
    assert len(text) <= MAX_CHARS or to_html(text) is None  # what is longer stays plain


@pytest.mark.parametrize("case", [case for case in CASES if len(text_of(case)) > SHORT], ids=lambda case: case["why"])
def test_hostile_text_takes_no_longer_than_its_length(case: dict[str, Any]) -> None:
    """What there is to do grows with the text and not with its square."""
    text = text_of(case)[:MAX_CHARS]
    assert calls(text[:SHORT]) <= CALLS * SHORT
    took_s = seconds(text)
    assert took_s < NOTHING_S or took_s < GROWTH * seconds(text[: len(text) // 4])


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["why"].startswith("raw HTML")], ids=lambda case: case["why"]
)
def test_the_cleaner_alone_would_do(case: dict[str, Any]) -> None:
    """A parser that let HTML through would not be enough to hurt anybody."""
    check(_cleaner.clean(case["text"]))
    check(_cleaner.clean(f'<a href="https://e.org" title="x" lang="y" target="z" class="w">{case["text"]}</a>'))


LONG = [case for case in CASES if re.search("64 kB of (.*links|addresses|emoji|tables|mixed fences)$", case["why"])]
MENTIONS = [case for case in CASES if "mention" in case["why"]]


@pytest.mark.parametrize("case", LONG, ids=lambda case: case["why"])
def test_hostile_answers_fit_into_events(case: dict[str, Any]) -> None:
    """Cut into parts, each of which fits with all its forms into an event, with a few tries for each."""
    text = text_of(case)[: 2 * MAX_CHARS]
    to_html.cache_clear()
    parts = split(text)
    assert to_html.cache_info().misses <= 1 + TRIES * len(parts)
    for part in parts[:3]:
        content = edit_content("$" + "e" * 43, text_content(part, turn="t" * 26, part=1))
        assert len(json.dumps(content, ensure_ascii=False).encode()) < 61_000


@pytest.mark.parametrize("case", MENTIONS, ids=lambda case: case["why"])
def test_nobody_is_mentioned(case: dict[str, Any]) -> None:
    """Whatever an agent writes, its message says outright that it mentions nobody ("User and room mentions")."""
    content = text_content(text_of(case), turn="t", part=0)
    assert content["m.mentions"] == {}
    assert edit_content("$e", content)["m.mentions"] == {} == edit_content("$e", content)["m.new_content"]["m.mentions"]
