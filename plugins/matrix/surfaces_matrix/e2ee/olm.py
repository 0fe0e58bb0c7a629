"""Owns the Olm account of one device, and its sessions with other devices (Matrix spec, "Olm")."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import vodozemac
from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError
from surfaces_matrix.e2ee.canonical import signable
from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.shapes import mapping, text

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
MOST_SESSIONS = 8
"""With one device; of more the least used are forgotten."""
_ACCOUNT = "account"


class Undecryptable(Exception):
    """A message that cannot be read; `code` says why as a stable word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a device sent us alone."""

    type: str
    content: Mapping[str, Any] = field(repr=False)
    sender: str
    curve25519: str
    ed25519: str
    """The signing key that the sender claims; its identity key made the session."""
    device_keys: Mapping[str, Any]
    """The sender's own device keys object, where it sent it along ("sender_device_keys")."""


@dataclass(slots=True)
class _Session:
    olm: vodozemac.Session
    used_at: float


class Olm:
    """One device's account. What changes is kept with the next flush."""

    def __init__(
        self,
        keep: Keep,
        key: bytes,
        account: vodozemac.Account,
        user_id: str,
        device_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._keep = keep
        self._key = key
        self._account = account
        self._clock = clock
        self._sessions: dict[str, list[_Session]] = {}
        """By the other device's identity key, the last used first."""
        self.user_id = user_id
        self.device_id = device_id
        self.ed25519 = account.ed25519_key.to_base64()
        self.curve25519 = account.curve25519_key.to_base64()

    @classmethod
    async def load(
        cls,
        keep: Keep,
        key: bytes,
        user_id: str,
        device_id: str,
        *,
        clock: Callable[[], float],
        where: str,
        log: FilteringBoundLogger,
    ) -> Olm:
        """The kept account of a device, or a new one. `ConfigError` naming `where` when the key does not open it."""
        row = await keep.get(_ACCOUNT)
        kept = mapping(orjson.loads(row)) if row is not None else {}
        if (kept.get("user_id"), kept.get("device_id")) == (user_id, device_id):
            try:
                account = vodozemac.Account.from_pickle(str(kept["pickle"]), key)
            except ValueError as error:
                raise ConfigError(where, "the kept encryption keys cannot be opened with this key") from error
            return cls(keep, key, account, user_id, device_id, clock)
        if kept:
            log.warning("keys.renewed", device=device_id, before=kept.get("device_id"))
        # Another device: what others encrypted for the earlier one is none of this one's.
        for prefix in ("olm/", "wedged/"):
            for old in await keep.scan(prefix):
                keep.set(old, None)
        olm = cls(keep, key, vodozemac.Account(), user_id, device_id, clock)
        olm._changed()
        return olm

    # Signing

    def sign(self, value: Mapping[str, Any]) -> str:
        """Our device's signature of an object."""
        return self._account.sign(signable(value)).to_base64()

    def signed(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """An object with our signature in it."""
        return {**value, "signatures": {self.user_id: {f"ed25519:{self.device_id}": self.sign(value)}}}

    def device_keys(self) -> dict[str, Any]:
        """Our device keys object (Matrix spec, `/keys/upload`)."""
        keys = {f"curve25519:{self.device_id}": self.curve25519, f"ed25519:{self.device_id}": self.ed25519}
        return self.signed(
            {"user_id": self.user_id, "device_id": self.device_id, "algorithms": [OLM, MEGOLM], "keys": keys}
        )

    # One-time keys

    def one_time_keys(self, there: int) -> dict[str, Any]:
        """The keys to upload where the homeserver has so many; those of an upload without an answer come first."""
        wanted = self._account.max_number_of_one_time_keys // 2
        missing = wanted - there - len(self._account.one_time_keys)
        if there < wanted and missing > 0:
            self._account.generate_one_time_keys(missing)
            self._changed()
        return {
            f"signed_curve25519:{key_id}": self.signed({"key": key.to_base64()})
            for key_id, key in self._account.one_time_keys.items()
        }

    def published(self) -> None:
        """The one-time keys are with the homeserver."""
        self._account.mark_keys_as_published()
        self._changed()

    # Sessions

    async def has_session(self, curve25519: str) -> bool:
        """Whether something can be encrypted for a device."""
        return bool(await self._with(curve25519))

    async def begin(self, device: Device, one_time_key: str) -> None:
        """A new session with a device. `ValueError` for a key that is none."""
        session = self._account.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_base64(device.curve25519),
            vodozemac.Curve25519PublicKey.from_base64(one_time_key),
        )
        await self._add(device.curve25519, session)

    async def encrypt(self, device: Device, type_: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """The content of an `m.room.encrypted` for a device; None without a session."""
        sessions = await self._with(device.curve25519)
        if not sessions:
            return None
        payload = {
            "type": type_,
            "content": content,
            "sender": self.user_id,
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.ed25519},
            "keys": {"ed25519": self.ed25519},
            "sender_device_keys": self.device_keys(),
        }
        kind, body = sessions[0].olm.encrypt(orjson.dumps(payload)).to_parts()
        self._used(device.curve25519, sessions[0])
        ciphertext = {device.curve25519: {"type": kind, "body": _base64(body)}}
        return {"algorithm": OLM, "sender_key": self.curve25519, "ciphertext": ciphertext}

    async def decrypt(self, sender: str, content: Mapping[str, Any]) -> Opened:
        """What a device sent, its origin checked (Matrix spec, "m.olm.v1.curve25519-aes-sha2"). `Undecryptable`."""
        sender_key = text(content.get("sender_key"))
        mine = mapping(mapping(content.get("ciphertext")).get(self.curve25519))
        body, kind = text(mine.get("body")), mine.get("type")
        if content.get("algorithm") != OLM or sender_key is None or body is None or kind not in (0, 1):
            raise Undecryptable("MALFORMED")
        if sender_key == self.curve25519:
            raise Undecryptable("OWN_MESSAGE")
        try:
            plain = await self._plain(sender_key, int(kind), body)
            payload = orjson.loads(plain)
        except ValueError as error:
            raise Undecryptable("WEDGED") from error
        return self._checked(payload, sender, sender_key)

    async def _plain(self, sender_key: str, kind: int, body: str) -> bytes:
        sessions = await self._with(sender_key)
        if kind == 1:
            message = vodozemac.AnyOlmMessage.normal(_bytes(body))
            for session in sessions:
                try:
                    plain = session.olm.decrypt(message)
                except ValueError:
                    continue
                self._used(sender_key, session, received=True)
                return plain
            raise ValueError("no session opens it")
        first = vodozemac.PreKeyMessage.from_base64(body)
        for session in sessions:
            if session.olm.session_matches(first):
                plain = session.olm.decrypt(first.to_any())
                self._used(sender_key, session, received=True)
                return plain
        identity = vodozemac.Curve25519PublicKey.from_base64(sender_key)
        made, plain = self._account.create_inbound_session(identity, first)
        # The one-time key is used up: both go together.
        self._changed()
        await self._add(sender_key, made)
        return plain

    def _checked(self, payload: object, sender: str, sender_key: str) -> Opened:
        said = mapping(payload)
        ed25519 = text(mapping(said.get("keys")).get("ed25519"))
        type_ = text(said.get("type"))
        for_us = (
            said.get("recipient") == self.user_id
            and mapping(said.get("recipient_keys")).get("ed25519") == self.ed25519
            and said.get("sender") == sender
        )
        if not for_us or ed25519 is None or type_ is None:
            # Somebody passes on what another one said, or said to another one.
            raise Undecryptable("MISDIRECTED")
        return Opened(
            type=type_,
            content=mapping(said.get("content")),
            sender=sender,
            curve25519=sender_key,
            ed25519=ed25519,
            device_keys=mapping(said.get("sender_device_keys")),
        )

    async def _with(self, curve25519: str) -> list[_Session]:
        """The sessions with a device, the last used first."""
        if curve25519 not in self._sessions:
            rows = await self._keep.scan(f"olm/{curve25519}/")
            loaded = sorted(map(self._load, rows.values()), key=lambda one: -one.used_at)
            if not loaded and curve25519 not in self._sessions:
                return []  # not remembered: anybody can name any number of keys
            # Meanwhile another may have loaded them: a session must not be there twice.
            self._sessions.setdefault(curve25519, loaded)
        return self._sessions[curve25519]

    def _load(self, row: bytes) -> _Session:
        kept = orjson.loads(row)
        return _Session(vodozemac.Session.from_pickle(kept["pickle"], self._key), kept["used_at"])

    async def _add(self, curve25519: str, olm: vodozemac.Session) -> None:
        sessions = self._sessions.setdefault(curve25519, await self._with(curve25519))
        session = _Session(olm, self._clock())
        sessions.append(session)
        self._used(curve25519, session, received=True)
        for old in sessions[MOST_SESSIONS:]:
            self._keep.set(f"olm/{curve25519}/{old.olm.session_id}", None)
        del sessions[MOST_SESSIONS:]

    def _used(self, curve25519: str, session: _Session, *, received: bool = False) -> None:
        """Keep a session as it is now; the one that something was received with is the one that both sides have."""
        if received:
            session.used_at = self._clock()
            sessions = self._sessions[curve25519]
            sessions.sort(key=lambda one: (one is not session, -one.used_at))

        def row() -> bytes:
            return orjson.dumps({"pickle": session.olm.pickle(self._key), "used_at": session.used_at})

        self._keep.set(f"olm/{curve25519}/{session.olm.session_id}", row)

    def _changed(self) -> None:
        def row() -> bytes:
            pickle = self._account.pickle(self._key)
            return orjson.dumps({"user_id": self.user_id, "device_id": self.device_id, "pickle": pickle})

        self._keep.set(_ACCOUNT, row)


def _base64(raw: bytes) -> str:

    return b64encode(raw).decode().rstrip("=")


def _bytes(base64: str) -> bytes:

    return b64decode(base64 + "=" * (-len(base64) % 4))
