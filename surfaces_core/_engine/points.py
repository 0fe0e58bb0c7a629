"""Save points: what an agent wrote down of a context, kept by name for its person and that agent."""

from __future__ import annotations

from surfaces_core._engine import words
from surfaces_core._engine.journal import Changes, Journal, Rows, key
from surfaces_core.contracts import SavePoint
from surfaces_core.errors import CommandError
from surfaces_core.events import Binding

MOST = 50
"""Save points of one person with one agent."""
LONGEST_CHARS = 32_768
"""More of a summary is cut off."""
POINTS = Rows(SavePoint)


class Points:
    """All save points, in the journal alone."""

    def __init__(self, journal: Journal, save_prompt: str, load_prompt: str) -> None:
        self._journal = journal
        self.save_prompt = save_prompt
        self._load_prompt = load_prompt

    async def all(self, binding: Binding) -> list[SavePoint]:
        """Those of a conversation's owner with its agent, oldest first."""
        rows = await self._journal.scan("point", *_whose(binding))
        return sorted((POINTS.load(value) for value in rows.values()), key=lambda point: point.saved_at)

    async def check(self, binding: Binding, name: str) -> None:
        """Raises `CommandError` where there is no room for another."""
        names = {point.name.casefold() for point in await self.all(binding)}
        if len(names) >= MOST and name.casefold() not in names:
            raise CommandError(words.TOO_MANY_POINTS(most=MOST))

    def made(self, binding: Binding, name: str, summary: str, now: float) -> tuple[SavePoint, Changes]:
        """A new one, which takes the place of one of its name, and the row to store."""
        if not summary:
            raise CommandError(words.NOTHING_SAVED())
        point = SavePoint(name=name, saved_at=round(now, 3), summary=summary[:LONGEST_CHARS])
        return point, {key("point", *_whose(binding), name.casefold()): POINTS.dump(point)}

    def loading(self, point: SavePoint) -> str:
        """The prompt that gives one to the agent."""
        return f"{self._load_prompt}\n\n{point.summary}"


def _whose(binding: Binding) -> tuple[str, str, str]:
    return binding.address.surface, binding.owner, binding.agent
