"""What plugins implement (base classes) and what they are handed (protocols).

A driver's lifetime is its `async with` block; `__init__` must do no I/O. Required methods are
abstract and few; everything optional has a default, so a contract can grow without breaking
anybody. A driver may name the version of its kind's contract that it was built for as
`surfaces_contract = 1` on its class (a hooks module: at module level); without it 1 is meant.

Which checks a driver must pass stands in `surfaces_core.testing`.
"""

from __future__ import annotations

from surfaces_core.contracts.commands import Answered as Answered
from surfaces_core.contracts.commands import Command as Command
from surfaces_core.contracts.commands import CommandCall as CommandCall
from surfaces_core.contracts.commands import Companion as Companion
from surfaces_core.contracts.commands import Desk as Desk
from surfaces_core.contracts.commands import Handler as Handler
from surfaces_core.contracts.commands import Overview as Overview
from surfaces_core.contracts.commands import Question as Question
from surfaces_core.contracts.commands import SavePoint as SavePoint
from surfaces_core.contracts.commands import Shaper as Shaper
from surfaces_core.contracts.commands import Staged as Staged
from surfaces_core.contracts.driver import CONTRACTS as CONTRACTS
from surfaces_core.contracts.driver import Context as Context
from surfaces_core.contracts.driver import Driver as Driver
from surfaces_core.contracts.driver import Finding as Finding
from surfaces_core.contracts.driver import Section as Section
from surfaces_core.contracts.driver import Settings as Settings
from surfaces_core.contracts.driver import Store as Store
from surfaces_core.contracts.files import NO_FILES as NO_FILES
from surfaces_core.contracts.files import Files as Files
from surfaces_core.contracts.files import OpenFile as OpenFile
from surfaces_core.contracts.storage import Storage as Storage
from surfaces_core.contracts.storage import Tx as Tx
from surfaces_core.contracts.surface import Condition as Condition
from surfaces_core.contracts.surface import Conversations as Conversations
from surfaces_core.contracts.surface import Intake as Intake
from surfaces_core.contracts.surface import Pace as Pace
from surfaces_core.contracts.surface import Reconciled as Reconciled
from surfaces_core.contracts.surface import Surface as Surface
from surfaces_core.contracts.surface import SurfaceContext as SurfaceContext
from surfaces_core.contracts.tools import AgentTool as AgentTool
from surfaces_core.contracts.tools import ToolCall as ToolCall
from surfaces_core.contracts.tools import ToolHandler as ToolHandler
from surfaces_core.contracts.tools import ToolPolicy as ToolPolicy
from surfaces_core.contracts.transport import Health as Health
from surfaces_core.contracts.transport import Transport as Transport
from surfaces_core.contracts.transport import TransportContext as TransportContext
