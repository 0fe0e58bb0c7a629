"""Shows running turns: typing, and one message that is edited until the final text takes its place."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from surfaces_core import Draft, Rejected, Unavailable
from surfaces_matrix import words
from surfaces_matrix.client import Client, quote
from surfaces_matrix.content import Content, edit_content, placed, text_content
from surfaces_matrix.lookup import Key, Lookup
from surfaces_matrix.say import Say
from surfaces_matrix.split import split
from surfaces_matrix.tempo import Tempo

TYPING_S = 30
"""How long the homeserver believes that the bot types."""
TYPING_AGAIN_S = 10
PATIENCE_S = 10.0
"""A draft that takes longer is given up: the answer itself waits behind it."""
SHORT = 3000
"""A text of so few characters is shown without measuring whether it fits, which takes as long as rendering it."""
LONG = 16_000
"""More of a text is not looked at: it would show behind the first message only."""
MOST_SHOWN = 4096
"""Running turns whose message is remembered; one that is forgotten is found again by its transaction id."""


@dataclass(slots=True)
class _Shown:
    """What this process knows of a draft's message."""

    key: Key
    event_id: str | None = None
    body: str = ""
    unsettled: tuple[str, Content] | None = None
    """Transaction id and content of a request whose answer was not seen: it may still take effect."""
    refused: bool = False
    """There will be no message."""


class Drafts:
    """The drafts of one account."""

    def __init__(self, client: Client, say: Say, lookup: Lookup, tempo: Tempo, *, timeout_s: float) -> None:
        self._client = client
        self._say = say
        self._lookup = lookup
        self._tempo = tempo
        self._timeout_s = min(timeout_s, PATIENCE_S)
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._typing: dict[str, float] = {}
        """When typing was last said, on the monotonic clock, by room."""

    async def show(self, draft: Draft) -> None:
        """Show what there is of a turn. `Unavailable`; what is refused is left out."""
        room_id = draft.address.conversation
        try:
            if draft.done:
                await self._stop_typing(room_id)
                return
            await self._type(room_id)
            if draft.version > 0:
                await self._show_text(draft)
        except Rejected:
            # The answer itself will be refused too, and there it is dealt with.
            return

    async def settle(self, key: str) -> str | None:
        """Forget a draft because its final text follows; its event id, if known.

        A request whose answer was not seen is repeated under its transaction id, so that it can't
        take effect behind the final text. `Unavailable` leaves everything as it was.
        """
        shown = self._shown.get(key)
        if shown is None:
            return None
        if shown.unsettled is not None:
            await self._put(shown, *shown.unsettled)
        self._shown.pop(key, None)  # it may have been forgotten meanwhile
        return shown.event_id

    async def _show_text(self, draft: Draft) -> None:
        body = _body(draft)
        content = text_content(body, turn=draft.turn, part=draft.part)
        shown = self._remembered(draft)
        if shown.refused or (shown.body == body and shown.unsettled is None):
            return
        # A person who sees nothing yet comes before those who see an answer grow.
        self._tempo.take(yields=shown.event_id is not None)
        try:
            await self._bring(shown, draft, body, content)
        except Unavailable as error:
            self._tempo.failed(error)
            raise
        self._tempo.succeeded()

    async def _bring(self, shown: _Shown, draft: Draft, body: str, content: Content) -> None:
        """Make a draft's message say what it is to say now."""
        if shown.unsettled is not None:
            # One at a time: an older request must not take effect behind a newer one.
            await self._put(shown, *shown.unsettled)
        if shown.event_id is None:
            await self._put(shown, draft.key, placed(content, draft))
            if draft.attempt == 1:
                shown.body = body
                return
            # An earlier try's draft may have been there already: then the homeserver only named it.
        if shown.body != body and shown.event_id is not None:
            txn = f"{draft.key}.d{draft.attempt}.{draft.version}"
            await self._put(shown, txn, edit_content(shown.event_id, content))
            shown.body = body

    async def _put(self, shown: _Shown, txn: str, content: Content) -> None:
        shown.unsettled = (txn, content)
        try:
            if shown.event_id is None:
                shown.event_id = await self._first(shown.key, content)
            else:
                await self._say(shown.key.room_id, txn, content, timeout_s=self._timeout_s)
        except Rejected:
            shown.refused = shown.event_id is None
        shown.unsettled = None

    async def _first(self, key: Key, content: Content) -> str:
        """The id of the message that is there already, or of a new one."""
        looked = await self._lookup(key, timeout_s=self._timeout_s)
        if looked.found is not None:
            return looked.found.event_id
        return await self._say(key.room_id, key.txn, content, timeout_s=self._timeout_s, session=looked.session)

    def _remembered(self, draft: Draft) -> _Shown:
        shown = self._shown.setdefault(draft.key, _Shown(key=Key.of(draft)))
        self._shown.move_to_end(draft.key)
        while len(self._shown) > MOST_SHOWN:
            self._shown.popitem(last=False)
        return shown

    async def _type(self, room_id: str) -> None:
        now = time.monotonic()
        if now - self._typing.get(room_id, -TYPING_AGAIN_S) >= TYPING_AGAIN_S:
            self._typing[room_id] = now
            await self._say_typing(room_id, {"typing": True, "timeout": TYPING_S * 1000})

    async def _stop_typing(self, room_id: str) -> None:
        if self._typing.pop(room_id, None) is not None:
            await self._say_typing(room_id, {"typing": False})

    async def _say_typing(self, room_id: str, content: Content) -> None:
        path = quote("v3", "rooms", room_id, "typing", self._client.user_id)
        await self._client.call("PUT", path, content, timeout_s=self._timeout_s)


def _body(draft: Draft) -> str:
    """The first message's worth of the answer, marked as not finished, and what the agent is doing."""
    first = draft.text if len(draft.text) <= SHORT else split(draft.text[:LONG])[0]
    text = f"{first.rstrip()} {words.DRAFT_MARK}" if first.strip() else ""
    lines = [f"*{_escaped(line)}*" for line in draft.status.splitlines() if line.strip()]
    status = "\n".join(f"- {line}" for line in lines) if len(lines) > 1 else "".join(lines)
    return "\n\n".join(filter(None, (text, status))) or words.DRAFT_MARK


def _escaped(line: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>~" else char for char in " ".join(line.split()))
