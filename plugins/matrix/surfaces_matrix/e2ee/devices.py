"""Keeps track of other people's devices and identities (Matrix spec, "Tracking the device list for a user")."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field
from structlog.typing import FilteringBoundLogger

from surfaces_matrix.breath import Breath
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.canonical import signed_by
from surfaces_matrix.e2ee.device import Device, Identity, Trust
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.shapes import mapping, one_line, sequence, text

MOST_AT_ONCE = 200
MOST_DEVICES = 500
"""Of one person; nobody has more that are of use."""
AGAIN_S = 60.0
"""People whose homeserver does not answer are not asked for again any sooner."""
_LONGEST_NAME = 100


class _Person(BaseModel):
    """What is kept of one person."""

    devices: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Device keys objects by device id, each checked."""
    master: dict[str, Any] | None = None
    self_signing: dict[str, Any] | None = None
    user_signing: dict[str, Any] | None = None
    outdated: bool = True
    verified_devices: dict[str, str] = Field(default_factory=dict)
    """Device ids with the signing keys that were verified."""
    verified_master: str = ""
    """The master key that was verified."""
    replaced: list[str] = Field(default_factory=list)
    """Master keys that were verified before that one: our signatures of them are old."""

    def verify(self, master: str) -> None:
        """A master key was verified, or with an empty one none is any more."""
        if self.verified_master and master:
            self.replaced.append(self.verified_master)
        self.verified_master = master
        self.replaced = [key for key in dict.fromkeys(self.replaced) if key != master]


class Devices:
    """What one account knows of people's devices."""

    def __init__(self, client: Client, keep: Keep, log: FilteringBoundLogger) -> None:
        self._client = client
        self._keep = keep
        self._log = log
        self._people: dict[str, _Person] = {}
        self._views: dict[str, Mapping[str, Device]] = {}
        """The devices of each as others see them: checking signatures for every message would take long."""
        self._generation: dict[str, int] = {}
        """Counts the changes that were told of somebody's devices."""
        self._failed: dict[str, float] = {}
        """When somebody's homeserver did not answer, on the monotonic clock."""
        self._asking = asyncio.Lock()
        self._signer = ""

    async def of(self, user_id: str) -> Mapping[str, Device]:
        """Somebody's devices as they are known, by id."""
        person = await self._person(user_id)
        if person is None:
            return {}
        if user_id not in self._views:
            self._views[user_id] = {name: _device(person, user_id, keys) for name, keys in person.devices.items()}
        return self._views[user_id]

    async def identity(self, user_id: str) -> Identity:
        """Somebody's cross-signing keys as they are known."""
        person = await self._person(user_id)
        if person is None:
            return Identity()
        return Identity(
            master=person.master,
            self_signing=person.self_signing,
            user_signing=person.user_signing,
            verified=bool(person.verified_master) and person.verified_master == _public(person.master),
        )

    async def was_verified(self, user_id: str) -> bool:
        """Whether somebody's identity was verified, be it the one that they have now or another."""
        person = await self._person(user_id)
        return person is not None and bool(person.verified_master)

    async def find(self, user_id: str, curve25519: str) -> Device | None:
        """Somebody's device with an identity key, among those known."""
        return next((one for one in (await self.of(user_id)).values() if one.curve25519 == curve25519), None)

    def vouch(self, signer: str) -> None:
        """Whoever is signed by our identity's user-signing key counts as verified, whichever of our clients did it."""
        if signer != self._signer:
            self._signer = signer
            self.outdate_all()

    async def trust(self, user_id: str, device_id: str, ed25519: str, verified: bool) -> None:
        """Note what was verified, or no longer is; a master key where it is its own id."""
        person = await self._person(user_id) or self._people.setdefault(user_id, _Person())
        if device_id == ed25519:
            person.verify(ed25519 if verified else "")
        elif verified:
            person.verified_devices[device_id] = ed25519
        else:
            person.verified_devices.pop(device_id, None)
        self._changed(user_id, person)

    # Changes

    async def outdate(self, users: Iterable[str]) -> None:
        """These people's devices may have changed; of others nothing is kept."""
        for user_id in users:
            self._generation[user_id] = self._generation.get(user_id, 0) + 1
            self._failed.pop(user_id, None)
            person = await self._person(user_id)
            if person is not None and not person.outdated:
                person.outdated = True
                self._changed(user_id, person)

    def outdate_all(self) -> None:
        """Nobody knows what changed meanwhile."""
        for person in self._people.values():
            person.outdated = True

    async def refresh(self, users: Iterable[str], *, timeout_s: float) -> None:
        """Ask for all of these people whose devices are not known as they are now. `Unavailable`, `Refused`."""
        async with self._asking:
            wanted = [user_id for user_id in users if await self._is_wanted(user_id)]
            for start in range(0, len(wanted), MOST_AT_ONCE):
                await self._ask(wanted[start : start + MOST_AT_ONCE], timeout_s)

    async def _is_wanted(self, user_id: str) -> bool:
        person = await self._person(user_id)
        late = time.monotonic() - self._failed.get(user_id, -AGAIN_S) >= AGAIN_S
        return late and (person is None or person.outdated)

    async def _ask(self, users: list[str], timeout_s: float) -> None:
        before = {user_id: self._generation.get(user_id, 0) for user_id in users}
        body = {"device_keys": {user_id: [] for user_id in users}, "timeout": int(timeout_s * 500)}
        answer = await self._client.call("POST", "/v3/keys/query", body, timeout_s=timeout_s)
        failed = mapping(answer.get("failures"))
        breath = Breath()
        for user_id in users:
            await breath()
            if user_id.partition(":")[2] in failed:
                self._failed[user_id] = time.monotonic()
                continue
            person = await self._person(user_id) or self._people.setdefault(user_id, _Person())
            self._take(user_id, person, answer)
            person.outdated = self._generation.get(user_id, 0) != before[user_id]
            self._changed(user_id, person)

    def _take(self, user_id: str, person: _Person, answer: Mapping[str, Any]) -> None:
        """What the homeserver says of one person; what is not signed as it should be counts as not there."""
        self._take_identity(user_id, person, answer)
        told = mapping(mapping(answer.get("device_keys")).get(user_id))
        devices: dict[str, dict[str, Any]] = {}
        for device_id, keys in list(told.items())[:MOST_DEVICES]:
            if not is_device(keys, user_id, device_id):
                self._log.warning("device.malformed", user=user_id, device=device_id)
                continue
            known = person.devices.get(device_id)
            if known is not None and _key(known, "ed25519") != _key(keys, "ed25519"):
                # Devices keep their keys for life: these may be somebody else's, now and the next time.
                self._log.warning("device.keys_changed", user=user_id, device=device_id)
                devices[device_id] = known
                continue
            devices[device_id] = dict(keys)
        person.devices = devices

    def _take_identity(self, user_id: str, person: _Person, answer: Mapping[str, Any]) -> None:
        parts = {
            name: mapping(mapping(answer.get(f"{name}_keys")).get(user_id))
            for name in ("master", "self_signing", "user_signing")
        }
        before, master = _public(person.master), _signing_key(parts["master"], user_id, "master")
        if before and master != before:
            self._log.warning("identity.changed", user=user_id, verified=bool(person.verified_master))
        person.master = dict(parts["master"]) if master else None
        if master not in ("", person.verified_master, *person.replaced) and self._vouched(parts["master"]):
            self._log.info("identity.vouched", user=user_id)
            person.verify(master)
        for name in ("self_signing", "user_signing"):
            good = _signing_key(parts[name], user_id, name) and signed_by(
                parts[name], user_id, f"ed25519:{master}", master
            )
            setattr(person, name, dict(parts[name]) if master and good else None)

    def _vouched(self, master: Mapping[str, Any]) -> bool:
        signer = self._signer
        return bool(signer) and signed_by(master, self._client.user_id, f"ed25519:{signer}", signer)

    async def _person(self, user_id: str) -> _Person | None:
        if user_id not in self._people:
            row = await self._keep.get(f"user/{user_id}")
            if row is None:
                return self._people.get(user_id)
            person = _Person.model_validate_json(row)
            person.outdated = True  # what changed while nobody listened may never be told
            self._people.setdefault(user_id, person)
        return self._people[user_id]

    def _changed(self, user_id: str, person: _Person) -> None:
        self._views.pop(user_id, None)
        self._keep.set(f"user/{user_id}", lambda: person.model_dump_json().encode())


def is_device(keys: object, user_id: str, device_id: object) -> bool:
    """Whether this is a device keys object of that device, signed by itself."""
    told = mapping(keys)
    if told.get("user_id") != user_id or told.get("device_id") != device_id or text(device_id) is None:
        return False
    ed25519, curve25519 = _key(told, "ed25519"), _key(told, "curve25519")
    return bool(ed25519 and curve25519) and signed_by(told, user_id, f"ed25519:{device_id}", ed25519)


def as_device(keys: Mapping[str, Any], user_id: str) -> Device:
    """A device by its checked keys object alone, of which nothing more is known."""
    return _device(_Person(), user_id, keys)


def _device(person: _Person, user_id: str, keys: Mapping[str, Any]) -> Device:
    device_id, ed25519 = str(keys["device_id"]), _key(keys, "ed25519")
    owner, signer = _public(person.master), _public(person.self_signing)
    cross_signed = bool(signer) and signed_by(keys, user_id, f"ed25519:{signer}", signer)
    trust = Trust.UNVERIFIED
    if person.verified_devices.get(device_id) == ed25519:
        trust = Trust.VERIFIED
    elif person.verified_master and person.verified_master != owner:
        trust = Trust.CHANGED
    elif person.verified_master:
        trust = Trust.VERIFIED if cross_signed else Trust.UNSIGNED
    return Device(
        user_id=user_id,
        device_id=device_id,
        ed25519=ed25519,
        curve25519=_key(keys, "curve25519"),
        name=one_line(mapping(keys.get("unsigned")).get("device_display_name"), _LONGEST_NAME),
        keys=keys,
        trust=trust,
        cross_signed=cross_signed,
    )


def _key(keys: Mapping[str, Any], algorithm: str) -> str:
    return text(mapping(keys.get("keys")).get(f"{algorithm}:{keys.get('device_id')}")) or ""


def _public(key: Mapping[str, Any] | None) -> str:
    """The public part of a cross-signing key; empty where there is none."""
    return next((value for value in mapping(mapping(key).get("keys")).values() if isinstance(value, str)), "")


def _signing_key(key: Mapping[str, Any], user_id: str, usage: str) -> str:
    """The public part of a well-formed cross-signing key, or nothing."""
    public = _public(key)
    fits = key.get("user_id") == user_id and usage in sequence(key.get("usage"))
    return public if fits and set(mapping(key.get("keys"))) == {f"ed25519:{public}"} else ""
