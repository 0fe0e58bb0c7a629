"""What a person sees in their client: rooms, members and messages with every version they ever had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAIN_TAG = "io.surfaces.id"
SPACE = "m.space"


@dataclass(slots=True, kw_only=True)
class Message:
    """One message as it shows; `versions` grows with every edit."""

    event_id: str
    sender: str
    kind: str
    """The `msgtype`."""
    versions: list[str]
    url: str | None = None
    """Where a file lies (`mxc://…`)."""
    turn: str | None = None
    part: int | None = None
    """Which turn of the bot said it, as the bot marks its events."""
    thread: str | None = None
    """The message under which it was said."""

    @property
    def text(self) -> str:
        """What it says now."""
        return self.versions[-1]

    @property
    def notice(self) -> bool:
        """Whether it is the program that speaks, not the agent."""
        return self.kind == "m.notice"


@dataclass(slots=True, kw_only=True)
class Room:
    """One room as it shows."""

    room_id: str
    name: str = ""
    space: bool = False
    membership: str = ""
    """The person's own: `invite`, `join` or `leave`."""
    children: dict[str, bool] = field(default_factory=dict)
    """Of a Space: room id to whether it is (still) in it."""
    messages: dict[str, Message] = field(default_factory=dict)
    """By event id, in the order they came."""
    typing: frozenset[str] = frozenset()

    def by(self, sender: str) -> list[Message]:
        """What one person said."""
        return [message for message in self.messages.values() if message.sender == sender]


class Timeline:
    """Everything a person's client knows, fed with the answers of `/sync`."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.rooms: dict[str, Room] = {}

    def room(self, room_id: str) -> Room:
        """A room; an empty one when nothing is known of it yet."""
        return self.rooms.setdefault(room_id, Room(room_id=room_id))

    def feed(self, sync: Mapping[str, Any]) -> None:
        """Take in one answer of `/sync` (Matrix client-server API, "Syncing")."""
        rooms = sync.get("rooms", {})
        for room_id, content in rooms.get("invite", {}).items():
            self.room(room_id).membership = "invite"
            self._events(room_id, content["invite_state"]["events"])
        for room_id, content in rooms.get("join", {}).items():
            self.room(room_id).membership = "join"
            self._events(room_id, content.get("state", {}).get("events", []))
            self._events(room_id, content["timeline"]["events"])
            self._ephemeral(room_id, content.get("ephemeral", {}).get("events", []))
        for room_id in rooms.get("leave", {}):
            self.room(room_id).membership = "leave"

    def _events(self, room_id: str, events: list[dict[str, Any]]) -> None:
        room = self.room(room_id)
        for event in events:
            content = event.get("content", {})
            match event["type"]:
                case "m.room.create":
                    room.space = content.get("type") == SPACE
                case "m.room.name":
                    room.name = content.get("name", "")
                case "m.space.child":
                    room.children[event["state_key"]] = "via" in content
                case "m.room.message" if content:
                    _message(room, event, content)

    def _ephemeral(self, room_id: str, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["type"] == "m.typing":
                self.room(room_id).typing = frozenset(event["content"]["user_ids"])


def _message(room: Room, event: dict[str, Any], content: dict[str, Any]) -> None:
    relation = content.get("m.relates_to") or {}
    if relation.get("rel_type") == "m.replace":
        edited = room.messages.get(relation["event_id"])
        # Only the author can edit (Matrix client-server API, "Validity of replacement events").
        if edited is not None and edited.sender == event["sender"]:
            edited.versions.append(content["m.new_content"]["body"])
        return
    tag = content.get(MAIN_TAG) or {}
    # A message comes twice when a room is joined in the middle of a sync: one id is one message.
    room.messages.setdefault(
        event["event_id"],
        Message(
            event_id=event["event_id"],
            sender=event["sender"],
            kind=content["msgtype"],
            versions=[content["body"]],
            url=content.get("url"),
            turn=tag.get("turn"),
            part=tag.get("part"),
            thread=relation["event_id"] if relation.get("rel_type") == "m.thread" else None,
        ),
    )
