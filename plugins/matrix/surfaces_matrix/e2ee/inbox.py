"""Takes what comes to our device: each message once, and none can do any harm by its shape."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from traceback import extract_tb
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from surfaces_core import StateError, Unavailable
from surfaces_matrix.breath import Breath
from surfaces_matrix.e2ee.canonical import canonical
from surfaces_matrix.e2ee.channel import Channel
from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.devices import Devices, as_device, is_device
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.olm import Olm, Opened, Undecryptable
from surfaces_matrix.e2ee.upkeep import Upkeep
from surfaces_matrix.shapes import mapping, text, user_id

MOST_REMEMBERED = 1000
"""Messages that are known again; a homeserver repeats those of the last responses only."""
_ROW = "todevice"

ToDeviceHandler = Callable[[str, Mapping[str, Any], Device | None], Awaitable[None]]
"""Gets sender, content, and the device that encrypted it; None where it came in the clear or the device is unknown."""
OlmHandler = Callable[[Opened, Device | None], Awaitable[None]]
"""Gets what came encrypted, and the device where it is known."""


class Inbox:
    """The messages to one device. What changes is kept with the next flush."""

    def __init__(
        self, keep: Keep, olm: Olm, devices: Devices, channel: Channel, upkeep: Upkeep, log: FilteringBoundLogger
    ) -> None:
        self._keep = keep
        self._olm = olm
        self._devices = devices
        self._channel = channel
        self._upkeep = upkeep
        self._log = log
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._plain: dict[str, list[ToDeviceHandler]] = {}
        self._encrypted: dict[str, OlmHandler] = {}

    async def load(self) -> None:
        """What the last life took."""
        row = await self._keep.get(_ROW)
        self._seen = OrderedDict.fromkeys(orjson.loads(row)) if row is not None else OrderedDict()

    def on(self, type_: str, handler: ToDeviceHandler) -> None:
        """Call a handler for each message of a type, whether it was encrypted or not."""
        self._plain.setdefault(type_, []).append(handler)

    def on_encrypted(self, type_: str, handler: OlmHandler) -> None:
        """Call a handler for each message of a type that came encrypted."""
        self._encrypted[type_] = handler

    async def take(self, events: Sequence[object]) -> None:
        """All messages of a response; those that were taken before are passed over."""
        breath = Breath()
        for event in map(mapping, events):
            await breath()
            sender, type_ = user_id(event.get("sender")), text(event.get("type"))
            name = _name(event)
            if sender is None or type_ is None or name is None or name in self._seen:
                continue
            content = mapping(event.get("content"))
            if type_ == "m.room.encrypted":
                await self._open(sender, content)
            else:
                await self._hand(type_, sender, content, None)
            self._remember(name)

    def _remember(self, name: str) -> None:
        self._seen[name] = None
        while len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        self._keep.set(_ROW, lambda: orjson.dumps(list(self._seen)))

    async def _open(self, sender: str, content: Mapping[str, Any]) -> None:
        try:
            # A session that has moved on without the key that it brought would never bring it again.
            async with self._keep.together():
                opened = await self._olm.decrypt(sender, content)
                device = await self._device(opened)
                handler = self._encrypted.get(opened.type)
                if handler is not None:
                    await self._guarded(opened.type, sender, handler(opened, device))
        except Undecryptable as error:
            self._log.warning("to_device.unreadable", sender=sender, code=error.code)
            curve25519 = text(content.get("sender_key"))
            if error.code == "WEDGED" and curve25519 is not None:
                self._upkeep.wedged(sender, curve25519)
            return
        self._channel.heard(opened.curve25519)
        await self._hand(opened.type, sender, opened.content, device)

    async def _device(self, opened: Opened) -> Device | None:
        """The device that a message came from, as it is known or as it says itself. `Undecryptable`."""
        known = await self._devices.find(opened.sender, opened.curve25519)
        if known is not None:
            if known.ed25519 != opened.ed25519:
                raise Undecryptable("FORGED")
            return known
        device_id = opened.device_keys.get("device_id")
        if not is_device(opened.device_keys, opened.sender, device_id):
            return None
        device = as_device(opened.device_keys, opened.sender)
        # One that changed its keys is not the one that is known under its id.
        same_id = device.device_id in await self._devices.of(opened.sender)
        fits = (device.curve25519, device.ed25519) == (opened.curve25519, opened.ed25519)
        return device if fits and not same_id else None

    async def _hand(self, type_: str, sender: str, content: Mapping[str, Any], device: Device | None) -> None:
        for handler in self._plain.get(type_, ()):
            await self._guarded(type_, sender, handler(sender, content, device))

    async def _guarded(self, type_: str, sender: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Unavailable as error:
            self._log.warning("to_device.failed", type=type_, sender=sender, code=error.code)
        except StateError:
            raise
        except Exception as error:  # noqa: BLE001  see below
            # It comes again and again until it is taken: whoever found a bug here could end the host for good.
            # A traceback might show what was sent.
            last = extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {last.name}:{last.lineno}"
            self._log.error("to_device.failed", type=type_, sender=sender, code="BUG", error=where)


def _name(event: Mapping[str, Any]) -> str | None:
    """What a message is known again by."""
    try:
        return hashlib.sha256(canonical(event)).hexdigest()[:32]
    except ValueError:
        return None
