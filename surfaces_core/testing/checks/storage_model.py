"""Owns the model check of storages: Hypothesis compares random histories with a dict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from surfaces_core.contracts import Storage, Tx
from surfaces_core.testing.checks.storage_steps import StorageFactory, Undo, undo

Act = Literal["put", "delete", "get", "scan"]
Rows = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Step:
    """One call inside a transaction."""

    act: Act
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Round:
    """One transaction, how it ends, and whether the storage is opened anew behind it."""

    steps: list[Step]
    undone: bool
    reopened: bool


# Few keys, so that histories meet themselves; each other's prefixes, and at the edges of the order.
_KEYS = st.sampled_from([b"\x00", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"])
_STEPS = st.builds(Step, st.sampled_from(["put", "put", "delete", "get", "scan"]), _KEYS, st.binary(max_size=3))
_ROUNDS = st.builds(Round, st.lists(_STEPS, max_size=8), st.booleans(), st.booleans())


def run_model(factory: StorageFactory) -> None:
    """Raises AssertionError with the shortest history that tells the storage from a dict."""

    @settings(
        max_examples=40,
        phases=[Phase.generate, Phase.shrink],  # explaining traces every line, which takes many seconds
        derandomize=True,  # the same verdict every time
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(_ROUNDS, max_size=6))
    def compare(rounds: list[Round]) -> None:
        asyncio.run(_compare(factory, rounds))

    compare()


async def _compare(factory: StorageFactory, rounds: list[Round]) -> None:
    model: Rows = {}
    await _empty(factory)
    todo = list(rounds)
    while todo:
        async with factory() as storage:
            await _play_until_reopening(storage, todo, model)
    async with factory() as storage, storage.transaction() as tx:
        await _same(tx, b"", model)


async def _play_until_reopening(storage: Storage, todo: list[Round], model: Rows) -> None:
    while todo:
        now = todo.pop(0)
        draft = dict(model)
        try:
            async with storage.transaction() as tx:
                for step in now.steps:
                    await _play(tx, step, draft)
                if now.undone:
                    undo()
        except Undo:
            draft = dict(model)
        model.clear()
        model.update(draft)
        if now.reopened:
            return


async def _play(tx: Tx, step: Step, model: Rows) -> None:
    if step.act == "put":
        await tx.put(step.key, step.value)
        model[step.key] = step.value
    elif step.act == "delete":
        await tx.delete(step.key)
        model.pop(step.key, None)
    elif step.act == "get":
        got = await tx.get(step.key)
        if got != model.get(step.key):
            raise AssertionError(f"get of {step.key!r} gave {got!r}, must be {model.get(step.key)!r}")
    else:
        await _same(tx, step.key, model)


async def _same(tx: Tx, prefix: bytes, model: Rows) -> None:
    found = [pair async for pair in tx.scan(prefix)]
    wanted = sorted(pair for pair in model.items() if pair[0].startswith(prefix))
    if found != wanted:
        raise AssertionError(f"scan of {prefix!r} gave {found!r}, must be {wanted!r}")


async def _empty(factory: StorageFactory) -> None:
    async with factory() as storage, storage.transaction() as tx:
        for key in [key async for key, _ in tx.scan(b"")]:
            await tx.delete(key)
