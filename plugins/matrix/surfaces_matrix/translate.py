"""Turns an event of a Matrix room into an `Inbound`, or says why it is not one for the host.

Whatever JSON a homeserver sends, nothing here raises: what has the wrong shape counts as not there
or makes the event a `Skipped` one. Sections named are those of the client-server API.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from surfaces_core import Address, Attachment, Inbound
from surfaces_matrix import words
from surfaces_matrix.shapes import mapping, seconds, text

Reason = Literal[
    "not_an_object",
    "malformed",
    "own_event",
    "state_event",
    "encrypted",
    "unknown_type",
    "redacted",
    "edit",
    "notice",
    "unknown_msgtype",
    "bad_attachment",
    "empty",
]

_USER_ID = re.compile(r"@[^:\x00-\x20\x7f]*:[^\x00-\x20\x7f]+")
_EVENT_ID = re.compile(r"\$[^\x00-\x20\x7f]+")
_MXC = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}")
_MIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_GEO = re.compile(r"geo:[-+.,;=%A-Za-z0-9]{1,200}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FALLBACK = re.compile(r"> (?:\* )?<@")
_LONGEST_ID = 255
_LONGEST_NAME = 255
_EPOCH_S = 1_400_000_000.0
"""Matrix did not exist before: an earlier time is a wrong one, and so is one more than a day ahead."""
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event that is not for the host."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class _Said:
    """What an event says: text, a file or both."""

    text: str = ""
    attachment: Attachment | None = None


def translate(surface: str, room_id: str, event: object, *, me: str) -> Inbound | Skipped:
    """One event of a room's timeline, as `/sync` and `/messages` show it; `me` is the bot's user id."""
    if not isinstance(event, dict):
        return Skipped("not_an_object")
    sender, event_id = _identifier(event.get("sender"), _USER_ID), _identifier(event.get("event_id"), _EVENT_ID)
    if sender is None or event_id is None:
        return Skipped("malformed")
    said = Skipped("own_event") if sender == me else _said(event, sender)
    if isinstance(said, Skipped):
        return said
    return Inbound(
        address=Address(surface=surface, conversation=room_id),
        event_id=event_id,
        sender=sender,
        sent_at=_sent_at(event.get("origin_server_ts")),
        text=said.text,
        attachments=() if said.attachment is None else (said.attachment,),
    )


def _identifier(value: object, pattern: re.Pattern[str]) -> str | None:
    if isinstance(value, str) and len(value) <= _LONGEST_ID and pattern.fullmatch(value):
        return value
    return None


def _sent_at(value: object) -> float:
    """Unix seconds; an impossible time counts as now, for what seems too old would not be answered."""
    now = time.time()
    claimed = seconds(value) or 0.0
    return claimed if _EPOCH_S <= claimed <= now + _DAY_S else now


def _said(event: Mapping[str, Any], sender: str) -> _Said | Skipped:
    if "state_key" in event:
        return Skipped("state_event")
    kind, content = event.get("type"), mapping(event.get("content"))
    if kind == "m.room.encrypted":
        return Skipped("encrypted")
    if kind not in ("m.room.message", "m.sticker"):
        return Skipped("unknown_type")
    if not content or "redacted_because" in mapping(event.get("unsigned")):
        return Skipped("redacted")
    if mapping(content.get("m.relates_to")).get("rel_type") == "m.replace":
        return Skipped("edit")
    return _file(content, "sticker") if kind == "m.sticker" else _message(content, sender)


def _message(content: Mapping[str, Any], sender: str) -> _Said | Skipped:
    """A message by its msgtype ("m.room.message msgtypes")."""
    msgtype = text(content.get("msgtype"))
    if msgtype == "m.notice":
        # Notices are what bots say: two that answered each other's would never stop.
        return Skipped("notice")
    reader = _READERS.get(msgtype or "")
    return Skipped("unknown_msgtype") if reader is None else reader(content, sender)


def _text(content: Mapping[str, Any], _: str) -> _Said | Skipped:
    body = _body(content)
    return _Said(body) if body.strip() else Skipped("empty")


def _emote(content: Mapping[str, Any], sender: str) -> _Said | Skipped:
    body = _body(content)
    return _Said(f"* {sender[1:].partition(':')[0]} {body}") if body.strip() else Skipped("empty")


def _location(content: Mapping[str, Any], _: str) -> _Said | Skipped:
    body, place = _body(content).strip(), text(content.get("geo_uri")) or ""
    if _GEO.fullmatch(place):
        return _Said(words.location(body, place))
    return _Said(body) if body else Skipped("empty")


def _file(content: Mapping[str, Any], default_name: str) -> _Said | Skipped:
    """A file, with its caption as text where `body` is one ("Media captions")."""
    if "file" in content and "url" not in content:
        return Skipped("encrypted")
    uri = text(content.get("url"))
    if uri is None or not _MXC.fullmatch(uri):
        return Skipped("bad_attachment")
    body, filename = _body(content), text(content.get("filename"))
    info = mapping(content.get("info"))
    attachment = Attachment(
        ref=uri,
        name=_clean(filename or body).replace("\n", " ").strip()[:_LONGEST_NAME] or default_name,
        mime=_mime(info.get("mimetype")),
        size=_size(info.get("size")),
    )
    caption = body if filename is not None and body != filename and body.strip() else ""
    return _Said(caption, attachment)


def _mime(value: object) -> str:
    bare = value.partition(";")[0].strip() if isinstance(value, str) else ""
    return bare.lower() if _MIME.fullmatch(bare) else "application/octet-stream"


def _size(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return value
    return None


def _body(content: Mapping[str, Any]) -> str:
    """The text, without the quotation that older clients put before a reply ("Rich replies")."""
    body = _clean(text(content.get("body")) or "")
    relation = mapping(content.get("m.relates_to"))
    if "m.in_reply_to" not in relation or not _FALLBACK.match(body):
        return body
    lines = body.split("\n")
    quoted = next((n for n, line in enumerate(lines) if not line.startswith(">")), len(lines))
    return "\n".join(lines[quoted:]).removeprefix("\n")


def _clean(value: str) -> str:
    """Without control characters but tab and line feed."""
    return _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], _Said | Skipped]] = {
    "m.text": _text,
    "m.emote": _emote,
    "m.location": _location,
    "m.image": lambda content, _: _file(content, "image"),
    "m.audio": lambda content, _: _file(content, "audio"),
    "m.video": lambda content, _: _file(content, "video"),
    "m.file": lambda content, _: _file(content, "file"),
}
