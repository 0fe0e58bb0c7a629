"""Turns an agent's Markdown into the HTML that a Matrix event may carry.

Only tags and attributes of the Matrix specification's list leave here (client-server API,
"m.room.message msgtypes"). The parser makes no others and the cleaner behind it lets no others
through, so a fault in one of the two is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import unescape

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.token import Token

from surfaces_matrix.links import SCHEMES, bare_links, honest_links, may_link

MAX_CHARS = 16_384
"""Longer texts stay plain: with both of its forms doubled by an edit, none would fit into an event."""
MAX_DEPTH = 40
"""Nested deeper a text stays plain; clients may stop at 100 (same section of the specification)."""
MAX_BRACKETS = 2_000
"""Text with more `[` stays plain: the search for their partners takes quadratic time."""
MAX_CELLS = 8_192
"""Text with more lines times bars stays plain: rows of a table are filled up to the width of its head."""

_SIGNIFICANT = re.compile(
    r"""
      [*_`~\[\\&]             # emphasis, code, strikethrough, link, escape, entity
    | \|\|                    # spoiler
    | \|[ \t]*:?- | -:?[ \t]*\|   # table
    | <[A-Za-z]               # <https://…>
    | ^[ \t]*(?:\#|>|[-+]|\d{1,9}[.)]|===)   # heading, quote, list, rule, underlined heading
    | ^(?:[ ]{4}|\t)          # code
    """,
    re.MULTILINE | re.VERBOSE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LANGUAGE = re.compile(r"language-[A-Za-z0-9+#._-]{1,40}")
_BLOCKS = {"h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "p", "ul", "ol", "li", "pre", "hr"}
_TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
_INLINES = {"a", "strong", "em", "s", "code", "br", "span"}
_ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),  # else the cleaner lets `title` and `lang` through
    "a": {"href"},
    "code": {"class"},
    "ol": {"start"},
    "span": {"data-mx-spoiler"},
}
_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


@lru_cache(maxsize=16)
def to_html(text: str) -> str | None:
    """The `formatted_body` for a text, or None where the plain text says it all.

    Plain is also what is too long, nested too deep or grows too much to be shown as anything else.
    Raw HTML comes out as text and an image as a link, so that no client fetches what an agent names.
    """
    if len(text) > MAX_CHARS or _SIGNIFICANT.search(text) is None or _is_hostile(text):
        return None
    tokens = _parser.parse(text)
    if max((token.level for token in _walk(tokens)), default=0) > MAX_DEPTH:
        return None
    html = _cleaner.clean(_parser.renderer.render(tokens, _parser.options, {})).rstrip("\n")
    return None if _is_plain(html, text) else html


def _is_hostile(text: str) -> bool:
    """Whether it would take long, grow a lot or, holding half a surrogate pair, fit into no event."""
    if text.count("[") > MAX_BRACKETS:
        return True
    if "|" in text and (text.count("\n") + 1) * max(line.count("|") for line in text.split("\n")) > MAX_CELLS:
        return True
    return _SURROGATE.search(text) is not None


def _is_plain(html: str, text: str) -> bool:
    inner = html.removeprefix("<p>").removesuffix("</p>").replace("<br>\n", "\n")
    return "<" not in inner and unescape(inner).strip() == text.strip()


def _walk(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


# How the parser differs from CommonMark ----------------------------------------------------------


def _spoiler_marks(state: StateInline, silent: bool) -> bool:
    """Note `||` as a delimiter, as the parser does with `~~`."""
    if silent or not state.src.startswith("||", state.pos):
        return False
    scanned = state.scanDelims(state.pos, True)
    state.push("text", "", 0).content = "|" * scanned.length
    if scanned.length == 2:
        state.delimiters.append(
            Delimiter(
                marker=ord("|"),
                length=0,  # not counted towards the "rule of three"
                token=len(state.tokens) - 1,
                end=-1,
                open=scanned.can_open,
                close=scanned.can_close,
            )
        )
    # A longer run is text and passed over as a whole: looked at bar by bar it would take quadratic time.
    state.pos += scanned.length
    return True


def _spoiler_tags(state: StateInline) -> None:
    """Make tags of the delimiters that found a partner."""
    nested = (meta["delimiters"] for meta in state.tokens_meta if meta and "delimiters" in meta)
    for delimiters in (state.delimiters, *nested):
        for opening in delimiters:
            if opening.marker == ord("|") and opening.end != -1:
                _make_tag(state.tokens[opening.token], "spoiler_open", 1)
                _make_tag(state.tokens[delimiters[opening.end].token], "spoiler_close", -1)


def _make_tag(token: Token, kind: str, nesting: int) -> None:
    token.type, token.tag, token.nesting, token.content = kind, "span", nesting, ""  # type: ignore[assignment]
    if nesting == 1:
        token.attrSet("data-mx-spoiler", "")


def _tick_boxes(state: StateCore) -> None:
    """Show `[ ]` and `[x]` at the start of a list entry as boxes; clients show no inputs."""
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type == "list_item_open" and paragraph.type == "paragraph_open" and inline.children:
            first = inline.children[0]
            box = _BOXES.get(first.content[:4]) if first.type == "text" else None
            if box is not None:
                first.content = box + first.content[4:]


def _link_images(state: StateCore) -> None:
    for token in state.tokens:
        if token.children and any(child.type == "image" for child in token.children):
            token.children = list(_without_images(token.children))


def _without_images(children: Iterable[Token]) -> Iterator[Token]:
    inside = 0
    for child in children:
        inside += {"link_open": 1, "link_close": -1}.get(child.type, 0)
        if child.type != "image":
            yield child
        else:
            yield from _image_link(child, inside=inside > 0)


def _image_link(image: Token, *, inside: bool) -> Iterator[Token]:
    """A link to the image, or its name alone where a link is around it already."""
    source = str(image.attrGet("src") or "")
    text = Token("text", "", 0, content=image.content or source, level=image.level + 1)
    if inside:
        yield text
        return
    yield Token("link_open", "a", 1, attrs={"href": source}, level=image.level)
    yield text
    yield Token("link_close", "a", -1, level=image.level)


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": MAX_DEPTH + 10})
    parser.enable(["table", "strikethrough"])
    # Definitions of link targets would vanish, and a long answer is cut between them and their use.
    parser.disable("reference")
    parser.validateLink = may_link  # type: ignore[method-assign]
    parser.inline.add_terminator_char("|")
    parser.inline.ruler.before("escape", "bare_links", bare_links)
    parser.inline.ruler.before("emphasis", "spoiler", _spoiler_marks)
    parser.inline.ruler2.before("emphasis", "spoiler", _spoiler_tags)
    parser.core.ruler.push("tick_boxes", _tick_boxes)
    parser.core.ruler.push("link_images", _link_images)
    parser.core.ruler.push("honest_links", honest_links)
    return parser


def _keep_attribute(tag: str, name: str, value: str) -> str | None:
    if (tag, name) == ("code", "class"):
        return value if _LANGUAGE.fullmatch(value) else None
    return value


_parser = _make_parser()
_cleaner = nh3.Cleaner(
    tags=_BLOCKS | _TABLES | _INLINES,
    attributes=_ATTRIBUTES,
    attribute_filter=_keep_attribute,
    url_schemes=SCHEMES,
    url_relative="deny",
    link_rel=None,
)
