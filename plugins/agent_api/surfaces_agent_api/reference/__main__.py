"""`python -m surfaces_agent_api.reference` is `surfaces-agent`."""

from surfaces_agent_api.reference.program import main

main()
