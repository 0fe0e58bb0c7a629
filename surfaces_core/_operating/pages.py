"""What is answered over HTTP, by path, of a host that runs or is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from surfaces_core._operating.health import Health
from surfaces_core._operating.ops import Answer, Page
from surfaces_core._operating.overview import Standing

if TYPE_CHECKING:
    from surfaces_core._operating.metrics import Metrics


def pages(health: Health, overview: Callable[[], Awaitable[Standing]], metrics: Metrics | None) -> Mapping[str, Page]:
    """Every page; that of the metrics where there are any."""

    async def front() -> Answer:
        from surfaces_core._operating.page import page  # takes a while, and most never need it

        return page(await overview())

    async def readyz() -> Answer:
        await health.probe()
        report = health.report()
        return Answer.of(report.as_json(), HTTPStatus.OK if report.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    found: dict[str, Page] = {"/": front, "/livez": livez, "/readyz": readyz}
    if metrics is not None:

        async def measured() -> Answer:
            await health.probe()
            return Answer(body=metrics.text(), content_type=metrics.content_type)

        found["/metrics"] = measured
    return found


async def livez() -> Answer:
    """The loop turns, or nobody would say so."""
    return Answer.of({"live": True})
