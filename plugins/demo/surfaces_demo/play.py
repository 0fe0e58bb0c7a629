"""Everything on one machine, played once or left running to be talked to."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from surfaces_demo.chat import Chat
from surfaces_demo.children import DemoError, free_port
from surfaces_demo.page import PORT, Facts, Page
from surfaces_demo.person import NotSeen, Person, Refused, Unreachable
from surfaces_demo.report import Report
from surfaces_demo.script import Script
from surfaces_demo.stage import CONFIG, Stage
from surfaces_demo.synapse import Account

CLIENTS_EXPECT_PORT = 8008
FAILURES = (DemoError, NotSeen, Refused, Unreachable)
"""What is explained in a line; anything else is a bug."""


async def run(folder: Path, report: Report, *, stays: bool) -> int:
    """Play it; the exit code: 0 when every step was seen, 1 when not."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    stage = Stage(folder, homeserver_port=free_port(CLIENTS_EXPECT_PORT) if stays else 0)
    try:
        async with stage:
            await _show(stage, report, stays=stays)
    except (*FAILURES, BaseExceptionGroup) as error:
        reason = expected(error)
        if reason is None:
            raise
        report.line(f"\n{str(reason).splitlines()[0]}\n{stage.tails()}")
        return 1
    return 0


async def _show(stage: Stage, report: Report, *, stays: bool) -> None:
    report.heading("Starting")
    with report.step("a Matrix homeserver (Synapse)") as step:
        bot = await stage.start_homeserver()
        step.note(stage.homeserver.url)
    with report.step("an agent") as step:
        step.note(await stage.start_agent())
    with report.step("the host") as step:
        await stage.start_host()
        step.note(f"surfaces run -c {CONFIG.name}")
    async with _page(stage, report, bot) if stays else nullcontext() as page:
        account = await stage.newcomer("ann")
        async with Person(stage.homeserver.url, account) as person:
            script = Script(stage, person, bot.user_id, report)
            await script.play()
            report.line(f"\nAll {report.steps} steps were seen by the client of {account.user_id}.")
            if stays:
                _invite(report, stage, account, page)
                await Chat(person, script.room, bot.user_id, sys.stdout).run()


@asynccontextmanager
async def _page(stage: Stage, report: Report, bot: Account) -> AsyncIterator[str | None]:
    """The chat page, served while the conversation is played and after it; its address, None where it is not built."""
    guest = await stage.account("guest")
    async with AsyncExitStack() as stack:
        facts = Facts(homeserver=stage.homeserver.url, bot=bot.user_id, offer=guest)
        try:
            page = await stack.enter_async_context(Page(facts, port=PORT))
        except DemoError as error:
            report.heading(str(error))
            yield None
        else:
            report.heading("Open the chat page in a browser:")
            report.line(f"  {page.url}")
            yield page.url


def _invite(report: Report, stage: Stage, account: Account, page: str | None) -> None:
    report.heading("It stays up.")
    if page:
        report.line(f"  chat page   {page}")
    report.heading("Or log in with any Matrix client on this machine:")
    report.line(f"  homeserver  {stage.homeserver.url}")
    report.line(f"  user        {account.user_id}")
    report.line(f"  password    {account.password}")
    report.line("\nOr talk here; !help lists the commands, Ctrl-D or Ctrl-C ends everything.")


def expected(error: BaseException) -> BaseException | None:
    """The failure of the demo that an error is, or that a group of a task's errors carries; None for a bug."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for found in map(expected, error.exceptions) if found is not None), None)
    return error if isinstance(error, FAILURES) else None
