"""Delivery: says what the outbox holds, in order in a conversation, side by side across.

A part leaves the outbox when it shows. While the messenger is away a gate lets one part at a time
probe it, however many wait. A part that is refused for good is kept as a dead letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gate import LEAST_WAIT_S, PATIENCE_S, Gate, Trouble, backoff
from surfaces_core._engine.journal import Changes, Journal, Part
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.log import about
from surfaces_core._engine.redaction import Content
from surfaces_core._engine.steps import Step, stepping
from surfaces_core.contracts import Surface
from surfaces_core.errors import Rejected, StateError, Unavailable
from surfaces_core.events import Address, Delivered, Observed, Outbound, Postponed, Receipt

SIDE_BY_SIDE = 32
"""Parts of one surface that are sent at the same time."""


class Delivery:
    """The outbox of one surface."""

    def __init__(
        self,
        *,
        name: str,
        surface: Surface,
        journal: Journal,
        observe: Callable[[Observed], None],
        speak: Callable[[Address], None],
        gate: Gate,
        log: FilteringBoundLogger,
        shown: Callable[[Outbound, Receipt], Changes] = lambda message, receipt: {},
    ) -> None:
        self._surface = surface
        self._speak = speak
        """Chooses the language that a conversation is spoken to in."""
        self._journal = journal
        self._observe = observe
        self._gate = gate
        self._shown = shown
        """What else is stored when a part shows."""
        self._log = log.bind(surface=name)
        self._failures: dict[int, tuple[int, str]] = {}
        """How often the parts that wait have failed and with which code, by their seq."""
        self.lanes: Lanes[Part] = Lanes(self._send, SIDE_BY_SIDE)

    def put(self, part: Part) -> None:
        """Queue a stored part."""
        self.lanes.put(part.outbound.address, part)

    @property
    def trouble(self) -> Trouble | None:
        """Since when and why nothing could be sent."""
        return self._gate.trouble

    @property
    def away(self) -> bool:
        """The messenger takes nothing, as far as this shows."""
        return self._gate.away

    def behind(self, address: Address) -> bool:
        """Something that was said in a conversation does not show yet."""
        return self.lanes.depth(address) > 0

    def failures(self, part: Part) -> tuple[int, str]:
        """How often a part that waits has failed, and the code of its last failure."""
        return self._failures.get(part.seq, (0, ""))

    async def _send(self, part: Part) -> tuple[Part, float] | None:
        with about(part.outbound.turn):
            return await self._try(part)

    async def _try(self, part: Part) -> tuple[Part, float] | None:
        self._speak(part.outbound.address)
        await self._gate.enter()
        began = asyncio.get_running_loop().time()
        try:
            point("send.before")
            with self._step("send", part), contained():
                receipt = await self._surface.send(part.outbound)
            point("send.after")
        except Unavailable as error:
            return part, self._put_off(part, error, began)
        except MemoryError:
            return part, self._put_off(part, Unavailable("out of memory", code="NO_MEMORY"), began)
        except Rejected as error:
            self._log.warning("delivery.rejected", key=part.outbound.key, code=error.code, error=str(error))
            return await self._give_up(part, f"{error.code}: {error}")
        except StateError:
            raise
        except Exception as error:  # noqa: BLE001 - a part that a bug chokes on would end every life of the host
            self._log.exception("delivery.bug", key=part.outbound.key)
            return await self._give_up(part, f"BUG: {type(error).__name__}")
        if self._gate.succeeded():
            self._log.info("delivery.back")
        with self._step("store", part):
            await self._journal.delivered(part, self._shown(part.outbound, receipt))
        self._failures.pop(part.seq, None)
        self._log.info("part.shown", key=part.outbound.key, text=Content(part.outbound.text))
        self._observe(Delivered(outbound=part.outbound, receipt=receipt))
        return None

    def _step(self, name: Literal["send", "store"], part: Part) -> AbstractContextManager[Step]:
        out, attempt = part.outbound, self.failures(part)[0] + 1
        return stepping(
            self._observe,
            name,
            out.turn,
            out.address,
            attempt=attempt,
            part=out.part,
            files=int(out.file is not None),
        )

    async def _give_up(self, part: Part, reason: str) -> tuple[Part, float] | None:
        """Keep a part as a dead letter, and say in its place that something is missing."""
        self._failures.pop(part.seq, None)
        said = await self._journal.bury(part, reason, self._instead(part.outbound))
        return None if said is None else (said, 0.0)

    def _instead(self, lost: Outbound) -> Outbound | None:
        """The line for a lost part: in the place of the draft that may show, else as a message under a fresh key."""
        if lost.notice and not lost.streamed:
            return None
        line = replace(lost, text=words.PART_LOST(), file=None, notice=True)
        if lost.streamed and not lost.notice:
            return line
        return replace(
            line, key=f"{lost.key}x", streamed=False, device=self._surface.device, frozen_at=self._journal.now()
        )

    def _put_off(self, part: Part, error: Unavailable, began: float) -> float:
        """Seconds until this part is tried again; a try that hung has used up some of them."""
        out = part.outbound
        if self._gate.failed(out.address, began, error):
            self._log.warning("delivery.down", code=error.code, error=str(error))
        tries = self.failures(part)[0] + 1
        self._failures[part.seq] = tries, error.code
        took = asyncio.get_running_loop().time() - began
        wait = max(error.retry_after or 0.0, LEAST_WAIT_S, backoff(tries, base_s=1.0, cap_s=PATIENCE_S) - took)
        self._log.info("part.postponed", key=out.key, code=error.code, error=str(error), tries=tries, wait_s=wait)
        self._observe(
            Postponed(turn=out.turn, address=out.address, part=out.part, reason=error.code, tries=tries, wait_s=wait)
        )
        return wait
