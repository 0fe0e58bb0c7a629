"""Commands that keep what the agent remembers of a conversation: `!save` and `!load`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from surfaces_commands_context import words
from surfaces_commands_context.chats import clean_name
from surfaces_core import CommandCall, CommandError, Question, SavePoint


def _called(points: Sequence[SavePoint], name: str) -> SavePoint | None:
    return next((point for point in points if point.name.casefold() == name.casefold()), None)


def _dated(call: CommandCall, points: Sequence[SavePoint]) -> str:
    """A free name made of the time at which the command was written."""
    name = datetime.fromtimestamp(call.message.sent_at, UTC).strftime("%Y-%m-%d %H:%M")
    numbers = range(2, len(points) + 2)
    return next(free for free in (name, *(f"{name} ({n})" for n in numbers)) if _called(points, free) is None)


async def save(call: CommandCall) -> str:
    """Have the agent write down this context."""
    points = await call.desk.save_points()
    name = clean_name(call.rest) or _dated(call, points)
    if name.isdecimal():  # `!load 2` means a number
        raise CommandError(words.HOW_TO_SAVE(prefix=call.prefix))
    taken = _called(points, name)
    if taken is not None:
        return await call.desk.ask(Question(text=words.replace(taken), data=taken.name))
    return await _save(call, name)


async def replaced(call: CommandCall, question: Question) -> str:
    """Go on with a name that is taken."""
    return await _save(call, question.data) if call.rest == "yes" else words.kept(question.data)


async def _save(call: CommandCall, name: str) -> str:
    return words.saved(await call.desk.save_point(name), call.prefix)


async def load(call: CommandCall) -> str:
    """Give a save point to the agent, or list what there is."""
    points = await call.desk.save_points()
    if not points:
        return words.NO_POINTS(prefix=call.prefix)
    chosen = call.rest.strip()
    if not chosen:
        numbers = tuple(str(number) for number in range(1, len(points) + 1))
        names = "\n".join(point.name for point in points)
        return await call.desk.ask(Question(text=words.points(points), accepts=numbers, data=names))
    point = _called(points, chosen)
    if point is None and chosen.isdecimal() and 0 < int(chosen) <= len(points):
        point = points[int(chosen) - 1]
    return await _load(call, point)


async def numbered(call: CommandCall, question: Question) -> str:
    """Go on with the number that was chosen, of the list as it was shown."""
    name = question.data.split("\n")[int(call.rest) - 1]
    return await _load(call, _called(await call.desk.save_points(), name))


async def _load(call: CommandCall, point: SavePoint | None) -> str:
    if point is None:
        raise CommandError(words.NO_SUCH_POINT(prefix=call.prefix))
    return words.loaded(point, await call.desk.load_point(point))
