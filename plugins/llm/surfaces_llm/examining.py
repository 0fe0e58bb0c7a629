"""A look at whether agents name models that there are, for `surfaces check`; asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from surfaces_core import Agent, Finding
from surfaces_llm.settings import LlmOptions, LlmSettings


def examine(settings: LlmSettings, agents: Sequence[Agent]) -> Iterator[Finding]:
    """What is wrong with the models that agents name; one of several may be missing, though not all."""
    known = ", ".join(sorted(settings.models))
    for agent in agents:
        named = LlmOptions.model_validate(dict(agent.options)).model
        missing = [name for name in named if name not in settings.models]
        if missing:
            said = f"agent {agent.id}: no model is named {', '.join(missing)}; there are: {known}"
            yield Finding(what="model", said=said, level="wrong" if len(missing) == len(named) else "doubtful")
