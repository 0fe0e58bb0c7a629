"""Does in the background what the keys of one device need from the homeserver, without holding up anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from surfaces_core import Unavailable
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.channel import ONE_TIME_KEY, Channel
from surfaces_matrix.e2ee.devices import Devices
from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.olm import MEGOLM, Olm
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping

UNWEDGED_AGAIN_S = 3600.0
"""Between two new sessions with one device (Matrix spec, "Recovering from undecryptable messages")."""
COUNT_AGAIN_S = 600.0
"""Not every homeserver says in every response how many keys there are; it is asked as often."""
REFUSED_AGAIN_S = 60.0
"""A homeserver that says no is asked again so much later."""
MOST_WAITING = 200
"""Devices that are to be answered: whoever sends more rubbish than that gets no answer."""
KEY_REQUEST = "m.room_key_request"


class Upkeep:
    """The background work of one device; `run` may be called again after it ended."""

    def __init__(
        self,
        client: Client,
        keep: Keep,
        olm: Olm,
        channel: Channel,
        devices: Devices,
        log: FilteringBoundLogger,
        clock: Callable[[], float],
        session: Callable[[], str],
    ) -> None:
        self._client = client
        self._keep = keep
        self._olm = olm
        self._channel = channel
        self._devices = devices
        self._log = log
        self._clock = clock
        self._backoff = Backoff()
        self._wake = asyncio.Event()
        self._session = session
        self._uploaded: str | None = None
        """The login for which our device keys were uploaded in this life: another one may have begun without any."""
        self._there: int | None = None
        """One-time keys that the homeserver has; None where that is to be asked."""
        self._wedged: dict[tuple[str, str], None] = {}
        """Users and identity keys of devices that send what can't be read."""
        self._requests: dict[tuple[str, str], tuple[str, str]] = {}
        """Rooms and sessions whose keys are to be asked for: whom, and which of their devices."""
        self._asked_at = 0.0
        """When it was asked how many, in Unix seconds."""
        self.trouble = ""
        """Why our keys could not be uploaded, as a stable word."""

    # What is to be done

    def counted(self, there: int | None) -> None:
        """The homeserver has so many of our one-time keys; None where it did not say."""
        if there is None and self._there is not None and self._clock() - self._asked_at < COUNT_AGAIN_S:
            return
        self._there = there
        self._wake.set()

    def republish(self) -> None:
        """The homeserver may have forgotten our device's keys."""
        self._uploaded, self._there = None, None
        self._wake.set()

    def wedged(self, user_id: str, curve25519: str) -> None:
        """A device sent what can't be read: it needs a new session."""
        if len(self._wedged) < MOST_WAITING:
            self._wedged[user_id, curve25519] = None
            self._wake.set()

    def ask(self, room_id: str, session_id: str, user_id: str, device_id: str) -> None:
        """A key is missing that this person's device made."""
        if len(self._requests) < MOST_WAITING:
            self._requests[room_id, session_id] = (user_id, device_id)
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._publish()
                await self._unwedge()
                await self._request()
            except (Unavailable, Refused) as error:
                self._wake.set()
                await asyncio.sleep(self._failed(error))
            else:
                self.trouble = ""
                self._backoff.reset()

    def _failed(self, error: Unavailable | Refused) -> float:
        """Note a failure, said once; seconds until the next try."""
        code = error.errcode if isinstance(error, Refused) else error.code
        if code != self.trouble:
            self._log.warning("keys.waiting", code=code, error=str(error))
        self.trouble = code
        return self._backoff.next(REFUSED_AGAIN_S if isinstance(error, Refused) else error.retry_after)

    # Doing it

    async def _publish(self) -> None:
        """Upload what the homeserver lacks of our keys (Matrix spec, `/keys/upload`)."""
        there = self._there
        if there is None:
            there = _count(await self._client.call("POST", "/v3/keys/upload", {}), 0)
            self._there, self._asked_at = there, self._clock()
        keys = self._olm.one_time_keys(there)
        session = self._session()
        body: dict[str, Any] = {} if self._uploaded == session else {"device_keys": self._olm.device_keys()}
        if keys:
            body["one_time_keys"] = keys
        if not body:
            return
        # Whoever gets one of these keys uses it: its other half must be there whatever happens.
        await self._keep.flush()
        try:
            answer = await self._client.call("POST", "/v3/keys/upload", body)
        except Refused as error:
            if keys and error.status == 400:
                # Others are there under the same names: those of an account that was restored from a copy.
                self._olm.published()
                await self._keep.flush()
            raise
        self._there = _count(answer, there + len(keys))
        self._olm.published()
        await self._keep.flush()
        if self._uploaded != session:
            self._log.info("keys.published", device=self._olm.device_id)
        self._uploaded = session

    async def _unwedge(self) -> None:
        while self._wedged:
            user_id, curve25519 = next(iter(self._wedged))
            with self._one(user_id):
                await self._answer(user_id, curve25519)
            self._wedged.pop((user_id, curve25519), None)

    @contextmanager
    def _one(self, user_id: str) -> Iterator[None]:
        """Work for one person: what the homeserver refuses of it, for what they sent, holds up nobody else."""
        try:
            yield
        except Refused as error:
            self._log.warning("keys.refused", user=user_id, code=error.errcode)

    async def _answer(self, user_id: str, curve25519: str) -> None:
        """Give a device a new session with us, which it uses from now on."""
        row = f"wedged/{curve25519}"
        last = await self._keep.get(row)
        if last is not None and 0 <= self._clock() - float(last) < UNWEDGED_AGAIN_S:
            return
        await self._devices.refresh([user_id], timeout_s=self._client.timeout_s)
        device = await self._devices.find(user_id, curve25519)
        if device is None:
            return
        self._keep.set(row, str(self._clock()).encode())
        self._log.info("device.unwedged", user=user_id, device=device.device_id)
        await self._channel.reach([device], timeout_s=self._client.timeout_s, anew=True)
        await self._channel.send("m.dummy", [(device, {})], timeout_s=self._client.timeout_s)

    async def _request(self) -> None:
        while self._requests:
            (room_id, session_id), (user_id, device_id) = next(iter(self._requests.items()))
            row = f"asked/{room_id}/{session_id}"
            if await self._keep.get(row) is None:
                told = {
                    "action": "request",
                    "body": {"algorithm": MEGOLM, "room_id": room_id, "session_id": session_id},
                    "request_id": uuid4().hex,
                    "requesting_device_id": self._olm.device_id,
                }
                # Asked twice after a crash is better than never.
                to = {user_id: {device_id or "*": told}, self._olm.user_id: {"*": told}}
                with self._one(user_id):
                    await self._channel.put(KEY_REQUEST, to, timeout_s=self._client.timeout_s)
                self._keep.set(row, str(told["request_id"]).encode())
                await self._keep.flush()
                self._log.info("room_key.asked", room=room_id, session=session_id)
            self._requests.pop((room_id, session_id), None)


def _count(answer: Mapping[str, Any], otherwise: int) -> int:
    there = mapping(answer.get("one_time_key_counts")).get(ONE_TIME_KEY)
    return there if isinstance(there, int) and there >= 0 else otherwise
