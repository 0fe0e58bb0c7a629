"""Agents' Markdown becomes the HTML that Matrix allows, and nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surfaces_matrix.markdown import MAX_CHARS, to_html

# Matrix client-server API v1.16, "m.room.message msgtypes"; written down here a second time on purpose.
TAGS = (
    {"del", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "p", "a", "ul", "ol", "sup", "sub", "li", "b", "i", "u"}
    | {"strong", "em", "s", "code", "hr", "br", "div", "table", "thead", "tbody", "tr", "th", "td", "caption", "pre"}
    | {"span", "details", "summary"}
)
ATTRIBUTES = {
    "a": {"target", "href"},
    "span": {"data-mx-bg-color", "data-mx-color", "data-mx-spoiler", "data-mx-maths"},
    "code": {"class"},
    "ol": {"start"},
    "div": {"data-mx-maths"},
}
VOID = {"br", "hr"}
CORPUS = json.loads(Path(__file__).with_name("markdown.json").read_text())


class Reader(HTMLParser):
    """Reads HTML with other code than ours and notes what a client would be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.links: list[str] = []
        self.depth = 0
        self.deepest = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        self.tags.append(tag)
        for name, value in attrs:
            self.check(tag, name, value or "")
        if tag not in VOID:
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)

    def check(self, tag: str, name: str, value: str) -> None:
        assert name in ATTRIBUTES.get(tag, set())
        if name == "href":
            assert re.match(r"(https?|ftp|mailto|magnet):", value, re.IGNORECASE)
            self.links.append(value)
        if name == "class":
            assert re.fullmatch(r"language-\S+", value)
        if name == "start":
            assert value.isdigit()

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment came out")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration came out")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("a processing instruction came out")


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.depth == 0
    return reader


CASES = {
    "**bold** _slanted_ ~~gone~~ `code`": (
        "<p><strong>bold</strong> <em>slanted</em> <s>gone</s> <code>code</code></p>"
    ),
    "```python\nprint('<a>')\n```": "<pre><code class=\"language-python\">print('&lt;a&gt;')\n</code></pre>",
    "```\nplain\n```": "<pre><code>plain\n</code></pre>",
    '```c++ title="x"\n1\n```': '<pre><code class="language-c++">1\n</code></pre>',
    '```"onclick=x\n1\n```': "<pre><code>1\n</code></pre>",
    "- [ ] open\n- [x] done\n- [X] too": "<ul>\n<li>☐ open</li>\n<li>☑ done</li>\n<li>☑ too</li>\n</ul>",
    "[ ] no list, *no* box": "<p>[ ] no list, <em>no</em> box</p>",
    "a|b\n-|:-:\n1|2": (
        "<table>\n<thead>\n<tr>\n<th>a</th>\n<th>b</th>\n</tr>\n</thead>\n"
        "<tbody>\n<tr>\n<td>1</td>\n<td>2</td>\n</tr>\n</tbody>\n</table>"
    ),
    "who did it: ||the *butler*||!": ('<p>who did it: <span data-mx-spoiler="">the <em>butler</em></span>!</p>'),
    "||**||a**": "<p>||<strong>||a</strong></p>",
    "*||a||*": '<p><em><span data-mx-spoiler="">a</span></em></p>',
    "[||a||](https://e.org)": '<p><a href="https://e.org"><span data-mx-spoiler="">a</span></a></p>',
    "`||a||`": "<p><code>||a||</code></p>",
    "||| *a*": "<p>||| <em>a</em></p>",
    "# Head\nText": "<h1>Head</h1>\n<p>Text</p>",
    "> quote": "<blockquote>\n<p>quote</p>\n</blockquote>",
    "3. three\n4. four": '<ol start="3">\n<li>three</li>\n<li>four</li>\n</ol>',
    "one\ntwo *lines*": "<p>one<br>\ntwo <em>lines</em></p>",
    "![a chart](https://e.org/c.png)": '<p><a href="https://e.org/c.png">a chart</a></p>',
    "![](https://e.org/c.png)": '<p><a href="https://e.org/c.png">https://e.org/c.png</a></p>',
    "[![logo](https://e.org/l.png)](https://e.org)": '<p><a href="https://e.org">logo</a></p>',
    "![x](data:image/png;base64,AAAA) *y*": "<p>![x](data:image/png;base64,AAAA) <em>y</em></p>",
    "![x](mxc://e.org/a) *y*": "<p>![x](mxc://e.org/a) <em>y</em></p>",
    "<https://e.org/?a=1&b=2>": '<p><a href="https://e.org/?a=1&amp;b=2">https://e.org/?a=1&amp;b=2</a></p>',
    "[x](javascript:alert(1)) *y*": "<p>[x](javascript:alert(1)) <em>y</em></p>",
    "[x](JaVaScRiPt:alert(1)) *y*": "<p>[x](JaVaScRiPt:alert(1)) <em>y</em></p>",
    "[x](&#106;avascript:alert(1)) *y*": "<p>[x](javascript:alert(1)) <em>y</em></p>",
    "[x](../up) *y*": "<p>[x](../up) <em>y</em></p>",
    "[x](//e.org) *y*": "<p>[x](//e.org) <em>y</em></p>",
    "[you](https://matrix.to/#/@ann:e.org)": '<p><a href="https://matrix.to/#/@ann:e.org">you</a></p>',
    "*hi* @room": "<p><em>hi</em> @room</p>",
    "<b>raw</b> *and* <script>x</script>": (
        "<p>&lt;b&gt;raw&lt;/b&gt; <em>and</em> &lt;script&gt;x&lt;/script&gt;</p>"
    ),
    "<div>\n*x*\n</div>": "<p>&lt;div&gt;<br>\n<em>x</em><br>\n&lt;/div&gt;</p>",
    "*see* <!-- hidden -->": "<p><em>see</em> &lt;!-- hidden --&gt;</p>",
    "[1]: https://e.org": '<p>[1]: <a href="https://e.org">https://e.org</a></p>',
    "*see* https://e.org/~a*b*_c_d (and https://e.org/a_(b)).": (
        '<p><em>see</em> <a href="https://e.org/~a*b*_c_d">https://e.org/~a*b*_c_d</a> '
        '(and <a href="https://e.org/a_(b)">https://e.org/a_(b)</a>).</p>'
    ),
    "**https://e.org** `https://e.org`": (
        '<p><strong><a href="https://e.org">https://e.org</a></strong> <code>https://e.org</code></p>'
    ),
    "just https://e.org here": None,
    "[README.md](https://e.org/README.md)": '<p><a href="https://e.org/README.md">README.md</a></p>',
    "[the docs at e.org](https://e.net)": '<p><a href="https://e.net">the docs at e.org</a></p>',
    "[e.org](https://www.e.org/x)": '<p><a href="https://www.e.org/x">e.org</a></p>',
    "- a\n  - [ ] b\n    1. c": ("<ul>\n<li>a\n<ul>\n<li>☐ b\n<ol>\n<li>c</li>\n</ol>\n</li>\n</ul>\n</li>\n</ul>"),
    "a  \nb\\\nc": "<p>a<br>\nb<br>\nc</p>",
    "\\*literal\\*": "<p>*literal*</p>",
    "hello there, how are you?": None,
    "snake_case_name and 5 * 3 & 4 < 5": None,
    "two\nlines": None,
    "<b>raw</b>": None,
    "": None,
    "\n\n": None,
}


@pytest.mark.parametrize("text", CASES)
def test_markdown_becomes_html(text: str) -> None:
    """Each construct comes out as written in the table, or stays plain (None)."""
    assert to_html(text) == CASES[text]
    read(to_html(text) or "")


PIECES = st.sampled_from(CORPUS["fragments"])
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=40).map("".join)


@given(TEXTS)
@example("[a](https://e.org/\"onmouseover='x')*b*")
def test_only_allowed_html_comes_out(text: str) -> None:
    """Whatever an agent writes, tags, attributes and link targets are the specification's, closed in order."""
    html = to_html(text)
    if html is not None:
        read(html)
        assert html.strip()


MARKS = re.compile(r"[^A-Za-zé好]")


@given(
    st.lists(
        st.sampled_from(["*a*", "**b**", "||c||", "`d`", "> e\n", "- f\n", "\n\n# g\n", "\n\nh|i\n-|-\nj|k\n\n", "l\n"])
    )
)
def test_no_words_are_lost(pieces: list[str]) -> None:
    """The words of a text all show in its HTML, in order."""
    text = "".join(pieces)
    html = to_html(text)
    assert html is None or MARKS.sub("", read(html).text) == MARKS.sub("", text)


def hostile(size: int) -> dict[str, str]:
    once = {
        "stars": "*" * size,
        "nested tags": "**" * (size // 4) + "x" + "**" * (size // 4),
        "lists in lists": "".join(" " * (2 * n) + "- a\n" for n in range(int(size**0.5))),
        "runs of backticks": "".join("`" * n + " " for n in range(int((2 * size) ** 0.5))),
        "parentheses": "[a](" + "(" * size,
        "wide table": "|a" * (size // 4) + "\n" + "|-" * (size // 4) + "\n",
        "table that fills up": "a|" * 256 + "\n" + "-|" * 256 + "\n" + "x\n" * (size // 4),
        "link around links": "[" * (size // 2) + "](x:)" * (size // 10),
    }
    return once | {repr(piece): piece * (size // len(piece)) for piece in CORPUS["repeated"]}


@pytest.mark.parametrize("size", [2_000, 65_536])
@pytest.mark.parametrize("name", hostile(1))
@pytest.mark.timeout(10)
def test_hostile_texts_stay_small_and_quick(name: str, size: int) -> None:
    """Texts made to take for ever or to nest without end come out shallow and clean, or plain."""
    html = to_html(hostile(size)[name])
    if html is not None:
        assert read(html).deepest <= 100


@pytest.mark.parametrize("text", ["*a*" + "b" * MAX_CHARS, "*a* \ud800", ">" * 60 + " a", "[" * 3000 + "*a*"])
def test_what_cannot_be_shown_well_stays_plain(text: str) -> None:
    """Too long, half a character, nested too deep or too many brackets: plain."""
    assert to_html(text) is None
