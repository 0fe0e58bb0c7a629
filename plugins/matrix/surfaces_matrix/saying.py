"""Reads what the content of a message says: text, files, or both ("m.room.message msgtypes").

Whatever is in it, nothing here raises. Sections named are those of the client-server API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from html import unescape
from typing import Any, Literal

import nh3

from surfaces_core import Attachment, Kind
from surfaces_matrix import words
from surfaces_matrix.references import reference_of
from surfaces_matrix.relations import without_fallback
from surfaces_matrix.shapes import mapping, sequence, text

Reason = Literal[
    "not_an_object",
    "malformed",
    "own_event",
    "state_event",
    "encrypted",
    "unknown_type",
    "redacted",
    "bad_relation",
    "notice",
    "verification",
    "bad_attachment",
    "empty",
]

_MXC = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_-]{1,255}")
_MIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_GEO = re.compile(r"geo:[-+.,;=%A-Za-z0-9]{1,200}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_ENDS = re.compile(r"<(?:br|/p|/li|/div|/tr|/pre|/h[1-6]|/blockquote)\b[^<>]{0,20}>", re.IGNORECASE)
_HAS_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_UNKNOWN = "application/octet-stream"
_ENDINGS = {
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/webm": ".webm",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}
_VOICE = ("org.matrix.msc3245.voice", "org.matrix.msc3245.voice.v2", "m.voice")
"""Marks of a voice message; a specification has none yet (MSC3245)."""
_TEXTS = ("m.text", "org.matrix.msc1767.text")
"""Text where other things may stand beside it (MSC1767), in what the specification will call it and in what it is."""
_LONGEST_NAME = 255
_MOST_FILES = 50
_MOST_ANSWERS = 20
"""More a poll may not have (MSC3381)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event that is not for the host."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an event says."""

    kind: Kind = Kind.MESSAGE
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    target: str = ""
    quote: str = ""
    """What an older client quoted for a reply."""


def say(content: Mapping[str, Any], sender: str) -> Said | Skipped:
    """A message, by its msgtype; one of an unknown kind by its body, which is there for that."""
    msgtype = text(content.get("msgtype")) or ""
    if msgtype in ("m.notice", "m.server_notice"):
        # Notices are what bots say: two that answered each other's would never stop.
        return Skipped("notice")
    if msgtype.startswith("m.key.verification."):
        return Skipped("verification")
    said = _READERS.get(msgtype, _text)(content, sender)
    quote = _body(content)[1]
    return replace(said, quote=quote) if quote and isinstance(said, Said) else said


def sticker(content: Mapping[str, Any], _: str) -> Said | Skipped:
    """A sticker ("Sticker messages"): a picture whose body says what is on it."""
    found = _attachment(content, "image", "sticker")
    return found if isinstance(found, Skipped) else Said(attachments=(found,), quote=_body(content)[1])


def poll(content: Mapping[str, Any], _: str) -> Said | Skipped:
    """A poll (MSC3381), as its question and what may be answered."""
    start = mapping(content.get("m.poll") or content.get("org.matrix.msc3381.poll.start"))
    question = _extensible(mapping(start.get("question")))
    answers = [_extensible(mapping(answer)) for answer in sequence(start.get("answers"))[:_MOST_ANSWERS]]
    lines = [f"📊 {question}", *(f"{n}. {answer}" for n, answer in enumerate(filter(None, answers), 1))]
    return Said(text="\n".join(lines)) if question else _text(content, "")


def clean(value: str) -> str:
    """Without control characters but tab and line feed."""
    return _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))


# Texts


def _text(content: Mapping[str, Any], _: str) -> Said | Skipped:
    words_ = _words(content)
    return Said(text=words_) if words_.strip() else Skipped("empty")


def _emote(content: Mapping[str, Any], sender: str) -> Said | Skipped:
    words_ = _words(content)
    return Said(text=f"* {sender[1:].partition(':')[0]} {words_}") if words_.strip() else Skipped("empty")


def _location(content: Mapping[str, Any], _: str) -> Said | Skipped:
    description, place = _words(content).strip(), text(content.get("geo_uri")) or ""
    if _GEO.fullmatch(place):
        return Said(text=words.location("" if description == place else description, place))
    return Said(text=description) if description else Skipped("empty")


def _words(content: Mapping[str, Any]) -> str:
    """The text: the body, for that is what the sender saw or wrote; else what stands in its place."""
    body, _ = _body(content)
    if text(content.get("body")) is not None:
        return body
    html = text(content.get("formatted_body"))
    return _extensible(content) if html is None else _without_tags(html)


def _body(content: Mapping[str, Any]) -> tuple[str, str]:
    """The body as it was meant, and what it quotes for a reply."""
    return without_fallback(clean(text(content.get("body")) or ""), content)


def _extensible(content: Mapping[str, Any]) -> str:
    """A text (MSC1767): as it is, or as the first of several forms that is plain."""
    for name in _TEXTS:
        found = content.get(name)
        forms = [mapping(form) for form in sequence(found)]
        plain = [form.get("body") for form in forms if form.get("mimetype", "text/plain") == "text/plain"]
        value = found if isinstance(found, str) else next(iter(plain), None)
        if isinstance(value, str):
            return clean(value).strip()
    return clean(text(content.get("body")) or "").strip()


def _without_tags(html: str) -> str:
    lines = _LINE_ENDS.sub(lambda tag: f"{tag[0]}\n", html)
    bare = nh3.clean(lines, tags=set(), clean_content_tags={"mx-reply", "script", "style"})
    return clean(unescape(bare)).strip()


# Files


def _media(kind: str) -> Callable[[Mapping[str, Any], str], Said | Skipped]:
    def read(content: Mapping[str, Any], _: str) -> Said | Skipped:
        found = _attachment(content, kind, kind)
        if isinstance(found, Skipped):
            return found
        return Said(text=_caption(content), attachments=(found,))

    return read


def _gallery(content: Mapping[str, Any], _: str) -> Said | Skipped:
    """Several files that were sent together (MSC4274), with one caption for all."""
    items = [mapping(item) for item in sequence(content.get("itemtypes"))[:_MOST_FILES]]
    kinds = [_FILE_KINDS.get(text(item.get("itemtype")) or "", "file") for item in items]
    found = [_attachment(item, kind, kind) for item, kind in zip(items, kinds, strict=True)]
    attachments = tuple(each for each in found if not isinstance(each, Skipped))
    caption = _words(content)
    if attachments or caption.strip():
        return Said(text=caption if caption.strip() else "", attachments=attachments)
    return next((each for each in found if isinstance(each, Skipped)), Skipped("empty"))


def _caption(content: Mapping[str, Any]) -> str:
    """What is said with a file ("Media captions"); without a name of its own the body is the name."""
    body, filename = _body(content)[0], text(content.get("filename"))
    return body if filename is not None and body != filename and body.strip() else ""


def _attachment(content: Mapping[str, Any], kind: str, default_name: str) -> Attachment | Skipped:
    ref = _reference(content)
    if ref is None:
        return Skipped("bad_attachment")
    info = mapping(content.get("info"))
    mime, voice = _mime(info.get("mimetype")), kind == "audio" and any(mark in content for mark in _VOICE)
    name = "" if voice else text(content.get("filename")) or _body(content)[0]
    return Attachment(
        ref=ref,
        name=_named(name, "voice-message" if voice else default_name, kind, mime),
        mime=mime,
        size=_count(info.get("size")),
        voice=voice,
        duration_ms=_duration(content, info) if kind in ("audio", "video") else None,
    )


def _reference(content: Mapping[str, Any]) -> str | None:
    """What is needed to fetch a file; one that is encrypted carries its key ("Sending encrypted attachments")."""
    encrypted = mapping(content.get("file"))
    uri = text((encrypted or content).get("url"))
    if uri is None or not _MXC.fullmatch(uri):
        return None
    return reference_of(encrypted, uri) if encrypted else uri


def _named(name: str, default: str, kind: str, mime: str) -> str:
    """The name of a file; to what is to be seen or heard belongs an ending, or nothing knows what it is."""
    name = clean(name).replace("\n", " ").strip()[:_LONGEST_NAME] or default
    if kind == "file" or _HAS_ENDING.search(name):
        return name
    return name + _ENDINGS.get(mime, ".ogg" if default == "voice-message" else "")


def _duration(content: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    """Milliseconds, as the sender's client measured it."""
    audio = mapping(content.get("org.matrix.msc1767.audio") or content.get("m.audio"))
    return _count(info.get("duration")) or _count(audio.get("duration"))


def _mime(value: object) -> str:
    bare = value.partition(";")[0].strip() if isinstance(value, str) else ""
    return bare.lower() if _MIME.fullmatch(bare) else _UNKNOWN


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return value
    return None


_FILE_KINDS = {"m.image": "image", "m.audio": "audio", "m.video": "video", "m.file": "file"}
_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Said | Skipped]] = {
    "m.emote": _emote,
    "m.location": _location,
    "m.gallery": _gallery,
    "dm.filament.gallery": _gallery,
    **{msgtype: _media(kind) for msgtype, kind in _FILE_KINDS.items()},
}
