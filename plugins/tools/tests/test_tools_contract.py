"""The tools keep the contract of hooks plugins."""

from __future__ import annotations

import surfaces_tools
from surfaces_core.testing import contract

test_contract = contract.hooks(surfaces_tools)
