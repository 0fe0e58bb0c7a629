"""An agent that echoes, on the AgentApi protocol, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import WSMsgType, web


async def serve(request: web.Request) -> web.WebSocketResponse:
    """One context."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('{"type":"STATUS"}')
    async for frame in socket:
        if frame.type is WSMsgType.TEXT:
            message = json.loads(frame.data)
            if message["type"] == "USER_MESSAGE":
                await socket.send_str(json.dumps({"type": "AGENT_EVENT_TEXT_CHUNK", "text": message["text"]}))
                await socket.send_str('{"type":"AGENT_EVENT_END"}')
    return socket


async def main() -> None:
    """Listen on any port, say which, serve until killed."""
    app = web.Application()
    app.router.add_get("/v1/agent_ws/{context}/", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f'READY {{"port": {runner.addresses[0][1]}}}\n')
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main())
