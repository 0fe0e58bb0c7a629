"""Owns what the checks of all kinds of driver say about making one."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel

from surfaces_core.contracts import Driver
from surfaces_core.testing.watching import watched


def made_quietly(make: Callable[[], Driver]) -> None:
    """A driver does nothing before its block; its settings stay as they are and take no key that they do not know."""
    with watched() as deeds:
        driver = make()
    if deeds:
        raise AssertionError(f"__init__ must do no input or output; this one {', '.join(dict.fromkeys(deeds))}")
    for name in ("Settings", "AgentSettings"):
        model = getattr(driver, name, None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            config = model.model_config
            if (config.get("extra"), config.get("frozen")) != ("forbid", True):
                raise AssertionError(f"{name} must be a surfaces_core.Settings: frozen, and unknown keys are errors")
