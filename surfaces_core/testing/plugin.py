"""What `surfaces-core[testing]` adds to pytest: fixtures for authors of plugins, the contract checks, two switches.

    @pytest.fixture
    def surfaces_hooks():
        return [surfaces_ping]

    async def test_ping(testbot):
        await testbot.push("!ping a")
        assert await testbot.pop() == "pong a"

It is loaded into every run of pytest, so it imports next to nothing by itself.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from importlib.util import find_spec

import pytest

if find_spec("pytest_asyncio") is not None:  # without the extra there are no fixtures, and pytest still works
    from surfaces_core.testing.fixture import testbot as testbot


@pytest.fixture
def surfaces_hooks() -> Sequence[object]:
    """The hooks plugins that `testbot` loads; override it."""
    return ()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switches."""
    group = parser.getgroup("surfaces", "Surfaces plugins")
    group.addoption(
        "--surfaces-contract",
        action="append",
        default=[],
        metavar="KIND=MODULE:NAME",
        help="run the contract checks of a kind (storage, transport, files, surface, hooks) on a plugin",
    )
    group.addoption(
        "--surfaces-set",
        action="append",
        default=[],
        metavar="KIND.KEY=VALUE",
        help="a setting of the plugin that is checked; agent.KEY and unreachable.KEY are options of a transport's "
        "agents, bench.recall asks one what was said; {tmp_path} is the folder of each test",
    )
    words = "fail every test that looks up or connects to anything but this machine"
    group.addoption("--surfaces-no-network", action="store_true", default=False, help=words)
    parser.addini("surfaces_no_network", words, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Without a file on the command line, only the plugins that are named there are checked."""
    if config.getoption("--surfaces-no-network") or config.getini("surfaces_no_network"):
        from surfaces_core.testing.network import NoNetwork

        config.pluginmanager.register(NoNetwork(), "surfaces-no-network")
    if config.getoption("--surfaces-contract"):
        from surfaces_core.testing import named

        if named.is_alone(config):
            config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests of the plugins that are named on the command line."""
    if config.getoption("--surfaces-contract"):
        from surfaces_core.testing import named

        items += named.tests(session)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A broken promise is told in words, with the author's own code and none of ours."""
    report = yield
    if call.excinfo is not None and report.failed and not item.config.getoption("fulltrace"):
        from surfaces_core.testing import broken

        report.longrepr = broken.told(call.excinfo) or report.longrepr
    return report
