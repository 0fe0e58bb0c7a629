"""`!agent`, where the operator lets people choose: a hooks plugin that the host loads only then."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core._engine import words
from surfaces_core.contracts import Command, CommandCall
from surfaces_core.errors import CommandError
from surfaces_core.events import Agent
from surfaces_core.hooks import hookimpl


async def _agent(call: CommandCall) -> str:
    offered = call.desk.agents()
    here = (await call.desk.overview()).binding.agent
    if not call.rest:
        return _listing(offered, here, call.prefix)
    chosen = _named(offered, call.rest)
    if chosen is None:
        raise CommandError(words.NO_SUCH_AGENT(prefix=call.prefix))
    moved = await call.desk.choose_agent(chosen.id)
    return (words.MOVED if moved else words.AGENT_STAYS)(agent=words.plain(chosen.label))


def _listing(offered: Sequence[Agent], here: str, prefix: str) -> str:
    lines = [
        (words.AGENT_HERE if agent.id == here else words.AGENT_OFFERED)(
            number=number, agent=words.plain(agent.label), id=agent.id
        )
        for number, agent in enumerate(offered, 1)
    ]
    return "\n".join([*lines, "", words.HOW_TO_CHOOSE(prefix=prefix)])


def _named(offered: Sequence[Agent], text: str) -> Agent | None:
    for number, agent in enumerate(offered, 1):
        if text in (agent.id, agent.label, str(number)):
            return agent
    return None


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!agent`."""
    return [Command(name="agent", usage=words.USAGE_AGENT, help=words.HELP_AGENT, handler=_agent)]
