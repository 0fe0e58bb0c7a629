"""Keeps the catalogues of sentences in step with the code: extracts, updates and compiles them.

`python tools/words.py` (`make words`) writes them and names what is still to be translated; with
`--check` it writes nothing and exits 1 when it would have, or when a translation is missing or wrong.
"""

from __future__ import annotations

import io
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("ru", "zh")
KEYWORDS = {"_": None, "plural": (1, 2)}
"""`_("…")` and `_.plural("…", "…")`."""
HEADER = """\
msgid ""
msgstr ""
"Language: {language}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plural_forms}\\n"

"""
"""Nothing in it changes from one day to the next."""


@dataclass(frozen=True)
class Translation:
    """The catalogue of one package in one language."""

    package: Path
    language: str

    @property
    def po(self) -> Path:
        """What translators write."""
        return self.package / "locale" / self.language / "LC_MESSAGES" / f"{self.package.name}.po"

    @property
    def mo(self) -> Path:
        """What the program reads."""
        return self.po.with_suffix(".mo")

    @property
    def name(self) -> str:
        """For people."""
        return str(self.po.relative_to(ROOT))

    @cached_property
    def catalog(self) -> Catalog:
        """What was translated, as far as the code still says it, and what is not."""
        catalog = Catalog(locale=self.language)
        if self.po.exists():
            with self.po.open("rb") as file:
                catalog = read_po(file, locale=self.language, abort_invalid=True)
        catalog.update(extracted(self.package))
        return catalog

    @property
    def text(self) -> str:
        """The `.po` file as it should be."""
        out = io.BytesIO()
        write_po(out, self.catalog, width=100, omit_header=True, ignore_obsolete=True, include_lineno=False)
        return (
            HEADER.format(language=self.language, plural_forms=self.catalog.plural_forms)
            + out.getvalue().decode().strip()
            + "\n"
        )

    def is_compiled(self) -> bool:
        """The `.mo` file says what the `.po` file says."""
        if not self.mo.exists():
            return False
        with self.mo.open("rb") as file:
            return _said(read_mo(file)) == _said(self.catalog)

    def write(self) -> None:
        """Bring both files in step."""
        self.po.parent.mkdir(parents=True, exist_ok=True)
        if not self.po.exists() or self.po.read_text("utf8") != self.text:
            self.po.write_text(self.text, "utf8")
        if not self.is_compiled():
            with self.mo.open("wb") as file:
                write_mo(file, self.catalog)

    def stale(self) -> Iterator[str]:
        """What `write` would change."""
        if not self.po.exists() or self.po.read_text("utf8") != self.text:
            yield f"{self.name}: not in step with the code; run `make words`"
        elif not self.is_compiled():
            yield f"{self.name}: not compiled; run `make words`"

    def problems(self) -> Iterator[str]:
        """What a translator has to do."""
        for message in self.catalog:
            if not message.id:
                continue
            ids, strings = _both(message)
            if not all(strings):
                yield f"{self.name}: not translated: {ids[-1]}"
            elif message.fuzzy:
                yield f"{self.name}: a guess, check it and take `fuzzy` out: {ids[-1]}"
            elif wrong := [text for text in strings if names(text) != names(ids[-1])]:
                yield f"{self.name}: the names in braces differ: {wrong[0]}"


def packages() -> list[Path]:
    """Every package of this repository that says something to people."""
    found = [ROOT / "surfaces_core", *sorted(path.parent for path in ROOT.glob("plugins/*/surfaces_*/__init__.py"))]
    return [package for package in found if len(extracted(package)) > 0]


def translations() -> list[Translation]:
    """Every catalogue that there should be."""
    return [Translation(package, language) for package in packages() for language in LANGUAGES]


@cache
def extracted(package: Path) -> Catalog:
    """Every sentence that stands in the code of a package."""
    catalog = Catalog()
    found = extract_from_dir(
        package,
        [("**.py", "python")],
        keywords=KEYWORDS,
        comment_tags=("Translators:",),
        directory_filter=lambda folder: True,
    )
    for file, _, message, comments, _ in sorted(found, key=lambda item: item[:2]):
        catalog.add(message, locations=[(file, 0)], auto_comments=comments)
    return catalog


def names(text: str) -> set[str]:
    """The names in braces of a sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _both(message: Message) -> tuple[list[str], list[str]]:
    """A message's texts in English and in its language."""
    if isinstance(message.id, str):
        return [message.id], [str(message.string or "")]
    return list(message.id), [str(text or "") for text in message.string or ()]


def _said(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """What a catalogue says in its language, without what it does not know for sure."""
    known = [message for message in catalog if message.id and message.string and not message.fuzzy]
    return {_both(message)[0][0]: tuple(_both(message)[1]) for message in known if all(_both(message)[1])}


def main(arguments: list[str]) -> int:
    """Write the catalogues, or with `--check` say whether they are as they should be."""
    check = "--check" in arguments
    lines: list[str] = []
    for translation in translations():
        if check:
            lines += translation.stale()
        else:
            translation.write()
        lines += translation.problems()
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if check and lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
