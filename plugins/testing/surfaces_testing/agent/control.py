"""The door for other processes: `POST /<verb>` with JSON, answered with JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from surfaces_testing.agent.server import FakeAgent
from surfaces_testing.agent.wire import Json


class Control:
    """Makes of each verb one call on the agent."""

    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    @property
    def app(self) -> web.Application:
        """All verbs."""
        app = web.Application()
        for verb in (self.fault, self.always, self.clear, self.refuse, self.accept, self.cut, self.record):
            app.router.add_post(f"/{verb.__name__}", _answered(verb))
        return app

    async def fault(self, names: list[str], times: int = 1, context: str | None = None) -> Json:
        """`{names, times?, context?}`: who comes next meets these."""
        self._agent.faults.script(*names, times=times, context=context)
        return {}

    async def always(self, name: str, context: str | None = None) -> Json:
        """`{name, context?}`: everybody meets this."""
        self._agent.faults.always(name, context=context)
        return {}

    async def clear(self, context: str | None = None) -> Json:
        """`{context?}`: all is well again."""
        self._agent.faults.clear(context)
        return {}

    async def refuse(self) -> Json:
        """Cut all connections and refuse new ones."""
        await self._agent.refuse()
        return {}

    async def accept(self) -> Json:
        """Listen again."""
        await self._agent.accept()
        return {}

    async def cut(self, reset: bool = False) -> Json:
        """`{reset?}`: drop all connections."""
        self._agent.cut(reset=reset)
        return {}

    async def record(self) -> Json:
        """Everything that came, and what was done for it."""
        record = self._agent.record
        return {
            "connections": [asdict(made) for made in record.connections],
            "frames": [asdict(got) for got in record.frames],
            "work": [[context, text, count] for (context, text), count in record.work.items()],
        }


Verb = Callable[..., Awaitable[Json]]


def _answered(verb: Verb) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response(await verb(**(await request.json() if request.can_read_body else {})))

    return handle
