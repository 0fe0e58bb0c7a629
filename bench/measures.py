"""What is measured of a running bot."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from bench.running import Run

ROOMS = 100
GIVE_UP_S = 6.0
"""No answer for so long: no more will come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trickle:
    """One message at a time."""

    round_trip_ms: float
    """Median."""
    round_trip_p95_ms: float
    cpu_ms: float
    """Per message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Many messages at one instant."""

    sent: int
    answered: int
    per_s: float
    cpu_ms: float
    """Per answer."""
    lost: int
    doubled: int
    disordered: int
    """Rooms whose answers are not in the order of their messages, or not answers to them."""


async def trickle(run: Run, count: int) -> Trickle:
    """Say something, wait for the answer, say the next thing."""
    for number in range(10):
        await _one(run, number)
    cpu, times = run.cpu_s(), [await _one(run, number) for number in range(count)]
    spent = run.cpu_s() - cpu
    return Trickle(
        round_trip_ms=statistics.median(times) * 1000,
        round_trip_p95_ms=statistics.quantiles(times, n=20)[-1] * 1000,
        cpu_ms=spent / count * 1000,
    )


async def _one(run: Run, number: int) -> float:
    room, wanted = run.rooms[number % len(run.rooms)], run.answered + 1
    begun = time.perf_counter()
    run.server.say_many([(run.people[room], room, f"message {number}")])
    await run.server.until(lambda: run.answered >= wanted, 30)
    return run.last_at - begun


async def burst(run: Run, per_room: int, label: str) -> Burst:
    """The same number of messages in each of many rooms, all at one instant."""
    rooms = run.rooms[:ROOMS]
    texts = [f"{label} {number}" for number in range(per_room)]
    before = {room: len(run.answers[room]) for room in rooms}
    cpu, answered, begun = run.cpu_s(), run.answered, time.perf_counter()
    run.server.say_many((run.people[room], room, text) for text in texts for room in rooms)
    await _settled(run, answered + len(rooms) * per_room)
    spent, came, took = run.cpu_s() - cpu, run.answered - answered, run.last_at - begun
    said = [run.answers[room][before[room] :] for room in rooms]
    return Burst(
        sent=len(rooms) * per_room,
        answered=came,
        per_s=came / took if came else 0.0,
        cpu_ms=spent / came * 1000 if came else 0.0,
        lost=sum(len(set(texts) - set(answers)) for answers in said),
        doubled=sum(len(answers) - len(set(answers)) for answers in said),
        disordered=sum(list(dict.fromkeys(answers)) != [text for text in texts if text in answers] for answers in said),
    )


async def _settled(run: Run, wanted: int) -> None:
    """Until everything is answered, or nothing comes any more."""
    while run.answered < wanted:
        before = run.answered
        try:
            await run.server.until(lambda: run.answered >= wanted, GIVE_UP_S)
        except TimeoutError:
            run.check()
            if run.answered == before:
                return


async def load(run: Run, waves: int) -> float:
    """Processor time per message in milliseconds, five messages in each of many rooms at a time."""
    await burst(run, 1, "warm")
    cpu, answered = run.cpu_s(), run.answered
    for wave in range(waves):
        await burst(run, 5, f"wave {wave}")
    return (run.cpu_s() - cpu) / (run.answered - answered) * 1000


async def intake(run: Run, per_room: int) -> float:
    """Events per second into the journal: stored when the bot uses the token behind them."""
    begun = time.monotonic()
    run.server.say_many((run.people[room], room, f"in {n}") for n in range(per_room) for room in run.rooms[:ROOMS])
    last = run.server.world.pos

    def stored() -> bool:
        return int((run.server.record.of("sync")[-1].since or "s0")[1:]) >= last

    await run.server.until(stored, 120)
    return ROOMS * per_room / (run.server.record.of("sync")[-1].at - begun)
