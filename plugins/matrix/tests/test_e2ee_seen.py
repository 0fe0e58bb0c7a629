"""To which event an index belongs: for ever, in whatever order they come, and in little room."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.seen import BLOCK, Seen

from .conftest import MemoryStore, patient

ROOM, SESSION = "!room:hs", "S" * 43
INDEXES = st.integers(0, 3 * BLOCK) | st.sampled_from([BLOCK - 1, BLOCK, 2**32 - 1])
EVENTS = st.integers(0, 3).map("$event{}".format)


class SlowStore(MemoryStore):
    """Others get a turn before a row is read."""

    async def get(self, key: str) -> bytes | None:
        found = self.rows.get(key)
        await asyncio.sleep(0)
        return found


@patient
@given(st.lists(st.tuples(INDEXES, EVENTS, st.booleans())))
async def test_an_index_belongs_to_whoever_had_it_first(heard: list[tuple[int, str, bool]]):
    """A repeat is known, anything else is refused; a restart forgets nothing that was flushed."""
    store, key = MemoryStore(), b"k" * 32
    keep = Keep(store)
    seen, first = Seen(keep, key), dict[int, str]()
    for index, event_id, restart in heard:
        fits = await seen.notice(ROOM, SESSION, index, event_id)
        assert fits == (first.setdefault(index, event_id) == event_id)
        if restart:
            await keep.flush()
            seen = Seen(Keep(store), key)
            keep = seen._keep


async def test_two_at_once_forget_neither():
    """Quotations are fetched beside the sync."""
    seen = Seen(Keep(SlowStore()), b"k" * 32)
    async with asyncio.TaskGroup() as group:
        for index in range(20):
            group.create_task(seen.notice(ROOM, SESSION, index, f"${index}"))
    assert not any([await seen.notice(ROOM, SESSION, index, "$copy") for index in range(20)])


async def test_a_session_takes_little_room():
    """A row for each that clients make, nine bytes for each event."""
    store = MemoryStore()
    keep = Keep(store)
    seen = Seen(keep, b"k" * 32)
    for index in range(100):
        await seen.notice(ROOM, SESSION, index, f"${index}")
    await keep.flush()
    (row,) = store.rows.values()
    assert len(row) == 900
