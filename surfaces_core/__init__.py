"""Surfaces connects messengers to AI agents: these are the public names for plugins.

Names are loaded on first use, so that the program's `--help` does not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surfaces_core.buffered import BufferedStorage as BufferedStorage
    from surfaces_core.buffered import BufferedTx as BufferedTx
    from surfaces_core.buffered import Changes as Changes
    from surfaces_core.buffered import Database as Database
    from surfaces_core.buffered import Page as Page
    from surfaces_core.buffered import Queue as Queue
    from surfaces_core.contracts import CONTRACTS as CONTRACTS
    from surfaces_core.contracts import AgentTool as AgentTool
    from surfaces_core.contracts import Command as Command
    from surfaces_core.contracts import CommandCall as CommandCall
    from surfaces_core.contracts import Companion as Companion
    from surfaces_core.contracts import Condition as Condition
    from surfaces_core.contracts import Context as Context
    from surfaces_core.contracts import Conversations as Conversations
    from surfaces_core.contracts import Desk as Desk
    from surfaces_core.contracts import Driver as Driver
    from surfaces_core.contracts import Files as Files
    from surfaces_core.contracts import Finding as Finding
    from surfaces_core.contracts import Health as Health
    from surfaces_core.contracts import Intake as Intake
    from surfaces_core.contracts import OpenFile as OpenFile
    from surfaces_core.contracts import Overview as Overview
    from surfaces_core.contracts import Pace as Pace
    from surfaces_core.contracts import Question as Question
    from surfaces_core.contracts import Reconciled as Reconciled
    from surfaces_core.contracts import SavePoint as SavePoint
    from surfaces_core.contracts import Section as Section
    from surfaces_core.contracts import Settings as Settings
    from surfaces_core.contracts import Shaper as Shaper
    from surfaces_core.contracts import Staged as Staged
    from surfaces_core.contracts import Storage as Storage
    from surfaces_core.contracts import Store as Store
    from surfaces_core.contracts import Surface as Surface
    from surfaces_core.contracts import SurfaceContext as SurfaceContext
    from surfaces_core.contracts import ToolCall as ToolCall
    from surfaces_core.contracts import ToolPolicy as ToolPolicy
    from surfaces_core.contracts import Transport as Transport
    from surfaces_core.contracts import TransportContext as TransportContext
    from surfaces_core.contracts import Tx as Tx
    from surfaces_core.errors import CommandError as CommandError
    from surfaces_core.errors import ConfigError as ConfigError
    from surfaces_core.errors import DriverError as DriverError
    from surfaces_core.errors import Rejected as Rejected
    from surfaces_core.errors import StateError as StateError
    from surfaces_core.errors import SurfacesError as SurfacesError
    from surfaces_core.errors import Unavailable as Unavailable
    from surfaces_core.events import Accepted as Accepted
    from surfaces_core.events import Address as Address
    from surfaces_core.events import Agent as Agent
    from surfaces_core.events import AgentEvent as AgentEvent
    from surfaces_core.events import AgentRequest as AgentRequest
    from surfaces_core.events import Attachment as Attachment
    from surfaces_core.events import Binding as Binding
    from surfaces_core.events import Confirm as Confirm
    from surfaces_core.events import Delivered as Delivered
    from surfaces_core.events import Draft as Draft
    from surfaces_core.events import End as End
    from surfaces_core.events import File as File
    from surfaces_core.events import FileKind as FileKind
    from surfaces_core.events import FileRef as FileRef
    from surfaces_core.events import Inbound as Inbound
    from surfaces_core.events import Kind as Kind
    from surfaces_core.events import Observed as Observed
    from surfaces_core.events import Opening as Opening
    from surfaces_core.events import Outbound as Outbound
    from surfaces_core.events import Postponed as Postponed
    from surfaces_core.events import Progress as Progress
    from surfaces_core.events import Pushed as Pushed
    from surfaces_core.events import Receipt as Receipt
    from surfaces_core.events import Said as Said
    from surfaces_core.events import StepEnded as StepEnded
    from surfaces_core.events import Text as Text
    from surfaces_core.events import Tool as Tool
    from surfaces_core.events import TurnEnded as TurnEnded
    from surfaces_core.events import TurnEvent as TurnEvent
    from surfaces_core.filenames import clean_name as clean_name
    from surfaces_core.filenames import file_ref as file_ref
    from surfaces_core.filenames import numbered_name as numbered_name
    from surfaces_core.filenames import path_inside as path_inside
    from surfaces_core.hooks import hookimpl as hookimpl
    from surfaces_core.i18n import Catalogue as Catalogue
    from surfaces_core.i18n import Plural as Plural
    from surfaces_core.i18n import Sentence as Sentence
    from surfaces_core.i18n import speaking as speaking

_HOMES = {
    "surfaces_core.buffered": "BufferedStorage BufferedTx Changes Database Page Queue",
    "surfaces_core.contracts": (
        "AgentTool CONTRACTS Command CommandCall Companion Condition Context Conversations Desk Driver Files Finding "
        "Health Intake OpenFile Overview Pace Question Reconciled SavePoint Section Settings Shaper Staged Storage "
        "Store Surface SurfaceContext ToolCall ToolPolicy Transport TransportContext Tx"
    ),
    "surfaces_core.errors": ("CommandError ConfigError DriverError Rejected StateError SurfacesError Unavailable"),
    "surfaces_core.events": (
        "Accepted Address Agent AgentEvent AgentRequest Attachment Binding Confirm Delivered Draft End File "
        "FileKind FileRef Inbound Kind Observed Opening Outbound Postponed Progress Pushed Receipt Said StepEnded Text "
        "Tool TurnEnded TurnEvent"
    ),
    "surfaces_core.filenames": "clean_name file_ref numbered_name path_inside",
    "surfaces_core.hooks": "hookimpl",
    "surfaces_core.i18n": "Catalogue Plural Sentence speaking",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
