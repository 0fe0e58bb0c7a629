"""Names of saved files are harmless, readable and stable."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_files_volume.names import MAX_NAME_BYTES, clean_name, extension_of, mime_of, numbered, split_extension

_HOSTILE = st.text(
    st.sampled_from(list('a.. /\\:*?<>|"\0\n\x7f\u0301\u202e\u2029\ud800еЁ\U0001f600CONcon1_')), max_size=40
)
NAMES = st.one_of(st.text(max_size=300), _HOSTILE, st.text("ё.", min_size=90, max_size=300))
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in (*range(32), *range(127, 160))}


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\report.pdf", "report.pdf"),
        ("a/b/", "attachment.bin"),
        ("", "attachment.bin"),
        (" ... ", "attachment.bin"),
        (".bashrc", "bashrc"),
        ("name. . ", "name"),
        ('what? "yes" <b>|*:.txt', "what_ _yes_ _b____.txt"),
        ("line\nbreak\x7f\u2028.txt", "line_break__.txt"),
        ("exe\u202egpj.exe", "exe_gpj.exe"),
        ("CON", "_CON"),
        ("con.tar.gz", "_con.tar.gz"),
        ("lpt¹ .txt", "_lpt¹ .txt"),
        ("console.txt", "console.txt"),
        ("e\u0301te\u0301.txt", "été.txt"),
        ("x\ud800.txt", "x_.txt"),
        ("я" * 300 + ".pdf", "я" * 98 + ".pdf"),
        ("n" * 199 + " .pdf", "n" * 196 + ".pdf"),
        ("Отчёт за май.docx", "Отчёт за май.docx"),
    ],
)
def test_clean_name(given_name: str, expected: str):
    """Each rule of cleaning, by example."""
    assert clean_name(given_name) == expected


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/jpeg", "attachment.jpg"),
        ("text/plain; charset=utf-8", "attachment.txt"),
        ("audio/ogg", "attachment.ogg"),
        ("IMAGE/WEBP", "attachment.webp"),
        ("application/x-nobody-knows", "attachment"),
        ("", "attachment"),
    ],
)
def test_nameless(mime: str, expected: str):
    """A file without a name gets the extension of its type."""
    assert clean_name("", mime) == expected


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("report.pdf", 0, "report.pdf"),
        ("report.pdf", 1, "report (1).pdf"),
        ("report", 12, "report (12)"),
        ("site.tar.gz", 2, "site (2).tar.gz"),
        ("Mr. Smith said so", 1, "Mr. Smith said so (1)"),
        ("я" * 98 + ".pdf", 10, "я" * 95 + " (10).pdf"),
    ],
)
def test_numbered(name: str, number: int, expected: str):
    """A copy number stands before the extension and the name stays short enough."""
    assert numbered(name, number) == expected


@given(NAMES)
def test_clean_is_harmless(name: str):
    """No name, however made, comes out empty, too long, decomposed or with a forbidden character."""
    clean = clean_name(name)
    assert clean
    assert len(clean.encode()) <= MAX_NAME_BYTES
    assert not FORBIDDEN & set(clean)
    assert clean == clean.strip(" .")
    assert unicodedata.is_normalized("NFC", clean)


@given(NAMES)
def test_clean_is_stable(name: str):
    """Cleaning twice is cleaning once."""
    assert clean_name(clean_name(name)) == clean_name(name)


@given(st.text("aя \U0001f600", min_size=1, max_size=300).filter(str.strip), st.sampled_from([".pdf", ".tar.gz", ".я"]))
def test_extension_is_kept(stem: str, extension: str):
    """However long the stem, the extension stays."""
    assert clean_name(f"x{stem}{extension}").endswith(extension)


@given(NAMES, st.integers(1, 10_000))
def test_numbered_differs(name: str, number: int):
    """A copy number makes another, equally harmless name with the same extension."""
    clean = clean_name(name)
    copy = numbered(clean, number)
    assert copy != clean
    assert len(copy.encode()) <= MAX_NAME_BYTES
    assert split_extension(copy)[1] == split_extension(clean)[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.PNG", "image/png"),
        ("a.md", "text/markdown"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.webp", "image/webp"),
        ("a", None),
        ("a.nobodyknows", None),
    ],
)
def test_mime_of(name: str, expected: str | None):
    """The extension tells the type, the same on every machine."""
    assert mime_of(name) == expected


@given(st.text(max_size=40))
def test_extension_of_anything(mime: str):
    """Whatever a messenger claims as a type, the extension is one or nothing."""
    assert extension_of(mime).count("/") == 0
