"""Keeps the keys of rooms at the homeserver, encrypted for the account itself (Matrix spec, "Server-side key backups").

A session counts as kept once the homeserver said so; which these are is noted in the state. What is new, or was
never noted, goes up in batches while nothing waits for it. A backup that others have made is used where its private
key can be had, and never replaced.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import vodozemac
from structlog.typing import FilteringBoundLogger

from surfaces_core import Store, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.e2ee.identity import OwnIdentity
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.secrets import encoded
from surfaces_matrix.e2ee.vault import Vault
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
SECRET = "m.megolm_backup.v1"  # noqa: S105 - the name of one
BATCH = 100
AGAIN_S = 60.0
"""After a failure."""
_DONE = "e2ee.backup/"
_VERSION = "/v3/room_keys/version"
_KEYS = "/v3/room_keys/keys"
_OUTSIDE = ("room_id", "session_id")
"""What the address says is not said again inside (Matrix spec, "Backup algorithm")."""


# The cipher ---------------------------------------------------------------------------------------


def sealed(public_key: str, session: Mapping[str, Any]) -> dict[str, str]:
    """A session in the format of key exports, as the backup holds it. `ValueError`."""
    inside = {key: value for key, value in session.items() if key not in _OUTSIDE}
    key = vodozemac.PkEncryption.from_key(vodozemac.Curve25519PublicKey.from_base64(public_key))
    message = key.encrypt(orjson.dumps(inside))
    parts = {"ephemeral": message.ephemeral_key, "ciphertext": message.ciphertext, "mac": message.mac}
    return {name: encoded(part) for name, part in parts.items()}


def unsealed(private_key: str, session_data: Mapping[str, Any]) -> dict[str, Any]:
    """The session. `ValueError` where it was encrypted for another key or is damaged."""
    parts = [text(session_data.get(part)) or "" for part in ("ciphertext", "mac", "ephemeral")]
    key = vodozemac.PkDecryption.from_key(vodozemac.Curve25519SecretKey.from_base64(private_key))
    inside = orjson.loads(key.decrypt(vodozemac.Message.from_base64(*parts)))
    return dict(mapping(inside))


def public_of(private_key: str) -> str:
    """The public half, unpadded base64. `ValueError`."""
    return str(vodozemac.Curve25519SecretKey.from_base64(private_key).public_key().to_base64())


# The backup ---------------------------------------------------------------------------------------


class Backup:
    """The backup of one account. `name` is the surface's, for what is said of its settings."""

    def __init__(
        self,
        name: str,
        machine: Machine,
        client: Client,
        vault: Vault,
        identity: OwnIdentity,
        store: Store,
        log: FilteringBoundLogger,
    ) -> None:
        self._name = name
        self._machine = machine
        self._client = client
        self._vault = vault
        self._identity = identity
        self._store = store
        self._log = log
        self._version = ""
        self._private = ""
        self._waiting: deque[tuple[str, str]] = deque()
        self._some = asyncio.Event()
        self._bringing: set[tuple[str, str]] = set()
        """Sessions that come from the backup just now."""
        self.problem = ""
        """Why nothing is kept, and what to do."""
        machine.on_new_session(self.note)

    @property
    def version(self) -> str:
        """The version at the homeserver that is used, or nothing."""
        return self._version

    @property
    def waiting(self) -> int:
        """How many sessions are still to be kept."""
        return len(self._waiting)

    async def ensure(self) -> None:
        """Have a backup that can be used. Raises `Unavailable` and `Refused`."""
        if await self.look() is None:
            await self._make()
        if self.problem:
            self._log.warning("backup.unusable", problem=self.problem)
            return
        await self._vault.store()
        await self._gather()

    async def look(self) -> dict[str, Any] | None:
        """See what is there, and whether it can be used. Raises `Unavailable` and `Refused`."""
        there = await self.current()
        self._private = await self._vault.get(SECRET) or ""
        ours = there is not None and await self._is_ours(there)
        self._version = str(there["version"]) if there is not None and ours else ""
        self.problem = "" if ours or there is None else self._foreign()
        return there

    async def current(self) -> dict[str, Any] | None:
        """The latest version at the homeserver. Raises `Unavailable` and `Refused`."""
        try:
            return await self._client.call("GET", _VERSION, needs="version")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def _is_ours(self, there: Mapping[str, Any]) -> bool:
        """Whether the private key of a version is known: the one kept here, or else the one in the account."""
        wanted = text(mapping(there.get("auth_data")).get("public_key"))
        if there.get("algorithm") != ALGORITHM or wanted is None:
            return False
        if not _belongs(self._private, wanted):
            self._private = await self._vault.fetch(SECRET) or ""
        return _belongs(self._private, wanted)

    async def _make(self) -> None:
        if not self._private:
            self._private = str(vodozemac.Curve25519SecretKey().to_base64())
            await self._vault.keep({SECRET: self._private})
        auth: dict[str, Any] = {"public_key": public_of(self._private)}
        me, keys = self._client.user_id, self._identity.keys
        signatures = {f"ed25519:{self._machine.device_id}": self._machine.sign(auth)}
        if keys is not None:
            signatures[f"ed25519:{keys.master.public}"] = keys.master.sign(auth)
        body = {"algorithm": ALGORITHM, "auth_data": {**auth, "signatures": {me: signatures}}}
        answer = await self._client.call("POST", _VERSION, body, needs="version")
        self._version = str(answer["version"])
        self._log.info("backup.made", version=self._version)

    def _foreign(self) -> str:
        return (
            f"the account {self._client.user_id} has a key backup that the host cannot write or read: "
            f"set surfaces.{self._name}.recovery_key to the account's recovery key"
        )

    # Keeping

    async def note(self, room_id: str, session_id: str) -> None:
        """A session is new, or better than it was."""
        if (room_id, session_id) in self._bringing:
            return
        row = _row(room_id, session_id)
        if await self._store.get(row) is not None:
            await self._store.delete(row)
        self._add(room_id, session_id)

    def _add(self, room_id: str, session_id: str) -> None:
        if (room_id, session_id) not in self._waiting:
            self._waiting.append((room_id, session_id))
        self._some.set()

    async def _gather(self) -> None:
        """Find what was never kept in this version, or came when nobody could note it."""
        done = {row for row, version in (await self._store.scan(_DONE)).items() if version.decode() == self._version}
        for room_id, session_id in await self._machine.sessions():
            if _row(room_id, session_id) not in done:
                self._add(room_id, session_id)

    async def run(self) -> None:
        """Keep what is new, until cancelled."""
        while True:
            await self._some.wait()
            try:
                await self.flush()
            except (Unavailable, Refused) as error:
                self._log.warning("backup.failed", error=str(error))
                await asyncio.sleep(max(AGAIN_S, getattr(error, "retry_after", None) or 0.0))

    async def flush(self) -> None:
        """Keep all that waits, now. Raises `Unavailable` and `Refused`."""
        while self._waiting and self._version:
            batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
            await self._put(batch)
            for _ in batch:
                self._waiting.popleft()
        self._some.clear()

    async def _put(self, batch: Sequence[tuple[str, str]]) -> None:
        rooms: dict[str, Any] = {}
        for room_id, session_id in batch:
            session = await self._machine.export_session(room_id, session_id)
            if session is not None:
                rooms.setdefault(room_id, {"sessions": {}})["sessions"][session_id] = self._entry(session)
        if rooms:
            await self._upload(rooms)
        await self._store.write({_row(*one): self._version.encode() for one in batch})
        self._log.debug("backup.kept", sessions=len(batch))

    async def _upload(self, rooms: Mapping[str, Any]) -> None:
        try:
            await self._client.call("PUT", _KEYS, {"rooms": rooms}, query={"version": self._version})
        except Refused as error:
            if error.errcode not in ("M_WRONG_ROOM_KEYS_VERSION", "M_NOT_FOUND"):
                raise
            self._log.warning("backup.replaced", version=self._version)
            await self.ensure()
            raise Unavailable("the backup is another one now", code="BACKUP_REPLACED", retry_after=1.0) from error

    def _entry(self, session: Mapping[str, Any]) -> dict[str, Any]:
        exported = vodozemac.InboundGroupSession.import_session(
            vodozemac.ExportedSessionKey(str(session["session_key"]))
        )
        return {
            "first_message_index": exported.first_known_index,
            "forwarded_count": len(session.get("forwarding_curve25519_key_chain") or ()),
            "is_verified": False,
            "session_data": sealed(public_of(self._private), session),
        }

    # Bringing back

    async def fetch(self, room_id: str, session_id: str) -> bool:
        """Bring a session back; whether it was there. Raises `Unavailable`."""
        if not self._version:
            return False
        path = quote("v3", "room_keys", "keys", room_id, session_id)
        try:
            answer = await self._client.call("GET", path, query={"version": self._version})
            session = unsealed(self._private, mapping(answer.get("session_data")))
        except Refused:
            return False
        except ValueError:
            self._log.warning("backup.damaged", room=room_id)
            return False
        back = {**session, "room_id": room_id, "session_id": session_id}
        self._bringing.add((room_id, session_id))
        try:
            taken = await self._machine.import_sessions([back], "backup")
        finally:
            self._bringing.discard((room_id, session_id))
        await self._store.put(_row(room_id, session_id), self._version.encode())
        return taken > 0


def _row(room_id: str, session_id: str) -> str:
    return f"{_DONE}{room_id}/{session_id}"


def _belongs(private_key: str, public_key: str) -> bool:
    try:
        return bool(private_key) and public_of(private_key) == public_key
    except ValueError:
        return False
