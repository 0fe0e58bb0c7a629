"""Remembers to which event each index of a Megolm session belongs, so that nobody can repeat one as another.

A row holds the indexes of one block of a session: for each its place there and a keyed hash of the event's id, in
the order they came. Whoever chooses ids cannot find another one with the same hash without the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from hashlib import blake2b

from surfaces_matrix.e2ee.keep import Keep

BLOCK = 128
"""Indexes in a row: clients begin a new session after a hundred messages."""
_HASH = 8
_ENTRY = 1 + _HASH


class Seen:
    """What was seen of one account's rooms. What changes is kept with the next flush."""

    def __init__(self, keep: Keep, key: bytes) -> None:
        self._keep = keep
        self._key = key
        self._one = asyncio.Lock()

    async def notice(self, room_id: str, session_id: str, index: int, event_id: str) -> bool:
        """Note for ever that an index belongs to an event; False where it belongs to another one."""
        block, place = divmod(index, BLOCK)
        row = f"seen/{room_id}/{session_id}/{block}"
        digest = blake2b(event_id.encode(), digest_size=_HASH, key=self._key).digest()
        async with self._one:
            entries = await self._keep.get(row) or b""
            known = next((hash_ for at, hash_ in _read(entries) if at == place), None)
            if known is None:
                self._keep.set(row, entries + bytes([place]) + digest)
        return known in (None, digest)


def _read(entries: bytes) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(entries), _ENTRY):
        yield entries[start], entries[start + 1 : start + _ENTRY]
