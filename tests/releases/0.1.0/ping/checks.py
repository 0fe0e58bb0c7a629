import pytest
from surfaces_core.testing import contract
from surfaces_core.testing.bot import TestBot

import surfaces_ping

test_contract = contract.hooks(surfaces_ping)


@pytest.fixture
def surfaces_hooks() -> list[object]:
    return [surfaces_ping]


async def test_it_answers(testbot: TestBot) -> None:
    await testbot.push("!ping a b")
    assert await testbot.pop() == "pong a b"
