"""What is asked of the homeserver in a sync (Matrix spec, "Filtering")."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

STATE_TYPES = (
    "io.surfaces.binding",
    "io.surfaces.space",
    "m.room.create",
    "m.room.encryption",
    "m.room.member",
    "m.room.name",
    "m.room.power_levels",
    "m.room.tombstone",
    "m.space.child",
    "m.space.parent",
)
"""The state that says which conversations there are, whose, and where the bot may talk."""
LIVE_STATE_TYPES = ("m.room.encryption", "m.room.member", "m.room.name", "m.room.power_levels", "m.room.tombstone")
"""The state whose changes matter while the bot runs."""
MESSAGE_TYPES = (
    "m.room.message",
    "m.sticker",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.room.encrypted",
    "m.key.verification.*",
)
"""What `translate` makes messages of, and what the keys of rooms are about,"""
SIGN_TYPES = ("m.reaction", "m.room.redaction")
"""and what is said about them."""
_STATE_FIELDS = ("type", "state_key", "sender", "content", "origin_server_ts", "event_id")
_NOTHING = {"not_types": ["*"]}


def live_filter(me: str, limit: int) -> str:
    """Messages of others, who comes and goes, and which rooms become encrypted, are renamed or move.

    The bot's own events are left out by the homeserver, so that its edits push nobody's message out
    of the timeline.
    """
    timeline = {**messages_filter(me), "limit": limit, "types": (*MESSAGE_TYPES, *SIGN_TYPES, *LIVE_STATE_TYPES)}
    return _json({"timeline": timeline, "state": {"types": LIVE_STATE_TYPES, "lazy_load_members": True}})


def messages_filter(me: str) -> Mapping[str, object]:
    """Which events of a timeline matter."""
    return {"not_senders": [me], "types": (*MESSAGE_TYPES, *SIGN_TYPES)}


def snapshot_filter() -> str:
    """The state in `STATE_TYPES`, and bindings among the bot's own data of a room."""
    state = {"types": STATE_TYPES, "lazy_load_members": True}
    own = {"types": ["io.surfaces.binding"]}
    return _json({"timeline": {**state, "limit": 1}, "state": state, "account_data": own}, event_fields=_STATE_FIELDS)


def nothing_filter() -> str:
    """No room at all."""
    return _json({"rooms": []})


def _json(room: Mapping[str, object], **more: object) -> str:
    quiet = {"account_data": _NOTHING, "ephemeral": _NOTHING}
    return orjson.dumps({"presence": _NOTHING, "account_data": _NOTHING, "room": {**quiet, **room}, **more}).decode()
