"""Which language each person is spoken to in: their own choice, else the operator's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from surfaces_core._engine.journal import Journal, key
from surfaces_core.events import Address, Binding, Inbound, Kind
from surfaces_core.i18n import LANGUAGES, language

NAMES = {"english": "en", "русский": "ru", "russian": "ru", "по-русски": "ru", "中文": "zh", "chinese": "zh"}
"""What people may also write for a language's code."""


def known(text: str) -> str | None:
    """The language that a person or an operator means: by its code, its locale (`ru_RU`) or its name."""
    named = NAMES.get(text.strip().lower())
    code = text.strip().lower().replace("_", "-").partition("-")[0]
    return named or (code if code in LANGUAGES else None)


class Languages:
    """The languages of all people, in memory and in the journal."""

    def __init__(self, journal: Journal, default: str) -> None:
        self._journal = journal
        self.default = default
        self._chosen: dict[tuple[str, str], str] = {}

    async def open(self) -> None:
        """Read what people chose."""
        for row, value in (await self._journal.scan("language")).items():
            _, surface, person = row.decode().split("\0")
            self._chosen[surface, person] = value.decode()

    def of(self, surface: str, person: str) -> str:
        """A person's language."""
        return self._chosen.get((surface, person), self.default)

    async def choose(self, surface: str, person: str, code: str) -> None:
        """A person wants to be spoken to so, from now on."""
        await self._journal.write({key("language", surface, person): code.encode()})
        self._chosen[surface, person] = code

    @contextmanager
    def speaking(self, surface: str, person: str) -> Iterator[None]:
        """Let all that is said inside be in a person's language."""
        before = language.set(self.of(surface, person))
        try:
            yield
        finally:
            language.reset(before)

    def speak_at(self, address: Address, binding: Binding | None) -> None:
        """Let all that is said from here on be in the language of a conversation's owner."""
        language.set(self.default if binding is None else self.of(address.surface, binding.owner))

    def speak_to(self, message: Inbound, binding: Binding | None) -> None:
        """The same, of whoever a message came from."""
        if message.kind is Kind.GAP:  # which is the messenger's word
            self.speak_at(message.address, binding)
        else:
            language.set(self.of(message.address.surface, message.sender))
