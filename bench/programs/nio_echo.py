"""The yardstick: a plain matrix-nio echo bot, as its own documentation shows one."""

from __future__ import annotations

import asyncio
import os
import sys

from nio import AsyncClient, MatrixRoom, RoomMessageText


async def main() -> None:
    """Log in, say READY after the first sync, echo from then on."""
    client = AsyncClient(os.environ["MATRIX_HOMESERVER"], os.environ["MATRIX_USER_ID"])
    await client.login(os.environ["MATRIX_PASSWORD"])
    await client.sync(timeout=0, full_state=True)

    async def echo(room: MatrixRoom, event: RoomMessageText) -> None:
        if event.sender != client.user_id:
            await client.room_send(room.room_id, "m.room.message", {"msgtype": "m.text", "body": event.body})

    client.add_event_callback(echo, RoomMessageText)
    sys.stdout.write("READY {}\n")
    sys.stdout.flush()
    await client.sync_forever(timeout=30_000)


asyncio.run(main())
