"""The yardstick of `make bench`: a plain matrix-nio echo loop, as its own documentation shows it."""

import asyncio
import os
import sys

from nio import AsyncClient, MatrixRoom, RoomMessageText, SyncResponse


async def main() -> None:
    """Log in, say READY after the first sync, echo everything from then on."""
    client = AsyncClient(os.environ["MATRIX_HOMESERVER"], os.environ["MATRIX_USER_ID"])
    await client.login(os.environ["MATRIX_PASSWORD"])
    first = await client.sync(timeout=0, full_state=True)
    if not isinstance(first, SyncResponse):
        sys.exit(f"no sync: {first}")

    async def echo(room: MatrixRoom, event: RoomMessageText) -> None:
        if event.sender != client.user_id:
            content = {"msgtype": "m.text", "body": event.body}
            await client.room_send(room.room_id, "m.room.message", content)

    client.add_event_callback(echo, RoomMessageText)
    print("READY {}", flush=True)
    await client.sync_forever(timeout=30_000)


asyncio.run(main())
