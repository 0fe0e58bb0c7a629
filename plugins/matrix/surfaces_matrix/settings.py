"""What an operator can set for one Matrix account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from surfaces_core import Settings

Pattern = Annotated[str, Field(min_length=1)]


class MatrixSettings(Settings):
    """One Matrix account and how the bot behaves there."""

    homeserver: str = Field(
        description="Address of the homeserver's client API, like `https://matrix.example.org`",
        pattern=r"^https?://[^/?#\s@]+(/[^?#\s]*)?$",
    )
    user_id: str = Field(description="The bot's full id, like `@bot:example.org`", pattern=r"^@[^:\s]+:\S+$")
    password: SecretStr | None = Field(
        default=None, description="The bot's password; or set `access_token`", json_schema_extra={"ask": True}
    )
    access_token: SecretStr | None = Field(
        default=None, validate_default=True, description="An access token; or set `password`"
    )
    device_id: str | None = Field(
        default=None, min_length=1, description="Device to log in as; without it one is made and kept"
    )
    device_name: str = Field(default="Surfaces", description="What the bot's device is called in lists of sessions")

    recovery_key: SecretStr | None = Field(
        default=None,
        description="Opens the account's secret storage where the state was lost; see `surfaces matrix recovery-key`",
    )
    recovery_key_file: Path | None = Field(
        default=None, description="Where a recovery key that is made is written once, and read from where it is there"
    )

    allow_users: tuple[Pattern, ...] | None = Field(
        default=None,
        description="Who may talk to the bot, as patterns like `@*:example.org`; without it everybody on the bot's "
        "own homeserver",
    )
    deny_users: tuple[Pattern, ...] = Field(default=(), description="Who may not, though `allow_users` lets them")
    group_rooms: Literal["decline", "mention"] = Field(
        default="decline",
        description="Rooms with others in them: `decline` their invites, or answer there when it is mentioned",
    )
    space_name: str = Field(
        default="{bot} – {display_name}",
        description="Name of a person's Space; knows `{bot}`, `{display_name}` and `{user_id}`",
    )

    streaming: bool = Field(default=True, description="Show an answer while it comes, by editing its message")
    stream_interval_s: float = Field(default=1.0, ge=0.2, description="Least time between two edits")
    stream_first_chars: int = Field(default=40, ge=0, description="Characters that the first version waits for")
    stream_first_s: float = Field(default=1.0, ge=0, description="Seconds that the first version waits")
    stream_budget: int = Field(default=30, ge=1, le=500, description="The most edits that one answer may cost")

    stream_edits_per_s: float = Field(
        default=10.0, gt=0, description="The most edits a second over all rooms; fewer while the homeserver limits them"
    )
    read_receipts: Literal["public", "private", "off"] = Field(
        default="public", description="Who sees how far the bot has read: people, nobody but the bot, or there is none"
    )
    ack_reaction: str = Field(
        default="",
        max_length=32,
        description="Reaction to a message that waits behind others, like `⏳`, until it is taken up; empty: none",
    )
    encryption: bool | None = Field(
        default=None,
        description="Whether encrypted rooms are read and answered; without it, when the extra "
        "`surfaces-matrix[e2ee]` is installed",
    )
    encrypt_new_rooms: bool = Field(default=False, description="Make the rooms of new conversations encrypted")
    trust: Literal["tofu", "verified_only", "all"] = Field(
        default="tofu",
        description="Whose devices get the keys of encrypted rooms and are listened to there: all, but of a verified "
        "person those that they signed, and after their identity changed none until they are verified again (`tofu`); "
        "verified ones alone; `all`",
    )
    pickle_key: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="A secret that the kept encryption keys are encrypted with; without it the state is as secret as "
        "what it reads",
    )
    decrypt_wait_s: float = Field(
        default=300.0, ge=0, description="How long a message waits for its key until its sender is told"
    )

    catch_up_max_age_s: float = Field(
        default=86_400, ge=0, description="Older messages are passed over after a time away; 0 passes over all"
    )
    catch_up_max_messages: int = Field(
        default=100, ge=0, le=10_000, description="The most missed messages per conversation that are fetched"
    )
    replay_window_s: float = Field(
        default=43_200,
        ge=0,
        description="How long the homeserver surely recognises a repeated transaction id; what may have been sent "
        "earlier is looked for in the room first, with 0 always",
    )
    max_file_bytes: int = Field(default=104_857_600, ge=1, description="Bigger files are not fetched")
    sync_timeout_s: float = Field(
        default=5.0,
        ge=1,
        le=300,
        description="How long the homeserver may hold a sync; about so long a connection that went deaf is unnoticed",
    )
    request_timeout_s: float = Field(default=30.0, ge=1, description="How long any other request may take")
    transfer_timeout_s: float = Field(default=300.0, ge=1, description="How long a file may take either way")

    @field_validator(
        "password", "access_token", "device_id", "recovery_key", "recovery_key_file", "pickle_key", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value  # what an environment does not have

    @field_validator("space_name")
    @classmethod
    def _space_name(cls, value: str) -> str:
        try:
            value.format(bot="", display_name="", user_id="")
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError("may use {bot}, {display_name} and {user_id} only") from error
        return value

    @field_validator("access_token")
    @classmethod
    def _one_credential(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Of a field and not of the whole, so that it is said beside what else is wrong."""
        if "password" in info.data and (info.data["password"] is None) == (value is None):
            now = "neither is set" if value is None else "both are; keep one"
            raise ValueError(f"set either password or access_token: {now}")
        return value

    @property
    def server_name(self) -> str:
        """The part of the bot's id behind the first colon."""
        return self.user_id.partition(":")[2]
