"""Serves the chat page on this machine: files that `make web` has built, and what they must know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from surfaces_demo.children import DemoError, free_port
from surfaces_demo.synapse import Account

BUILT = Path(str(files("surfaces_demo") / "page"))
PORT = 8010
NOT_BUILT = "The chat page is not built; `make web` builds it."
_WASM = "application/wasm"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the page must know."""

    homeserver: str
    bot: str
    offer: Account | None = None
    """An account that the page offers to whoever opens it."""

    def json(self) -> dict[str, object]:
        """As the page reads it."""
        offer = self.offer and {"user_id": self.offer.user_id, "password": self.offer.password}
        return {"homeserver": self.homeserver, "bot": self.bot, "offer": offer}


class Page:
    """Served on the loopback address for as long as its `async with` block. Raises `DemoError` when it is not built."""

    def __init__(self, facts: Facts, *, port: int = 0, folder: Path = BUILT) -> None:
        self._facts = facts
        self._folder = folder
        self.port = free_port(port)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        if not (self._folder / "index.html").is_file():
            raise DemoError(NOT_BUILT)
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_get("/config.json", self._config)
        app.router.add_static("/", self._folder)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._folder / "index.html")

    async def _config(self, _request: web.Request) -> web.Response:
        return web.json_response(self._facts.json())

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # A page of a stranger may name this machine as its own host; the offered password is not for it.
        if request.host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            raise web.HTTPForbidden
        response = await handler(request)
        response.headers.update(self._headers())
        if request.path.endswith(".wasm"):
            response.content_type = _WASM
        return response

    def _headers(self) -> dict[str, str]:
        policy = {
            "default-src": "'none'",
            "script-src": "'self' 'wasm-unsafe-eval'",
            "style-src": "'self'",
            "font-src": "'self'",
            "img-src": "'self' blob:",
            "connect-src": f"'self' {self._facts.homeserver}",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        return {
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "Cache-Control": "no-cache",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
