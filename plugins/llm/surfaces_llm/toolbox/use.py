"""Owns one turn's use of tools: may it be used, is the person asked, does it run, what does the model hear.

What a plugin or a server does wrong stays here: the model hears that the tool failed, the log hears
why, the person hears nothing of our insides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from surfaces_core import (
    AgentEvent,
    AgentRequest,
    CommandError,
    Confirm,
    DriverError,
    Progress,
    Rejected,
    Tool,
    ToolPolicy,
)
from surfaces_llm.toolbox.asking import question
from surfaces_llm.toolbox.ledger import Call, Ledger, digest
from surfaces_llm.toolbox.usable import Arguments, Failed, Usable

DECLINED = "The person was asked and did not allow this. Do not try it again; go on without it."
UNKNOWN = "There is no such tool."
TOO_MANY = "That was the last tool call of this answer. Answer with what you have."
CUT = "This was cut off by a restart while it ran. Whether it took effect is not known; it was not run again."
BROKEN = "The tool failed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the use of tools."""

    calls: int = 25
    """In a turn."""
    result_chars: int = 50_000
    """Of what goes to the model."""
    answer_s: float = 600.0
    """How long a person has to answer."""


class Use:
    """The tools of one turn."""

    def __init__(
        self,
        request: AgentRequest,
        tools: Mapping[str, Usable],
        policy: Callable[[Usable], ToolPolicy],
        ledger: Ledger,
        tell: Callable[[AgentEvent], None],
        limits: Limits,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._request = request
        self._policy = policy
        self._tools = tools
        self._ledger = ledger
        self._tell = tell
        self._limits = limits
        self._log = log
        self._asked: dict[str, asyncio.Future[bool]] = {}

    @property
    def offered(self) -> Mapping[str, Usable]:
        """What the model is told of: what is denied does not exist for it."""
        return {name: tool for name, tool in self._tools.items() if self._policy(tool) != "deny"}

    async def use(self, tool: str, arguments: Arguments, *, name: str = "", messages: bytes = b"") -> str:
        """One call, `name` being the model's for it; what the model hears. Raises `BadArguments` or `Failed`.

        `messages` are those of the turn so far, from which an interrupted turn goes on.
        """
        wanted = self.offered.get(tool)
        if wanted is None:
            raise Failed(UNKNOWN)
        checked, bound = wanted.check(arguments), digest(tool, arguments)
        call = await self._ledger.claim(name, bound, messages)
        if call.state == "asked":
            call = await self._allowed(wanted, checked, arguments, call)
        elif call.state == "started":
            call = await self._settle(call, CUT, failed=True)
        if call.failed:
            raise Failed(call.result)
        return call.result

    def answer(self, asked: str, approved: bool) -> None:
        """A person's answer. `Rejected` where nobody waits for it: each answer counts once."""
        waiting = self._asked.pop(asked, None)
        if waiting is None or waiting.done():
            raise Rejected("nothing is asked under that name")
        waiting.set_result(approved)

    async def _allowed(self, tool: Usable, checked: object, arguments: Arguments, call: Call) -> Call:
        if call.number > self._limits.calls:
            return await self._settle(call, TOO_MANY, failed=True)
        if self._policy(tool) == "ask" and not await self._approved(tool, arguments, call):
            return await self._settle(call, DECLINED, failed=True)
        await self._ledger.started(call)
        return await self._run(tool, checked, call)

    async def _approved(self, tool: Usable, arguments: Arguments, call: Call) -> bool:
        asked = f"{self._request.turn}.{call.number}"
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[asked] = answer
        text = question(tool.name, arguments, call.number, call.digest)
        self._tell(Confirm(id=asked, text=text, timeout_s=self._limits.answer_s))
        try:
            return await answer
        finally:
            self._asked.pop(asked, None)

    async def _run(self, tool: Usable, checked: object, call: Call) -> Call:
        shown = f"{call.number}"
        self._tell(Tool(name=tool.name, id=shown))
        try:
            return await self._settle(call, await self._result(tool, checked, call))
        except Failed as failure:
            return await self._settle(call, str(failure), failed=True)
        finally:
            self._tell(Tool(name=tool.name, id=shown, done=True))

    async def _result(self, tool: Usable, checked: object, call: Call) -> str:
        def report(step: Progress) -> None:
            self._tell(Progress(text=f"{tool.name}: {step.text}" if step.text else tool.name, fraction=step.fraction))

        try:
            async with asyncio.timeout(tool.timeout_s) as limit:
                result = await tool.call(f"{self._request.turn}.{call.number}", checked, self._request, report)
        except (DriverError, CommandError) as error:
            self._log.info("tool.refused", tool=tool.name, turn_id=self._request.turn, code=error.code)
            raise Failed(error.public) from error
        except TimeoutError as error:
            if not limit.expired():
                raise self._bug(tool) from error
            self._log.warning("tool.timeout", tool=tool.name, turn_id=self._request.turn)
            raise Failed(f"The tool took longer than {tool.timeout_s:g} s and was stopped.") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._bug(tool) from error
        except Failed:
            raise
        except Exception as error:
            raise self._bug(tool) from error
        if not isinstance(result, str):
            self._log.error("tool.failed", tool=tool.name, turn_id=self._request.turn, returned=type(result).__name__)
            raise Failed(BROKEN)
        return result

    def _bug(self, tool: Usable) -> Failed:
        self._log.exception("tool.failed", tool=tool.name, turn_id=self._request.turn)
        return Failed(BROKEN)

    async def _settle(self, call: Call, result: str, *, failed: bool = False) -> Call:
        most = self._limits.result_chars
        if len(result) > most:
            result = f"{result[:most]}\n[cut: these are {most} of {len(result)} characters]"
        return await self._ledger.done(call, result, failed=failed)
