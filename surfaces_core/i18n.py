"""Sentences in the language of whoever reads them: GNU gettext catalogues, one for each distribution.

A plugin's `words.py` begins with `_ = Catalogue("surfaces_example")` and holds its sentences as
`HELLO = _("Hello {name}.")`; `words.HELLO(name=…)` is that sentence in the `language` of the running
turn. Translations are `locale/<language>/LC_MESSAGES/<package>.mo` beside the package's code; what
is not translated is said in English. `make words` keeps the catalogues in step with the code.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

LANGUAGES = {"en": "English", "ru": "Русский", "zh": "中文"}
"""The languages that the host speaks, each by its own name."""
language: ContextVar[str] = ContextVar("language", default="en")
"""Of whom the running turn is for; the host sets it."""


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Let sentences be in a language while the block lasts: for what is said outside of a turn."""
    before = language.set(code)
    try:
        yield
    finally:
        language.reset(before)


@cache
def _translations(package: str, code: str) -> gettext.NullTranslations:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    if code == "en" or not folders:  # a plugin of one module has no place for catalogues
        return gettext.NullTranslations()
    return gettext.translation(package, Path(next(iter(folders))) / "locale", [code], fallback=True)


def translated(module: str, text: str) -> str:
    """An English sentence of the package that a module belongs to, in the language of the running turn."""
    return _translations(module.partition(".")[0], language.get()).gettext(text) if text else ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence with `{names}` in it; call it with their values."""

    package: str
    text: str
    """In English."""

    def __call__(self, **values: object) -> str:
        """The sentence in the language of the running turn."""
        return _translations(self.package, language.get()).gettext(self.text).format(**values)

    def __str__(self) -> str:
        """One without names, wherever text is put together for a person: translated when it is shown."""
        return self()


@dataclass(frozen=True, slots=True)
class Plural:
    """A sentence that depends on a `{count}`."""

    package: str
    one: str
    many: str
    """In English."""

    def __call__(self, count: int, **values: object) -> str:
        """The sentence for a count in the language of the running turn."""
        text = _translations(self.package, language.get()).ngettext(self.one, self.many, count)
        return text.format(count=count, **values)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The sentences of one package; call it with each."""

    package: str

    def __call__(self, text: str) -> Sentence:
        """A sentence, as English has it; braces that stand for themselves are doubled."""
        return Sentence(self.package, text)

    def plural(self, one: str, many: str) -> Plural:
        """A sentence that depends on a count."""
        return Plural(self.package, one, many)
