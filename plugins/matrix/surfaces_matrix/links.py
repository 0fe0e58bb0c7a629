"""Keeps the links of an agent's Markdown honest: what looks like an address leads there, or shows where it leads.

An address of which a part is not ASCII is shown as the network sees it (`xn--…`), for letters of other alphabets
look like ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

SCHEMES = {"https", "http", "ftp", "mailto", "magnet"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BARE = re.compile(r"""://[^\s<>"`{}|\\^\[\]\x00-\x1f]+""")
_BEHIND_BARE = ".,:;!?'*_~"
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_ADDRESS = re.compile(r"\W*(?:https?|ftp)\W{2,5}(?:[^\s/?#]*@)?([^\s/?#:]+)", re.IGNORECASE)
"""An address, whatever stands for its colon and slashes, and its host."""
_DOMAIN = re.compile(
    r"""
    (?:[^\s/@:?#]+@)?
    ( www(?:\.[\w-]+)+
    | (?:[\w-]+\.)+
      (?:[^\W\d_]{2}|com|org|net|edu|gov|mil|info|biz|app|dev|xyz|online|site|shop|top|cloud|bank|[^\W\d_a-z]+)
    )
    (?=$|[/:?#])
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A host without more before it; many a name in a program has a dot, too."""
_FILE = re.compile(r"[\w.-]+\.(?:cc|cs|go|js|md|pl|ps|py|rb|rs|sh|so|ts)", re.IGNORECASE)
"""The name of a file that could be one of a host, and is none."""


def may_link(url: str) -> bool:
    """Relative links lead nowhere in a chat, and a name before the host is there to deceive; they stay as typed."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in SCHEMES:
        return False
    return scheme[1].lower() in ("mailto", "magnet") or (bool(_host(url)) and "@" not in urlsplit(url).netloc)


def bare_links(state: StateInline, silent: bool) -> bool:
    """Make links of addresses that stand in the text, so that no `_` or `*` in them is taken for emphasis."""
    if state.linkLevel > 0 or not state.src.startswith("://", state.pos):
        return False
    before = re.search(r"(?<![a-z0-9.+-])(?:https?|ftp)$", state.pending[-6:], re.IGNORECASE)
    found = _BARE.match(state.src, state.pos, state.posMax)
    if before is None or found is None:
        return False
    rest = _trimmed(found[0])
    url = state.md.normalizeLink(before[0] + rest)
    if not state.md.validateLink(url):
        return False
    if not silent:
        state.pending = state.pending[: -len(before[0])]
        state.push("link_open", "a", 1).attrs = {"href": url}
        state.push("text", "", 0).content = before[0] + rest
        state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True


def _trimmed(rest: str) -> str:
    """Without the marks that belong to the sentence around it."""
    while True:
        shorter = rest.rstrip(_BEHIND_BARE)
        if shorter.endswith(")") and shorter.count(")") > shorter.count("("):
            shorter = shorter[:-1]
        if shorter == rest:
            return rest
        rest = shorter


def honest_links(state: StateCore) -> None:
    """Let each link whose words look like another address show its own; one to nowhere is none."""
    for token in state.tokens:
        if token.children and any(child.type == "link_open" for child in token.children):
            token.children = list(_honest(token.children))


def _honest(children: Iterable[Token]) -> Iterator[Token]:
    inside: list[Token] | None = None
    target = ""
    for child in children:
        if child.type == "link_open":
            inside, target = [], str(child.attrGet("href") or "")
        elif child.type == "link_close" and inside is not None:
            yield from _link(inside, target) if target else inside
            inside = None
        elif inside is not None:
            inside.append(child)
        else:
            yield child


def _link(inside: list[Token], target: str) -> Iterator[Token]:
    words = "".join(each.content for each in inside if each.type in ("text", "code_inline"))
    yield Token("link_open", "a", 1, attrs={"href": target})
    yield from inside if _is_honest(words, target) else [Token("text", "", 0, content=target)]
    yield Token("link_close", "a", -1)


def _is_honest(words: str, target: str) -> bool:
    words = unicodedata.normalize("NFKC", _UNSEEN.sub("", words)).replace("\u3002", ".").strip()
    if target.lower().startswith("mailto:"):
        return "@" not in words or words.lower() == target[7:].partition("?")[0].lower()
    shown = _shown_host(words)
    if not shown:
        return True
    host = _host(target)
    bare = shown.removeprefix("www.")
    return shown.isascii() and (host == bare or host.endswith(f".{bare}"))


def _shown_host(words: str) -> str:
    """The host that somebody would think to get to."""
    found = _ADDRESS.match(words)
    if found is None and not _FILE.fullmatch(words):
        found = _DOMAIN.match(words)
    return "" if found is None else found[1].lower().removesuffix(".")


def _host(url: str) -> str:
    """The host of an address; nothing where it has none or makes no sense."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower().removesuffix(".") if parts.port != 0 else ""
    except ValueError:
        return ""
