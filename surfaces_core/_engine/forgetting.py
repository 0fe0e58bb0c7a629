"""Forgetting which events came, once no messenger repeats them: in slices, so that nobody waits long for that."""

from __future__ import annotations

from surfaces_core._engine.journal import Journal, apply, prefix

SEEN_LEAST = 10_000
"""So many events are remembered whatever the clock says: it may have jumped a year ahead."""
FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
"""What the names of turns begin with, each as often as the others."""


async def prune(journal: Journal, keep_s: float) -> int:
    """Forget events that came more than `keep_s` seconds ago, but never the last ones; how many."""
    limit = int(journal.now() - keep_s)
    slices = [slice_ for row in await journal.scan("cursor") for slice_ in _slices(row)]
    stamps: list[int] = []
    for slice_ in slices:
        stamps += (await _stamps(journal, slice_)).values()
    spare = len(stamps) - SEEN_LEAST
    if spare <= 0:
        return 0
    last = min(limit - 1, sorted(stamps)[spare - 1])
    gone = 0
    for slice_ in slices:
        gone += await _forget(journal, slice_, last, spare - gone)
    return gone


def _slices(cursor: bytes) -> list[bytes]:
    """The keys of one surface's events, by their first letter."""
    surface = cursor.decode().split("\0")[1]
    return [prefix("seen", surface) + letter.encode() for letter in FIRST_LETTERS]


async def _stamps(journal: Journal, slice_: bytes) -> dict[bytes, int]:
    async with journal.storage.transaction() as tx:
        return {row: int(value) async for row, value in tx.scan(slice_)}


async def _forget(journal: Journal, slice_: bytes, last: int, most: int) -> int:
    """Forget the events of a slice up to those that came at `last`, and not more than `most`."""
    old = [row for row, stamp in (await _stamps(journal, slice_)).items() if stamp <= last][:most]
    for start in range(0, len(old), 1000):
        async with journal.changing() as tx:
            await apply(tx, dict.fromkeys(old[start : start + 1000]))
    return len(old)
