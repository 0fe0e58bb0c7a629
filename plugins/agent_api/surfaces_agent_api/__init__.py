"""AgentApi over WebSocket for Surfaces, and a reference agent."""
