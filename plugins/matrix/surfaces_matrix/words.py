"""All sentences of this plugin that people read."""

from __future__ import annotations

MISSED_AWAY = "I was away for a while and passed over some messages here. Please say again what still matters."
MISSED_FLOOD = (
    "More came in here than I could take, so I passed over some messages. Please say again what still matters."
)
MISSED_UNREADABLE = "I couldn't read some messages here, so I passed over them. Please say again what still matters."
FILE_TOO_BIG_IN = "That file is too big for me."
FILE_GONE = "I can't find that file any more. Please send it again."
FILE_TOO_BIG_OUT = "The file is too big for this chat."
DRAFT_MARK = "…"


def location(description: str, geo_uri: str) -> str:
    """A place that a person sent, for the agent to read; `geo_uri` as in RFC 5870."""
    return f"📍 {description} ({geo_uri})" if description else f"📍 {geo_uri}"
