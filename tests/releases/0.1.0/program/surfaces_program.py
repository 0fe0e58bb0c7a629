"""A transport to programs on this machine: a message comes on standard input, what is printed is the answer."""

import asyncio
import codecs
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import suppress

from pydantic import Field
from surfaces_core import Agent, AgentEvent, AgentRequest, End, Health, Rejected, Settings, Text, Transport, Unavailable


class ProgramAgentSettings(Settings):
    command: list[str] = Field(min_length=1, description="The program that answers, and its arguments.")


class ProgramTransport(Transport):
    AgentSettings = ProgramAgentSettings

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        program = await self._started(request.agent)
        assert program.stdin and program.stdout
        try:
            program.stdin.write(request.text.encode())
            program.stdin.close()
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while piece := await program.stdout.read(4096):
                yield Text(decoder.decode(piece))
            if code := await program.wait():  # it has seen the message, so trying again might do things twice
                raise Rejected(f"{request.agent.id} ended with code {code}", public="The agent could not answer that.")
            yield End()
        finally:  # also where the turn is stopped: nothing may go on behind it
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            await program.communicate()

    async def _started(self, agent: Agent) -> Process:
        words = self._command(agent)
        environment = {"PATH": os.environ.get("PATH", os.defpath)}  # the host's own may hold secrets
        try:
            return await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
            )
        except OSError as error:  # it has seen nothing yet, so it may be asked again later
            raise Unavailable(f"{words[0]} cannot be started: {error}") from error

    async def check(self, agent: Agent) -> Health:
        if shutil.which(self._command(agent)[0]):
            return Health(reachable=True)
        return Health(reachable=False, code="AGENT_UNREACHABLE", detail="there is no such program")

    def _command(self, agent: Agent) -> list[str]:
        return self.AgentSettings.model_validate(dict(agent.options)).command
