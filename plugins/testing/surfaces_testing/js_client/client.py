"""The client itself: every verb of a person with their Matrix client, typed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from types import TracebackType
from typing import Any, Self

from surfaces_testing.js_client.process import NodeProcess
from surfaces_testing.js_client.values import (
    Device,
    JsMessage,
    JsRoom,
    OwnTrust,
    Phase,
    Restored,
    UserTrust,
    Verification,
)

POLL_START = "org.matrix.msc3381.poll.start"


class JsClient:
    """One device of one account in a process of its own, for as long as its `async with` block.

    Logged in and syncing when the block begins; `start=False` leaves both to the test. Encryption lives in memory:
    a device ends with its block. Every waiting method raises `NotSeen`, every other one `Refused`.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        device_id: str | None = None,
        device_name: str = "A client of another family",
        encryption: bool = True,
        start: bool = True,
    ) -> None:
        self._url = url
        self._user = user
        self._password = password
        self._device_id = device_id
        self._device_name = device_name
        self._encryption = encryption
        self._starts = start
        self._node = NodeProcess()
        self.user_id = ""
        self.device_id = ""

    async def __aenter__(self) -> Self:
        await self._node.__aenter__()
        try:
            if self._starts:
                await self.login()
                await self.start()
        except BaseException:
            await self._node.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._node.__aexit__(kind, error, trace)

    @property
    def timings(self) -> Sequence[tuple[str, int]]:
        """Each verb that was carried out, and how many milliseconds it took."""
        return tuple(self._node.timings)

    # The session ----------------------------------------------------------------------------------

    async def login(self) -> None:
        """Log in with the password as a new device, or as the named one."""
        answer = await self._node.do(
            "login",
            url=self._url,
            user=self._user,
            password=self._password,
            device_id=self._device_id,
            device_name=self._device_name,
        )
        self.user_id, self.device_id = answer["user_id"], answer["device_id"]

    async def start(self) -> None:
        """Sync, and wait for the first answer."""
        await self._node.do("start", encryption=self._encryption)

    async def stop(self) -> None:
        """Stop syncing."""
        await self._node.do("stop")

    async def logout(self) -> None:
        """Log out: the device is gone from the account."""
        await self._node.do("logout")

    # Rooms ----------------------------------------------------------------------------------------

    async def create_room(
        self,
        *,
        invite: Sequence[str] = (),
        encrypted: bool = False,
        name: str | None = None,
        direct: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a room; its id. `options` is more for `/createRoom` (Matrix client-server API)."""
        return str(
            await self._node.do(
                "create_room",
                invite=list(invite),
                encrypted=encrypted,
                name=name,
                direct=direct,
                options=dict(options or {}),
            )
        )

    async def invite(self, room: str, user: str) -> None:
        """Invite somebody."""
        await self._node.do("invite", room=room, user=user)

    async def kick(self, room: str, user: str, reason: str | None = None) -> None:
        """Put somebody out."""
        await self._node.do("kick", room=room, user=user, reason=reason)

    async def join(self, room: str) -> None:
        """Accept an invitation."""
        await self._node.do("join", room=room)

    async def leave(self, room: str) -> None:
        """Leave a room, or decline an invitation."""
        await self._node.do("leave", room=room)

    async def set_state(self, room: str, kind: str, content: Mapping[str, Any], key: str = "") -> str:
        """Change the state of a room; the event's id."""
        return str(await self._node.do("set_state", room=room, type=kind, key=key, content=dict(content)))

    async def state(self, room: str, kind: str, key: str = "") -> dict[str, Any] | None:
        """The content of a state event, as this client knows it."""
        found = await self._node.do("state", room=room, type=kind, key=key)
        return None if found is None else dict(found)

    async def rooms(self) -> list[JsRoom]:
        """Every room that the client knows: joined, invited to, left."""
        return [JsRoom.model_validate(room) for room in await self._node.do("rooms")]

    async def room(self, room: str) -> JsRoom | None:
        """One room; None when the client does not know it."""
        return next((known for known in await self.rooms() if known.room_id == room), None)

    async def see_room(self, what: str, fits: Callable[[JsRoom], bool], within_s: float = 20.0) -> JsRoom:
        """Wait for a room."""

        async def look() -> JsRoom | None:
            return next((room for room in await self.rooms() if fits(room)), None)

        return await self._node.see(what, look, within_s)

    async def see_invitation(self, *, space: bool = False, within_s: float = 20.0) -> JsRoom:
        """Wait for an invitation to a room, or to a Space."""
        what = "an invitation to a Space" if space else "an invitation to a room"
        return await self.see_room(what, lambda room: room.membership == "invite" and room.space == space, within_s)

    async def see_joined(self, room: str, user: str, within_s: float = 20.0) -> JsRoom:
        """Wait until somebody is in a room."""

        def fits(known: JsRoom) -> bool:
            return known.room_id == room and known.members.get(user) == "join"

        return await self.see_room(f"{user} in the room", fits, within_s)

    # Talking --------------------------------------------------------------------------------------

    async def send(self, room: str, content: Mapping[str, Any], kind: str = "m.room.message") -> str:
        """Send any event, encrypted where the room is; the event's id."""
        return str(await self._node.do("send", room=room, type=kind, content=dict(content)))

    async def say(self, room: str, text: str, *, mentions: Sequence[str] = ()) -> str:
        """Say something; the event's id."""
        return await self.send(room, _text(text) | ({"m.mentions": {"user_ids": list(mentions)}} if mentions else {}))

    async def edit(self, room: str, event: str, text: str) -> str:
        """Edit what was said before; the id of the edit."""
        content = _text(f"* {text}") | {"m.new_content": _text(text), "m.relates_to": _relation("m.replace", event)}
        return await self.send(room, content)

    async def reply(self, room: str, event: str, text: str) -> str:
        """Answer a message, as clients do: by a relation, without quoting it in the text."""
        return await self.send(room, _text(text) | {"m.relates_to": {"m.in_reply_to": {"event_id": event}}})

    async def say_in_thread(self, room: str, root: str, text: str) -> str:
        """Say something in the thread of a message (Matrix client-server API, "Threading")."""
        fallback = {"is_falling_back": True, "m.in_reply_to": {"event_id": root}}
        return await self.send(room, _text(text) | {"m.relates_to": _relation("m.thread", root) | fallback})

    async def react(self, room: str, event: str, key: str) -> str:
        """React to a message; the id of the reaction."""
        return await self.send(room, {"m.relates_to": _relation("m.annotation", event) | {"key": key}}, "m.reaction")

    async def redact(self, room: str, event: str, reason: str | None = None) -> str:
        """Take back an event."""
        return str(await self._node.do("redact", room=room, event=event, reason=reason))

    async def send_poll(self, room: str, question: str, answers: Sequence[str]) -> str:
        """Begin a poll, in the form that clients send today (MSC3381)."""
        body = {
            "question": {"org.matrix.msc1767.text": question, "body": question, "msgtype": "m.text"},
            "kind": "org.matrix.msc3381.poll.disclosed",
            "max_selections": 1,
            "answers": [
                {"id": str(number), "org.matrix.msc1767.text": answer} for number, answer in enumerate(answers, 1)
            ],
        }
        lines = [question, *(f"{number}. {answer}" for number, answer in enumerate(answers, 1))]
        return await self.send(room, {POLL_START: body, "org.matrix.msc1767.text": "\n".join(lines)}, POLL_START)

    async def set_typing(self, room: str, typing: bool = True) -> None:
        """Show that the person types, or no longer."""
        await self._node.do("set_typing", room=room, typing=typing)

    async def read(self, room: str, event: str) -> None:
        """Mark a room as read up to a message."""
        await self._node.do("read", room=room, event=event)

    # Files ----------------------------------------------------------------------------------------

    async def send_file(
        self,
        room: str,
        name: str,
        data: bytes,
        mime: str = "application/octet-stream",
        *,
        msgtype: str | None = None,
        caption: str | None = None,
        info: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Send a file, encrypted where the room is; the event's id."""
        where = await self._upload(room, PurePath(name).name, data, mime)
        content = {
            "msgtype": msgtype or _msgtype(mime),
            "body": caption or name,
            "filename": name,
            "info": {"mimetype": mime, "size": len(data), **(info or {})},
        }
        return await self.send(room, content | where | dict(extra or {}))

    async def send_voice(self, room: str, data: bytes, duration_ms: int, mime: str = "audio/ogg") -> str:
        """Send a voice message (MSC3245)."""
        voice = {
            "org.matrix.msc3245.voice": {},
            "org.matrix.msc1767.audio": {"duration": duration_ms, "waveform": [0, 512, 1024, 512]},
        }
        return await self.send_file(
            room, "Voice message.ogg", data, mime, msgtype="m.audio", info={"duration": duration_ms}, extra=voice
        )

    async def send_sticker(self, room: str, name: str, data: bytes, mime: str = "image/png") -> str:
        """Send a sticker."""
        where = await self._upload(room, name, data, mime)
        return await self.send(
            room, {"body": name, "info": {"mimetype": mime, "size": len(data)}, **where}, "m.sticker"
        )

    async def _upload(self, room: str, name: str, data: bytes, mime: str) -> dict[str, Any]:
        known = await self.room(room)
        encrypted = known is not None and known.encrypted
        coded = base64.b64encode(data).decode()
        return dict(await self._node.do("upload", data=coded, mime=mime, name=name, encrypted=encrypted))

    async def download(self, room: str, event: str) -> bytes:
        """The bytes of a message's file, checked and decrypted."""
        return base64.b64decode(await self._node.do("download", room=room, event=event))

    async def download_raw(self, url: str) -> bytes:
        """The bytes as they lie on the homeserver."""
        return base64.b64decode(await self._node.do("download_raw", url=url))

    # What shows -----------------------------------------------------------------------------------

    async def timeline(self, room: str) -> list[JsMessage]:
        """What shows in a room, in order: each message once, as it is now."""
        return [JsMessage.model_validate(message) for message in await self._node.do("timeline", room=room)]

    async def message(self, room: str, event: str) -> JsMessage | None:
        """One message as it is now."""
        return next((known for known in await self.timeline(room) if known.event_id == event), None)

    async def see(self, room: str, what: str, fits: Callable[[JsMessage], bool], within_s: float = 20.0) -> JsMessage:
        """Wait for a message."""

        async def look() -> JsMessage | None:
            return next((message for message in await self.timeline(room) if fits(message)), None)

        return await self._node.see(what, look, within_s)

    async def see_text(self, room: str, sender: str, text: str, within_s: float = 20.0) -> JsMessage:
        """Wait until somebody has said a text, or something that contains it."""
        return await self.see(
            room, f"“{text}” from {sender}", lambda known: known.sender == sender and text in known.text, within_s
        )

    async def see_reader(self, room: str, event: str, user: str, within_s: float = 20.0) -> None:
        """Wait until somebody has read up to a message."""

        async def look() -> bool:
            return user in await self._node.do("readers", room=room, event=event)

        await self._node.see(f"that {user} has read", look, within_s)

    async def see_typing(self, room: str, user: str, typing: bool = True, within_s: float = 20.0) -> None:
        """Wait until somebody types, or no longer does."""
        await self.see_room(
            f"{user} typing: {typing}",
            lambda known: known.room_id == room and (user in known.typing) == typing,
            within_s,
        )

    async def read_back(self, room: str, limit: int = 100) -> bool:
        """Read further back in the timeline; whether there is more."""
        return bool(await self._node.do("paginate", room=room, limit=limit))

    # Trust ----------------------------------------------------------------------------------------

    async def devices(self, user: str) -> list[Device]:
        """The devices of a user, asked from the homeserver."""
        return [Device.model_validate(device) for device in await self._node.do("devices", user=user)]

    async def see_device(self, user: str, what: str, fits: Callable[[Device], bool], within_s: float = 20.0) -> Device:
        """Wait for a device of a user."""

        async def look() -> Device | None:
            return next((device for device in await self.devices(user) if fits(device)), None)

        return await self._node.see(what, look, within_s)

    async def user_trust(self, user: str) -> UserTrust:
        """What this client holds of a user's identity."""
        return UserTrust.model_validate(await self._node.do("user_trust", user=user))

    async def see_user_verified(self, user: str, within_s: float = 20.0) -> UserTrust:
        """Wait until this client has verified a user."""

        async def look() -> UserTrust | None:
            trust = await self.user_trust(user)
            return trust if trust.verified else None

        return await self._node.see(f"that {user} is verified", look, within_s)

    async def own_trust(self) -> OwnTrust:
        """The state of the own account's encryption."""
        return OwnTrust.model_validate(await self._node.do("own_trust"))

    async def bootstrap_cross_signing(self, *, reset: bool = False) -> None:
        """Make the account's cross-signing keys, or new ones with `reset`."""
        await self._node.do("bootstrap_cross_signing", reset=reset)

    async def bootstrap_secret_storage(self) -> str:
        """Make secret storage with a key backup, after cross-signing; the recovery key."""
        return str(await self._node.do("bootstrap_secret_storage"))

    async def see_backed_up(self, at_least: int = 1, within_s: float = 20.0) -> int:
        """Wait until so many keys lie in the backup; how many do."""

        async def look() -> int | None:
            count = int(await self._node.do("backed_up"))
            return count if count >= at_least else None

        return await self._node.see("keys in the backup", look, within_s)

    async def recover(self, recovery_key: str) -> Restored:
        """Sign this device and restore the key backup with the recovery key of another device."""
        return Restored.model_validate(await self._node.do("recover", recovery_key=recovery_key))

    async def set_device_verified(self, user: str, device: str) -> None:
        """Trust a device without comparing anything."""
        await self._node.do("set_device_verified", user=user, device=device)

    async def isolate(self, *, signed_only: bool = True) -> None:
        """Share keys only with devices that their owners have signed, and believe only those, as strict clients do."""
        await self._node.do("isolate", signed_only=signed_only)

    async def discard_session(self, room: str) -> None:
        """Begin a new Megolm session with the next message."""
        await self._node.do("discard_session", room=room)

    # Verification ---------------------------------------------------------------------------------

    async def request_verification(
        self, *, user: str | None = None, device: str | None = None, room: str | None = None
    ) -> str:
        """Ask a user in a room, one device of a user, or (without anything) the own other devices; its name."""
        return str(await self._node.do("request_verification", user=user, device=device, room=room))

    async def verifications(self) -> list[Verification]:
        """Every verification that this client has taken part in or was asked for."""
        return [Verification.model_validate(known) for known in await self._node.do("verifications")]

    async def see_verification(
        self, what: str, fits: Callable[[Verification], bool], within_s: float = 20.0
    ) -> Verification:
        """Wait for a verification."""

        async def look() -> Verification | None:
            return next((known for known in await self.verifications() if fits(known)), None)

        return await self._node.see(what, look, within_s)

    async def see_phase(self, name: str, phase: Phase, within_s: float = 20.0) -> Verification:
        """Wait until a verification has come so far."""
        what = f"the verification {phase}"
        return await self.see_verification(what, lambda known: (known.name, known.phase) == (name, phase), within_s)

    async def accept_verification(self, name: str) -> None:
        """Agree to be verified."""
        await self._node.do("accept_verification", name=name)

    async def start_sas(self, name: str) -> None:
        """Begin comparing emoji, or take part where the other side has begun."""
        await self._node.do("start_sas", name=name)

    async def see_emoji(self, name: str, within_s: float = 20.0) -> tuple[str, ...]:
        """Wait for the emoji to compare."""

        def fits(known: Verification) -> bool:
            return known.name == name and known.emoji is not None

        return (await self.see_verification("emoji to compare", fits, within_s)).emoji or ()

    async def confirm_sas(self, name: str) -> None:
        """Say that the emoji are the same."""
        await self._node.do("confirm_sas", name=name)

    async def mismatch_sas(self, name: str) -> None:
        """Say that the emoji differ."""
        await self._node.do("mismatch_sas", name=name)

    async def cancel_verification(self, name: str) -> None:
        """Break it off."""
        await self._node.do("cancel_verification", name=name)


def _text(text: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": text}


def _relation(kind: str, event: str) -> dict[str, Any]:
    return {"rel_type": kind, "event_id": event}


def _msgtype(mime: str) -> str:
    family = mime.partition("/")[0]
    return f"m.{family}" if family in ("image", "audio", "video") else "m.file"
