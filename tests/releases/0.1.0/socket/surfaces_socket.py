"""A surface on a UNIX socket: each user of this machine has one conversation, in lines of JSON.

A client sends `{"id": "1", "text": "hello"}`, and says it again until it is told `{"seen": "1"}`: then it is stored.
What the bot says comes as `{"key": "…", "text": "…"}`, to whoever connects later as well; the same key again is another
text for the same message.
"""

import asyncio
import json
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Any

from pydantic import Field
from surfaces_core import Address, Inbound, Intake, Outbound, Receipt, Settings, Surface, SurfaceContext, Unavailable

LONGEST = 1 << 20
"""Bytes of a line, and of what may wait for a client that does not read."""


class SocketSettings(Settings):
    path: Path = Field(description="Where the socket is made; its folder says who may connect.")


class SocketSurface(Surface):
    Settings = SocketSettings

    def __init__(self, settings: SocketSettings, context: SurfaceContext) -> None:
        super().__init__(settings, context)
        self._clients: dict[StreamWriter, str] = {}
        self._saying = asyncio.Lock()

    async def run(self, intake: Intake) -> None:
        heard: asyncio.Queue[tuple[StreamWriter, str, Inbound]] = asyncio.Queue(100)

        async def meet(reader: StreamReader, writer: StreamWriter) -> None:
            try:
                person = user_of(writer)
                async with self._saying:  # nothing is said between what was said and what will be
                    for name, text in (await self.context.store.scan(f"{person}/")).items():
                        tell(writer, key=name.rpartition("/")[2], text=text.decode())
                    self._clients[writer] = person
                async for line in reader:
                    said = json.loads(line)
                    await heard.put((writer, said["id"], self._message(person, said)))
            except (ValueError, KeyError, TypeError, OSError) as error:
                self.context.log.info("client.refused", error=type(error).__name__)
            finally:
                self._clients.pop(writer, None)
                writer.close()

        try:
            server = await asyncio.start_unix_server(meet, self.settings.path, limit=LONGEST)
        except OSError as error:
            raise Unavailable(f"{self.settings.path}: {error}") from error
        intake.ready()
        try:
            while True:
                writer, native, message = await heard.get()
                await intake.accept([message], "-")  # no cursor: clients say again what was not seen
                tell(writer, seen=native)
        finally:
            server.close()
            for client in list(self._clients):
                client.close()

    def _message(self, person: str, said: dict[str, str]) -> Inbound:
        return Inbound(
            address=Address(surface=self.context.name, conversation=person),
            event_id=f"{person}/{said['id']}",
            sender=person,
            sent_at=time.time(),
            text=str(said["text"]),
        )

    async def send(self, message: Outbound) -> Receipt:
        person = message.address.conversation
        text = message.text or (message.file.name if message.file else "")
        async with self._saying:
            before = {name.rpartition("/")[2]: name for name in await self.context.store.scan(f"{person}/")}
            key = message.replaces if message.replaces in before else message.key
            if key not in before or key == message.replaces:  # otherwise it shows already
                name = before.get(key, f"{person}/{len(before):09}/{key}")
                await self.context.store.put(name, text.encode())
                for client in [client for client, whose in self._clients.items() if whose == person]:
                    tell(client, key=key, text=text)
        return Receipt(remote_id=key)


def tell(client: StreamWriter, **fields: Any) -> None:
    client.write(json.dumps(fields).encode() + b"\n")
    if client.transport.get_write_buffer_size() > 4 * LONGEST:
        client.transport.abort()  # it does not read; when it comes again it is told everything


def user_of(client: StreamWriter) -> str:
    """The number of the user at the other end, as the kernel says it: nobody can pretend to be another."""
    there = client.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return str(struct.unpack("3i", there)[1])
