"""AgentApi over WebSocket for Surfaces, and a reference agent."""

from surfaces_agent_api.settings import AgentApiSettings, AgentOptions
from surfaces_agent_api.transport import AgentApi

__all__ = ["AgentApi", "AgentApiSettings", "AgentOptions"]
