"""Reads what an event of a room has to do with others: threads, replies, and the quotations in them.

What has the wrong shape counts as not there. Sections named are those of the client-server API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from surfaces_matrix.shapes import LONGEST_ID, mapping

_EVENT_ID = re.compile(r"\$[^\x00-\x20\x7f]+")
_FALLBACK = re.compile(r"> (\* )?<@[^>\n]*> ?")


def event_id(value: object) -> str:
    """The id of an event, or nothing for anything else."""
    return value if isinstance(value, str) and len(value) <= LONGEST_ID and _EVENT_ID.fullmatch(value) else ""


def relation(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """How an event relates to another ("Forming relationships between events")."""
    return mapping(mapping(event.get("content")).get("m.relates_to"))


def thread_of(event: Mapping[str, Any]) -> str:
    """The root of the thread that an event is in ("Threading"), or nothing."""
    related = relation(event)
    return event_id(related.get("event_id")) if related.get("rel_type") == "m.thread" else ""


def replied_to(event: Mapping[str, Any]) -> str:
    """The event that a person replied to ("Rich replies"), or nothing.

    In a thread, clients name its last event for those that know no threads: that is no reply.
    """
    related = relation(event)
    if thread_of(event) and related.get("is_falling_back") is True:
        return ""
    return event_id(mapping(related.get("m.in_reply_to")).get("event_id"))


def without_fallback(body: str, content: Mapping[str, Any]) -> tuple[str, str]:
    """A reply's body without the quotation that older clients put before it, and what is quoted there."""
    found = _FALLBACK.match(body) if "m.in_reply_to" in mapping(content.get("m.relates_to")) else None
    if found is None:
        return body, ""
    lines = body.split("\n")
    end = next((n for n, line in enumerate(lines) if not line.startswith(">")), len(lines))
    quoted = [body[found.end() : len(lines[0])], *(line[1:].removeprefix(" ") for line in lines[1:end])]
    return "\n".join(lines[end:]).removeprefix("\n"), (found[1] or "") + "\n".join(quoted).strip()
