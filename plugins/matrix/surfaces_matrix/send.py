"""Says an answer's parts for good: each shows once, however often it is sent."""

from __future__ import annotations

from collections import OrderedDict

import orjson

from surfaces_core import FileRef, Files, Outbound, Receipt, Rejected, Store
from surfaces_matrix.client import Client
from surfaces_matrix.content import (
    KEY,
    Content,
    edit_content,
    file_content,
    placed,
    text_content,
    thumbnail_info,
    unplaced,
)
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.lookup import Found, Key, Looked, Lookup
from surfaces_matrix.media import upload
from surfaces_matrix.quotes import Quotes
from surfaces_matrix.say import Say
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.thumbnails import Thumbnails

MOST_SENT = 4096


class Sender:
    """Sends for one account. The part's key is the transaction id, so the homeserver drops a repeat.

    Where it may have forgotten the key the room is looked at first.
    """

    def __init__(
        self,
        client: Client,
        say: Say,
        lookup: Lookup,
        store: Store,
        files: Files,
        drafts: Drafts,
        quotes: Quotes,
        settings: MatrixSettings,
    ) -> None:
        self._client = client
        self._words = say
        self._lookup = lookup
        self._store = store
        self._files = files
        self._drafts = drafts
        self._quotes = quotes
        self._sent: OrderedDict[tuple[str, str], str] = OrderedDict()
        """What was said lately, by room and key; what is not here is looked for."""
        self._settings = settings
        self._thumbnails = Thumbnails()

    async def send(self, message: Outbound) -> Receipt:
        """Show one part. `Unavailable` or `Rejected`."""
        if message.file is not None:
            event_id = await self._send_file(message, message.file)
        elif message.streamed:
            event_id = await self._replace(message)
        else:
            event_id = await self._instead(message) or (await self._once(message, _content(message))).event_id
        self._remember(message, event_id)
        return Receipt(remote_id=event_id)

    def _remember(self, message: Outbound, event_id: str) -> None:
        room_id = message.address.conversation
        self._quotes.said(room_id, event_id, message.text or (message.file.name if message.file else ""))
        self._sent[room_id, message.key] = event_id
        while len(self._sent) > MOST_SENT:
            self._sent.popitem(last=False)

    async def _instead(self, message: Outbound) -> str | None:
        """Show a part in the place of an earlier one, if that is there; an edit may be repeated for ever."""
        if not message.replaces:
            return None
        room_id, timeout_s = message.address.conversation, self._settings.request_timeout_s
        event_id = self._sent.get((room_id, message.replaces))
        event_id = event_id or await self._lookup.named(room_id, message.replaces, timeout_s=timeout_s)
        if event_id is not None:
            await self._say(message, edit_content(event_id, _content(message)))
        return event_id

    async def _once(self, message: Outbound, content: Content) -> Found:
        """What shows of a part, however often it was said."""
        looked = await self._look(message)
        if looked.found is not None:
            return looked.found
        event_id = await self._say(message, content, session=looked.session)
        return Found(event_id=event_id, content={})

    async def _look(self, message: Outbound) -> Looked:
        return await self._lookup(Key.of(message), timeout_s=self._settings.request_timeout_s)

    async def _say(self, message: Outbound, content: Content, mark: str = "", *, session: str | None = None) -> str:
        room_id, timeout_s = message.address.conversation, self._settings.request_timeout_s
        return await self._words(room_id, message.key + mark, content, timeout_s=timeout_s, session=session)

    async def _replace(self, message: Outbound) -> str:
        """Put the final text in the place of a draft.

        Where this process does not know the draft, the homeserver names it, or shows the final text
        at once if there was none; which of the two it was can't be told, so the edit follows always.
        An edit may be repeated for ever, it doubles nothing.
        """
        content = _content(message)
        event_id = await self._drafts.settle(message.key)
        if event_id is None:
            found = await self._once(message, content)
            event_id = found.event_id
            if unplaced(found.content) == unplaced(content):
                return event_id
        await self._say(message, edit_content(event_id, content), ".f")
        return event_id

    async def _send_file(self, message: Outbound, file: FileRef) -> str:
        """Upload once, say once: what was uploaded is remembered until the event is there, or never will be."""
        row = f"uploaded:{message.key}"
        try:
            event_id = await self._file(message, file, row)
        except Rejected:
            await self._store.delete(row)
            raise
        await self._store.delete(row)
        return event_id

    async def _file(self, message: Outbound, file: FileRef, row: str) -> str:
        looked = await self._look(message)
        if looked.found is not None:
            return looked.found.event_id
        where = await self._uploaded(message.address.conversation, file, row)
        content = file_content(file, where, message.text, turn=message.turn, part=message.part)
        return await self._say(message, placed(content, message), session=looked.session)

    async def _uploaded(self, room_id: str, file: FileRef, row: str) -> Content:
        """Where a file is in the media repository, and how it is read there."""
        encrypt = await self._words.allowed(room_id, timeout_s=self._settings.request_timeout_s)
        known = await self._store.get(row)
        where: Content = {} if known is None else orjson.loads(known)
        if "file" in where or ("url" in where and not encrypt):
            return where
        async with await self._files.open(file.workspace, file.path) as opened:
            timeout_s = self._settings.transfer_timeout_s
            where = await upload(self._client, opened, timeout_s=timeout_s, encrypt=encrypt)
        if self._thumbnails.wanted(file):
            where["thumbnail"] = await self._thumbnail(file, encrypt=encrypt)
        await self._store.put(row, orjson.dumps(where))
        if not encrypt and await self._words.allowed(room_id, timeout_s=self._settings.request_timeout_s):
            return await self._uploaded(room_id, file, row)  # the room became encrypted while the file was on its way
        return where

    async def _thumbnail(self, file: FileRef, *, encrypt: bool) -> Content:
        """What an event says of a picture's thumbnail; nothing where there is none."""
        async with await self._files.open(file.workspace, file.path) as opened:
            small = await self._thumbnails.make(opened)
        if small is None:
            return {}
        where = await upload(self._client, small, timeout_s=self._settings.transfer_timeout_s, encrypt=encrypt)
        return thumbnail_info(small.ref, where)


def _content(message: Outbound) -> Content:
    content = text_content(message.text, turn=message.turn, part=message.part, notice=message.notice)
    if message.key != f"{message.turn}.{message.part}":
        content[KEY] = message.key
    return placed(content, message)
