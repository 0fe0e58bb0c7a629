"""What a supervisor can ask the host over HTTP, and what it is told about a host that is not well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from surfaces_core import Condition, StateError, Text, Unavailable
from surfaces_core._config.settings import HostSettings, OpsSettings
from surfaces_core._engine.peers import PROBE_S
from surfaces_core._operating import ops
from surfaces_core._operating.health import PROBE_PATIENCE_S
from surfaces_core._operating.ops import Answer, Pages, serving
from surfaces_core.testing import virtual_time
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

LOG = structlog.get_logger("ops")


async def ask(port: int, request: str) -> tuple[int, Any]:
    """Status and body of one raw request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body) if body else None


async def readyz(bot: TestBot) -> tuple[int, dict[str, Any]]:
    """Status and content of `/readyz`, straight from the host."""
    answer = await bot.engine.operations.pages()["/readyz"]()
    return answer.status.value, json.loads(answer.body)


async def until(condition: Any) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


# The way ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def serve(pages: Pages) -> AsyncIterator[int]:
    """Some pages on a free port."""
    async with serving(OpsSettings(listen="127.0.0.1:0"), pages, LOG) as port:
        yield port


async def yes() -> Answer:
    """A page that is well."""
    return Answer.of({"ready": True})


async def test_a_host_answers_over_http() -> None:
    """`/livez` and `/readyz` tell a supervisor what it asks."""
    bot = TestBot()
    async with bot.running(), serve(bot.engine.operations.pages()) as port:
        assert await ask(port, "GET /livez HTTP/1.1\r\n\r\n") == (200, {"live": True})
        status, facts = await ask(port, "GET /readyz?x=1 HTTP/1.1\r\n\r\n")
        assert (status, facts["ready"]) == (200, True)


async def test_other_requests_are_refused() -> None:
    """Unknown paths and methods get their status; `HEAD` gets no body."""
    async with serve({"/livez": yes}) as port:
        status, said = await ask(port, "GET / HTTP/1.1\r\n\r\n")
        assert (status, said) == (404, {"error": "there are /livez"})
        assert (await ask(port, "POST /livez HTTP/1.1\r\n\r\n"))[0] == 405
        assert await ask(port, "HEAD /livez HTTP/1.1\r\n\r\n") == (200, None)


async def test_a_crowd_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens connections and asks nothing loses the oldest of them, and uses up no descriptors."""
    monkeypatch.setattr(ops, "MOST", 3)

    async def page() -> Answer:
        return Answer.of({})

    async with serve({"/x": page}) as port:
        async with asyncio.TaskGroup() as group:
            coming = [group.create_task(asyncio.open_connection("127.0.0.1", port)) for _ in range(8)]
        crowd = [one.result() for one in coming]
        assert await ask(port, "GET /x HTTP/1.1\r\n\r\n") == (200, {})
        gone = [reader for reader, _ in crowd if reader.at_eof() or reader.exception() is not None]
        assert len(gone) >= 5
        for _, writer in crowd:
            writer.close()


async def test_a_loop_that_stood_still_is_not_ready() -> None:
    """What was late by seconds a moment ago served nobody; a second is worth a reason alone."""
    bot = TestBot()
    async with bot.running():
        pulse = bot.engine.operations._pulse
        for late_s, status in ((2.0, 200), (6.0, 503)):
            pulse._late.append(late_s)
            code, report = await readyz(bot)
            assert (code, report["reasons"]) == (status, [f"the event loop was {late_s:.1f} s late"])


async def test_a_bug_in_a_page_is_its_own() -> None:
    """It is answered with 500, and the next request as if nothing had been."""

    async def buggy() -> Answer:
        raise ZeroDivisionError

    async with serve({"/buggy": buggy, "/livez": yes}) as port:
        assert (await ask(port, "GET /buggy HTTP/1.1\r\n\r\n"))[0] == 500
        assert (await ask(port, "GET /livez HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("request_", [b"GET /livez HTTP/1.1\r\n", b"GET /" + b"x" * 100_000, b""])
async def test_who_does_not_ask_properly_is_let_go(request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that does not end, and one that is too long, get no answer and keep nobody."""
    monkeypatch.setattr(ops, "PATIENCE_S", 0.05)  # the bound itself is what is tested
    async with serve({"/livez": yes}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):  # what was not read of it is thrown away
                assert await reader.read() == b""
        writer.close()
        assert (await ask(port, "GET /livez HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize("listen", ["9400", "localhost", "127.0.0.1:99999", ":1"])
def test_a_wrong_address_is_refused(listen: str) -> None:
    """An address needs both halves."""
    with pytest.raises(ValidationError):
        OpsSettings(listen=listen)


# What is told ----------------------------------------------------------------------------------------


async def test_a_host_that_is_well_has_no_reasons() -> None:
    """Everything is there that a supervisor may want, and nothing is complained of."""
    bot = TestBot()
    async with bot.running():
        status, facts = await readyz(bot)
    assert status == 200
    assert facts.pop("loop_lag_s") >= 0
    assert facts["storage"].pop("write_s") >= 0
    assert facts["surfaces"]["memory"].pop("exchanged_s") >= 0
    assert facts == {
        "ready": True,
        "stopping": False,
        "held": "",
        "storage": {"writable": True, "problem": ""},
        "surfaces": {"memory": {"connected": True, "admits": True, "decrypts": None, "outbox": 0, "reasons": []}},
        "agents_down": [],
        "inbox": 0,
        "outbox": 0,
        "dead_letters": 0,
        "reasons": [],
    }


async def test_a_host_that_starts_is_not_ready() -> None:
    """Before the first exchange it says what it waits for."""
    bot = TestBot()
    bot.build()
    status, facts = await readyz(bot)
    assert status == 503
    assert "memory: there was no exchange with the messenger yet" in facts["reasons"]


async def test_a_host_that_stops_is_not_ready() -> None:
    """Nobody should be sent to it any more."""
    bot = TestBot()
    async with bot.running():
        bot.engine.stop()
        status, facts = await readyz(bot)
    assert (status, facts["stopping"]) == (503, True)
    assert "the host is stopping" in facts["reasons"]


async def test_one_part_that_cannot_be_sent_does_not_make_it_unready() -> None:
    """It is degraded, with since when and why; when another conversation fails too the messenger counts as away."""
    bot = TestBot()
    async with bot.running():
        bot.messenger.faults.append(Unavailable("away", code="BUSY", retry_after=600))
        await bot.push("hello")
        await until(lambda: bot.engine.deliveries["memory"].trouble)
        status, facts = await readyz(bot)
        (reason,) = facts["reasons"]
        assert (status, facts["surfaces"]["memory"]["outbox"]) == (200, 1)
        assert reason.startswith("memory: sending fails since 20")
        assert reason.endswith("Z (BUSY)")
        bot.messenger.faults.append(Unavailable("away", code="BUSY", retry_after=600))
        await bot.push("hello", conversation="other")
        await until(lambda: bot.engine.deliveries["memory"].away)
        status, facts = await readyz(bot)
        assert (status, facts["surfaces"]["memory"]["connected"]) == (503, False)
        bot.engine.settings = bot.settings.model_copy(update={"shutdown_grace_s": 0})


async def test_a_surface_that_is_away_is_told_once_and_so_is_its_return() -> None:
    """While it cannot run the host is not ready and says why; one line in the log each way, however often it fails."""
    bot = TestBot()
    bot.build()
    health, surface = bot.engine.operations.health, bot.surface
    with structlog.testing.capture_logs() as logs:
        health.exchanged("memory")
        for _ in range(3):
            health.lost("memory", Unavailable("no route", code="NO_ROUTE"))
        state = health.report().surfaces["memory"]
        assert not state.connected
        assert state.reasons[0].startswith("the messenger is away since 20")
        assert state.reasons[0].endswith("(NO_ROUTE)")
        for _ in range(3):
            health.exchanged("memory")
        assert health.report().surfaces["memory"].connected
    assert [line["event"] for line in logs] == ["surface.down", "surface.back"]
    assert surface.condition().connected


async def test_what_a_surface_says_of_itself_is_passed_on() -> None:
    """A surface that lets nobody in is named as such and the host is ready; one that is not connected is not."""
    bot = TestBot()
    async with bot.running():
        conditions = iter(
            [
                Condition(admits=False, decrypts=False, reasons=("nobody may come in",)),
                Condition(connected=False, reasons=("it is gone",)),
            ]
        )
        bot.surface.condition = lambda: next(conditions)  # type: ignore[method-assign]
        status, facts = await readyz(bot)
        assert (status, facts["reasons"]) == (200, ["memory: nobody may come in"])
        assert facts["surfaces"]["memory"]["admits"] is facts["surfaces"]["memory"]["decrypts"] is False
        status, facts = await readyz(bot)
        assert (status, facts["reasons"]) == (503, ["memory: it is gone"])


async def test_a_bug_in_a_condition_is_contained() -> None:
    """It is logged once, and the surface counts as not connected."""
    bot = TestBot()
    async with bot.running():

        def buggy() -> Condition:
            raise SystemExit

        bot.surface.condition = buggy  # type: ignore[method-assign]
        with structlog.testing.capture_logs() as logs:
            assert [(await readyz(bot))[0] for _ in range(2)] == [503, 503]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["surface.condition.bug"]


async def test_agents_that_are_away_are_named() -> None:
    """The host is ready all the same, for it can take questions in."""
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [Unavailable("no", code="AGENT_UNREACHABLE")]))
    async with bot.running():
        await bot.push("hello")
        await until(lambda: bot.engine.peers.down)
        status, facts = await readyz(bot)
    assert (status, facts["agents_down"], facts["inbox"]) == (200, ["agent-0"], 1)
    (reason,) = facts["reasons"]
    assert reason.startswith("agent agent-0 cannot be reached since 20")
    assert reason.endswith("(AGENT_UNREACHABLE)")


class Sick(MemoryStorage):
    """A storage whose next commits fail, or never end."""

    failure: Exception | None = None
    hangs = False

    def _commit(self, changes: dict[bytes, bytes | None]) -> None:
        if self.failure is not None and b"meta\0probe" in changes:
            raise self.failure
        super()._commit(changes)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        if self.hangs:
            await asyncio.Event().wait()
        async with super().transaction() as tx:
            yield tx


async def test_a_storage_that_cannot_be_written_makes_it_unready() -> None:
    """A probe that fails says why; the host itself goes on."""
    bot = TestBot()
    storage = Sick(disk=bot.disk)
    async with bot.running(storage):
        storage.failure = StateError("the disk is full")
        status, facts = await readyz(bot)
        assert (status, facts["storage"]) == (
            503,
            {"writable": False, "write_s": None, "problem": "the disk is full"},
        )
        await bot.push("hello")
        assert await bot.pop() == "hello"


async def test_a_storage_that_hangs_does_not_hang_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that takes too long is a reason of its own."""
    from surfaces_core._operating import health

    assert PROBE_PATIENCE_S < ops.PATIENCE_S, "else nobody hears of it"
    monkeypatch.setattr(health, "PROBE_PATIENCE_S", 0.01)  # the bound itself is what is tested
    bot = TestBot()
    storage = Sick(disk=bot.disk)
    async with bot.running(storage):
        storage.hangs = True
        status, facts = await readyz(bot)
        storage.hangs = False
    assert (status, facts["storage"]["writable"]) == (503, False)
    assert facts["reasons"] == ["storage: storing something small took more than 0.01 s"]


async def test_asking_often_does_not_write_often() -> None:
    """However many ask, the state is probed every few seconds."""
    bot = TestBot()
    async with bot.running():
        assert (await readyz(bot))[0] == 200
        before = dict(bot.disk.rows)
        bot.disk.rows.pop(b"meta\0probe")
        for _ in range(10):
            await readyz(bot)
        assert b"meta\0probe" in before
        assert b"meta\0probe" not in bot.disk.rows


def test_an_agent_that_is_away_is_told_once_and_so_is_its_return() -> None:
    """One line each way, although for a while nobody waits for it and nobody looks."""
    gone = Unavailable("no", code="AGENT_UNREACHABLE")
    steps: list[Step] = [gone, gone, Text("back"), Text("still there")]

    async def story() -> None:
        bot = TestBot(
            transport=ScriptedTransport.answering(lambda _request: [steps.pop(0)]),
            settings=HostSettings(max_tries=1),
            now=asyncio.get_running_loop().time,
        )
        async with bot.running():
            for _ in range(4):
                await bot.push("hello")
                await bot.pop()
                assert list(bot.engine.peers.down) == (["agent-0"] if len(steps) > 1 else [])
                await asyncio.sleep(20 * PROBE_S)

    with structlog.testing.capture_logs() as logs:
        virtual_time.run(story())
    assert [line["event"] for line in logs if line["event"].startswith("agent.")] == ["agent.down", "agent.back"]
