"""Keeps messages short; `!usage` says what a conversation has used."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core import Command, CommandCall, CommandError, Inbound, Question, hookimpl


class Brief:
    """Knows the limit as long as the host runs."""

    def __init__(self) -> None:
        self.limit = 2000

    async def usage(self, call: CommandCall) -> str:
        """Say what is used."""
        used = await call.desk.overview()
        return f"{used.messages} answers, {used.tokens} tokens."

    async def set_limit(self, call: CommandCall) -> str:
        """Change the limit; without a number, ask for one."""
        if not call.args:
            return await call.desk.ask(Question(text="How many characters?", accepts=("500", "2000", "8000")))
        if len(call.args) != 1 or not call.args[0].isdecimal():
            raise CommandError(f"Write a number behind it: `{call.prefix}limit 500`.")
        self.limit = int(call.args[0])
        return f"Messages may have {self.limit} characters now."

    async def limit_chosen(self, call: CommandCall, question: Question) -> str:
        """Go on with the answer: `call.rest` is one of what the question accepts."""
        self.limit = int(call.rest)
        return f"Messages may have {self.limit} characters now."

    @hookimpl
    def surfaces_commands(self) -> Sequence[Command]:
        """`!usage` and `!limit`."""
        return [
            Command(name="usage", help="what this conversation has used", handler=self.usage, urgent=True),
            Command(
                name="limit",
                usage="[number]",
                help="sets the limit",
                handler=self.set_limit,
                answered=self.limit_chosen,
                who="operator",
            ),
        ]

    @hookimpl
    def surfaces_refuse(self, message: Inbound) -> str | None:
        """What is too long goes no further."""
        return "That is too long for me." if len(message.text) > self.limit else None
