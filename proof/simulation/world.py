"""A simulated world from its beginning to its end: people talk, the host dies again and again, all comes to rest."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from proof.simulation.lives import KEPT_S, STOPPED_AFTER_S, Lives, Policy
from proof.simulation.people import Habits, People
from proof.simulation.result import Result
from proof.simulation.stage import FLAKY, MOST_JUMP_S, REPEATABLE, Stage, agent_of, alpha_people, beta_people
from proof.simulation.story import Chat, Said
from proof.simulation.trace import HOST
from proof.simulation.weather import CALM, ROUGH, Weather
from surfaces_core._host.lifecycle import PRUNE_EVERY_S

POLICIES: tuple[Policy, ...] = ("auto", "auto", "auto", "retry", "notify")
"""Of the worlds, by their seeds."""
REMEMBERED = 2000
"""Events that the host remembers whatever the clock says: fewer than elsewhere, so that it forgets in time."""
LONG_LIFE = 0.2
"""In the last life before calm comes this share of everything is said: what hangs, hangs for good."""
OVER_AFTER_S = 4 * 3600.0
"""In calm weather everything is answered by then."""


class World:
    """Everything that there is in one simulation."""

    def __init__(
        self,
        seed: int,
        turns: int,
        *,
        weather: Weather = ROUGH,
        habits: Habits | None = None,
        away: Sequence[str] = (),
        copy: TextIO | None = None,
    ) -> None:
        self.stage = Stage(seed, weather, away, copy)
        self.people: People
        self._policy = POLICIES[seed % len(POLICIES)]
        self._lives = Lives(self.stage, self._policy)
        self._judge = self.stage.judge
        self._turns = turns
        self._habits = habits or Habits()
        self._objects: list[int] = []

    async def main(self) -> None:
        """Live through all of it."""
        self.stage.begin()
        async with asyncio.TaskGroup() as group:
            self._gather(group)
            storm = group.create_task(self.stage.storm()) if self.stage.weather is not CALM else None
            living = group.create_task(self._lives.run())
            await self._until(lambda: self.people.left <= LONG_LIFE * self._turns)
            self._count_objects()
            self._lives.spared = True
            self.stage.spare()
            await self._until(lambda: self.people.left <= 0)
            if storm is not None:
                storm.cancel()
            if not self._judge.failures:
                await self._end()
            self._lives.kill("the world ends")
            living.cancel()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:  # only people are left, and they wait
                task.cancel()
        self._count_objects()

    def _gather(self, group: asyncio.TaskGroup) -> None:
        """Everybody comes."""
        self.people = People(
            seed=self.stage.seed,
            judge=self._judge,
            trace=self.stage.trace,
            now=self.stage.time,
            clock=self.stage.clock,
            messengers=self.stage.messengers,
            habits=self._habits,
            left=self._turns,
            group=group,
            chat=self._chat,
        )
        self._judge.on_question = self.people.answer
        self._judge.on_over = self._over
        self._judge.records.on_used = self._used
        self.stage.messengers["alpha"].on_room = self.people.roomed
        for person in alpha_people():
            self.people.meet("alpha", f"door-{person[1:]}", person, entry=True)
        for person in beta_people():
            self.people.meet("beta", person[1:], person)

    def _chat(self, surface: str, name: str, person: str, entry: bool) -> Chat:
        """A conversation, and what may happen in it."""
        agent = agent_of(person)
        repeatable, streams = agent in REPEATABLE, surface == "alpha"
        return Chat(
            name=name,
            surface=surface,
            person=person,
            agent=agent,
            once=self._policy != "retry" and not repeatable,
            interruptible=self._policy == "notify" or (self._policy == "auto" and (streams or not repeatable)),
            steady=agent not in FLAKY,
            entry=entry,
        )

    # What is over

    def _over(self, said: Said) -> None:
        """Nobody needs to remember it, and nothing of it is there twice."""
        self.stage.messengers[said.chat.surface].over(said)
        workspace, files = f"/{said.chat.agent}", self.stage.files
        folder = files.contents[workspace]
        for index, name in enumerate(said.files):
            files._uploads.pop((workspace, f"{said.turn}.{index}"), None)
            if f"{name.removesuffix('.txt')} (1).txt" in folder:
                self._judge.fail("doubled", said.chat.name, f"#{said.number}: {name} is in the workspace twice")
        for name in said.gone:  # a crash came between storing it and noting that, and then it was gone elsewhere
            folder.pop(name, None)
        if said.plan is not None:
            folder.pop(said.plan.file_name, None)

    def _used(self, chat: Chat, files: Sequence[str]) -> None:
        """The agent throws away what it was given."""
        for name in files:
            self.stage.files.contents[f"/{chat.agent}"].pop(name, None)

    # The end

    async def _until(self, condition: Callable[[], bool], longest_s: float = float("inf")) -> bool:
        """Wait until something is so, or something has failed."""
        end = self.stage.time() + longest_s
        while not condition() and not self._judge.failures and self.stage.time() < end:
            await asyncio.sleep(1.0)
            self._judge.sweep()
        return condition()

    async def _end(self) -> None:
        """The weather is calm, everybody has a last question, and everything comes to its end."""
        self.stage.clear_up()
        self._lives.closing = True
        self._lives.kill("the storm is over")
        await self._until(lambda: not self._judge.open, OVER_AFTER_S)
        self.people.finish()
        if not await self._until(lambda: not self._judge.open, OVER_AFTER_S) and not self._judge.failures:
            self._judge.lost()
        await asyncio.sleep(KEPT_S + PRUNE_EVERY_S + MOST_JUMP_S)
        self._lives.stop()
        await self._until(lambda: self._lives.life is None, STOPPED_AFTER_S)
        if not self._judge.failures:
            self._check_rest()

    def left_rows(self) -> int:
        """Rows that should not be there when everything is over."""
        disk = self.stage.disk
        done = disk.count(b"in", b"out", b"dead", b"opening", b"staged", b"ask")
        return max(0, disk.count(b"seen") - REMEMBERED) + done

    def _check_rest(self) -> None:
        """Nothing is left over."""
        if self.left_rows():
            kinds = Counter(row.partition(b"\0")[0].decode() for row in self.stage.disk.rows)
            self._judge.fail("grown", HOST, f"rows are left: {dict(kinds)}")
        for messenger in self.stage.messengers.values():
            for chat in messenger.chats.values():
                if any(certain for _, certain in chat.files.values()):
                    self._judge.fail("lost", chat.name, f"files never came to the agent: {chat.files}")
        files = [name for folder in self.stage.files.contents.values() for name in folder]
        if files:
            self._judge.fail("grown", HOST, f"files are left that nobody needs: {files[:5]}")
        self._check_rooms()

    def _check_rooms(self) -> None:
        """Every conversation that somebody asked for is there once."""
        rooms = self.stage.messengers["alpha"].rooms.values()
        counts = Counter(binding.owner for binding in rooms)
        for person, count in counts.items():
            made, unsure = self._judge.records.made[person], self._judge.records.unsure[person]
            if not made <= count <= made + unsure:
                self._judge.fail("doubled", person, f"{count} rooms, of which they know {made} ({unsure} uncertain)")
        if len({(binding.owner, binding.number) for binding in rooms}) != len(rooms):
            self._judge.fail("doubled", HOST, "two conversations of one person have the same number")

    def _count_objects(self) -> None:
        gc.collect()
        self._objects.append(len(gc.get_objects()))

    def result(self, real_s: float, cpu_s: float) -> Result:
        """What came of it."""
        stage, judge = self.stage, self._judge
        shares = {"median": 0.5, "p95": 0.95, "longest": 1.0}
        return Result(
            seed=stage.seed,
            turns=self.people.said,
            digest=stage.trace.digest(),
            lines=stage.trace.lines,
            virtual_s=round(stage.time(), 3),
            real_s=round(real_s, 3),
            cpu_s=round(cpu_s, 3),
            lives=self._lives.count,
            deaths=dict(sorted(self._lives.deaths.items())),
            endings=dict(sorted(judge.endings.items())),
            commits=stage.disk.commits,
            most_rows=stage.disk.most_rows,
            left_rows=self.left_rows(),
            objects=(self._objects[0], self._objects[-1]),
            latency_s={name: quantile(judge.latencies, share) for name, share in shares.items()},
            failures=tuple(judge.failures),
        )


def quantile(counts: Mapping[float, int], share: float) -> float:
    """The value at or below which a share of what was counted lies."""
    left = share * sum(counts.values())
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return value
    return 0.0
