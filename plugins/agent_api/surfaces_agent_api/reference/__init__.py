"""An agent that serves AgentApi: for demos and tests, and as a model for agent authors.

Read `behaviours.py` for what it can do, `session.py` for the protocol, `faults.py` for how it can misbehave.
"""

from surfaces_agent_api.reference.program import main
from surfaces_agent_api.reference.server import ReferenceAgent

__all__ = ["ReferenceAgent", "main"]
