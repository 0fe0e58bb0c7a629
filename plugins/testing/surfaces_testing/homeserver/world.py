"""Everything the homeserver knows, and the acts that change it; knows nothing of HTTP."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from surfaces_testing.homeserver.accounts import Changes, Device, User
from surfaces_testing.homeserver.errors import MatrixError, forbidden, not_found, too_large
from surfaces_testing.homeserver.event import Event, Json, Origin, event_hash, fits
from surfaces_testing.homeserver.room import Receipt, Room
from surfaces_testing.homeserver.rules import may_redact, may_send


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One uploaded file."""

    owner: str
    data: bytes
    mime: str
    name: str | None = None


class World:
    """Users, rooms, media and one numbered stream of all changes."""

    def __init__(self, server_name: str, room_version: str) -> None:
        self.server_name = server_name
        self.room_version = room_version
        self.users: dict[str, User] = {}
        self.devices: dict[str, Device] = {}
        """By access token."""
        self.rooms: dict[str, Room] = {}
        self.aliases: dict[str, str] = {}
        self.media: dict[str, Media] = {}
        self.transactions: dict[Origin, dict[str, str]] = {}
        """Origin to room id to event id: what a repeated transaction id is answered with."""
        self.log: list[str] = []
        """What changed, by position: a room id, or a user id for somebody's own data."""
        self.changes = Changes()
        self.sent: Counter[tuple[str, str]] = Counter()
        """How many events of a type somebody sent."""
        self.watchers: list[Callable[[Event], None]] = []
        """Told of every event at once; quick, without I/O."""
        self._salt = secrets.token_hex(8)
        self._made = 0

    @property
    def pos(self) -> int:
        """The position of the newest change."""
        return len(self.log)

    def room(self, room_id: str) -> Room:
        """A room. Raises 404."""
        room = self.rooms.get(room_id)
        if room is None:
            raise not_found("Unknown room")
        return room

    def user(self, user_id: str) -> User:
        """A user. Raises 404."""
        user = self.users.get(user_id)
        if user is None:
            raise not_found("User not found")
        return user

    def register(self, user_id: str, password: str, display_name: str | None = None) -> User:
        """Add a user, or change one's password and name."""
        user = self.users.get(user_id)
        name = display_name or user_id[1:].partition(":")[0]
        if user is None:
            user = self.users[user_id] = User(user_id=user_id, password=password, display_name=name)
        user.password, user.display_name = password, name
        return user

    # Logins ---------------------------------------------------------------------------------------

    def log_in(self, user: User, device_id: str | None) -> Device:
        """A new token; an older one of the same device ends."""
        device_id = device_id or secrets.token_hex(5).upper()
        for token in [t for t, d in self.devices.items() if (d.user_id, d.device_id) == (user.user_id, device_id)]:
            del self.devices[token]
        device = Device(user_id=user.user_id, device_id=device_id, token=f"syt_{secrets.token_urlsafe(24)}")
        self.devices[device.token] = device
        return device

    def revoke(self, user_id: str) -> None:
        """End all logins of somebody."""
        for token in [token for token, device in self.devices.items() if device.user_id == user_id]:
            del self.devices[token]
        if user_id in self.users:
            self.users[user_id].changes.touch()

    # Events ---------------------------------------------------------------------------------------

    def new_event_id(self) -> str:
        """As room versions from 4 on make them."""
        return "$" + self._fresh()

    def new_room_id(self, version: str) -> str:
        """As the room version wants it: version 12 has no server in it."""
        opaque = self._fresh()
        return f"!{opaque}" if version == "12" else f"!{opaque[:18]}:{self.server_name}"

    def send(
        self,
        room: Room,
        sender: str,
        kind: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        origin: Origin | None = None,
    ) -> Event:
        """Put an event into a room if it is allowed and new. Raises `MatrixError`."""
        known = self._known(room, origin)
        if known is not None:
            return known
        content = dict(content)
        may_send(room, sender, kind, state_key, content)
        if not fits(content, room.room_id, sender, kind, state_key or ""):
            raise too_large()
        if state_key is not None:
            unchanged = room.state.get((kind, state_key))
            if unchanged is not None and unchanged.content == content and unchanged.sender == sender:
                return unchanged
        return self.add(room, sender, kind, content, state_key=state_key, origin=origin)

    def redact(
        self, room: Room, sender: str, target: str, reason: str | None = None, origin: Origin | None = None
    ) -> Event:
        """Take back an event. Raises `MatrixError`."""
        known = self._known(room, origin)
        if known is not None:
            return known
        event = room.event(target)
        # What is not there (yet) may be redacted all the same, as on Synapse.
        may_redact(room, sender, sender if event is None else event.sender)
        content: Json = {"redacts": target} | ({} if reason is None else {"reason": reason})
        redaction = self.add(room, sender, "m.room.redaction", content, origin=origin)
        if event is not None:
            room.put(event.redacted(redaction))
        return redaction

    def add(
        self,
        room: Room,
        sender: str,
        kind: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        origin: Origin | None = None,
        event_id: str | None = None,
    ) -> Event:
        """Put an event into a room without asking whether it is allowed."""
        event = Event(
            event_id=event_id or self.new_event_id(),
            room_id=room.room_id,
            type=kind,
            sender=sender,
            content=content,
            ts=int(time.time() * 1000),
            pos=self._log(room.room_id),
            state_key=state_key,
            replaces=None if state_key is None else room.state.get((kind, state_key)),
            origin=origin,
        )
        room.add(event)
        self.sent[sender, kind] += 1
        for watch in self.watchers:
            watch(event)
        if origin is not None:
            self.transactions.setdefault(origin, {})[room.room_id] = event.event_id
        if kind == "m.room.member" and state_key in self.users:
            self.users[state_key].rooms.add(room.room_id)
            room.forgotten.discard(state_key)
            self.users[state_key].changes.touch()
        self._wake(room)
        return event

    def member(self, room: Room, sender: str, target: str, membership: str, **content: Any) -> Event:
        """Change somebody's membership. Raises `MatrixError`."""
        if target.partition(":")[2] != self.server_name:
            raise forbidden("There are no other servers")
        wanted: Json = {"membership": membership, **content}
        # Synapse lets one invite whoever might register some day.
        if membership in ("join", "invite") and target in self.users:
            wanted |= self.users[target].profile
        return self.send(room, sender, "m.room.member", wanted, state_key=target)

    def roll_back(self, pos: int) -> None:
        """Forget everything after a position, transaction ids too."""
        for room in list(self.rooms.values()):
            kept = room.between(0, pos)
            del self.rooms[room.room_id]
            if kept:
                again = self.rooms[room.room_id] = Room(room.room_id, room.version)
                for event in kept:
                    again.add(event)
        for user in self.users.values():
            user.rooms = {room_id for room_id, room in self.rooms.items() if user.user_id in room.members}
        self.transactions = {
            origin: left
            for origin, made in self.transactions.items()
            if (left := {r: e for r, e in made.items() if r in self.rooms and e in self.rooms[r].index})
        }
        del self.log[pos:]
        self.changes.touch()

    def forget_transactions(self, device_id: str | None = None) -> None:
        """Transaction ids from before are taken for new: of one device, or of all (Synapse keeps them up to a day)."""
        self.transactions = {
            origin: made for origin, made in self.transactions.items() if device_id not in (None, origin.device_id)
        }

    # What is not an event -------------------------------------------------------------------------

    def typing(self, room: Room, user_id: str, seconds: float | None) -> None:
        """Somebody types for a while, or (None) no more."""
        if seconds is None and user_id not in room.typing:
            return
        if seconds is None:
            del room.typing[user_id]
        else:
            room.typing[user_id] = time.monotonic() + seconds
        room.typing_pos = self._log(room.room_id)
        self._wake(room)

    def read(self, room: Room, user_id: str, event_id: str) -> None:
        """Somebody has read up to an event."""
        pos = self._log(room.room_id)
        room.receipts[user_id] = Receipt(user_id=user_id, event_id=event_id, ts=int(time.time() * 1000), pos=pos)
        self._wake(room)

    def set_account_data(self, user: User, room_id: str, kind: str, content: Json) -> None:
        """Keep something for somebody's clients; `room_id` is empty for what belongs to no room."""
        user.account_data[room_id, kind] = (self._log(room_id or user.user_id), content)
        user.changes.touch()
        self.changes.touch()

    def upload(self, owner: str, data: bytes, mime: str, name: str | None) -> str:
        """Keep a file; its `mxc://` address."""
        media_id = event_hash(f"{self._salt} media {len(self.media)}")[:24]
        self.media[media_id] = Media(owner=owner, data=data, mime=mime, name=name)
        self.changes.touch()
        return f"mxc://{self.server_name}/{media_id}"

    def set_alias(self, alias: str, room_id: str) -> None:
        """Name a room. Raises 409."""
        if alias in self.aliases:
            raise MatrixError(409, "M_UNKNOWN", f"Room alias {alias} already exists")
        self.aliases[alias] = room_id
        self.changes.touch()

    def rename(self, user: User, display_name: str) -> None:
        """Change a profile, and with it the memberships."""
        user.display_name = display_name
        for room in [self.rooms[room_id] for room_id in user.rooms]:
            if room.membership(user.user_id) == "join":
                self.member(room, user.user_id, user.user_id, "join")

    def changed_rooms(self, since: int) -> set[str]:
        """What changed after a position."""
        return set(self.log[since:])

    # Inside ---------------------------------------------------------------------------------------

    def _fresh(self) -> str:
        """43 characters that never come again, even after a roll-back."""
        self._made += 1
        return event_hash(f"{self._salt} event {self._made}")

    def _known(self, room: Room, origin: Origin | None) -> Event | None:
        """The event that this transaction id made before (Synapse: per room, user, device and id)."""
        if origin is None:
            return None
        event_id = self.transactions.get(origin, {}).get(room.room_id)
        return None if event_id is None else room.event(event_id)

    def _log(self, what: str) -> int:
        self.log.append(what)
        return len(self.log)

    def _wake(self, room: Room) -> None:
        for user_id, membership in room.members.items():
            if membership in ("join", "invite") and user_id in self.users:
                self.users[user_id].changes.touch()
        self.changes.touch()
