"""Says in words how one account's encryption is, and what to do where it is not well.

Everything is asked of the homeserver anew; what only the host knows is said as the host has it, whether it runs
or its state was opened for this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from surfaces_core import Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.canonical import signed_by
from surfaces_matrix.e2ee.crosskeys import USAGES, public_of
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.trust import Trust
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text

MOST = 50
"""Events that are named; more are counted."""


def good(line: str) -> str:
    """What is well."""
    return f"+ {line}"


def bad(line: str, remedy: str) -> str:
    """What is not, and what to do."""
    return f"! {line}\n  {remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Examines one account. `name` is the surface's."""

    name: str
    client: Client
    machine: Machine
    trust: Trust
    encryption: Encryption

    async def examine(self) -> AsyncIterator[str]:
        """All findings, line by line. Raises nothing for a homeserver that does not answer: that is a finding."""
        for part in (self._device, self._one_time_keys, self._storage, self._backup, self._events):
            try:
                async for line in part():
                    yield line
            except (Unavailable, Refused) as error:
                yield bad(f"the homeserver could not be asked: {error}", "look whether it runs, then ask again")

    async def _device(self) -> AsyncIterator[str]:
        me, machine = self.client.user_id, self.machine
        published = await self.trust.identity.published()
        keys = mapping(published["device"].get("keys"))
        ours = {f"ed25519:{machine.device_id}": machine.ed25519, f"curve25519:{machine.device_id}": machine.curve25519}
        yield good(f"logged in as {me}, device {machine.device_id}")
        if not keys:
            yield bad("the device's keys are not at the homeserver", "start the host; it uploads them")
        elif dict(keys) != ours:
            remedy = "two hosts or an old copy of the state use one device: stop the other, or log in as a new device"
            yield bad("the homeserver has other keys for this device", remedy)
        else:
            yield good(f"its keys are published: {machine.ed25519}")
        for line in self._signatures(published):
            yield line

    def _signatures(self, published: Mapping[str, Mapping[str, Any]]) -> list[str]:
        me, keys = self.client.user_id, self.trust.identity.keys
        if not published["master"]:
            return [bad("the account has no cross-signing identity", "start the host; it makes one")]
        signer = public_of(published["self_signing"])
        if not signed_by(published["device"], me, f"ed25519:{signer}", signer):
            remedy = self.trust.identity.problem or "start the host; it signs its device"
            return [bad("the device is not cross-signed: others show a warning beside its messages", remedy)]
        lines = [good(f"the device is cross-signed by {public_of(published['master'])}")]
        if keys is not None and any(public_of(published[usage]) != keys.key(usage).public for usage in USAGES):
            remedy = f"give surfaces.{self.name}.recovery_key the account's new recovery key"
            lines.append(bad("the identity was replaced by somebody else", remedy))
        return lines

    async def _one_time_keys(self) -> AsyncIterator[str]:
        answer = await self.client.call("POST", "/v3/keys/upload", {})
        count = mapping(answer.get("one_time_key_counts")).get("signed_curve25519", 0)
        if count:
            yield good(f"{count} one-time keys wait at the homeserver")
        else:
            yield bad("no one-time keys are at the homeserver", "start the host; it uploads new ones")

    async def _storage(self) -> AsyncIterator[str]:
        vault = self.trust.vault
        if vault.problem:
            yield bad("the account's secret storage cannot be opened", vault.problem)
        elif not vault.recovery_key:
            yield bad("the account has no secret storage yet", "start the host; it makes one")
        elif vault.missing:
            yield bad(f"{len(vault.missing)} secrets are not in the secret storage", "start the host; it stores them")
        else:
            yield good("the secret storage opens with the recovery key: `surfaces matrix recovery-key` says it")

    async def _backup(self) -> AsyncIterator[str]:
        backup = self.trust.backup
        there = await backup.current()
        sessions = len(await self.machine.sessions())
        if there is None:
            yield bad("there is no key backup", "start the host; it makes one")
        elif backup.problem:
            yield bad(f"key backup {there['version']} is not this host's", backup.problem)
        else:
            waiting = f", {backup.waiting} wait" if backup.waiting else ""
            yield good(f"key backup {there['version']} holds {there.get('count', 0)} of {sessions} room keys{waiting}")

    async def _events(self) -> AsyncIterator[str]:
        yield good(f"{self.encryption.seen} encrypted rooms are known")
        held = self.machine.held()
        if not held:
            yield good("nothing waits to be decrypted")
        for one, code in held[:MOST]:
            what = f"{one.event_id} of {text(one.event.get('sender'))} in {one.room_id} cannot be read"
            why = REASONS.get(code, f"its key (session {one.session_id}) has not come")
            yield bad(f"{what}: {why}", REMEDIES.get(code, LATER))
        if len(held) > MOST:
            yield f"  and {len(held) - MOST} more"
        for room_id, event_id, sender in self.machine.passed_over:
            yield bad(f"{event_id} of {sender} in {room_id} was passed over: {UNVERIFIED}", VERIFY)


LATER = "its key was asked for: the sender's client must be online to give it; else ask them to say it again"
UNVERIFIED = "the session that it came from is not verified, and `trust` wants that"
VERIFY = "have its owner verify the session in their client, or verify the person from the bot's account"
REASONS = {
    "m.unverified": "the sender's client gives keys to verified devices alone",
    "m.blacklisted": "the sender has blocked the bot's device",
    "m.unauthorised": "the sender's client says that the bot may not have the key",
    "m.unavailable": "the sender's client does not have the key any more",
    "m.no_olm": "the sender's client could not reach the bot's device",
}
"""By what was said instead of giving a key (Matrix spec, `m.room_key.withheld`)."""
REMEDIES = {
    "m.unverified": "let the sender verify the bot: `!verify` in the conversation",
    "m.blacklisted": "ask the sender to unblock the bot's device",
    "m.no_olm": "it tries again with the next message; ask the sender to write once more",
}
