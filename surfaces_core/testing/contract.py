"""Owns the short way to run the contract checks on a plugin, one line in a file of tests.

    from surfaces_core.testing import contract
    from my_package import MyStorage

    test_contract = contract.storage(MyStorage)

That is one test for each promise. Settings may be given; `{tmp_path}` in them is the folder of the
test, and a required setting that is a `Path` and is not given gets a place in it:

    test_contract = contract.storage(MyStorage, settings={"path": "{tmp_path}/state"})

Where a class is not enough, give a function. Its arguments are pytest fixtures, and `promise` is the
check; what it returns, or yields when something must be cleaned up, is what the checks work on (for a
storage or a hooks plugin also just a new driver or plugin):

    @contract.transport
    async def test_contract(my_agent):
        yield TransportBench(make=lambda: MyTransport(…), agent=…, unreachable=…)
"""

from __future__ import annotations

import inspect
import unittest
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from surfaces_core.testing import promises
from surfaces_core.testing.broken import BrokenPromise
from surfaces_core.testing.materials import of_class, ready

Options = Mapping[str, Any]


def storage(given: Callable[..., Any], /, *, settings: Options | None = None) -> Any:
    """Tests of a storage: a class with its settings, or a function that gives an unopened driver for each call."""
    return of("storage", given, {"settings": settings or {}})


def transport(
    given: Callable[..., Any],
    /,
    *,
    settings: Options | None = None,
    agent: Options | None = None,
    unreachable: Options | None = None,
    breaks_off: Options | None = None,
    recall: str = "",
    forgets: bool = False,
) -> Any:
    """Tests of a transport: a class with its settings and the options of agents, or a function with a bench.

    `unreachable` are those of an agent that nobody can reach; where they are not given all can be reached.
    `breaks_off` are those of one that takes a text and then fails.
    `recall` is a question that makes the agent repeat what was said in its context, if it remembers.
    `forgets` says that the transport itself remembers that, and not the agent behind it.
    """
    bench = {"recall": recall, "forgets": forgets}
    parts: dict[str, Options] = {"settings": settings or {}, "agent": agent or {}, "bench": bench}
    others = {"unreachable": unreachable, "breaks_off": breaks_off}
    return of("transport", given, {**parts, **{name: agent for name, agent in others.items() if agent is not None}})


def files(given: Callable[..., Any], /, *, settings: Options | None = None) -> Any:
    """Tests of a files driver: a class with its settings, or a function with a bench.

    A class must have a setting `max_file_bytes`, and keep workspaces as folders in its one required `Path`.
    """
    return of("files", given, {"settings": settings or {}})


def surface(given: Callable[..., Any], /) -> Any:
    """Tests of a surface: a function with a bench."""
    return of("surface", given, {})


def hooks(given: Any, /) -> Any:
    """Tests of a hooks plugin: its module or class as its entry point names it, or a function that gives it."""
    return of("hooks", given, {})


def of(kind: str, given: Any, parts: Mapping[str, Options]) -> Any:
    """Tests of any kind; `parts` are the keywords that the kind's own function takes with a class."""
    if not inspect.isfunction(given):
        given = of_class(kind, given, parts)
    arguments = inspect.signature(given)
    names = dict.fromkeys([*arguments.parameters, "promise"])

    async def test(**fixtures: Any) -> None:
        check = fixtures["promise"] if "promise" in arguments.parameters else fixtures.pop("promise")
        await keep(kind, given, fixtures, check)

    test.surfaces_kind = kind  # type: ignore[attr-defined]  # for `planted`
    test.__doc__ = given.__doc__
    test.__signature__ = arguments.replace(  # type: ignore[attr-defined]
        parameters=[inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    )
    test.__wrapped__ = given  # type: ignore[attr-defined]  # so that pytest says where it stands
    marks = [*getattr(given, "pytestmark", []), pytest.mark.asyncio.mark]
    test.pytestmark = marks  # type: ignore[attr-defined]
    return pytest.mark.parametrize("promise", promises.checks(kind), ids=promises.name)(test)


async def keep(kind: str, given: Callable[..., Any], fixtures: Mapping[str, Any], check: promises.Check) -> None:
    """Run one check on what a function gives with these fixtures. Raises `BrokenPromise`."""
    outcome: BaseException | None = None
    async with _given(given, fixtures) as found:
        material = ready(kind, found, lambda: given(**fixtures))
        try:
            await check(material)
        except (unittest.SkipTest, pytest.skip.Exception) as skipped:
            outcome = skipped
        except Exception as error:  # noqa: BLE001 -- whatever a check raises, its promise is broken
            outcome = BrokenPromise(kind, check, error)
            outcome.__cause__ = error
    if outcome is not None:  # raised out here, as a task group of the author's would wrap it into another
        raise outcome


@asynccontextmanager
async def _given(function: Callable[..., Any], fixtures: Mapping[str, Any]) -> AsyncIterator[Any]:
    """What an author's function returns or yields, whichever of the four forms it has."""
    if inspect.isasyncgenfunction(function):
        async with asynccontextmanager(function)(**fixtures) as found:
            yield found
    elif inspect.isgeneratorfunction(function):
        steps = function(**fixtures)
        yield next(steps)
        for _ in steps:
            raise RuntimeError("a function for contract checks must yield once")
    else:
        found = function(**fixtures)
        yield await found if inspect.isawaitable(found) else found
