"""Makes the content of the events that the bot sends (Matrix spec, "Instant Messaging" and "Event replacements")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surfaces_core import Draft, FileKind, FileRef, Outbound
from surfaces_matrix.markdown import to_html

Content = dict[str, Any]

MARK = "io.surfaces.id"
"""Says in each message of the bot which part of which answer it is."""
KEY = "io.surfaces.key"
"""Says in a message under which key it was said, where that can't be told from its `MARK`."""
_MSGTYPES = {FileKind.IMAGE: "m.image", FileKind.AUDIO: "m.audio", FileKind.VIDEO: "m.video", FileKind.OTHER: "m.file"}


def mark(turn: str, part: int) -> Content:
    """What stands under `MARK`."""
    return {"turn": turn, "part": part}


def text_content(text: str, *, turn: str, part: int, notice: bool = False) -> Content:
    """A message; it mentions nobody, whatever its text says."""
    text = _sendable(text)
    content: Content = {"msgtype": "m.notice" if notice else "m.text", "body": text}
    return _finished(content, text, turn, part)


def file_content(file: FileRef, where: Content, caption: str, *, turn: str, part: int) -> Content:
    """A file; `body` is the caption where there is one, the file's name otherwise.

    `where` is its `url`, or its `file` where that is encrypted, and under `thumbnail` what its `info`
    says of that.
    """
    name, caption = _sendable(file.name), _sendable(caption)
    where = dict(where)
    info = {**_info(file), **where.pop("thumbnail", {})}
    content: Content = {
        "msgtype": _MSGTYPES[file.kind],
        "body": caption or name,
        "filename": name,
        **where,
        "info": info,
    }
    return _finished(content, caption, turn, part)


def thumbnail_info(file: FileRef, where: Content) -> Content:
    """What a picture's `info` says of its thumbnail, which is at `where` ("ThumbnailInfo")."""
    return {**{f"thumbnail_{name}": value for name, value in where.items()}, "thumbnail_info": _info(file)}


def placed(content: Content, what: Outbound | Draft) -> Content:
    """The content, in the thread and as the reply that it is to be ("Threading", "Rich replies").

    In a thread every message names another one, for clients that know no threads.
    """
    if what.thread:
        replied = {"event_id": what.reply_to or what.thread}
        relation = {"rel_type": "m.thread", "event_id": what.thread, "m.in_reply_to": replied}
        return {**content, "m.relates_to": {**relation, "is_falling_back": not what.reply_to}}
    if what.reply_to:
        return {**content, "m.relates_to": {"m.in_reply_to": {"event_id": what.reply_to}}}
    return content


def edit_content(event_id: str, new: Content) -> Content:
    """Replaces an event's content with `new`; where it stands can't be changed.

    The fallback for clients that know no edits is plain: HTML a second time would cost half of
    what an event may hold.
    """
    new = unplaced(new)
    return {
        "msgtype": new["msgtype"],
        "body": f"* {new['body']}",
        "m.mentions": {},
        **{name: new[name] for name in (MARK, KEY) if name in new},
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def unplaced(content: Mapping[str, Any]) -> Content:
    """The content, wherever it stands."""
    return {name: value for name, value in content.items() if name != "m.relates_to"}


def _finished(content: Content, text: str, turn: str, part: int) -> Content:
    html = to_html(text) if text else None
    if html is not None:
        content["format"] = "org.matrix.custom.html"
        content["formatted_body"] = html
    content["m.mentions"] = {}
    content[MARK] = mark(turn, part)
    return content


def _info(file: FileRef) -> Content:
    """Size in bytes, `w` and `h` in pixels, `duration` in milliseconds; what is not known is left out."""
    info: Content = {"size": file.size, "mimetype": file.mime}
    for name, value in (("w", file.width), ("h", file.height), ("duration", file.duration_ms)):
        if value is not None:
            info[name] = value
    return info


def _sendable(text: str) -> str:
    """Text that JSON and the homeserver's database can hold: without lone surrogates and NUL."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
