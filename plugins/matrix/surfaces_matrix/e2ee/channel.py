"""Sends messages to single devices, each encrypted for one alone (Matrix spec, "Send-to-Device messaging")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from surfaces_matrix.client import Client, quote
from surfaces_matrix.e2ee.canonical import signed_by
from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.olm import Olm
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text

MOST_AT_ONCE = 100
"""Devices a request."""
AGAIN_S = 600.0
"""A device that has no one-time key is asked for one again so much later."""
ONE_TIME_KEY = "signed_curve25519"

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contents by user and device id."""


class Channel:
    """The way to other devices of one device of ours."""

    def __init__(
        self, client: Client, keep: Keep, olm: Olm, log: FilteringBoundLogger, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._keep = keep
        self._olm = olm
        self._log = log
        self._clock = clock
        self._without: dict[str, float] = {}
        """When a device had no one-time key, in Unix seconds, by its identity key."""
        self._claiming = asyncio.Lock()

    async def reach(self, devices: Iterable[Device], *, timeout_s: float, anew: bool = False) -> None:
        """Make sessions with those devices that have none, or with all `anew`, as far as they have one-time keys.

        `Unavailable` or `Refused`.
        """
        async with self._claiming:
            missing = [device for device in devices if anew or await self._is_new(device)]
            for some in _in_batches(missing):
                await self._claim(some, timeout_s)

    def heard(self, curve25519: str) -> None:
        """A device is there: what it did not have before it may have now."""
        self._without.pop(curve25519, None)

    async def send(self, type_: str, contents: Sequence[tuple[Device, Mapping[str, Any]]], *, timeout_s: float) -> None:
        """Send each device its content, encrypted; those without a session are left out. `Unavailable`, `Refused`."""
        for some in _in_batches(contents):
            messages: dict[str, dict[str, Mapping[str, Any]]] = {}
            for device, content in some:
                sealed = await self._olm.encrypt(device, type_, content)
                if sealed is not None:
                    messages.setdefault(device.user_id, {})[device.device_id] = sealed
            # What was sent with an older state of a session can't be read by anybody.
            await self._keep.flush()
            await self.put("m.room.encrypted", messages, timeout_s=timeout_s)

    async def tell(self, type_: str, contents: Sequence[tuple[Device, Mapping[str, Any]]], *, timeout_s: float) -> None:
        """Send each device its content in the clear; what the homeserver refuses is left out. `Unavailable`."""
        for some in _in_batches(contents):
            messages: dict[str, dict[str, Mapping[str, Any]]] = {}
            for device, content in some:
                messages.setdefault(device.user_id, {})[device.device_id] = content
            try:
                await self.put(type_, messages, timeout_s=timeout_s)
            except Refused as error:
                self._log.info("to_device.refused", type=type_, code=error.errcode)

    async def put(self, type_: str, messages: Messages, *, timeout_s: float) -> None:
        """Send contents as they are. `Unavailable` or `Refused`."""
        if messages:
            path = quote("v3", "sendToDevice", type_, uuid4().hex)
            await self._client.call("PUT", path, {"messages": messages}, timeout_s=timeout_s)

    async def _is_new(self, device: Device) -> bool:
        late = self._clock() - self._without.get(device.curve25519, -AGAIN_S) >= AGAIN_S
        return late and not await self._olm.has_session(device.curve25519)

    async def _claim(self, devices: Sequence[Device], timeout_s: float) -> None:
        wanted: dict[str, dict[str, str]] = {}
        for device in devices:
            wanted.setdefault(device.user_id, {})[device.device_id] = ONE_TIME_KEY
        body = {"one_time_keys": wanted, "timeout": int(timeout_s * 500)}
        answer = mapping(
            (await self._client.call("POST", "/v3/keys/claim", body, timeout_s=timeout_s)).get("one_time_keys")
        )
        for device in devices:
            key = _one_time_key(device, mapping(mapping(answer.get(device.user_id)).get(device.device_id)))
            if key is None or not await self._begun(device, key):
                self._without[device.curve25519] = self._clock()
                self._log.info("device.unreachable", user=device.user_id, device=device.device_id)

    async def _begun(self, device: Device, key: str) -> bool:
        try:
            await self._olm.begin(device, key)
        except ValueError:
            return False
        return True


def _one_time_key(device: Device, told: Mapping[str, Any]) -> str | None:
    """The key among those that were claimed for a device, if the device signed it."""
    for key_id, value in told.items():
        key = mapping(value)
        if key_id.startswith(f"{ONE_TIME_KEY}:") and signed_by(
            key, device.user_id, f"ed25519:{device.device_id}", device.ed25519
        ):
            return text(key.get("key"))
    return None


_T = TypeVar("_T")


def _in_batches(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (items[start : start + MOST_AT_ONCE] for start in range(0, len(items), MOST_AT_ONCE))
