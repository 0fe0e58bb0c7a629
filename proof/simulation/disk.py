"""The disk of a simulated world: storages that die or fail at any commit, and what the rows say to the judge."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType

from proof.simulation.judge import Judge
from proof.simulation.life import Life
from proof.simulation.trace import HOST, Trace
from proof.simulation.weather import Weather
from surfaces_core.contracts import Tx
from surfaces_core.errors import StateError
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage, MemoryTx

Changes = Mapping[bytes, bytes | None]
SLOWEST_S = 3.0


class Disk:
    """What outlives the host, and what of it concerns each turn."""

    def __init__(self, judge: Judge) -> None:
        self.memory = MemoryDisk()
        self.commits = 0
        self.most_rows = 0
        self._judge = judge
        self._turns: dict[bytes, str] = {}
        """The turn of each row of the inbox and the outbox."""
        self._rows: Counter[str] = Counter()
        """How many of them each turn has."""
        self._entries: set[bytes] = set()
        """The rows of the inbox."""
        self._asking: dict[bytes, tuple[str, bool]] = {}
        """The turn of each question's row, and whether it is put aside with it."""
        self._kinds: defaultdict[bytes, dict[bytes, bytes]] = defaultdict(dict)
        """The rows by the first part of their key."""

    @property
    def rows(self) -> dict[bytes, bytes]:
        """Everything that is stored."""
        return self.memory.rows

    def count(self, *kinds: bytes) -> int:
        """How many rows there are of some kinds."""
        return sum(len(self._kinds[kind + b"\0"]) for kind in kinds)

    def below(self, prefix: bytes) -> dict[bytes, bytes]:
        """The rows whose keys begin so."""
        kind = _kind(prefix)
        rows = self._kinds[kind] if kind else self.rows
        return rows if kind == prefix else {row: value for row, value in rows.items() if row.startswith(prefix)}

    def store(self, changes: Changes) -> None:
        """Make changes durable."""
        self.commits += 1
        touched: dict[str, None] = {}
        done = next((self._turns[row] for row in changes if changes[row] is None and row in self._entries), "")
        for row, value in changes.items():
            kind = _kind(row)
            if value is None:
                self.rows.pop(row, None)
                self._kinds[kind].pop(row, None)
            else:
                self.rows[row] = self._kinds[kind][row] = value
            if row.startswith((b"in\0", b"out\0")):
                self._note(row, value, touched)
            elif row.startswith(b"ask\0"):
                self._ask(row, value, done, touched)
            elif value is not None and row.startswith(b"dead\0"):
                self._bury(value)
        self.most_rows = max(self.most_rows, len(self.rows))
        for turn in touched:
            if self._rows[turn]:
                self._judge.busy(turn)
            else:
                self._rows.pop(turn, None)
                self._judge.settled(turn)

    def _note(self, row: bytes, value: bytes | None, touched: dict[str, None]) -> None:
        """Count the rows of each turn."""
        turn = self._turns.get(row)
        if value is None:
            if turn is not None:
                del self._turns[row]
                self._entries.discard(row)
                self._rows[turn] -= 1
                touched[turn] = None
        elif turn is None:
            turn = self._turns[row] = _turn(value)
            self._rows[turn] += 1
            touched[turn] = None
            if row.startswith(b"in\0"):
                self._entries.add(row)
                entry = json.loads(value)
                self._judge.stored(turn, overflow=bool(entry.get("declined")), request=entry.get("request", ""))

    def _ask(self, row: bytes, value: bytes | None, done: str, touched: dict[str, None]) -> None:
        """A question is open, answered or closed, together with the end of what did that, if anything did."""
        turn, was_parked = self._asking.pop(row, ("", False))
        ask = None if value is None else json.loads(value)
        asker, parked = ("", False) if ask is None else (ask["turn"], "parked" in ask)
        if ask is not None:
            self._asking[row] = asker, parked
            self._judge.asking(row, asker, ask.get("answer", ""), done)
        if turn not in ("", asker):
            self._judge.asks_no_more(row, turn)
        if parked and not was_parked:
            self._judge.parked(asker)
        elif was_parked and not parked:
            self._judge.unparked(turn, done)
            touched[turn] = None

    def _bury(self, value: bytes) -> None:
        letter = json.loads(value)
        if letter.get("entry"):
            self._judge.buried(letter["entry"]["turn"], letter["reason"])

    def entries(self, mark: bytes) -> list[str]:
        """The turns of the inbox whose rows say something."""
        return [self._turns[row] for row, value in self._kinds[b"in\0"].items() if mark in value]


def _kind(row: bytes) -> bytes:
    """What a key begins with, to the first NUL; nothing where it has none."""
    return row[: row.find(b"\0") + 1]


def _about(changes: Changes) -> str:
    """What a transaction is about: the cursor, else the outbox, else the inbox, else something."""
    kinds = {_kind(row) for row in changes}
    return next((name for name in ("cursor", "out", "in") if name.encode() + b"\0" in kinds), "something")


def _turn(value: bytes) -> str:
    """The first turn that a row names is its own."""
    _, _, rest = value.partition(b'"turn":"')
    return rest[: rest.index(b'"')].decode()


class SimulatedTx(MemoryTx):
    """A transaction that does not look at every row to find some."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.rows)
        self._disk = disk

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        await self._wait()
        return [self.changes[key] if key in self.changes else self._disk.rows.get(key) for key in keys]

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        await self._wait()
        changed = {row: value for row, value in self.changes.items() if row.startswith(prefix)}
        for row, value in sorted({**self._disk.below(prefix), **changed}.items()):
            if value is not None:
                yield row, value


class Transaction:
    """The block of a transaction; one at a time."""

    __slots__ = ("_make_durable", "_turn", "_tx")

    def __init__(self, turn: asyncio.Lock, tx: SimulatedTx, make_durable: Callable[[Changes], Awaitable[None]]) -> None:
        self._turn = turn
        self._tx = tx
        self._make_durable = make_durable

    async def __aenter__(self) -> Tx:
        await self._turn.acquire()
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tx.over = True
        try:
            if kind is None and self._tx.changes:
                await self._make_durable(self._tx.changes)
        finally:
            self._turn.release()
        if kind is None:
            await asyncio.sleep(0)


class SimulatedStorage(MemoryStorage):
    """One life's way to the disk."""

    def __init__(
        self, disk: Disk, life: Life, weather: Callable[[], Weather], chance: random.Random, trace: Trace
    ) -> None:
        super().__init__(disk=disk.memory)
        self._kept = disk
        self._life = life
        self._weather = weather
        self._chance = chance
        self._trace = trace
        self._broken = False

    def transaction(self) -> Transaction:  # type: ignore[override]  # as the contract has it; cheaper than the parent's
        self._life.step("transaction")
        return Transaction(self._turn, SimulatedTx(self._kept), self._make_durable)

    async def _make_durable(self, changes: Changes) -> None:
        weather, chance = self._weather(), self._chance
        if chance.random() < weather.commit_slow:
            await self._slowly(changes)
        what = _about(changes)
        self._life.step(f"commit {what}")
        if self._broken or chance.random() < weather.commit_fails:
            self._fail(changes)
        self._kept.store(changes)
        self._life.step(f"committed {what}")

    async def _slowly(self, changes: Changes) -> None:
        """A disk that takes its time; who stops waiting does not know what became of it."""
        try:
            await asyncio.sleep(self._chance.uniform(0.01, SLOWEST_S))
        except asyncio.CancelledError:
            if not self._life.dead and self._chance.random() < 0.5:
                self._kept.store(changes)
            raise

    def _fail(self, changes: Changes) -> None:
        """The disk is full, perhaps for good; what was to be stored may be there all the same."""
        if not self._life.failed:
            self._trace.line(HOST, "the disk fails")
        self._life.failed = True
        if not self._broken and self._chance.random() < 0.5:
            self._kept.store(changes)
        self._broken = self._broken or self._chance.random() < 0.5
        raise StateError("the disk is full")
