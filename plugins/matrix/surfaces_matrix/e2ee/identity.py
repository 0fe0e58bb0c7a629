"""Owns the bot's cross-signing identity: makes it once, finds it again, and signs the bot's own device with it.

An identity that is published and whose private keys cannot be had is never replaced: everybody who has verified
the bot would see another one. The operator is told what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from structlog.typing import FilteringBoundLogger

from surfaces_core import Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.canonical import signed_by
from surfaces_matrix.e2ee.crosskeys import USAGES, CrossSigning, public_of, secret_name
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.vault import Vault
from surfaces_matrix.shapes import mapping

Published = Mapping[str, Mapping[str, Any]]
"""The account's public keys by usage, with its device under `device`."""


class OwnIdentity:
    """Who the bot is for others. `name` is the surface's, for what is said of its settings."""

    def __init__(
        self,
        name: str,
        machine: Machine,
        client: Client,
        vault: Vault,
        log: FilteringBoundLogger,
        *,
        password: SecretStr | None = None,
    ) -> None:
        self._name = name
        self._machine = machine
        self._client = client
        self._vault = vault
        self._log = log
        self._password = password
        self.keys: CrossSigning | None = None
        """What is ours; None where there is no identity, or none that can be used."""
        self.problem = ""
        """Why the bot's device is not signed, and what to do."""

    async def ensure(self) -> None:
        """Have an identity and this device signed by it. Raises `Unavailable` and `Refused`."""
        published = await self.look()
        keys = self.keys or (None if published["master"] else await self._first())
        if keys is None:
            self._log.warning("identity.unusable", problem=self.problem)
            return
        if not published["master"]:
            await self._publish(keys)
        await self._sign(keys, published)
        master = keys.master.public
        await self._machine.forget_devices(self._client.user_id)
        await self._machine.set_trust(self._client.user_id, master, master, True)
        self._machine.vouch(keys.user_signing.public)
        await self._vault.store()
        self.keys = keys

    async def look(self) -> Published:
        """See what is published, and whether it can be used. Raises `Unavailable` and `Refused`."""
        published = await self.published()
        self.keys = await self._known(published) if published["master"] else None
        self.problem = self._lost() if published["master"] and self.keys is None else ""
        return published

    async def _first(self) -> CrossSigning:
        """Those that were made before and never published, or new ones."""
        return await self._from(self._vault.get) or await self._new()

    async def _known(self, published: Published) -> CrossSigning | None:
        """The keys that are published; None where they cannot be had."""
        for source in (self._vault.get, self._vault.fetch):
            keys = await self._from(source)
            if keys is not None and all(public_of(published[usage]) == keys.key(usage).public for usage in USAGES):
                return keys
        return None

    async def _from(self, source: Any) -> CrossSigning | None:
        found = {usage: await source(secret_name(usage)) for usage in USAGES}
        try:
            return CrossSigning.of(self._client.user_id, {usage: secret for usage, secret in found.items() if secret})
        except ValueError:
            return None

    async def _new(self) -> CrossSigning:
        """Kept before anybody sees them: a crash in between ends in the same identity."""
        keys = CrossSigning.new(self._client.user_id)
        await self._vault.keep({secret_name(usage): secret for usage, secret in keys.secrets.items()})
        self._log.info("identity.made")
        return keys

    def _lost(self) -> str:
        return (
            f"the account {self._client.user_id} has a cross-signing identity whose private keys the host does not "
            f"have, so its device stays unverified: set surfaces.{self._name}.recovery_key to the account's recovery "
            "key; where that is lost, log in to the account with a Matrix client, reset the identity there and give "
            "the host the new recovery key"
        )

    # At the homeserver

    async def published(self) -> Published:
        """What others see of the account. Raises `Unavailable` and `Refused`."""
        me = self._client.user_id
        answer = await self._client.call("POST", "/v3/keys/query", {"device_keys": {me: []}})
        devices = mapping(mapping(answer.get("device_keys")).get(me))
        found = {usage: mapping(mapping(answer.get(f"{usage}_keys")).get(me)) for usage in USAGES}
        return {**found, "device": mapping(devices.get(self._machine.device_id))}

    async def _publish(self, keys: CrossSigning) -> None:
        """The first time nothing more is asked for; a homeserver that does ask wants the password."""
        body: dict[str, Any] = {f"{usage}_key": keys.public(usage) for usage in USAGES}
        if self._password is not None:
            body["auth"] = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": self._client.user_id},
                "password": self._password.get_secret_value(),
            }
        await self._client.call("POST", "/v3/keys/device_signing/upload", body)
        self._log.info("identity.published")

    async def _sign(self, keys: CrossSigning, published: Published) -> None:
        """Sign the device with the identity, and the identity with the device, where that is not so yet."""
        me, device_id = self._client.user_id, self._machine.device_id
        signer, master = keys.self_signing.public, keys.master.public
        if not published["device"]:
            raise Unavailable("the device's keys are not at the homeserver yet", code="KEYS_WAITING", retry_after=1.0)
        bodies: dict[str, Any] = {}
        if not signed_by(published["device"], me, f"ed25519:{signer}", signer):
            bodies[device_id] = keys.signed(self._machine.device_keys(), keys.self_signing)
        if not signed_by(published["master"], me, f"ed25519:{device_id}", self._machine.ed25519):
            public = keys.public("master")
            bodies[master] = {**public, "signatures": {me: {f"ed25519:{device_id}": self._machine.sign(public)}}}
        if bodies:
            await self._machine.upload_signatures({me: bodies})
            self._log.info("identity.signed", device=device_id)
