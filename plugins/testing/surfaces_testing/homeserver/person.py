"""Somebody at a client of the homeserver, without HTTP between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surfaces_testing.homeserver.accounts import User
from surfaces_testing.homeserver.creation import create_room
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.world import World


class Person:
    """Does what a person does; everything is done when it returns. Raises `MatrixError` where a client would."""

    def __init__(self, world: World, user: User) -> None:
        self._world = world
        self.user = user

    @property
    def user_id(self) -> str:
        """Like `@ann:hs.test`."""
        return self.user.user_id

    # Rooms ----------------------------------------------------------------------------------------

    def create_room(self, **config: Any) -> str:
        """A new room; `config` is that of `/createRoom`. Its id."""
        return create_room(self._world, self.user_id, config).room_id

    def create_dm(self, other: str) -> str:
        """A direct chat with somebody, who is invited; the room's id."""
        return self.create_room(invite=[other], is_direct=True, preset="trusted_private_chat")

    def invite(self, room_id: str, other: str) -> None:
        """Invite somebody."""
        self._world.member(self._world.room(room_id), self.user_id, other, "invite")

    def join(self, room_id: str) -> None:
        """Accept an invitation."""
        self._world.member(self._world.room(room_id), self.user_id, self.user_id, "join")

    def leave(self, room_id: str) -> None:
        """Leave, or decline an invitation."""
        self._world.member(self._world.room(room_id), self.user_id, self.user_id, "leave")

    def kick(self, room_id: str, other: str, reason: str | None = None) -> None:
        """Put somebody out."""
        self._remove(room_id, other, "leave", reason)

    def ban(self, room_id: str, other: str, reason: str | None = None) -> None:
        """Put somebody out for good."""
        self._remove(room_id, other, "ban", reason)

    def set_state(self, room_id: str, kind: str, content: Mapping[str, Any], state_key: str = "") -> str:
        """Change the room's state; the event's id."""
        room = self._world.room(room_id)
        return self._world.send(room, self.user_id, kind, content, state_key=state_key).event_id

    # Talking --------------------------------------------------------------------------------------

    def send(self, room_id: str, content: Mapping[str, Any], type: str = "m.room.message") -> str:  # noqa: A002
        """Send any event; its id."""
        return self._world.send(self._world.room(room_id), self.user_id, type, content).event_id

    def say(self, room_id: str, text: str) -> str:
        """Say something; the event's id."""
        return self.send(room_id, {"msgtype": "m.text", "body": text})

    def reply(self, room_id: str, to: str, text: str) -> str:
        """Answer a message; the event's id."""
        relation = {"m.in_reply_to": {"event_id": to}}
        return self.send(room_id, {"msgtype": "m.text", "body": text, "m.relates_to": relation})

    def edit(self, room_id: str, target: str, text: str) -> str:
        """Change what was said; the id of the edit's own event."""
        new = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": target}
        return self.send(room_id, {**new, "body": f"* {text}", "m.new_content": new, "m.relates_to": relation})

    def redact(self, room_id: str, target: str) -> str:
        """Take a message back; the id of the redaction."""
        return self._world.redact(self._world.room(room_id), self.user_id, target).event_id

    def react(self, room_id: str, target: str, key: str) -> str:
        """Put an emoji on a message; the event's id."""
        relation = {"rel_type": "m.annotation", "event_id": target, "key": key}
        return self.send(room_id, {"m.relates_to": relation}, type="m.reaction")

    def send_file(
        self, room_id: str, name: str, data: bytes, mime: str = "application/octet-stream", caption: str = ""
    ) -> str:
        """Upload and send a file; the event's id."""
        kind = {"image": "m.image", "audio": "m.audio", "video": "m.video"}.get(mime.partition("/")[0], "m.file")
        content: Json = {
            "msgtype": kind,
            "body": caption or name,
            "filename": name,
            "url": self._world.upload(self.user_id, data, mime, name),
            "info": {"mimetype": mime, "size": len(data)},
        }
        return self.send(room_id, content)

    def type(self, room_id: str, seconds: float | None = 30.0) -> None:
        """Begin to type, or (None) stop."""
        self._world.typing(self._world.room(room_id), self.user_id, seconds)

    def _remove(self, room_id: str, other: str, membership: str, reason: str | None) -> None:
        why = {} if reason is None else {"reason": reason}
        self._world.member(self._world.room(room_id), self.user_id, other, membership, **why)
