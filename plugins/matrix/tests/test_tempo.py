"""All drafts of an account share one tempo, which a homeserver that limits them slows."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Address, Unavailable
from surfaces_core.testing import virtual_time
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.lookup import Looked
from surfaces_matrix.tempo import LONGEST_PAUSE_S, SLOWEST, Tempo

from .conftest import Bot, Stage, draft, outbound


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(tempo: Tempo, tries: int = 50) -> int:
    """How many drafts may go at once."""
    for n in range(tries):
        try:
            tempo.take()
        except Unavailable:
            return n
    return tries


@given(
    st.sampled_from([0.1, 1.0, 7.5]),
    st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0, 60.0, "ok", "no", "told"]), max_size=60),
)
def test_never_more_than_the_tempo(per_s: float, story: list[float | str]):
    """Whatever happens, no more go than a full bucket and what flows in; and the wait that is named is enough."""
    clock = Clock()
    tempo, went = Tempo(per_s, clock), 0
    for event in story:
        if isinstance(event, float):
            clock.now += event
        elif event == "ok":
            tempo.succeeded()
        else:
            tempo.failed(Unavailable("busy", retry_after=None if event == "no" else 5.0))
        went += taken(tempo)
    assert went <= max(1.0, per_s) + (clock.now - 100.0) * per_s + 0.001
    taken(tempo)
    with pytest.raises(Unavailable) as caught:
        tempo.take()
    assert caught.value.retry_after is not None
    clock.now += caught.value.retry_after + 0.001
    assert taken(tempo) >= 1


def test_a_homeserver_that_complains_is_shown_less_for_a_while():
    """The tempo falls with each complaint, to a limit, and comes back with success."""
    clock = Clock()
    tempo = Tempo(1.0, clock)

    def in_a_minute() -> int:
        taken(tempo)
        clock.now += LONGEST_PAUSE_S
        gone = 0
        for _ in range(600):
            clock.now += 0.1
            gone += taken(tempo)
        return gone

    usual = in_a_minute()
    for _ in range(20):
        tempo.failed(Unavailable("busy", retry_after=1e9))
    slow = in_a_minute()
    for _ in range(50):
        tempo.succeeded()
    assert usual // SLOWEST - 1 <= slow < usual / 8
    assert in_a_minute() >= 0.9 * usual


async def test_drafts_of_all_rooms_share_it(stage: Stage, bot: Bot):
    """One that is too much is not sent, the host is told when to come again, and answers never wait."""
    rooms = [Address(surface="work", conversation=f"!{n}:hs") for n in range(5)]
    async with bot.live(stream_edits_per_s=0.001) as surface:
        await surface.show(draft("one", address=rooms[0]))
        for part, room in enumerate(rooms[1:], 1):
            with pytest.raises(Unavailable) as caught:
                await surface.show(draft("one", part=part, address=room))
        assert caught.value.retry_after is not None
        for part, room in enumerate(rooms):
            await surface.send(outbound("one two", part=part, streamed=True, address=room))
    assert stage.count("/send/") == 1 + 1 + 4 * 2


async def test_a_limit_slows_all_rooms(stage: Stage, bot: Bot):
    """What one room was told holds for the account."""
    await stage.then("/send/", (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 60_000}))
    async with bot.live() as surface:
        for part in range(2):
            with pytest.raises(Unavailable) as caught:
                await surface.show(draft("one", part=part))
            assert 50 < (caught.value.retry_after or 0) <= 60
    assert stage.count("/send/") == 1
    assert stage.count("/typing/") == 1


class Far:
    """A homeserver that takes everything at once; what was said first in each room, and how often, by the clock."""

    user_id = "@bot:hs"

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.said = 0

    async def call(self, *request: Any, **more: Any) -> dict[str, Any]:
        """Typing."""
        return {}

    async def look(self, *key: Any, **more: Any) -> Looked:
        """Nothing is there."""
        return Looked(session="")

    async def say(self, room: str, *content: Any, **more: Any) -> str:
        """Shown."""
        self.first.setdefault(room, asyncio.get_running_loop().time())
        self.said += 1
        return "$event"


async def stream(drafts: Drafts, room: str, seconds: float) -> None:
    """An answer that grows all the time, shown as the host does: each second, and after a refusal when it was told."""
    async with asyncio.timeout(seconds):
        for version in range(1, 10_000):
            try:
                address = Address(surface="work", conversation=room)
                await drafts.show(replace(draft(f"{version} words", version=version, address=address), key=room))
            except Unavailable as error:
                await asyncio.sleep(max(error.retry_after or 0.0, 2.0))
            else:
                await asyncio.sleep(1.0)


def test_who_sees_nothing_yet_comes_before_who_sees_an_answer_grow():
    """Sixty answers grow at once, as far as ten edits a second go; twenty that begin then are seen within seconds."""

    async def main() -> tuple[Far, list[float]]:
        far = Far()
        tempo = Tempo(10.0, asyncio.get_running_loop().time)
        drafts = Drafts(far, far.say, far.look, tempo, timeout_s=10)  # type: ignore[arg-type]

        async def begin(room: str, at: float) -> None:
            await asyncio.sleep(at)
            try:
                await stream(drafts, room, 90.0 - at)
            except TimeoutError:
                return

        async with asyncio.TaskGroup() as group:
            for n in range(60):
                group.create_task(begin(f"!early{n}", n / 60))
            for n in range(20):
                group.create_task(begin(f"!late{n}", 60.0))
        return far, [far.first.get(f"!late{n}", math.inf) - 60.0 for n in range(20)]

    far, waits = virtual_time.run(main())
    assert max(waits) < 8.0
    assert far.said > 0.9 * 90 * 10
