"""Owns what operators may set: for the transport, and for each of its agents in the registry."""

from __future__ import annotations

from pydantic import Field, field_validator

import surfaces_core
from surfaces_agent_api.address import root_address


class AgentApiSettings(surfaces_core.Settings):
    """Settings of the transport; times in seconds."""

    connect_timeout_s: float = Field(
        10, gt=0, allow_inf_nan=False, description="How long connecting to an agent may take."
    )
    status_timeout_s: float = Field(
        10, gt=0, allow_inf_nan=False, description="How long a connected agent may take to send `STATUS`."
    )
    idle_timeout_s: float = Field(
        300, gt=0, allow_inf_nan=False, description="How long an agent may be silent in a turn; pings don't count."
    )
    turn_timeout_s: float = Field(
        3600,
        gt=0,
        allow_inf_nan=False,
        description="How long one answer may take altogether, however much comes; waiting for a person doesn't count.",
    )
    keepalive_s: float = Field(
        60, ge=0, allow_inf_nan=False, description="How long a quiet socket is kept for the next turn; 0 keeps none."
    )
    max_frame_bytes: int = Field(4 << 20, ge=1024, description="The largest frame an agent may send, in bytes.")
    max_reply_chars: int = Field(
        200_000, ge=1, description="The most text of one answer, in characters; the rest is left out with a note."
    )
    max_files: int = Field(20, ge=0, description="The most files of one answer; the rest is left out with a note.")


class AgentOptions(surfaces_core.Settings):
    """What the registry entry of an agent may say beside id, label and workspace."""

    base_url: str = Field(
        description="Where the agent serves: http(s):// or ws(s)://, with or without a path; `v1/agent_ws/…` is added."
    )
    send_message_id: bool = Field(
        False, description="Send `message_id`, stable across retries: the agent drops a repeat."
    )
    supports_cancel: bool = Field(
        False, description="Send `CANCEL` when a turn is stopped, before the socket is closed."
    )

    @field_validator("base_url")
    @classmethod
    def _leads_to_a_socket(cls, value: str) -> str:
        root_address(value)
        return value
