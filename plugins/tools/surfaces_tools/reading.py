"""Owns how the body of an answer becomes text that a model can read."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable
from html import unescape
from itertools import islice

import nh3

BLOCKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote", "section", "title"}
SILENT = {"script", "style", "noscript", "template", "iframe", "svg", "object"}
"""What is not said to people, with all that is inside."""
HTML = ("text/html", "application/xhtml+xml")
WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""What `zlib` calls each coding; 47 finds out by itself."""
PLAIN = {
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le", "ascii"),
    *("gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "shift_jis", "shift_jisx0213", "shift_jis_2004"),
    *("euc_jp", "euc_jisx0213", "euc_jis_2004", "euc_kr", "johab", "koi8-r", "koi8-u", "koi8-t", "kz1048", "tis-620"),
}
FAMILIES = ("iso8859-", "iso2022_", "cp", "mac-")
"""Pages are written in these. Python knows more: some unpack without a limit, some take hours for a page."""
_LINK = re.compile(r'<a href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
MOST_TAGS = 10_000
"""Of a page with more that may lie in each other the rest is left out: to parse it takes the square of their depth."""
_OPENS = re.compile(
    r"<(?!(?:a|area|br|col|dd|dt|hr|img|input|li|link|meta|option|p|source|td|th|tr|wbr)[\s/>])[a-z]", re.IGNORECASE
)
_TAG = re.compile(r"<[^>]*>")
_GAPS = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES = re.compile(r" ?\n[ \n]*\n ?| ?\n ?")


def readable(mime: str) -> bool:
    """Whether a content type is text for people or programs."""
    kind, _, rest = mime.partition("/")
    return kind == "text" or (kind == "application" and (rest in ("json", "xml") or rest.endswith(("+json", "+xml"))))


def unpacker(coding: str) -> Callable[[bytes, int], bytes]:
    """What undoes a content coding piece by piece, each giving so many bytes at most. `LookupError`."""
    if coding in ("", "identity"):
        return lambda piece, most: piece[:most]
    return zlib.decompressobj(WINDOW[coding]).decompress


def text_of(body: bytes, mime: str, charset: str) -> str:
    """The text of a body; a page of HTML without its markup, links as `[text](address)`."""
    text, _ = _encoding(charset).decode(body, "replace")
    return page(text) if mime in HTML else text.removeprefix("\ufeff")


def _encoding(charset: str) -> codecs.CodecInfo:
    """What a page may be written in; UTF-8 for what is not known, or is no way to write pages."""
    try:
        found = codecs.lookup(charset or "utf-8")
    except (LookupError, ValueError):
        return codecs.lookup("utf-8")
    return found if found.name in PLAIN or found.name.startswith(FAMILIES) else codecs.lookup("utf-8")


def page(html: str) -> str:
    """What a page says. It is parsed as browsers do, so that what is left of the markup is regular."""
    rest = next(islice(_OPENS.finditer(html), MOST_TAGS, None), None)
    clean = nh3.clean(
        html if rest is None else f"{html[: rest.start()]}<p>[The rest is left out: it has too much markup.]</p>",
        tags=BLOCKS | {"a"},
        clean_content_tags=SILENT,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel=None,
    )
    spaced = _GAPS.sub(" ", clean.replace("\n", " "))
    linked = _LINK.sub(lambda link: f"[{link[2].strip()}]({link[1]})" if link[2].strip() else "", spaced)
    for name in BLOCKS:
        linked = linked.replace(f"<{name}>", "\n").replace(f"</{name}>", "\n")
    plain = unescape(_TAG.sub("", linked))
    return _LINES.sub(lambda gap: "\n\n" if gap[0].count("\n") > 1 else "\n", plain).strip()
