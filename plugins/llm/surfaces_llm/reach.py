"""Owns the look at whether a model is there: its provider's list of models, which costs nothing."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from surfaces_core import Health
from surfaces_llm import failures
from surfaces_llm.providers import Speaker
from surfaces_llm.settings import ModelSettings

PATHS: Mapping[str, str] = {"anthropic": "/v1/models", "google": "/v1beta/models"}
CHECK_S = 10.0


async def look(speaker: Speaker) -> Health:
    """Whether a model's provider answers and takes the key."""
    settings = speaker.settings
    url = settings.address + PATHS.get(settings.provider, "/models")
    try:
        found = await speaker.client.get(url, headers=_headers(settings), timeout=CHECK_S)
    except (httpx2.HTTPError, OSError) as error:
        return Health(reachable=False, code=failures.UNREACHABLE, detail=type(error).__name__)
    if found.status_code in (401, 403):
        return Health(reachable=False, code=failures.SETUP, detail=f"{found.status_code} for the key")
    if found.status_code >= 500 or found.status_code == 429:
        return Health(reachable=False, code=failures.UNREACHABLE, detail=str(found.status_code))
    return Health(reachable=True)  # whoever has no such list says so, and is there


def _headers(settings: ModelSettings) -> Mapping[str, str]:
    if settings.api_key is None:
        return {}
    key = settings.api_key.get_secret_value()
    match settings.provider:
        case "anthropic":
            return {"x-api-key": key, "anthropic-version": "2023-06-01"}
        case "google":
            return {"x-goog-api-key": key}
        case _:
            return {"Authorization": f"Bearer {key}"}
