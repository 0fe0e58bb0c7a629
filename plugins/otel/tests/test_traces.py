"""Each turn is one trace, as documented, whatever becomes of it, and nothing that was said is in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from structlog.testing import capture_logs

from surfaces_core import AgentRequest, ConfigError, End, File, Rejected, Text, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core.testing import contract
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step
from surfaces_otel import Traces, sending
from surfaces_otel.ids import root_of

QUICK = HostSettings(max_tries=3, retry_base_s=0.001, retry_cap_s=0.002)

test_contract = contract.hooks(Traces)


class Kept:
    """Makes an exporter for each life of a host and keeps what all of them were given."""

    def __init__(self) -> None:
        self.exporters: list[InMemorySpanExporter] = []

    def __call__(self) -> SpanExporter:
        self.exporters.append(InMemorySpanExporter())
        return self.exporters[-1]

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans, in the order in which they began."""
        found = [span for exporter in self.exporters for span in exporter.get_finished_spans()]
        return sorted(found, key=lambda span: (span.start_time or 0, -(span.end_time or 0)))

    def of(self, name: str) -> list[ReadableSpan]:
        """Those of one name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (span,) = self.of(name)
        return span


def answering(*steps: Step, **more: Any) -> ScriptedTransport:
    """An agent that does the same each time."""
    return ScriptedTransport.answering(lambda _request: steps, **more)


def said(span: ReadableSpan) -> dict[str, Any]:
    """What a span says beside its times, without the turn's name."""
    return {name: value for name, value in (span.attributes or {}).items() if name != "surfaces.turn_id"}


def context_of(span: ReadableSpan) -> SpanContext:
    """Its ids."""
    context = span.get_span_context()
    assert context is not None
    return context


def times(span: ReadableSpan) -> tuple[int, int]:
    """When it began and ended."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def tree(spans: Sequence[ReadableSpan]) -> list[str]:
    """Names as they hang below each other, siblings in the order in which they began."""

    def below(parent: int | None, depth: int) -> Iterator[str]:
        for span in spans:
            if (span.parent.span_id if span.parent else None) == parent:
                yield "  " * depth + span.name
                yield from below(context_of(span).span_id, depth + 1)

    return list(below(None, 0))


async def test_a_turn_is_one_trace_with_a_span_for_each_step() -> None:
    """The root says what the turn was, the steps hang below it and lie where they happened."""
    kept = Kept()
    bot = TestBot(hooks=[Traces(kept)], transport=answering(Text("al"), Text("so"), End()))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "also"
    assert tree(kept.spans) == [
        "process memory",
        "  wait",
        "  invoke_agent agent-0",
        "    first text",
        "  store",
        "  send memory",
        "  store",
    ]
    root, asked = kept.one("process memory"), kept.one("invoke_agent agent-0")
    assert said(root) == {
        "surfaces.outcome": "answered",
        "surfaces.attempts": 1,
        "surfaces.transport": "scripted",
        "gen_ai.agent.id": "agent-0",
        "messaging.system": "memory",
        "messaging.destination.name": "home",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    assert said(asked) == {
        "surfaces.attempt": 1,
        "surfaces.transport": "scripted",
        "gen_ai.agent.id": "agent-0",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.response.time_to_first_chunk": said(asked)["gen_ai.response.time_to_first_chunk"],
    }
    assert (root.kind, asked.kind) == (SpanKind.CONSUMER, SpanKind.CLIENT)
    assert {(span.attributes or {}).get("surfaces.turn_id") for span in kept.spans if span.name != "first text"} == {
        bot.surface.sent[0].turn
    }
    assert [span.status.status_code for span in kept.spans] == [StatusCode.UNSET] * 7
    came_at = times(root)[0]
    assert all(came_at <= began <= ended for began, ended in map(times, kept.spans))
    assert all(ended <= times(root)[1] for began, ended in map(times, kept.of("invoke_agent agent-0")))


async def test_each_turn_has_a_trace_of_its_own() -> None:
    """Two questions are two traces, and no span stands in the wrong one."""
    kept = Kept()
    bot = TestBot(hooks=[Traces(kept)])
    async with bot.running():
        for text in ("one", "two"):
            await bot.push(text)
            assert await bot.pop() == text
    first, second = kept.of("process memory")
    assert context_of(first).trace_id != context_of(second).trace_id
    for span in kept.spans:
        if span.name != "first text":
            root = root_of("surfaces", str((span.attributes or {})["surfaces.turn_id"]))
            assert context_of(span).trace_id == root.trace_id


async def test_a_failing_agent_shows_as_an_error_by_its_code() -> None:
    """The step and the turn are errors; the words of the error stay out."""
    kept = Kept()
    failure = Rejected("the key sk-hidden is wrong", code="BAD_KEY")
    bot = TestBot(hooks=[Traces(kept)], transport=answering(failure))
    async with bot.running():
        await bot.push("hello")
        await bot.pop()
    asked, root = kept.one("invoke_agent agent-0"), kept.one("process memory")
    assert said(asked)["error.type"] == "BAD_KEY"
    assert (said(root)["surfaces.outcome"], root.status.status_code) == ("failed", StatusCode.ERROR)
    assert asked.status.status_code is StatusCode.ERROR
    assert not asked.status.description


async def test_a_stopped_turn_says_so_and_is_no_error() -> None:
    """A person who stops an agent is no failure of anybody's."""
    kept, asked = Kept(), asyncio.Event()

    def script(_request: AgentRequest) -> Iterable[Step]:
        asked.set()
        yield asyncio.Event()

    bot = TestBot(hooks=[Traces(kept)], transport=ScriptedTransport.answering(script))
    async with bot.running():
        await bot.push("hello")
        await asked.wait()
        await bot.push("!stop")
        await bot.pop()
    cut = kept.one("invoke_agent agent-0")
    assert (said(cut)["surfaces.cut"], cut.status.status_code) == ("STOPPED", StatusCode.UNSET)
    assert sorted(said(span)["surfaces.outcome"] for span in kept.of("process memory")) == ["command", "stopped"]


async def test_an_agent_that_comes_back_shows_each_try() -> None:
    """A try is a span with its number; waiting in the lane is shown once."""
    kept = Kept()
    tries: Iterator[Step] = iter([Unavailable("away", code="AGENT_UNREACHABLE"), End()])
    transport = ScriptedTransport.answering(lambda _request: [next(tries)])
    bot = TestBot(hooks=[Traces(kept)], transport=transport, settings=QUICK)
    async with bot.running():
        await bot.push("hello")
        await bot.pop()
    first, second = kept.of("invoke_agent agent-0")
    assert [said(span)["surfaces.attempt"] for span in (first, second)] == [1, 2]
    assert said(first)["error.type"] == "AGENT_UNREACHABLE"
    assert said(kept.one("process memory"))["surfaces.attempts"] == 2
    kept.one("wait")


async def test_each_try_to_send_a_part_shows() -> None:
    """A messenger that was away once costs a second try of the same part."""
    kept = Kept()
    bot = TestBot(hooks=[Traces(kept)])
    bot.messenger.faults.append(Unavailable("away", code="HOMESERVER_AWAY", retry_after=0.001))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "hello"
    first, second = kept.of("send memory")
    assert said(first)["error.type"] == "HOMESERVER_AWAY"
    assert [said(span)["surfaces.attempt"] for span in (first, second)] == [1, 2]
    assert {said(span)["surfaces.part"] for span in (first, second)} == {0}
    assert second.kind is SpanKind.PRODUCER


async def test_a_turn_that_a_crash_cut_goes_on_in_the_same_trace() -> None:
    """Both lives add to one trace, and the root, made by the second, is the parent of the steps of the first."""
    kept = Kept()
    bot = TestBot(hooks=[Traces(kept)], transport=answering(Text("also"), End(), repeatable=True))
    storage = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=5)
    with pytest.RaisesGroup(Crash, flatten_subgroups=True, allow_unwrapped=True):
        async with bot.running(storage):
            await bot.push("hello")
            await asyncio.Event().wait()
    before = kept.exporters[0].get_finished_spans()
    assert "invoke_agent agent-0" in [span.name for span in before]
    assert "process memory" not in [span.name for span in before]
    async with bot.running():
        assert await bot.pop() == "also"
    root = kept.one("process memory")
    assert said(root)["surfaces.attempts"] == 2
    assert {context_of(span).trace_id for span in kept.spans} == {context_of(root).trace_id}
    parents = {span.parent.span_id for span in before if span.parent and span.name != "first text"}
    assert parents == {context_of(root).span_id}
    assert [said(span)["surfaces.attempt"] for span in kept.of("invoke_agent agent-0")] == [1, 2]


# Sending -------------------------------------------------------------------------------------------------------------


class Collector(HTTPServer):
    """A receiver of OTLP over HTTP on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Received)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    @property
    def requests(self) -> Sequence[ExportTraceServiceRequest]:
        """What came, decoded."""
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]


class Received(BaseHTTPRequestHandler):
    """Keeps a request."""

    server: Collector

    def do_POST(self) -> None:
        """Take it."""
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with Collector() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


async def test_a_collector_gets_protobuf_in_which_nothing_is_that_was_said(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts, names of files and people, questions and words of errors are in none of the bytes; ids are."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "bot-of-ours")
    files = MemoryFiles()
    files.contents["/agents/0"]["hidden-chart.png"] = b"hidden-bytes"
    steps: list[Step] = [
        Text("hidden-answer"),
        File(path="hidden-chart.png", caption="hidden-caption"),
        File(path="hidden-missing.txt"),
        Rejected("hidden-words", code="hidden-code", public="hidden-public"),
    ]
    bot = TestBot(hooks=[Traces()], transport=answering(*steps), files=files)
    async with bot.running():
        await bot.push("hidden-question", sender="@hidden-ann", files={"hidden-photo.jpg": b"hidden-bytes"})
        for _ in range(3):
            await bot.pop()
    assert collector.headers[0]["x-key"] == "abc"
    assert b"hidden" not in b"".join(collector.bodies)
    found = {
        span.name: {pair.key: pair.value for pair in span.attributes}
        for request in collector.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert {"process memory", "wait", "files_in", "invoke_agent agent-0", "file_out", "store", "send memory"} <= {
        *found
    }
    assert found["process memory"]["messaging.destination.name"].string_value == "home"
    assert found["invoke_agent agent-0"]["error.type"].string_value == "OTHER"
    assert found["files_in"]["surfaces.files"].int_value == 1
    (resource, *_) = collector.requests[0].resource_spans
    assert "bot-of-ours" in [pair.value.string_value for pair in resource.resource.attributes]


async def test_a_collector_that_is_away_is_said_once_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages flow, the log has a line when it goes, and the end of the host does not wait for it for long."""
    monkeypatch.setattr(sending, "STOP_S", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hidden@127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.01")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    with capture_logs() as logs:

        async def until_down() -> None:
            while "traces.down" not in [line["event"] for line in logs]:  # noqa: ASYNC110 - another thread logs it
                await asyncio.sleep(0.01)

        bot = TestBot(hooks=[Traces()])
        async with bot.running():
            for number in range(3):
                await bot.push(f"hello {number}")
                assert await bot.pop() == f"hello {number}"
                await asyncio.wait_for(until_down(), 5)
    (down,) = [line for line in logs if line["event"] == "traces.down"]
    assert down["collector"] == "127.0.0.1:9"
    assert "hidden" not in str(logs)


class Stuck(SpanExporter):
    """Hangs until the test is over, as a collector does that takes a connection and nothing else."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.threads: set[threading.Thread] = set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hang."""
        self.threads.add(threading.current_thread())
        self.over.wait()
        return SpanExportResult.FAILURE


async def test_a_collector_that_hangs_holds_neither_the_loop_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent in another thread; what is too much for the queue is dropped; the host ends without it."""
    monkeypatch.setattr(sending, "STOP_S", 0.05)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    stuck = Stuck()
    bot = TestBot(hooks=[Traces(lambda: stuck)])
    with capture_logs() as logs:
        async with bot.running():
            for number in range(20):
                await bot.push(f"hello {number}")
                assert await bot.pop() == f"hello {number}"
    assert [line["event"] for line in logs if line["event"].startswith("traces.")] == ["traces.unsent"]
    assert stuck.threads
    assert threading.main_thread() not in stuck.threads
    stuck.over.set()


class Wavering(SpanExporter):
    """Fails twice, then succeeds, and so on."""

    def __init__(self) -> None:
        self.results = iter([SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS] * 2)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """What is next."""
        return next(self.results)


async def test_a_collector_that_is_back_is_said_once() -> None:
    """One line says how much was lost; the next loss is told again."""
    with capture_logs() as logs:
        log = structlog.get_logger()
        outlet = sending.Outlet(Wavering(), sending.SdkLog(log), log)
        for _ in range(6):
            outlet.export([ReadableSpan(name="lost")])
    assert [line["event"] for line in logs] == ["traces.down", "traces.back"] * 2


async def test_what_the_sdk_says_of_a_header_is_told_without_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that is misspelt may be a key."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "hidden key without a sign")
    with capture_logs() as logs:
        async with TestBot(hooks=[Traces()]).running():
            """Nothing is said, so nothing is sent."""
    assert [line["event"] for line in logs].count("traces.sdk") == 1
    assert "hidden" not in str(logs)


@pytest.mark.parametrize(("variable", "value"), [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")])
async def test_the_environment_may_want_no_span(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The sampler of the environment decides by the turn, and all of it can be turned off."""
    monkeypatch.setenv(variable, value)
    kept = Kept()
    bot = TestBot(hooks=[Traces(kept)])
    async with bot.running():
        await bot.push("hello")
        await bot.pop()
    assert kept.spans == []


async def test_what_the_sdk_refuses_of_the_environment_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line that names the variables."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigError, match="must be a positive integer; look at the variables OTEL_BSP_…"):
        await TestBot(hooks=[Traces()]).build().run()
