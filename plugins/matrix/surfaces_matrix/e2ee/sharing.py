"""Encrypts what is said in rooms, once everybody who may read it has the key (Matrix spec, "Megolm")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import vodozemac
from structlog.typing import FilteringBoundLogger

from surfaces_matrix.breath import Breath
from surfaces_matrix.e2ee.channel import Channel
from surfaces_matrix.e2ee.device import Device, Policy
from surfaces_matrix.e2ee.devices import Devices
from surfaces_matrix.e2ee.inbound import InboundSession, Sender
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.members import Members
from surfaces_matrix.e2ee.olm import MEGOLM, Olm
from surfaces_matrix.e2ee.outbound import Outbound, OutboundSession, Rotation
from surfaces_matrix.e2ee.policy import withheld

WITHHELD = "m.room_key.withheld"
NO_OLM = "m.no_olm"


@dataclass(kw_only=True)
class Sharing:
    """The encrypting side of one account."""

    olm: Olm
    keep: Keep
    channel: Channel
    devices: Devices
    members: Members
    outbound: Outbound
    policy: Policy
    log: FilteringBoundLogger
    began: Callable[[str, InboundSession], Any]
    """Told of each new session of ours, as others will see it."""
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def seal(
        self, room_id: str, rotation: Rotation, type_: str, content: Mapping[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """The content of the `m.room.encrypted` that carries an event. `Unavailable` or `Refused`.

        Its relation stays readable for the homeserver, beside the ciphertext.
        """
        inner = {key: value for key, value in content.items() if key != "m.relates_to"}
        async with self._locks.setdefault(room_id, asyncio.Lock()):
            session = await self._ready(room_id, rotation, timeout_s)
            payload = {"type": type_, "content": inner, "room_id": room_id}
            ciphertext = session.encrypt(payload)
            await self.keep.flush()
        sealed = {
            "algorithm": MEGOLM,
            "ciphertext": ciphertext,
            "sender_key": self.olm.curve25519,
            "device_id": self.olm.device_id,
            "session_id": session.megolm.session_id,
        }
        return {**sealed, **{key: content[key] for key in ("m.relates_to",) if key in content}}

    async def _ready(self, room_id: str, rotation: Rotation, timeout_s: float) -> OutboundSession:
        """The room's session, with its key at every device that may have it."""
        readers = await self.members.readers(room_id, timeout_s=timeout_s)
        await self.devices.refresh(readers, timeout_s=timeout_s)
        trusted, refused = await self._sorted(readers)
        session = self.outbound.current(room_id, rotation, trusted)
        if session is None:
            session = self.outbound.begin(room_id)
            own = Sender(user_id=self.olm.user_id, curve25519=self.olm.curve25519, ed25519=self.olm.ed25519)
            copy = vodozemac.InboundGroupSession(session.megolm.session_key)
            await self.began(room_id, InboundSession(megolm=copy, sender=own, origin="direct"))
        await self._share(room_id, session, trusted, timeout_s)
        await self._withhold(room_id, session, refused, timeout_s)
        return session

    async def _sorted(self, readers: frozenset[str]) -> tuple[list[Device], list[tuple[Device, str]]]:
        """The readers' devices that get the key, and those that don't with the reason."""
        trusted: list[Device] = []
        refused: list[tuple[Device, str]] = []
        breath = Breath()
        for user_id in sorted(readers):
            await breath()
            for device in (await self.devices.of(user_id)).values():
                if device.curve25519 == self.olm.curve25519:
                    continue
                code = withheld(self.policy, device)
                if code:
                    refused.append((device, code))
                else:
                    trusted.append(device)
        return trusted, refused

    async def _share(self, room_id: str, session: OutboundSession, devices: Sequence[Device], timeout_s: float) -> None:
        missing = [device for device in devices if not session.has(device)]
        if not missing:
            return
        await self.channel.reach(missing, timeout_s=timeout_s)
        there = [device for device in missing if await self.olm.has_session(device.curve25519)]
        for device in there:
            session.offer(device)
        key = session.key(room_id)
        await self.channel.send("m.room_key", [(device, key) for device in there], timeout_s=timeout_s)
        for device in there:
            session.give(device)
        self.log.debug("room_key.shared", room=room_id, devices=len(there), missing=len(missing) - len(there))
        unreached = [(device, NO_OLM) for device in missing if device not in there]
        await self._withhold(room_id, session, unreached, timeout_s)

    async def _withhold(
        self, room_id: str, session: OutboundSession, refused: Sequence[tuple[Device, str]], timeout_s: float
    ) -> None:
        """Tell devices, once for each session, why they get no key (Matrix spec, "m.room_key.withheld").

        It is a courtesy: nothing that is said waits for it where the homeserver refuses that.
        """
        contents: list[tuple[Device, Mapping[str, Any]]] = []
        for device, code in refused:
            if session.withheld.get(device.curve25519) == code:
                continue
            session.withheld[device.curve25519] = code
            told = {"algorithm": MEGOLM, "code": code, "sender_key": self.olm.curve25519}
            if code != NO_OLM:
                told |= {"room_id": room_id, "session_id": session.megolm.session_id}
            contents.append((device, told))
        if contents:
            await self.channel.tell(WITHHELD, contents, timeout_s=timeout_s)
