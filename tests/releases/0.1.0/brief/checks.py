import pytest
from surfaces_core.testing import contract

from surfaces_core.testing.bot import TestBot
from surfaces_brief import Brief

test_contract = contract.hooks(Brief)


@pytest.fixture
def surfaces_hooks() -> list[object]:
    """What `testbot` loads."""
    return [Brief()]


async def test_answers_are_counted(testbot: TestBot) -> None:
    """Each answer of the agent counts, commands don't."""
    await testbot.push("hello")
    assert await testbot.pop() == "hello"  # the agent of the test repeats what it hears
    await testbot.push("!usage")
    assert await testbot.pop() == "1 answers, 0 tokens."


async def test_people_may_not_set_the_limit(testbot: TestBot) -> None:
    """That is for operators, and nobody is one here."""
    await testbot.push("!limit 5")
    assert await testbot.pop() == "You may not use `!limit` here."


async def test_operators_may() -> None:
    """A slip is explained; what is too long is refused."""
    bot = TestBot(hooks=[Brief()])
    bot.settings = bot.settings.model_copy(update={"operators": ("@ann",)})
    async with bot.running():
        await bot.push("!limit lots")
        assert await bot.pop() == "Write a number behind it: `!limit 500`."
        await bot.push("!limit 10")
        assert await bot.pop() == "Messages may have 10 characters now."
        await bot.push("hello, old friend")
        assert await bot.pop() == "That is too long for me."
        await bot.push("!limit")
        assert (await bot.pop()).startswith("How many characters?")
        await bot.push("500")
        assert await bot.pop() == "Messages may have 500 characters now."
