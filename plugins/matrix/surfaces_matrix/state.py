"""The state events by which a room tells whose it is: their types and what is in them.

A conversation's room carries `io.surfaces.binding`, a person's Space `io.surfaces.space`, both with
an empty state key. They are the truth that the host's own record can be made anew from, so
changing them takes a new `version`.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from surfaces_core import Address, Binding, Opening

BINDING = "io.surfaces.binding"
SPACE = "io.surfaces.space"
VERSION = 1

UserId = Annotated[str, Field(pattern=r"^@[^:\x00-\x20\x7f]*:[^\x00-\x20\x7f]+$", max_length=255)]
RoomId = Annotated[str, Field(pattern=r"^![^\x00-\x20\x7f]+$", max_length=255)]


class _Content(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    version: int = Field(ge=VERSION, le=VERSION)


class SpaceContent(_Content):
    """What `io.surfaces.space` says."""

    owner: UserId


class BindingContent(_Content):
    """What `io.surfaces.binding` says. Matrix knows no fractions: `created_ts` is in milliseconds."""

    owner: UserId | RoomId
    """The room itself where it is `shared`."""
    conversation: str = Field(pattern=r"^C[1-9][0-9]{0,8}$")
    agent_id: str = Field(min_length=1, max_length=255)
    context_id: str = Field(pattern=r"^[0-9]{1,40}$")
    created_ts: int = Field(ge=0, lt=1 << 53)
    archived: bool = False
    shared: bool = False

    @model_validator(mode="after")
    def _owner_fits(self) -> Self:
        if self.shared != self.owner.startswith("!"):
            raise ValueError("a shared conversation belongs to its room, any other to a person")
        return self

    def content(self) -> dict[str, Any]:
        """As it stands in the event."""
        return self.model_dump(exclude=None if self.shared else {"shared"})

    @classmethod
    def of(cls, binding: Binding) -> Self:
        """As a binding is written into its room."""
        return cls(
            version=VERSION,
            owner=binding.owner,
            conversation=binding.label,
            agent_id=binding.agent,
            context_id=binding.context,
            created_ts=round(binding.created_at * 1000),
            archived=binding.archived,
            shared=binding.shared,
        )

    @classmethod
    def of_opening(cls, opening: Opening) -> Self:
        """As a new conversation's binding is written."""
        return cls(
            version=VERSION,
            owner=opening.owner,
            conversation=f"C{opening.number}",
            agent_id=opening.agent,
            context_id=opening.context,
            created_ts=round(opening.created_at * 1000),
        )

    def binding(self, address: Address, name: str) -> Binding:
        """The binding of the room at `address`; its name, where the room has none, is its label."""
        return Binding(
            address=address,
            owner=self.owner,
            number=int(self.conversation[1:]),
            name=name or self.conversation,
            agent=self.agent_id,
            context=self.context_id,
            created_at=self.created_ts / 1000,
            archived=self.archived,
            shared=self.shared,
        )
