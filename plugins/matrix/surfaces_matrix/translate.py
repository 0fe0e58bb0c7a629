"""Turns an event of a Matrix room into an `Inbound`, or says why it is not one for the host.

Whatever JSON a homeserver sends, nothing here raises: what has the wrong shape counts as not there
or makes the event a `Skipped` one. Sections named are those of the client-server API.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from surfaces_core import Address, Inbound, Kind
from surfaces_matrix.relations import event_id, relation, replied_to, thread_of
from surfaces_matrix.saying import Said, Skipped, clean, poll, say, sticker
from surfaces_matrix.shapes import LONGEST_ID, mapping, seconds, text

_USER_ID = re.compile(r"@[^:\x00-\x20\x7f]*:[^\x00-\x20\x7f]+")
_LOOKS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
"""How an emoji is drawn and which skin it has: whoever nods, nods."""
_LONGEST_REACTION = 64
_EPOCH_S = 1_400_000_000.0
"""Matrix did not exist before: an earlier time is a wrong one, and so is one more than a day ahead."""
_DAY_S = 86_400.0


def translate(surface: str, room_id: str, event: object, *, me: str) -> Inbound | Skipped:
    """One event of a room's timeline, as `/sync` and `/messages` show it; `me` is the bot's user id."""
    if not isinstance(event, dict):
        return Skipped("not_an_object")
    sender, own_id = _user_id(event.get("sender")), event_id(event.get("event_id"))
    if sender is None or not own_id:
        return Skipped("malformed")
    said = Skipped("own_event") if sender == me else _read(event, sender)
    if isinstance(said, Skipped):
        return said
    return Inbound(
        address=Address(surface=surface, conversation=room_id),
        event_id=own_id,
        sender=sender,
        sent_at=_sent_at(event.get("origin_server_ts")),
        kind=said.kind,
        text=said.text,
        attachments=said.attachments,
        target=said.target,
        thread=thread_of(event) if said.kind is Kind.MESSAGE else "",
        quote=said.quote if replied_to(event) else "",
    )


def _user_id(value: object) -> str | None:
    if isinstance(value, str) and len(value) <= LONGEST_ID and _USER_ID.fullmatch(value):
        return value
    return None


def _sent_at(value: object) -> float:
    """Unix seconds; an impossible time counts as now, for what seems too old would not be answered."""
    now = time.time()
    claimed = seconds(value) or 0.0
    return claimed if _EPOCH_S <= claimed <= now + _DAY_S else now


def _read(event: Mapping[str, Any], sender: str) -> Said | Skipped:
    kind = event.get("type")
    if "state_key" in event:
        return Skipped("state_event")
    if kind == "m.room.encrypted":
        return Skipped("encrypted")
    if kind == "m.room.redaction":
        return _redaction(event)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        return Skipped("unknown_type")
    content = mapping(event.get("content"))
    if not content or "redacted_because" in mapping(event.get("unsigned")):
        return Skipped("redacted")
    if relation(event).get("rel_type") == "m.replace":
        return _edit(event, reader, sender)
    return reader(content, sender)


def _edit(event: Mapping[str, Any], reader: _Reader, sender: str) -> Said | Skipped:
    """A person's second thoughts ("Event replacements"); their files stay what they were."""
    target = event_id(relation(event).get("event_id"))
    if not target:
        return Skipped("bad_relation")
    said = reader(mapping(mapping(event["content"]).get("m.new_content")), sender)
    if isinstance(said, Skipped):
        return said
    return Said(kind=Kind.EDIT, text=said.text, target=target)


def _redaction(event: Mapping[str, Any]) -> Said | Skipped:
    """What it takes back stands in the content since room version 11 ("m.room.redaction"), before it beside that.

    There homeservers repeat it for older clients, so that this place is right wherever both are filled.
    """
    target = event_id(event.get("redacts")) or event_id(mapping(event.get("content")).get("redacts"))
    return Said(kind=Kind.REDACTION, target=target) if target else Skipped("bad_relation")


def _reaction(content: Mapping[str, Any], _: str) -> Said | Skipped:
    """An emoji at a message ("Event annotations and reactions"); a picture for an emoji has a name beside it."""
    annotation = mapping(content.get("m.relates_to"))
    target, key = event_id(annotation.get("event_id")), text(annotation.get("key")) or ""
    if annotation.get("rel_type") != "m.annotation" or not target:
        return Skipped("bad_relation")
    if key.startswith("mxc://"):
        key = text(content.get("shortcode")) or text(content.get("com.beeper.reaction.shortcode")) or ""
    key = clean(unicodedata.normalize("NFC", key)).strip()[:_LONGEST_REACTION]
    bare = _LOOKS.sub("", key) or key
    return Said(kind=Kind.REACTION, text=bare, target=target) if bare else Skipped("empty")


_Reader = Callable[[Mapping[str, Any], str], Said | Skipped]
_READERS: Mapping[str, _Reader] = {
    "m.room.message": say,
    "m.sticker": sticker,
    "m.reaction": _reaction,
    "m.poll.start": poll,
    "org.matrix.msc3381.poll.start": poll,
}
