from surfaces_core.testing import contract

from surfaces_program import ProgramTransport

test_contract = contract.transport(
    ProgramTransport,
    agent={"command": ["cat"]},
    unreachable={"command": ["/no/such/program"]},
)
