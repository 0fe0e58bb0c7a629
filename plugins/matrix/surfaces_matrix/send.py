"""Says an answer's parts for good: each shows once, however often it is sent."""

from __future__ import annotations

from surfaces_core import Files, Outbound, Receipt, Store
from surfaces_matrix.client import Client
from surfaces_matrix.content import Content, edit_content, file_content, text_content
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.media import upload
from surfaces_matrix.say import Say
from surfaces_matrix.settings import MatrixSettings


class Sender:
    """Sends for one account. The part's key is the transaction id, so the homeserver drops a repeat."""

    def __init__(
        self, client: Client, say: Say, store: Store, files: Files, drafts: Drafts, settings: MatrixSettings
    ) -> None:
        self._client = client
        self._words = say
        self._store = store
        self._files = files
        self._drafts = drafts
        self._settings = settings

    async def send(self, message: Outbound) -> Receipt:
        """Show one part. `Unavailable` or `Rejected`."""
        if message.file is not None:
            event_id = await self._send_file(message)
        else:
            content = text_content(message.text, turn=message.turn, part=message.part, notice=message.notice)
            event_id = await (self._replace(message, content) if message.streamed else self._say(message, content))
        return Receipt(remote_id=event_id)

    async def _say(self, message: Outbound, content: Content, mark: str = "") -> str:
        room_id, timeout_s = message.address.conversation, self._settings.request_timeout_s
        return await self._words(room_id, message.key + mark, content, timeout_s=timeout_s)

    async def _replace(self, message: Outbound, content: Content) -> str:
        """Put the final text in the place of a draft.

        Where this process does not know the draft, the homeserver names it, or shows the final text
        at once if there was none; which of the two it was can't be told, so the edit follows always.
        """
        event_id = await self._drafts.settle(message.address.conversation, message.key)
        if event_id is None:
            event_id = await self._say(message, content)
        await self._say(message, edit_content(event_id, content), ".f")
        return event_id

    async def _send_file(self, message: Outbound) -> str:
        """Upload once, say once: what was uploaded is remembered until the event is there."""
        assert message.file is not None
        await self._words.allowed(message.address.conversation, timeout_s=self._settings.request_timeout_s)
        row = f"upload:{message.key}"
        known = await self._store.get(row)
        if known is None:
            async with await self._files.open(message.file.workspace, message.file.path) as opened:
                uri = await upload(self._client, opened, timeout_s=self._settings.transfer_timeout_s)
            await self._store.put(row, uri.encode())
        else:
            uri = known.decode()
        content = file_content(message.file, uri, message.text, turn=message.turn, part=message.part)
        event_id = await self._say(message, content)
        await self._store.delete(row)
        return event_id
