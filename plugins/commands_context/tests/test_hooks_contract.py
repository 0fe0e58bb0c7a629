"""Each set of commands keeps the contract of hooks plugins."""

from __future__ import annotations

from types import ModuleType

import pytest

from surfaces_commands_context import chats, context, ops, staging
from surfaces_core.testing import contract


@contract.hooks
@pytest.mark.parametrize("module", [chats, context, ops, staging], ids=lambda module: module.__name__)
def test_contract(module: ModuleType) -> ModuleType:
    """It keeps every promise of a hooks plugin."""
    return module
